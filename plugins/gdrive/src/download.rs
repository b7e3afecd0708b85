//! Reading an object, or a range of it: [`read`]. What breaks off goes on where it was.

use bulkhead_sdk::{host::BEST_TRANSFER, http::Response, prelude::*};

use crate::{
    client::{Call, FILES, drain, once, with_query},
    refusal::Verdict,
    tree::Tree,
};

/// Writes the object, or a range of it, to `into`.
pub(crate) fn read(tree: &mut Tree, key: &str, range: Option<ByteRange>, into: &mut ObjectWriter<'_>) -> Result<()> {
    let was_known = tree.object(key)?.ok_or_else(|| not_found(key))?;
    match read_file(tree, key, &was_known, range, into) {
        // Somebody has put another file in its place since it was looked up; nothing was written yet.
        Err(error) if error.kind == ErrorKind::NotFound => {
            tree.lose(key);
            match tree.object(key)? {
                Some(now) if now.0 != was_known.0 => read_file(tree, key, &now, range, into),
                _ => Err(not_found(key)),
            }
        }
        ended => ended,
    }
}

fn read_file(tree: &Tree, key: &str, (id, size): &(String, u64), range: Option<ByteRange>, into: &mut ObjectWriter<'_>) -> Result<()> {
    let range = range.unwrap_or(ByteRange { offset: 0, length: *size });
    let end = range.offset.checked_add(range.length).filter(|end| end <= size);
    let end = end.ok_or_else(|| beyond(key, range))?;
    let mut reading = Reading {
        id,
        position: range.offset,
        end,
        is_flagged: false,
    };
    while reading.position < reading.end {
        // Whatever comes has all attempts for what is left to itself.
        let before = reading.position;
        tree.client.retrying(key, || match reading.go_on(into) {
            Err(Verdict::Retry(error, _)) if reading.position > before => {
                bulkhead_sdk::warn!("reading {key} goes on after {} bytes: {error}", reading.position - range.offset);
                Ok(())
            }
            ended => ended,
        })?;
    }
    Ok(())
}

/// A file that is being read.
struct Reading<'a> {
    id: &'a str,
    position: u64,
    end: u64,
    /// Whether Drive takes it for malware, and wants to hear that it is wanted all the same.
    is_flagged: bool,
}

impl Reading<'_> {
    /// Asks for the rest, and writes what comes.
    fn go_on(&mut self, into: &mut ObjectWriter<'_>) -> Result<(), Verdict> {
        let mut response = self.ask()?;
        let mut skip = match response.status() {
            206 => self.begins_as_asked(&response)?,
            // The range was not understood.
            _ => self.position,
        };
        while self.position < self.end {
            let Some(data) = response.read_bytes(BEST_TRANSFER)? else {
                let error = Error::new(ErrorKind::ConnectionLost, "Drive sent less than it has");
                return Err(error.into());
            };
            let skipped = skip.min(data.len() as u64);
            skip -= skipped;
            let fresh = &data[usize::try_from(skipped).unwrap_or(data.len())..];
            let wanted = usize::try_from(self.end - self.position).unwrap_or(fresh.len()).min(fresh.len());
            into.write_bytes(&fresh[..wanted])?;
            self.position += wanted as u64;
        }
        drain(response);
        Ok(())
    }

    fn ask(&mut self) -> Result<Response, Verdict> {
        let response = once(&self.call());
        match response {
            Err(Verdict::Fail(error)) if !self.is_flagged && is_flagged(&error) => {
                self.is_flagged = true;
                once(&self.call())
            }
            other => other,
        }
    }

    fn call(&self) -> Call {
        let mut query = vec![("alt", "media"), ("supportsAllDrives", "true")];
        query.extend(self.is_flagged.then_some(("acknowledgeAbuse", "true")));
        let path = format!("{FILES}/{}", self.id);
        Call::new("GET", with_query(&path, &query)).header("range", format!("bytes={}-{}", self.position, self.end - 1))
    }

    /// Nothing is to be skipped of an answer that begins where it was asked to.
    fn begins_as_asked(&self, response: &Response) -> Result<u64> {
        let range = response.header("content-range").unwrap_or_default();
        let begin = range.strip_prefix("bytes ").and_then(|range| range.split('-').next()?.parse().ok());
        if begin == Some(self.position) {
            Ok(0)
        } else {
            Err(Error::protocol(format!(
                "Drive was asked for bytes from {} and sends the range {range:?}",
                self.position
            )))
        }
    }
}

/// An encrypted pack can look like anything to a scanner.
fn is_flagged(error: &Error) -> bool {
    error.causes.iter().any(|cause| cause.starts_with("cannotDownloadAbusiveFile"))
}

pub(crate) fn not_found(key: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no object {key}"))
}

fn beyond(key: &str, range: ByteRange) -> Error {
    let message = format!(
        "{key} has fewer than the {} bytes at {} that were asked for",
        range.length, range.offset
    );
    Error::new(ErrorKind::Corrupt, message)
}
