//! Leaf revisions on their way into a database: [`Writer`]. Those without attachments go together, those with them one by one. While the server writes some, the next ones are
//! read: which of them is written first does not matter.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bulkhead_sdk::{Error, ErrorKind, Result, http::Response, progress};
use serde::Deserialize;

use super::{Plan, State, Sums, multipart};
use crate::{
    document::Revision,
    names::url,
    server::{AT_ONCE, Begun, Server},
};

/// Bytes of documents that go together; a longer document goes alone.
const BATCH: usize = 2 << 20;
/// Leaf revisions that go together.
const LEAVES: usize = 1_000;
/// Bytes of documents that the server is writing; a longer document goes alone.
const WRITING: usize = 8 << 20;
/// The status with which a cluster answers what fewer of its nodes have written than its quorum.
const ACCEPTED: u16 = 202;
/// The most that a server says about them.
const ANSWER: usize = 16 << 20;

/// Into one database.
pub(super) struct Writer<'a> {
    server: &'a Server,
    plan: &'a Plan<'a>,
    /// The database's in the snapshot.
    folder: &'a str,
    sums: &'a mut Sums,
    waiting: Vec<(Revision, Vec<u8>)>,
    bytes: usize,
    /// What the server is writing.
    writing: VecDeque<Writing>,
}

/// A request whose answer is to be read.
struct Writing {
    begun: Begun,
    /// Of what is kept to send it again.
    bytes: usize,
    /// Whether the answer says which revisions were refused.
    is_of_many: bool,
}

/// A revision that a server refused.
#[derive(Deserialize)]
struct Refused {
    #[serde(default)]
    id: String,
    error: Option<String>,
    #[serde(default)]
    reason: String,
}

/// What a server says of a document's revisions.
#[derive(Deserialize)]
struct Missing {
    #[serde(default)]
    missing: BTreeSet<String>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(server: &'a Server, plan: &'a Plan<'a>, folder: &'a str, sums: &'a mut Sums) -> Self {
        Self {
            server,
            plan,
            folder,
            sums,
            waiting: Vec::new(),
            bytes: 0,
            writing: VecDeque::new(),
        }
    }

    /// Counts a document, whose leaf revisions follow.
    pub(super) fn begin_document(&mut self, bytes: u64) {
        self.sums.documents += 1;
        self.sums.entries += 1;
        self.sums.bytes += bytes;
    }

    /// Takes a leaf revision.
    pub(super) fn write(&mut self, revision: Revision, document: Vec<u8>) -> Result<()> {
        if !self.waiting.is_empty() && (self.bytes + document.len() > BATCH || self.waiting.len() == LEAVES) {
            self.send_waiting()?;
        }
        self.bytes += document.len();
        self.waiting.push((revision, document));
        Ok(())
    }

    /// Writes what waits, and sees that all is written.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.send_waiting()?;
        self.make_room(0, 0)
    }

    fn send_waiting(&mut self) -> Result<()> {
        self.bytes = 0;
        let mut leaves = std::mem::take(&mut self.waiting);
        if self.plan.state == State::Filled && !leaves.is_empty() {
            let missing = self.missing(&leaves)?;
            let before = leaves.len();
            leaves.retain(|(leaf, _)| missing.get(&leaf.id).is_some_and(|document| document.missing.contains(&leaf.rev)));
            self.sums.present += (before - leaves.len()) as u64;
        }
        self.sums.revisions += leaves.len() as u64;
        let (bare, laden): (Vec<_>, Vec<_>) = leaves.into_iter().partition(|(leaf, _)| leaf.attachments.is_empty());
        if !bare.is_empty() {
            self.send(bare.iter().map(|(_, document)| &document[..]))?;
        }
        for (leaf, document) in laden {
            self.laden(leaf, document)?;
        }
        progress::report(&format!("restoring {}", self.plan.target), self.sums.bytes, None);
        Ok(())
    }

    /// A revision with attachments.
    fn laden(&mut self, leaf: Revision, document: Vec<u8>) -> Result<()> {
        let attachments = multipart::Attachments::open(self.folder, self.plan.record.levels, &leaf)?;
        self.sums.attachments += attachments.len() as u64;
        self.sums.entries += attachments.len() as u64;
        self.sums.bytes += attachments.bytes();
        if !self.server.is_couchdb() {
            let document = multipart::inline(&leaf, &document, &attachments)?;
            return self.send(std::iter::once(&document[..]));
        }
        let document = attachments.following(&leaf, &document)?;
        let bytes = document.len();
        self.make_room(AT_ONCE - 1, bytes)?;
        let begun = multipart::put(self.server, &self.plan.target, &leaf.id, document, attachments);
        self.writing.push_back(Writing {
            begun,
            bytes,
            is_of_many: false,
        });
        Ok(())
    }

    /// Which of them the database lacks.
    fn missing(&self, leaves: &[(Revision, Vec<u8>)]) -> Result<BTreeMap<String, Missing>> {
        let mut asked: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (leaf, _) in leaves {
            asked.entry(&leaf.id).or_default().push(&leaf.rev);
        }
        let body = serde_json::to_vec(&asked).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        self.server
            .begin_post(format!("/{}/_revs_diff", url(&self.plan.target)), body)
            .read(self.server, |answer| answer.into_json(ANSWER))
    }

    fn send<'d>(&mut self, documents: impl Iterator<Item = &'d [u8]>) -> Result<()> {
        let mut body = br#"{"new_edits":false,"docs":["#.to_vec();
        for (position, document) in documents.enumerate() {
            if position > 0 {
                body.push(b',');
            }
            body.extend_from_slice(document);
        }
        body.extend_from_slice(b"]}");
        let bytes = body.len();
        self.make_room(AT_ONCE - 1, bytes)?;
        let begun = self.server.begin_post(format!("/{}/_bulk_docs", url(&self.plan.target)), body);
        self.writing.push_back(Writing {
            begun,
            bytes,
            is_of_many: true,
        });
        Ok(())
    }

    /// Waits until the server writes no more than so many requests, and `bytes` find room beside them.
    fn make_room(&mut self, requests: usize, bytes: usize) -> Result<()> {
        let writing = |writer: &Self| writer.writing.iter().map(|writing| writing.bytes).sum::<usize>();
        while self.writing.len() > requests || writing(self) + bytes > WRITING {
            let Some(writing) = self.writing.pop_front() else { break };
            self.see_written(writing)?;
        }
        Ok(())
    }

    fn see_written(&mut self, writing: Writing) -> Result<()> {
        let read = |answer: Response| Ok((answer.status(), answer.into_bytes(ANSWER)?));
        let (status, answer) = writing.begun.read(self.server, read).map_err(too_large)?;
        self.sums.unconfirmed += u64::from(status == ACCEPTED);
        if writing.is_of_many { see_accepted(&answer) } else { Ok(()) }
    }
}

/// What a server does not take for its size.
fn too_large(error: Error) -> Error {
    match error.kind {
        ErrorKind::Limit if !error.retryable => error.with_hint(
            "the server takes no document, attachment or request as large as that: raise `max_document_size` or `max_attachment_size` in the section `couchdb` of its \
             configuration, `max_http_request_size` in `chttpd`, or the limit of a proxy before it",
        ),
        _ => error,
    }
}

/// Of what is written together, a server says what it refuses.
fn see_accepted(answer: &[u8]) -> Result<()> {
    let not_a_list =
        |error: serde_json::Error| Error::protocol("the answer to what was written is no list of what was refused").with_cause(error);
    let said: Vec<Refused> = serde_json::from_slice(answer).map_err(not_a_list)?;
    let mut refused = said.iter().filter_map(|refused| Some((refused, refused.error.as_ref()?)));
    let Some((first, error)) = refused.next() else {
        return Ok(());
    };
    Err(Error::new(
        ErrorKind::Server,
        format!(
            "the server refused `{}` ({error}: {}) and {} other revisions",
            first.id,
            first.reason,
            refused.count()
        ),
    )
    .with_hint("a validation function in a design document that is there already judges what is written: restore into another name"))
}
