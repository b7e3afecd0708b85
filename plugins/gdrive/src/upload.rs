//! Storing an object: [`store`], over Drive's resumable uploads.
//!
//! A session is begun, the content goes to it in pieces, and the file appears when the last one has come: never a part of it. What breaks off goes on
//! where Drive says that it has got to (`308` and `Range`); a session that Drive has forgotten is begun anew, from the beginning. A session also is what
//! makes an answer that was lost harmless: asked again, it says that the file is there, and no second one is made.

use bulkhead_sdk::{
    digest::{Algorithm, Hasher},
    host::BEST_TRANSFER,
    http::Response,
    prelude::*,
    warn,
};
use serde_json::json;

use crate::{
    client::{Call, Client, File, MAX_DOCUMENT, drain, once, with_query},
    refusal::{Verdict, judge},
};

/// Where uploads go.
const UPLOAD: &str = "/upload/drive/v3/files";

/// What stored objects are, to Drive.
const CONTENT_TYPE: &str = "application/octet-stream";

/// What an upload makes.
#[derive(Debug)]
pub(crate) enum Target<'a> {
    /// A new file of that name in a folder.
    New { name: &'a str, parent: &'a str },
    /// New content of a file.
    Replace { id: &'a str },
}

/// Stores `body`, in pieces of so many bytes, and returns what Drive has then; whether that is what was sent, is for [`check`].
pub(crate) fn store(client: &Client, target: &Target<'_>, body: &mut ObjectReader<'_>, piece: u64) -> Result<Stored> {
    let mut upload = Upload {
        target,
        size: body.size(),
        content: Content::of(body),
        piece,
        session: None,
        taken: 0,
        is_sure: true,
    };
    loop {
        // Each piece has all attempts to itself.
        if let Some(file) = client.retrying("the upload", || upload.step())? {
            let md5 = upload.content.md5();
            return Ok(Stored { file, md5 });
        }
    }
}

/// What Drive has, and the MD5 of what it was sent.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) file: File,
    md5: String,
}

impl Stored {
    /// Whether what Drive has is the object: its size, its SHA-256 and its MD5, of which one may be missing.
    pub(crate) fn check(&self, body: &ObjectReader<'_>) -> Result<()> {
        let differs = |what: &str, has: &str, sent: &str| {
            let message = format!("Drive has stored {} with another {what} than was sent", self.file.name);
            Error::new(ErrorKind::Corrupt, message)
                .with_cause(format!("{has} and not {sent}"))
                .with_retryable(true)
        };
        let size = self.file.size();
        if size != Some(body.size()) {
            let has = size.map_or_else(|| "none".to_owned(), |size| size.to_string());
            return Err(differs("size", &has, &body.size().to_string()));
        }
        let digests = [
            ("SHA-256", &self.file.sha256_checksum, hex::encode(body.sha256())),
            ("MD5", &self.file.md5_checksum, self.md5.clone()),
        ];
        if digests.iter().all(|(_, has, _)| has.is_none()) {
            return Err(Error::protocol(format!("Drive does not say what digest {} has", self.file.name)));
        }
        for (what, has, sent) in digests {
            if let Some(has) = has.as_ref().filter(|has| **has != sent) {
                return Err(differs(what, has, &sent));
            }
        }
        Ok(())
    }
}

/// An upload under way.
struct Upload<'a, 'b> {
    target: &'a Target<'a>,
    size: u64,
    content: Content<'a, 'b>,
    piece: u64,
    /// Path and query of the session.
    session: Option<String>,
    /// Bytes that Drive has said it has.
    taken: u64,
    /// Whether that is all that it can have: not after a piece whose answer was lost.
    is_sure: bool,
}

/// How far a session is.
enum Progress {
    Stored(Box<File>),
    Taken(u64),
}

impl Upload<'_, '_> {
    /// Sends the next piece; the file, once it is there.
    fn step(&mut self) -> Result<Option<File>, Verdict> {
        let session = match &self.session {
            Some(session) => session.clone(),
            None => self.begin()?,
        };
        if !self.is_sure {
            match self.ask(&session)? {
                Progress::Stored(file) => return Ok(Some(*file)),
                Progress::Taken(bytes) => self.take(bytes)?,
            }
        }
        self.is_sure = false;
        let before = self.taken;
        match self.send(&session)? {
            Progress::Stored(file) => Ok(Some(*file)),
            Progress::Taken(bytes) => {
                self.take(bytes)?;
                if self.taken <= before {
                    let error = Error::new(ErrorKind::Server, "Drive took nothing of what was sent").with_retryable(true);
                    return Err(Verdict::Retry(error, None));
                }
                Ok(None)
            }
        }
    }

    /// Begins a session.
    fn begin(&mut self) -> Result<String, Verdict> {
        let query = [("uploadType", "resumable"), ("supportsAllDrives", "true"), ("fields", File::FIELDS)];
        let call = match self.target {
            Target::New { name, parent } => {
                Call::new("POST", with_query(UPLOAD, &query)).json(&json!({ "name": name, "parents": [parent], "mimeType": CONTENT_TYPE }))
            }
            Target::Replace { id } => Call::new("PATCH", with_query(&format!("{UPLOAD}/{id}"), &query)).json(&json!({})),
        };
        let call = call
            .header("x-upload-content-type", CONTENT_TYPE)
            .header("x-upload-content-length", self.size.to_string());
        let response = once(&call)?;
        let session = response
            .header("location")
            .and_then(path_of)
            .ok_or_else(|| Error::protocol("Drive began an upload and did not say where"))?;
        drain(response);
        self.session = Some(session.clone());
        (self.taken, self.is_sure) = (0, true);
        Ok(session)
    }

    /// Asks a session how far it is.
    fn ask(&mut self, session: &str) -> Result<Progress, Verdict> {
        let call = Call::new("PUT", session).header("content-range", format!("bytes */{}", self.size));
        let response = call.request().send()?;
        self.progress(&call, response)
    }

    /// Sends a piece from where Drive is.
    fn send(&mut self, session: &str) -> Result<Progress, Verdict> {
        let length = self.piece.min(self.size - self.taken);
        let call = Call::new("PUT", session);
        // Of nothing there is no range.
        let call = match length {
            0 => call,
            _ => call.header(
                "content-range",
                format!("bytes {}-{}/{}", self.taken, self.taken + length - 1, self.size),
            ),
        };
        self.content.seek(self.taken)?;
        let mut exchange = call.request().begin(Some(length))?;
        let mut left = length;
        while left > 0 {
            let data = self.content.read(left)?;
            exchange.write_bytes(&data)?;
            left -= data.len() as u64;
        }
        let response = exchange.respond()?;
        self.progress(&call, response)
    }

    fn progress(&mut self, call: &Call, response: Response) -> Result<Progress, Verdict> {
        match response.status() {
            200 | 201 => Ok(Progress::Stored(Box::new(response.into_json(MAX_DOCUMENT)?))),
            308 => {
                let taken = taken(response.header("range"))?;
                drain(response);
                Ok(Progress::Taken(taken))
            }
            404 | 410 => {
                self.session = None;
                warn!("Drive has forgotten an upload after {} bytes: it begins anew", self.taken);
                let error = Error::new(ErrorKind::ConnectionLost, "Drive has forgotten the upload");
                Err(Verdict::Retry(error, None))
            }
            _ => Err(judge(&call.what(), response)),
        }
    }

    fn take(&mut self, bytes: u64) -> Result<(), Verdict> {
        if bytes > self.size {
            return Err(Error::protocol(format!("Drive says that it has {bytes} bytes of an object of {}", self.size)).into());
        }
        (self.taken, self.is_sure) = (bytes, true);
        Ok(())
    }
}

/// The path and query of a session's address; which server that is, is the operator's business.
fn path_of(location: &str) -> Option<String> {
    let path = match location.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/')?..],
        None => location,
    };
    path.starts_with('/').then(|| path.to_owned())
}

/// Bytes that a session has: `Range: bytes=0-N`, or nothing yet.
fn taken(range: Option<&str>) -> Result<u64> {
    let Some(range) = range else { return Ok(0) };
    let last: Option<u64> = range.strip_prefix("bytes=0-").and_then(|last| last.parse().ok());
    last.and_then(|last| last.checked_add(1))
        .ok_or_else(|| Error::protocol(format!("Drive says that it has the range {range:?}")))
}

/// The object, which can only be read from its beginning, at any place; and its MD5.
struct Content<'a, 'b> {
    body: &'a mut ObjectReader<'b>,
    position: u64,
    md5: Hasher,
    hashed: u64,
}

impl<'a, 'b> Content<'a, 'b> {
    fn of(body: &'a mut ObjectReader<'b>) -> Self {
        body.rewind();
        Self {
            body,
            position: 0,
            md5: Hasher::new(Algorithm::Md5),
            hashed: 0,
        }
    }

    /// Goes to a place; what is behind is read again, which costs no more than memory.
    fn seek(&mut self, position: u64) -> Result<()> {
        if position < self.position {
            self.body.rewind();
            self.position = 0;
        }
        while self.position < position {
            self.read(position - self.position)?;
        }
        Ok(())
    }

    /// The next bytes, at most `max`, at least one.
    fn read(&mut self, max: u64) -> Result<Vec<u8>> {
        let max = usize::try_from(max).unwrap_or(BEST_TRANSFER).min(BEST_TRANSFER);
        let Some(data) = self.body.read_bytes(max)?.filter(|data| !data.is_empty()) else {
            return Err(Error::new(ErrorKind::Internal, "the object ends before its size"));
        };
        let end = self.position + data.len() as u64;
        if end > self.hashed {
            let fresh = usize::try_from(end - self.hashed).unwrap_or(data.len());
            self.md5.update(&data[data.len().saturating_sub(fresh)..]);
            self.hashed = end;
        }
        self.position = end;
        Ok(data)
    }

    /// Of what was read, which is all where all was sent.
    fn md5(&mut self) -> String {
        hex::encode(self.md5.finish())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_session_is_a_path() {
        let location = "https://www.googleapis.com/upload/drive/v3/files?uploadType=resumable&upload_id=x_1";
        assert_eq!(
            path_of(location).as_deref(),
            Some("/upload/drive/v3/files?uploadType=resumable&upload_id=x_1")
        );
        assert_eq!(path_of("/upload?x"), Some("/upload?x".to_owned()));
        assert_eq!(path_of("https://host"), None);
        assert_eq!(path_of("elsewhere"), None);
    }

    #[test]
    fn how_far_a_session_is() {
        assert_eq!(taken(None).unwrap(), 0);
        assert_eq!(taken(Some("bytes=0-262143")).unwrap(), 262_144);
        for bad in ["bytes=5-9", "bytes=0-", "0-9", "bytes=0-18446744073709551615"] {
            assert_eq!(taken(Some(bad)).unwrap_err().kind, ErrorKind::Protocol, "{bad}");
        }
    }
}
