//! Doing what OpenDAL's futures want: [`Driver`] polls one, carries out its requests over the host's `http`, and tries again what deserves it.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    thread::sleep,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, request::Parts};
use opendal::Buffer;

use super::{
    Backoff, Dialect, Refusal, Verdict,
    failure::Failure,
    line::{Answer, Ask, Line},
};
use crate::{
    Error, ErrorKind, Result,
    host::BEST_TRANSFER,
    http::{Request, Response},
    sink::ObjectReader,
    warn,
};

/// What is kept of a refusal's body: errors are documents of a few hundred bytes.
const MAX_REFUSAL: usize = 64 << 10;

/// Headers that the host sets.
const OF_THE_HOST: [&str; 4] = ["content-length", "host", "connection", "transfer-encoding"];

/// One operation of a store.
pub(super) struct Driver<'a, 'b, D> {
    pub(super) line: &'a Line,
    pub(super) endpoint: &'a str,
    pub(super) dialect: &'a D,
    pub(super) backoff: Backoff,
    /// The object that the operation stores.
    pub(super) object: Option<&'a mut ObjectReader<'b>>,
    /// Headers for it, beside the dialect's.
    pub(super) headers: &'a [(String, Vec<u8>)],
    pub(super) progress: Progress,
}

/// How far the operation is.
#[derive(Default)]
pub(super) struct Progress {
    /// The response whose body is being read.
    response: Reading,
    /// How often the object was sent.
    pub(super) sent: u32,
    /// Whether the body of a response ended too early.
    pub(super) broke_off: bool,
}

#[derive(Default)]
enum Reading {
    #[default]
    Nothing,
    Response(Response),
    /// A body that was read already.
    Rest(Vec<u8>),
}

impl<D: Dialect> Driver<'_, '_, D> {
    /// Polls `operation` to its end.
    pub(super) fn run<T>(&mut self, operation: impl Future<Output = Result<T, Failure>>) -> Result<T> {
        self.line.clear();
        let mut operation = pin!(operation);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(ended) = operation.as_mut().poll(&mut context) {
                return ended.map_err(Error::from);
            }
            let answer = match self.line.take() {
                Some(Ask::Request(request)) => Answer::Head(Box::new(self.request(*request)?)),
                Some(Ask::Piece) => Answer::Piece(self.piece()?),
                None => {
                    return Err(Error::new(
                        ErrorKind::Internal,
                        "the service waits for something else than a response",
                    ));
                }
            };
            self.line.answer(answer);
        }
    }

    /// The next piece of the body.
    fn piece(&mut self) -> Result<Option<Vec<u8>>> {
        match &mut self.progress.response {
            Reading::Nothing => Ok(None),
            Reading::Response(response) => response.read_bytes(BEST_TRANSFER).inspect_err(|_| self.progress.broke_off = true),
            Reading::Rest(rest) => Ok(Some(std::mem::take(rest)).filter(|rest| !rest.is_empty())),
        }
    }

    /// The beginning of the body, as much as is kept of a refusal's.
    pub(super) fn beginning(&mut self) -> Result<Vec<u8>> {
        let mut beginning = Vec::new();
        while let Some(piece) = self.piece()? {
            beginning.extend_from_slice(&piece);
            if beginning.len() >= MAX_REFUSAL {
                break;
            }
        }
        Ok(beginning)
    }

    /// Carries out a request, as often as it takes.
    pub(super) fn request(&mut self, request: http::Request<Buffer>) -> Result<http::response::Parts> {
        let (parts, body) = request.into_parts();
        let body = body.to_bytes();
        // Services take bodies whole; ours comes in pieces, in the place of the empty one that the service was given.
        let is_object = self.object.is_some() && parts.method == Method::PUT && body.is_empty();
        let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
        // Of what lies at the top, some services ask without a path.
        let path = if path.starts_with('/') { path } else { &format!("/{path}") };
        for attempt in 1.. {
            self.progress.response = Reading::Nothing;
            let (error, asked) = match self.attempt(&parts, path, &body, is_object) {
                Ok(response) => {
                    let head = head_of(&response)?;
                    if head.status.is_success() {
                        self.progress.response = Reading::Response(response);
                        return Ok(head);
                    }
                    let rest = response.into_beginning(MAX_REFUSAL);
                    let refusal = Refusal {
                        method: parts.method.as_str(),
                        path,
                        status: head.status.as_u16(),
                        headers: &head.headers,
                        body: &rest,
                    };
                    match self.dialect.judge(&refusal) {
                        Verdict::Pass => {
                            self.progress.response = Reading::Rest(rest);
                            return Ok(head);
                        }
                        Verdict::Fail(error) => return Err(error),
                        Verdict::Retry(error) => (error, refusal.retry_after()),
                    }
                }
                Err(error) if error.retryable => (error, None),
                Err(error) => return Err(error),
            };
            let Some(pause) = self.backoff.pause(attempt, asked, path) else {
                return Err(match attempt {
                    1 => error,
                    _ => error.context(format!("gave up after {attempt} attempts")),
                });
            };
            warn!(attempt = attempt; "trying again in {} ms: {error}", pause.as_millis());
            sleep(pause);
        }
        Err(Error::new(ErrorKind::Internal, "attempts without end"))
    }

    /// Carries it out once.
    fn attempt(&mut self, parts: &Parts, path: &str, body: &[u8], is_object: bool) -> Result<Response> {
        let mut request = Request::new(parts.method.as_str(), self.endpoint, path);
        for (name, value) in &parts.headers {
            if !OF_THE_HOST.contains(&name.as_str()) {
                request = request.header(name.as_str(), value.as_bytes());
            }
        }
        let Some(object) = self.object.as_deref_mut().filter(|_| is_object) else {
            for (name, value) in self.dialect.headers_of_body(body) {
                request = request.header(name, value);
            }
            return request.send_bytes(body);
        };
        for (name, value) in self.dialect.headers_of_object(object).iter().chain(self.headers) {
            request = request.header(name, value);
        }
        object.rewind();
        self.progress.sent += 1;
        let mut exchange = request.begin(Some(object.size()))?;
        while let Some(piece) = object.read_bytes(BEST_TRANSFER)? {
            exchange.write_bytes(&piece)?;
        }
        exchange.respond()
    }
}

/// The head of a response in the types that OpenDAL reads.
fn head_of(response: &Response) -> Result<http::response::Parts> {
    let bad = |error: &dyn std::fmt::Display| Error::protocol("the server's response has an impossible head").with_cause(error);
    let mut head = http::Response::new(()).into_parts().0;
    head.status = http::StatusCode::from_u16(response.status()).map_err(|error| bad(&error))?;
    let mut headers = HeaderMap::new();
    for (name, value) in response.headers() {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| bad(&error))?;
        headers.append(name, HeaderValue::from_bytes(value).map_err(|error| bad(&error))?);
    }
    head.headers = headers;
    Ok(head)
}
