//! HTTP requests to endpoints that the operator named. The host dials, verifies TLS and adds the operator's authentication: a plugin never holds a
//! credential. Redirects are not followed, nothing is retried.
//!
//! ```no_run
//! use bulkhead_sdk::{Result, http::Request};
//!
//! fn members() -> Result<Vec<u8>> {
//!     Request::get("api", "/v1/members").header("accept", "application/json").send()?.success()?.into_bytes(1 << 20)
//! }
//! ```

use std::io::{self, Read, Write};

use crate::{
    Error, ErrorKind, Result,
    host::{self, BEST_TRANSFER, MAX_TRANSFER, RequestHead},
    snapshot::transfer,
};

/// How much of an error response's body is put into the error, in bytes.
const ERROR_EXCERPT: usize = 512;

/// The head of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// 100 to 599. An error status is a response, not an error.
    pub status: u16,
    /// Headers in order, names as the server wrote them.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// A request to be sent.
#[derive(Debug, Clone)]
pub struct Request {
    endpoint: String,
    method: String,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
}

impl Request {
    /// A request to `endpoint`; `path` is path and query below its URL, percent-encoded, beginning with `/`.
    #[must_use]
    pub fn new(method: impl Into<String>, endpoint: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            method: method.into(),
            path: path.into(),
            headers: Vec::new(),
        }
    }

    /// A GET request.
    #[must_use]
    pub fn get(endpoint: impl Into<String>, path: impl Into<String>) -> Self {
        Self::new("GET", endpoint, path)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// Sends it without a body.
    ///
    /// # Errors
    /// `NotGranted`, `Unreachable`, `ConnectionLost`, `TimedOut`.
    pub fn send(self) -> Result<Response> {
        self.send_bytes(&[])
    }

    /// Sends it with a body.
    ///
    /// # Errors
    /// As [`Request::send`].
    pub fn send_bytes(self, body: &[u8]) -> Result<Response> {
        let mut exchange = self.begin(Some(body.len() as u64))?;
        exchange.write_bytes(body)?;
        exchange.respond()
    }

    /// Sends the head; the body is written to the [`Exchange`]. `None` for a length that isn't known sends it chunked.
    ///
    /// # Errors
    /// As [`Request::send`].
    pub fn begin(self, content_length: Option<u64>) -> Result<Exchange> {
        let head = RequestHead {
            endpoint: &self.endpoint,
            method: &self.method,
            path: &self.path,
            headers: &self.headers,
            content_length,
        };
        let inner = host::with_host(|host| host.send_request(&head))?;
        Ok(Exchange {
            inner,
            what: format!("{} {}", self.method, self.path),
        })
    }
}

/// A request whose body is being sent.
pub struct Exchange {
    inner: Box<dyn host::Exchange>,
    what: String,
}

impl Exchange {
    /// Sends the next part of the body.
    ///
    /// # Errors
    /// As [`Request::send`].
    pub fn write_bytes(&mut self, data: &[u8]) -> Result<()> {
        data.chunks(MAX_TRANSFER).try_for_each(|part| self.inner.write(part))
    }

    /// Ends the body and waits for the response's head.
    ///
    /// # Errors
    /// As [`Request::send`].
    pub fn respond(self) -> Result<Response> {
        let head = self.inner.respond()?;
        Ok(Response {
            head,
            inner: self.inner,
            what: self.what,
        })
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Exchange({})", self.what)
    }
}

impl Write for Exchange {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_bytes(data)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A response; its body is read from it.
pub struct Response {
    head: Head,
    inner: Box<dyn host::Exchange>,
    what: String,
}

impl Response {
    /// 100 to 599.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The first header of that name (case does not matter), where it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.head.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(&found.1).ok()
    }

    /// All headers in order.
    #[must_use]
    pub fn headers(&self) -> &[(String, Vec<u8>)] {
        &self.head.headers
    }

    /// The next part of the body without a copy, at most `max` bytes; `None` at its end.
    ///
    /// # Errors
    /// `ConnectionLost` for a body that ends early.
    pub fn read_bytes(&mut self, max: usize) -> Result<Option<Vec<u8>>> {
        self.inner.read(transfer(max))
    }

    /// The whole body, which may have `limit` bytes.
    ///
    /// # Errors
    /// `Limit` where it has more; as [`Response::read_bytes`].
    pub fn into_bytes(mut self, limit: usize) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(part) = self.read_bytes(BEST_TRANSFER)? {
            if body.len() + part.len() > limit {
                return Err(Error::new(
                    ErrorKind::Limit,
                    format!("the response to {} has more than {limit} bytes", self.what),
                ));
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }

    /// The beginning of the body, at most `limit` bytes, as for a refusal: one that breaks off says as much as came.
    #[must_use]
    pub fn into_beginning(mut self, limit: usize) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < limit {
            match self.read_bytes(limit - body.len()) {
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Ok(None) | Err(_) => break,
            }
        }
        body
    }

    /// The whole body, which may have `limit` bytes, read as JSON.
    ///
    /// # Errors
    /// `Protocol` where it isn't the JSON that is expected; as [`Response::into_bytes`].
    pub fn into_json<T: serde::de::DeserializeOwned>(self, limit: usize) -> Result<T> {
        let what = self.what.clone();
        let body = self.into_bytes(limit)?;
        serde_json::from_slice(&body)
            .map_err(|error| Error::protocol(format!("the response to {what} is not the JSON expected")).with_cause(error))
    }

    /// Itself where the status is 200 to 299; otherwise an error of the fitting kind with the beginning of the body.
    ///
    /// # Errors
    /// `Unauthenticated` (401, 407), `PermissionDenied` (403), `NotFound` (404, 410), `Conflict` (409, 412), `StorageFull` (507), `Limit` (413, 429),
    /// `Server` for the rest; 408, 429 and 500 to 504 are worth retrying.
    pub fn success(mut self) -> Result<Self> {
        let status = self.status();
        if (200..300).contains(&status) {
            return Ok(self);
        }
        let kind = match status {
            401 | 407 => ErrorKind::Unauthenticated,
            403 => ErrorKind::PermissionDenied,
            404 | 410 => ErrorKind::NotFound,
            409 | 412 => ErrorKind::Conflict,
            413 | 429 => ErrorKind::Limit,
            507 => ErrorKind::StorageFull,
            _ => ErrorKind::Server,
        };
        let body = self.read_bytes(ERROR_EXCERPT).ok().flatten().unwrap_or_default();
        let error = Error::new(kind, format!("{} was answered with status {status}", self.what))
            .with_retryable(matches!(status, 408 | 429 | 500..=504));
        let excerpt = String::from_utf8_lossy(&body);
        Err(if excerpt.trim().is_empty() {
            error
        } else {
            error.with_cause(excerpt.trim())
        })
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Response({}, {})", self.what, self.head.status)
    }
}

/// Unbuffered: wrap it in a [`BufReader`](io::BufReader) for small reads.
impl Read for Response {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        let data = self.read_bytes(into.len())?.unwrap_or_default();
        into[..data.len()].copy_from_slice(&data);
        Ok(data.len())
    }
}
