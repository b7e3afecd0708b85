//! Storing an object: [`store`], over Drive's resumable uploads.
//!
//! A session is begun, the content goes to it in pieces, and the file appears when the last one has come: never a part of it. What breaks off goes on
//! where Drive says that it has got to (`308` and `Range`); a session that Drive has forgotten is begun anew, from the beginning. A session also is what
//! makes an answer that was lost harmless: asked again, it says that the file is there, and no second one is made.

use bulkhead_sdk::{
    digest::{Algorithm, Hasher},
    host::BEST_TRANSFER,
    http::{Exchange, Response},
    prelude::*,
    warn,
};
use serde_json::json;

use crate::{
    client::{self, Call, Client, File, MAX_DOCUMENT, answered, drain, once, with_query},
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

/// Asks for a session in which `target` gets `size` bytes, and does not wait for the answer: [`store`] does.
pub(crate) fn begin(target: &Target<'_>, size: u64) -> Result<Exchange> {
    client::begin(&call_for_session(target, size))
}

fn call_for_session(target: &Target<'_>, size: u64) -> Call {
    let query = [("uploadType", "resumable"), ("supportsAllDrives", "true"), ("fields", File::FIELDS)];
    let call = match target {
        Target::New { name, parent } => {
            Call::new("POST", with_query(UPLOAD, &query)).json(&json!({ "name": name, "parents": [parent], "mimeType": CONTENT_TYPE }))
        }
        Target::Replace { id } => Call::new("PATCH", with_query(&format!("{UPLOAD}/{id}"), &query)).json(&json!({})),
    };
    call.header("x-upload-content-type", CONTENT_TYPE)
        .header("x-upload-content-length", size.to_string())
}

/// Stores `body`, in pieces of so many bytes, where it is `begun` in a session that was asked for already, and returns what Drive has then; whether that is what was sent, is for [`require_same`].
pub(crate) fn store(
    client: &Client,
    target: &Target<'_>,
    body: &mut ObjectReader<'_>,
    piece: u64,
    begun: Option<Exchange>,
) -> Result<File> {
    let mut upload = Upload {
        target,
        size: body.size(),
        content: Content::of(body),
        piece,
        begun,
        session: None,
        taken: 0,
        is_sure: true,
    };
    loop {
        // Each piece has all attempts to itself.
        if let Some(file) = client.retrying("the upload", || upload.step())? {
            return Ok(file);
        }
    }
}

/// Fails unless what Drive has is the object: by its size and its SHA-256 or, where Drive tells no SHA-256, its MD5, for which the object is read once more.
pub(crate) fn require_same(file: &File, body: &mut ObjectReader<'_>) -> Result<()> {
    let differs = |what: &str, has: &str, sent: &str| {
        let message = format!("Drive has stored {} with another {what} than was sent", file.name);
        Error::new(ErrorKind::Corrupt, message)
            .with_cause(format!("{has} and not {sent}"))
            .with_retryable(true)
    };
    let size = file.size();
    if size != Some(body.size()) {
        let has = size.map_or_else(|| "none".to_owned(), |size| size.to_string());
        return Err(differs("size", &has, &body.size().to_string()));
    }
    let (what, has, sent) = match (&file.sha256_checksum, &file.md5_checksum) {
        (Some(has), _) => ("SHA-256", has, hex::encode(body.sha256())),
        (None, Some(has)) => ("MD5", has, md5(body)?),
        (None, None) => return Err(Error::protocol(format!("Drive does not say what digest {} has", file.name))),
    };
    if *has == sent { Ok(()) } else { Err(differs(what, has, &sent)) }
}

fn md5(body: &mut ObjectReader<'_>) -> Result<String> {
    let mut hasher = Hasher::new(Algorithm::Md5);
    body.rewind();
    while let Some(data) = body.read_bytes(BEST_TRANSFER)? {
        hasher.update(&data);
    }
    Ok(hex::encode(hasher.finish()))
}

/// An upload under way.
struct Upload<'a, 'b> {
    target: &'a Target<'a>,
    size: u64,
    content: Content<'a, 'b>,
    piece: u64,
    /// The request for a session, where it was sent before.
    begun: Option<Exchange>,
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
        let call = call_for_session(self.target, self.size);
        let response = match self.begun.take() {
            Some(begun) => answered(&call, begun)?,
            None => once(&call)?,
        };
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

/// The object, which can only be read from its beginning, at any place.
struct Content<'a, 'b> {
    body: &'a mut ObjectReader<'b>,
    position: u64,
}

impl<'a, 'b> Content<'a, 'b> {
    fn of(body: &'a mut ObjectReader<'b>) -> Self {
        body.rewind();
        Self { body, position: 0 }
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
        self.position += data.len() as u64;
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use bulkhead_sdk::digest::digest;

    use super::*;

    /// An object in memory.
    struct Object(std::cell::Cell<bool>);

    const CONTENT: &[u8] = b"content";

    impl bulkhead_sdk::host::ObjectReader for Object {
        fn size(&self) -> u64 {
            CONTENT.len() as u64
        }

        fn sha256(&self) -> Vec<u8> {
            digest(Algorithm::Sha256, CONTENT)
        }

        fn read(&self, _max: u32) -> Result<Option<Vec<u8>>> {
            Ok((!self.0.replace(true)).then(|| CONTENT.to_vec()))
        }

        fn rewind(&self) {
            self.0.set(false);
        }
    }

    #[test]
    fn what_drive_has_is_compared_by_what_it_tells() {
        let hex_of = |algorithm, content| Some(hex::encode(digest(algorithm, content)));
        let kind = |sha256: Option<String>, md5: Option<String>| {
            let file = File {
                size: CONTENT.len().to_string(),
                sha256_checksum: sha256,
                md5_checksum: md5,
                ..File::default()
            };
            let object = Object(true.into());
            require_same(&file, &mut ObjectReader::new(&object)).map_err(|error| error.kind)
        };
        for algorithm in [Algorithm::Sha256, Algorithm::Md5] {
            let told = |content| match algorithm {
                Algorithm::Sha256 => kind(hex_of(algorithm, content), None),
                _ => kind(None, hex_of(algorithm, content)),
            };
            assert_eq!(told(CONTENT), Ok(()));
            assert_eq!(told(b"another"), Err(ErrorKind::Corrupt));
        }
        assert_eq!(kind(None, None), Err(ErrorKind::Protocol));
    }

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
