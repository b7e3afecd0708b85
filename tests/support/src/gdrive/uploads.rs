//! Uploads: simple, multipart and resumable.

use super::files::{Metadata, shown, visible};
use super::resource;
use super::routes::{Outcome, Refusal, Target, parts, refuse};
use super::state::{Content, State};
use crate::couchdb::{Answer, Request};

/// What Drive keeps of a piece that is not the last one: whole multiples of 256 KiB.
const UNIT: u64 = 256 << 10;

/// A resumable upload under way.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// The file that gets new content; `None` where a new one is made.
    file: Option<String>,
    metadata: Vec<u8>,
    content: Vec<u8>,
    announced: Option<u64>,
    /// The file that came of it.
    done: Option<String>,
}

/// Begins an upload, or does all of it, for a new file or for `file`.
pub(super) fn begin(state: &mut State, target: &Target, request: &Request, file: Option<&str>) -> Outcome {
    if let Some(file) = file {
        visible(state, target, file)?;
    }
    resource::selection(target.get("fields"))?;
    match target.get("uploadType") {
        Some("media") => finish(state, target, file, b"", request.body.clone()),
        Some("multipart") => {
            let message = "Malformed multipart body.";
            let parts = parts(request).filter(|parts| parts.len() == 2);
            let parts = parts.ok_or_else(|| refuse(400, "badContent", message))?;
            finish(state, target, file, &parts[0].body, parts[1].body.clone())
        }
        Some("resumable") => begin_session(state, target, request, file),
        _ => Err(refuse(400, "badRequest", "Invalid upload request")),
    }
}

fn begin_session(state: &mut State, target: &Target, request: &Request, file: Option<&str>) -> Outcome {
    let metadata = Metadata::read(&request.body)?;
    if file.is_none() {
        // What is wrong with it is told before the content is sent.
        metadata.new_file(state, target, None)?;
    }
    let announced: Option<u64> = request.header("x-upload-content-length").and_then(|length| length.parse().ok());
    check_quota(state, target, file, &request.body, announced.unwrap_or(0))?;
    let id = format!("AHmUCY{}", state.new_id());
    state.sessions.insert(
        id.clone(),
        Session {
            file: file.map(str::to_owned),
            metadata: request.body.clone(),
            content: Vec::new(),
            announced,
            done: None,
        },
    );
    let host = request.header("host").unwrap_or("www.googleapis.com");
    // The query of the first request goes on, so that the answer is the one that it asked for.
    let location = format!("https://{host}{}&upload_id={id}", request.path);
    Ok(Answer {
        status: 200,
        headers: vec![("Location".to_owned(), location), ("X-GUploader-UploadID".to_owned(), id)],
        body: Vec::new(),
        break_after: None,
    })
}

/// A shared drive has no quota of this account.
fn check_quota(state: &mut State, target: &Target, file: Option<&str>, metadata: &[u8], length: u64) -> Result<(), Refusal> {
    let Some(quota) = state.quota else { return Ok(()) };
    let drive = match file {
        Some(file) => visible(state, target, file)?.drive.clone(),
        None => Metadata::read(metadata)?.new_file(state, target, None)?.drive,
    };
    if drive.is_none() && state.usage() + length > quota {
        let message = "The user's Drive storage quota has been exceeded.";
        return Err(refuse(403, "storageQuotaExceeded", message));
    }
    Ok(())
}

/// The file with its content, all at once.
fn finish(state: &mut State, target: &Target, file: Option<&str>, metadata: &[u8], content: Vec<u8>) -> Outcome {
    check_quota(state, target, file, metadata, content.len() as u64)?;
    let stored = store(state, target, file, metadata, content)?;
    let file = visible(state, target, &stored)?;
    shown(state, target, file)
}

fn store(state: &mut State, target: &Target, file: Option<&str>, metadata: &[u8], content: Vec<u8>) -> Result<String, Refusal> {
    let metadata = Metadata::read(metadata)?;
    let file = match file {
        None => metadata.new_file(state, target, Some(Content::of(content)))?,
        Some(id) => {
            let mut file = visible(state, target, id)?.clone();
            let now = state.now();
            metadata.change(&mut file, now);
            file.content = Some(Content::of(content));
            file
        }
    };
    let id = file.id.clone();
    state.insert(file);
    Ok(id)
}

/// `Content-Range`: what came, and how much there is in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    /// First byte; `None` where only the state is asked for.
    first: Option<u64>,
    total: Option<u64>,
}

fn piece(header: &str) -> Option<Piece> {
    let (range, total) = header.strip_prefix("bytes ")?.split_once('/')?;
    let total = match total {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    let first = match range {
        "*" => None,
        range => Some(range.split_once('-')?.0.parse().ok()?),
    };
    Some(Piece { first, total })
}

/// A piece for a session, or a question how far it is.
pub(super) fn put(state: &mut State, target: &Target, request: &Request) -> Outcome {
    let id = target.get("upload_id").unwrap_or_default();
    let not_found = || refuse(404, "notFound", "Upload session not found.");
    let mut session = state.sessions.get(id).cloned().ok_or_else(not_found)?;
    if let Some(done) = &session.done {
        let file = visible(state, target, done)?;
        return shown(state, target, file);
    }
    let length = request.body.len() as u64;
    let piece = match request.header("content-range") {
        None => Piece {
            first: Some(0),
            total: Some(length),
        },
        Some(header) => piece(header).ok_or_else(|| refuse(400, "badRequest", "Failed to parse Content-Range header."))?,
    };
    let total = piece.total.or(session.announced);
    if session.announced.is_some() && total != session.announced {
        return Err(refuse(400, "badRequest", "The size is another one than was announced."));
    }
    let has = session.content.len() as u64;
    if let Some(first) = piece.first {
        if first > has {
            let message = format!(
                "Invalid request. According to the Content-Range header, the upload offset is {first} byte(s), which exceeds already uploaded size of {has} byte(s)."
            );
            return Err(refuse(400, "badRequest", &message));
        }
        let known = usize::try_from(has - first).unwrap_or(usize::MAX).min(request.body.len());
        session.content.extend_from_slice(&request.body[known..]);
    }
    let now = session.content.len() as u64;
    // Of a stream whose length is not known, a piece that says it is the end.
    if total.is_some_and(|total| now >= total) {
        let content = std::mem::take(&mut session.content);
        let stored = finish(state, target, session.file.as_deref(), &session.metadata, content)?;
        session.done = done(state, &stored);
        state.sessions.insert(id.to_owned(), session);
        return Ok(stored);
    }
    session.content.truncate(usize::try_from(now / UNIT * UNIT).unwrap_or(0));
    let kept = session.content.len();
    state.sessions.insert(id.to_owned(), session);
    Ok(incomplete(kept))
}

/// The id in an answer that shows the file, or of the file that was made last where the client did not ask for it.
fn done(state: &State, stored: &Answer) -> Option<String> {
    let shown: serde_json::Value = serde_json::from_slice(&stored.body).unwrap_or_default();
    let newest = || {
        state
            .files
            .values()
            .max_by(|a, b| a.modified.cmp(&b.modified))
            .map(|file| file.id.clone())
    };
    shown["id"].as_str().map(str::to_owned).or_else(newest)
}

/// "Resume Incomplete", with what has come so far.
fn incomplete(bytes: usize) -> Answer {
    let range = (bytes > 0).then(|| ("Range".to_owned(), format!("bytes=0-{}", bytes - 1)));
    Answer {
        status: 308,
        headers: range.into_iter().collect(),
        body: Vec::new(),
        break_after: None,
    }
}

/// Ends a session without a file.
pub(super) fn cancel(state: &mut State, target: &Target) -> Outcome {
    state.sessions.remove(target.get("upload_id").unwrap_or_default());
    Err(refuse(499, "cancelled", "The upload was cancelled."))
}
