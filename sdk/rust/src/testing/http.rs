//! HTTP without a network: a function of the test answers.

use std::sync::{Arc, Mutex};

use super::{Shared, lock, store::slice};
use crate::{Error, ErrorKind, Result, host, http::Head};

/// A whole request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A whole response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status.
    pub status: u16,
    /// Headers in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// Break the connection after so many bytes of the body.
    pub break_after: Option<usize>,
}

impl HttpResponse {
    /// A response with a body.
    #[must_use]
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            break_after: None,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Breaks the connection after so many bytes of the body.
    #[must_use]
    pub fn break_after(mut self, bytes: usize) -> Self {
        self.break_after = Some(bytes);
        self
    }
}

/// Answers the requests to an endpoint.
pub(super) type Handler = Box<dyn Fn(&HttpRequest) -> HttpResponse + Send + Sync>;

/// How many exchanges there are.
#[derive(Default)]
pub(super) struct InFlight {
    now: usize,
    pub(super) most: usize,
}

/// A request with its response. In flight from its beginning until it is dropped.
pub(super) struct Exchange {
    shared: Arc<Shared>,
    endpoint: String,
    content_length: Option<u64>,
    request: Mutex<HttpRequest>,
    response: Mutex<Option<(HttpResponse, usize)>>,
}

impl Exchange {
    pub(super) fn new(shared: Arc<Shared>, head: &host::RequestHead<'_>) -> Result<Self> {
        if !shared.servers.contains_key(head.endpoint) {
            let message = format!("the endpoint `{}` is not granted, or has no URL", head.endpoint);
            return Err(Error::new(ErrorKind::NotGranted, message));
        }
        if !head.path.starts_with('/') || head.path.contains(char::is_whitespace) {
            return Err(Error::new(
                ErrorKind::Internal,
                format!("the path {:?} is not an encoded one that begins with `/`", head.path),
            ));
        }
        let request = HttpRequest {
            method: head.method.to_owned(),
            path: head.path.to_owned(),
            headers: head.headers.to_vec(),
            body: Vec::new(),
        };
        let (request, response) = (Mutex::new(request), Mutex::new(None));
        let mut in_flight = lock(&shared.in_flight);
        in_flight.now += 1;
        in_flight.most = in_flight.most.max(in_flight.now);
        drop(in_flight);
        Ok(Self {
            shared,
            endpoint: head.endpoint.to_owned(),
            content_length: head.content_length,
            request,
            response,
        })
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        lock(&self.shared.in_flight).now -= 1;
    }
}

impl host::Exchange for Exchange {
    fn write(&self, data: &[u8]) -> Result<()> {
        lock(&self.request).body.extend_from_slice(data);
        Ok(())
    }

    fn respond(&self) -> Result<Head> {
        let request = lock(&self.request);
        if self.content_length.is_some_and(|length| length != request.body.len() as u64) {
            let message = format!(
                "a body of {:?} bytes was promised, {} came",
                self.content_length,
                request.body.len()
            );
            return Err(Error::new(ErrorKind::Internal, message));
        }
        let response = self
            .shared
            .servers
            .get(&self.endpoint)
            .map_or_else(|| HttpResponse::new(500, ""), |handler| handler(&request));
        let head = Head {
            status: response.status,
            headers: response.headers.clone(),
        };
        *lock(&self.response) = Some((response, 0));
        Ok(head)
    }

    fn read(&self, max: u32) -> Result<Option<Vec<u8>>> {
        let mut response = lock(&self.response);
        let Some((response, position)) = response.as_mut() else {
            return Err(Error::new(ErrorKind::Internal, "the response is read before `respond`"));
        };
        let end = response.break_after.unwrap_or(response.body.len()).min(response.body.len());
        match slice(&response.body[..end], *position, max) {
            None if response.break_after.is_some() => Err(Error::new(ErrorKind::ConnectionLost, "the response ended early")),
            data => {
                *position += data.as_ref().map_or(0, Vec::len);
                Ok(data)
            }
        }
    }
}
