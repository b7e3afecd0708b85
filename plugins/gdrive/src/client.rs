//! Requests to Drive, v3 of its API: [`Client`] sends them and tries again what deserves it, [`File`] is what comes back.

use std::thread::sleep;

use bulkhead_sdk::{
    backoff::Backoff,
    host::BEST_TRANSFER,
    http::{Exchange, Request, Response},
    prelude::*,
    warn,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::refusal::{Verdict, judge};

/// The name of the one endpoint that the plugin wants.
pub(crate) const ENDPOINT: &str = "drive";

/// Files of the API.
pub(crate) const FILES: &str = "/drive/v3/files";

/// Bytes of a document: a page of 1,000 files has about 300 KiB.
pub(crate) const MAX_DOCUMENT: usize = 8 << 20;

/// Access tokens that may end while one thing is done, which takes as long as an object takes to be sent: one of them can end again before it is used.
const RENEWALS: u32 = 3;

/// What a value in a query keeps as it is (RFC 3986, unreserved characters).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A file or folder; only what is asked for in `fields` is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct File {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) mime_type: String,
    /// A number in a string, as all 64-bit numbers of the API.
    pub(crate) size: String,
    pub(crate) parents: Vec<String>,
    pub(crate) md5_checksum: Option<String>,
    pub(crate) sha256_checksum: Option<String>,
    /// RFC 3339 in UTC with milliseconds: sorts as text.
    pub(crate) created_time: String,
    pub(crate) trashed: bool,
    pub(crate) drive_id: Option<String>,
    pub(crate) capabilities: Capabilities,
}

/// What the credentials may do with a folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Capabilities {
    pub(crate) can_add_children: bool,
}

impl File {
    /// What is asked for of a file that is an object.
    pub(crate) const FIELDS: &'static str = "id,name,mimeType,size,parents,md5Checksum,sha256Checksum,createdTime";

    /// Bytes. Folders, and documents of Google's own kinds, have none.
    pub(crate) fn size(&self) -> Option<u64> {
        self.size.parse().ok()
    }

    pub(crate) fn is_folder(&self) -> bool {
        self.mime_type == FOLDER
    }
}

/// The kind of file that a folder is.
pub(crate) const FOLDER: &str = "application/vnd.google-apps.folder";

/// A request that can be sent again.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Call {
    pub(crate) fn new(method: &'static str, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn json(self, document: &serde_json::Value) -> Self {
        let mut call = self.header("content-type", "application/json; charset=UTF-8");
        call.body = document.to_string().into_bytes();
        call
    }

    /// Method and place, for messages.
    pub(crate) fn what(&self) -> String {
        what(self.method, &self.path)
    }

    /// Sends the head; the body is the caller's, of so many bytes.
    pub(crate) fn request(&self) -> Request {
        let request = Request::new(self.method, ENDPOINT, &self.path);
        self.headers
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, value))
    }
}

/// A request without its query, in which there may be what nobody needs to see (the id of an upload is as good as the right to it).
pub(crate) fn what(method: &str, path: &str) -> String {
    format!("{method} {}", path.split('?').next().unwrap_or_default())
}

/// Path and query, each value encoded.
pub(crate) fn with_query(path: &str, query: &[(&str, &str)]) -> String {
    let pairs = query
        .iter()
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, UNRESERVED)));
    format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
}

/// A text in a query of `files.list`.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Sends requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) backoff: Backoff,
}

impl Client {
    /// Sends a request until it goes well or has failed for good; what it answers is of no interest.
    pub(crate) fn call(&self, call: &Call) -> Result<()> {
        self.retrying(&call.what(), || {
            drain(once(call)?);
            Ok(())
        })
    }

    /// As [`Self::call`], for an answer that is a document.
    pub(crate) fn document<T: serde::de::DeserializeOwned>(&self, call: &Call) -> Result<T> {
        self.retrying(&call.what(), || Ok(once(call)?.into_json(MAX_DOCUMENT)?))
    }

    /// Does `attempt` until it goes well, has failed for good, or has been tried often enough.
    pub(crate) fn retrying<T>(&self, what: &str, mut attempt: impl FnMut() -> Result<T, Verdict>) -> Result<T> {
        let (mut number, mut renewed) = (1, 0);
        loop {
            let (error, asked) = match attempt() {
                Ok(done) => return Ok(done),
                Err(Verdict::Fail(error)) => return Err(error),
                Err(Verdict::Renew(error)) if renewed == RENEWALS => return Err(error),
                Err(Verdict::Renew(_)) => {
                    renewed += 1;
                    continue;
                }
                Err(Verdict::Retry(error, asked)) => (error, asked),
            };
            let Some(pause) = self.backoff.pause(number, asked, what) else {
                return Err(match number {
                    1 => error,
                    _ => error.context(format!("gave up after {number} attempts")),
                });
            };
            warn!(attempt = number; "trying again in {} ms: {error}", pause.as_millis());
            sleep(pause);
            number += 1;
        }
    }
}

/// Sends a request once; any answer but a success is a verdict.
pub(crate) fn once(call: &Call) -> Result<Response, Verdict> {
    answered(call, begin(call)?)
}

/// Sends a request, and does not wait for its answer.
pub(crate) fn begin(call: &Call) -> Result<Exchange> {
    let mut exchange = call.request().begin(Some(call.body.len() as u64))?;
    exchange.write_bytes(&call.body)?;
    Ok(exchange)
}

/// Waits for the answer to `call`; any but a success is a verdict.
pub(crate) fn answered(call: &Call, begun: Exchange) -> Result<Response, Verdict> {
    let response = begun.respond()?;
    match response.status() {
        200..=299 => Ok(response),
        _ => Err(judge(&call.what(), response)),
    }
}

/// Reads an answer to its end, so that the connection can be used again; that it breaks off changes nothing.
pub(crate) fn drain(mut response: Response) {
    while response.read_bytes(BEST_TRANSFER).is_ok_and(|data| data.is_some()) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded_and_quoted() {
        assert_eq!(
            with_query("/a", &[("q", "'x y' in parents"), ("fields", "files(id)")]),
            "/a?q=%27x%20y%27%20in%20parents&fields=files%28id%29"
        );
        assert_eq!(quoted(r"it's \ 1"), r"'it\'s \\ 1'");
    }
}
