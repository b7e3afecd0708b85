//! What is special about a service: [`Dialect`].

use crate::{Error, ErrorKind, sink::ObjectReader};

/// How a service is spoken to and understood, beyond what OpenDAL does.
pub trait Dialect {
    /// Headers for a request whose body is this object: what lets the server check it, say.
    fn headers_of_object(&self, object: &ObjectReader<'_>) -> Vec<(String, Vec<u8>)> {
        let _ = object;
        Vec::new()
    }

    /// Headers for a request without an object, of this body.
    fn headers_of_body(&self, body: &[u8]) -> Vec<(String, Vec<u8>)> {
        let _ = body;
        Vec::new()
    }

    /// What a response that is no success means.
    fn judge(&self, refusal: &Refusal<'_>) -> Verdict {
        refusal.judge_by_status()
    }
}

/// The dialect of no service in particular.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain;

impl Dialect for Plain {}

/// A response that is no success.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// `GET`, …
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// 300 to 599.
    pub status: u16,
    /// Names in lower case.
    pub headers: &'a http::HeaderMap,
    /// Its first 64 KiB.
    pub body: &'a [u8],
}

/// What becomes of the request.
#[derive(Debug)]
pub enum Verdict {
    /// OpenDAL knows what this is (nothing there, a condition that does not hold).
    Pass,
    /// It is tried again; when that has been done often enough, this is the error.
    Retry(Error),
    /// It failed.
    Fail(Error),
}

impl Refusal<'_> {
    /// A header that is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Seconds after which the server wants to be asked again (`Retry-After`).
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        self.header("retry-after")?.trim().parse().ok()
    }

    /// An error that says what was answered.
    #[must_use]
    pub fn error(&self, kind: ErrorKind, what: &str) -> Error {
        let place = self.path.split('?').next().unwrap_or_default();
        Error::new(kind, format!("{} {place}: {what} (status {})", self.method, self.status))
    }

    /// What HTTP says of its statuses: 408, 429 and 500 to 504 pass by themselves; not-found, conflicts and ranges are OpenDAL's to understand.
    #[must_use]
    pub fn judge_by_status(&self) -> Verdict {
        let failed = |kind, what: &str| {
            let error = self.error(kind, what);
            let excerpt = String::from_utf8_lossy(&self.body[..self.body.len().min(512)]).trim().to_owned();
            if excerpt.is_empty() { error } else { error.with_cause(excerpt) }
        };
        match self.status {
            404 | 405 | 409 | 410 | 412 | 416 | 304 => Verdict::Pass,
            401 | 407 => Verdict::Fail(failed(ErrorKind::Unauthenticated, "the server refused the credentials")),
            403 => Verdict::Fail(failed(ErrorKind::PermissionDenied, "the server does not allow this")),
            507 => Verdict::Fail(failed(ErrorKind::StorageFull, "the server has no room left")),
            429 => Verdict::Retry(failed(ErrorKind::Limit, "the server asks for fewer requests").with_retryable(true)),
            408 | 500 | 502..=504 => Verdict::Retry(failed(ErrorKind::Server, "the server failed").with_retryable(true)),
            300..=399 => Verdict::Fail(
                failed(ErrorKind::Config, "the server redirects").with_hint("name the server that it redirects to in the endpoint's `url`"),
            ),
            _ => Verdict::Fail(failed(ErrorKind::Server, "the server refused")),
        }
    }
}
