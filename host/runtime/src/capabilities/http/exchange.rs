//! One request and its response, both streamed.

use std::pin::Pin;
use std::sync::Arc;

use bulkhead_model::{Fault, FaultKind};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::body::{Part, RequestBody};
use super::pool::Lease;
use super::request::Bearer;
use crate::capabilities::{Budget, check_transfer, transfer_size};

type Responding = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

/// The head of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// 200 to 599.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// A request in progress. Dropping it early closes its connection; a body that was not ended by [`Exchange::respond`] is cut off.
pub struct Exchange {
    state: State,
    address: String,
    budget: Arc<Budget>,
    bearer: Option<Bearer>,
    asked: Asked,
}

/// What was asked for, and when: for the log. Neither headers nor the query are in it, which may let others do the same.
struct Asked {
    line: String,
    at: Instant,
}

impl Asked {
    fn of(request: &Request<RequestBody>) -> Self {
        Self {
            line: format!("{} {}", request.method(), request.uri().path()),
            at: Instant::now(),
        }
    }

    fn answered(&self, status: StatusCode) {
        tracing::trace!(milliseconds = self.at.elapsed().as_millis(), "{}: {}", self.line, status.as_u16());
    }
}

enum State {
    Sending {
        body: Option<mpsc::Sender<Part>>,
        /// Bytes of the body that were announced and are still to come; `None` where it goes in chunks.
        left: Option<u64>,
        response: Responding,
        lease: Lease,
    },
    Receiving {
        body: Incoming,
        rest: Bytes,
        lease: Lease,
    },
    /// The whole body was read.
    Ended,
    /// It broke: every further call says so again, since a cut-off body must never look like a whole one.
    Broken(Fault),
}

impl Exchange {
    /// Sends the head; `body` takes the parts of a body of `length` bytes, or of any length.
    pub(super) fn begin(
        mut lease: Lease,
        request: Request<RequestBody>,
        body: Option<mpsc::Sender<Part>>,
        length: Option<u64>,
        budget: Arc<Budget>,
    ) -> Self {
        let address = lease.address().to_owned();
        let asked = Asked::of(&request);
        let response = Box::pin(lease.sender().send_request(request));
        Self {
            state: State::Sending {
                body,
                left: length,
                response,
                lease,
            },
            address,
            budget,
            bearer: None,
            asked,
        }
    }

    /// With the access token that goes with the request. When the server refuses it, it is not used again; the request is the plugin's to repeat, since
    /// its body has gone.
    pub(super) fn renewing(self, bearer: Option<Bearer>) -> Self {
        Self { bearer, ..self }
    }

    /// Sends the next part of the body. A server that has answered already does not hear it; [`Exchange::respond`] tells what it said.
    ///
    /// # Errors
    /// `limit`, `timed-out`, `internal` after `respond` and where the body gets longer than was announced. After any of them but `limit` the request
    /// is broken off: part of its body is missing.
    pub async fn write(&mut self, data: Bytes) -> Result<(), Fault> {
        check_transfer(data.len())?;
        self.budget.write(data.len() as u64)?;
        let sent = self.send(data).await;
        if let Err(fault) = &sent {
            self.state = State::Broken(fault.clone());
        }
        sent
    }

    async fn send(&mut self, data: Bytes) -> Result<(), Fault> {
        let (body, left) = match &mut self.state {
            State::Sending {
                body: Some(body), left, ..
            } => (body, left),
            State::Broken(fault) => return Err(fault.clone()),
            _ => return Err(Fault::new(FaultKind::Internal, "the request has no body, or it was ended")),
        };
        if let Some(left) = left {
            let length = data.len() as u64;
            let too_long = || Fault::new(FaultKind::Internal, "the request's body is longer than its `content-length`");
            *left = left.checked_sub(length).ok_or_else(too_long)?;
        }
        let send = async {
            let _ = body.send(Part::Data(data)).await;
            Ok(())
        };
        self.budget.within(send).await
    }

    /// Ends the body and waits for the response's head.
    ///
    /// # Errors
    /// `connection-lost`, `timed-out`, `internal` when called again and where the body is shorter than was announced.
    pub async fn respond(&mut self) -> Result<ResponseHead, Fault> {
        let repeated = Fault::new(FaultKind::Internal, "`respond` was called before");
        let (body, response, lease) = match std::mem::replace(&mut self.state, State::Broken(repeated.clone())) {
            State::Sending { left: Some(1..), .. } => {
                let fault = Fault::new(FaultKind::Internal, "the request's body is shorter than its `content-length`");
                self.state = State::Broken(fault.clone());
                return Err(fault);
            }
            State::Sending { body, response, lease, .. } => (body, response, lease),
            State::Broken(fault) => {
                self.state = State::Broken(fault.clone());
                return Err(fault);
            }
            other => {
                self.state = other;
                return Err(repeated);
            }
        };
        let answer = async {
            if let Some(body) = body {
                let _ = body.send(Part::End).await;
            }
            match response.await {
                Ok(response) => Ok((response, lease)),
                Err(error) => Err(lost(&self.address, &lease.cause(error).await)),
            }
        };
        let answered = self.budget.within(answer).await;
        let (response, lease) = answered.inspect_err(|fault| self.state = State::Broken(fault.clone()))?;
        let (head, body) = response.into_parts();
        if let Some(bearer) = self.bearer.take().filter(|_| head.status == StatusCode::UNAUTHORIZED) {
            bearer.refused().await;
        }
        let headers = head
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
            .collect();
        self.asked.answered(head.status);
        self.state = State::Receiving {
            body,
            rest: Bytes::new(),
            lease,
        };
        Ok(ResponseHead {
            status: head.status.as_u16(),
            headers,
        })
    }

    /// Reads the response's body; `None` at its end.
    ///
    /// # Errors
    /// `connection-lost` where it ends early, `timed-out`, `internal` before `respond`.
    pub async fn read(&mut self, max: u32) -> Result<Option<Bytes>, Fault> {
        let (body, rest) = match &mut self.state {
            State::Receiving { body, rest, .. } => (body, rest),
            State::Ended => return Ok(None),
            State::Broken(fault) => return Err(fault.clone()),
            State::Sending { .. } => return Err(Fault::new(FaultKind::Internal, "the response is read before `respond`")),
        };
        while rest.is_empty() {
            let frame = self.budget.within(async { Ok(body.frame().await) }).await?;
            match frame {
                Some(Ok(frame)) => *rest = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => {
                    let fault = lost(&self.address, &error);
                    self.state = State::Broken(fault.clone());
                    return Err(fault);
                }
                None => {
                    if let State::Receiving { lease, .. } = std::mem::replace(&mut self.state, State::Ended) {
                        lease.give_back();
                    }
                    return Ok(None);
                }
            }
        }
        Ok(Some(rest.split_to(rest.len().min(transfer_size(max)))))
    }
}

fn lost(address: &str, error: &hyper::Error) -> Fault {
    Fault::new(FaultKind::ConnectionLost, format!("the HTTP exchange with {address} broke"))
        .retryable()
        .caused_by(error)
}
