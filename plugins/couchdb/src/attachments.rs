//! Attachments, streamed one by one and compared with their digests: [`store`].

use std::collections::VecDeque;

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    digest::Algorithm,
    entries::{self, EntryWriter, Finished},
    http::Response,
    metadata::Metadata,
};

use crate::{
    body::Body,
    document::Stub,
    names::{component, document_url, hex, url},
    server::{AT_ONCE, Begun, Server},
};

/// Bytes of attachments behind which no further one is asked for: what waits for long is cut off by proxies.
const AHEAD: u64 = 8 << 20;
/// What follows the name of an attachment that is kept compressed.
pub(crate) const COMPRESSED: &str = ".gz";

/// The name of its entry, without [`COMPRESSED`]: one digest is one entry, whatever names it has in however many leaf revisions.
pub(crate) fn entry_name(stub: &Stub) -> String {
    match stub.md5() {
        Some(md5) => format!("md5-{}", hex(&md5)),
        None => component(&stub.digest),
    }
}

/// Which attachment it is.
pub(crate) struct Wanted<'a> {
    pub(crate) database: &'a str,
    pub(crate) id: &'a str,
    pub(crate) rev: &'a str,
    pub(crate) name: &'a str,
    pub(crate) stub: &'a Stub,
}

impl Wanted<'_> {
    /// Asks for it.
    pub(crate) fn begin(&self, server: &Server) -> Begun {
        self.begin_from(server, 0)
    }

    /// Asks for it from a byte on; a server may send all of it.
    pub(crate) fn begin_from(&self, server: &Server, from: u64) -> Begun {
        let Self {
            database, id, rev, name, ..
        } = self;
        let path = format!("/{}/{}/{}?rev={}", url(database), document_url(id), url(name), url(rev));
        server.begin_get_as_kept(path, from)
    }

    /// The name that its entry has to have, going by the answer.
    pub(crate) fn entry(&self, response: &Response) -> String {
        let suffix = if is_compressed(response) { COMPRESSED } else { "" };
        format!("{}{suffix}", entry_name(self.stub))
    }
}

/// Whether an answer has an attachment as its server keeps it compressed.
pub(crate) fn is_compressed(response: &Response) -> bool {
    let encoding = response.header("content-encoding");
    encoding.is_some_and(|encoding| encoding.eq_ignore_ascii_case("gzip"))
}

/// Attachments on their way, in the order in which they are stored.
pub(crate) struct Ahead<'w> {
    server: &'w Server,
    wanted: std::vec::IntoIter<&'w Wanted<'w>>,
    begun: VecDeque<(u64, Begun)>,
    /// Of those, when they are not compressed.
    bytes: u64,
}

impl<'w> Ahead<'w> {
    pub(crate) fn of(server: &'w Server, wanted: impl IntoIterator<Item = &'w Wanted<'w>>) -> Self {
        Self {
            server,
            wanted: wanted.into_iter().collect::<Vec<_>>().into_iter(),
            begun: VecDeque::new(),
            bytes: 0,
        }
    }

    /// The next one, once those that follow soon are asked for.
    pub(crate) fn next(&mut self) -> Option<Begun> {
        while self.begun.len() < AT_ONCE && self.bytes < AHEAD {
            let Some(wanted) = self.wanted.next() else { break };
            self.bytes = self.bytes.saturating_add(wanted.stub.length);
            self.begun.push_back((wanted.stub.length, wanted.begin(self.server)));
        }
        let (length, begun) = self.begun.pop_front()?;
        self.bytes = self.bytes.saturating_sub(length);
        Some(begun)
    }

    /// Gives up the next ones.
    pub(crate) fn skip(&mut self, number: usize) {
        for _ in 0..number {
            drop(self.next());
        }
    }
}

/// Stores it at `path`. What does not match its digest, or its length, is an error.
pub(crate) fn store(server: &Server, response: Response, path: &str, wanted: &Wanted<'_>) -> Result<Finished> {
    let mut writer: EntryWriter = entries::create_with_digest(path, &Metadata::file(), Algorithm::Md5)?;
    let mut body = Body::of(server, wanted, response);
    while let Some(part) = body.next()? {
        writer.write_bytes(&part)?;
    }
    let finished = writer.finish()?;
    let Wanted { id, name, stub, .. } = wanted;
    let is_as_it_was = !path.ends_with(COMPRESSED);
    if is_as_it_was && finished.size != stub.length {
        return Err(Error::new(
            ErrorKind::ConnectionLost,
            format!(
                "the attachment `{name}` of `{id}` came with {} bytes instead of {}",
                finished.size, stub.length
            ),
        ));
    }
    match (stub.md5(), &finished.digest) {
        (Some(expected), Some(found)) if expected != *found => Err(Error::new(
            ErrorKind::SourceDamaged,
            format!("the attachment `{name}` of `{id}` does not match its digest {}", stub.digest),
        )
        .with_hint("is there a proxy that compresses or unpacks what passes? If not, the server's file is damaged: replicate the document from a sound copy")),
        _ => Ok(finished),
    }
}
