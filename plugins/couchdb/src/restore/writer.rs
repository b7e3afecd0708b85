//! Leaf revisions on their way into a database: [`Writer`]. Those without attachments go together, those with them one by one.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_sdk::{Error, ErrorKind, Result, progress};
use serde::Deserialize;

use super::{Plan, State, Sums, multipart};
use crate::{document::Revision, names::url, server::Server};

/// Bytes of documents that go together; a longer document goes alone.
const BATCH: usize = 2 << 20;
/// Leaf revisions that go together.
const LEAVES: usize = 1_000;
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
            self.flush()?;
        }
        self.bytes += document.len();
        self.waiting.push((revision, document));
        Ok(())
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self) -> Result<()> {
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
            self.laden(&leaf, &document)?;
        }
        progress::report(&format!("restoring {}", self.plan.target), self.sums.bytes, None);
        Ok(())
    }

    /// A revision with attachments.
    fn laden(&mut self, leaf: &Revision, document: &[u8]) -> Result<()> {
        let attachments = multipart::Attachments::open(self.folder, self.plan.record.levels, leaf)?;
        self.sums.attachments += attachments.len() as u64;
        self.sums.entries += attachments.len() as u64;
        self.sums.bytes += attachments.bytes();
        if self.server.is_couchdb() {
            return multipart::put(self.server, &self.plan.target, leaf, document, &attachments);
        }
        let document = multipart::inline(leaf, document, &attachments)?;
        self.send(std::iter::once(&document[..]))
    }

    /// Which of them the database lacks.
    fn missing(&self, leaves: &[(Revision, Vec<u8>)]) -> Result<BTreeMap<String, Missing>> {
        let mut asked: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (leaf, _) in leaves {
            asked.entry(&leaf.id).or_default().push(&leaf.rev);
        }
        let body = serde_json::to_vec(&asked).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        self.server
            .post(&format!("/{}/_revs_diff", url(&self.plan.target)), &body)?
            .into_json(ANSWER)
    }

    fn send<'d>(&self, documents: impl Iterator<Item = &'d [u8]>) -> Result<()> {
        let mut body = br#"{"new_edits":false,"docs":["#.to_vec();
        for (position, document) in documents.enumerate() {
            if position > 0 {
                body.push(b',');
            }
            body.extend_from_slice(document);
        }
        body.extend_from_slice(b"]}");
        let answer = self.server.post(&format!("/{}/_bulk_docs", url(&self.plan.target)), &body)?;
        let said: Vec<Refused> = answer.into_json(ANSWER)?;
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
}
