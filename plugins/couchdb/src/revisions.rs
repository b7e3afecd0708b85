//! All leaf revisions of documents, with their histories: a [`Batch`] asks for many at once, and hands on each document when it is whole.

use std::collections::BTreeMap;

use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt, http::Response};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::{
    changes::Row,
    document::Revision,
    items::Items,
    names::{document_url, url},
    server::{Begun, Server},
};

/// Documents that are asked for at once: enough that a round trip costs little, few enough that an answer is on its way soon.
pub(crate) const DOCUMENTS: usize = 250;
/// Leaf revisions that are asked for at once.
pub(crate) const LEAVES: usize = 1_000;
/// What is around a document in an answer.
const AROUND: usize = 64 << 10;

/// A document: what each of its leaf revisions is, and its bytes.
pub(crate) struct Document {
    pub(crate) id: String,
    pub(crate) leaves: Vec<(Revision, Vec<u8>)>,
}

impl Document {
    pub(crate) fn has_attachments(&self) -> bool {
        self.leaves.iter().any(|(leaf, _)| !leaf.attachments.is_empty())
    }

    /// Bytes of all leaves.
    pub(crate) fn bytes(&self) -> usize {
        self.leaves.iter().map(|(_, bytes)| bytes.len()).sum()
    }
}

/// What a server sends for one document that was asked for.
#[derive(Deserialize)]
struct Answer<'a> {
    id: String,
    #[serde(borrow)]
    docs: Vec<Leaf<'a>>,
}

/// A leaf, or why there is none.
#[derive(Deserialize)]
struct Leaf<'a> {
    #[serde(borrow)]
    ok: Option<&'a RawValue>,
}

/// A document that is coming in.
struct Coming {
    row: Row,
    answers: usize,
    bytes: usize,
    leaves: Vec<(Revision, Vec<u8>)>,
}

/// Documents that were asked for. Each comes out when all of its leaves are there; one that has changed since it was named in the feed is asked for again.
pub(crate) struct Batch<'s> {
    server: &'s Server,
    database: &'s str,
    max_document: usize,
    coming: BTreeMap<String, Coming>,
    begun: Option<Begun>,
    items: Option<Items>,
    is_over: bool,
    changed: Vec<String>,
    /// Documents that are gone altogether, which takes a purge.
    pub(crate) gone: u64,
}

impl<'s> Batch<'s> {
    /// Asks for the documents of `rows`, which may be [`DOCUMENTS`] with [`LEAVES`] in all.
    pub(crate) fn ask(server: &'s Server, database: &'s str, rows: Vec<Row>, max_document: usize) -> Self {
        let mut batch = Self {
            server,
            database,
            max_document,
            coming: rows.into_iter().map(|row| (row.id.clone(), Coming::of(row))).collect(),
            begun: None,
            items: None,
            is_over: false,
            changed: Vec::new(),
            gone: 0,
        };
        batch.begun = Some(batch.begin());
        batch
    }

    /// Asks for what has not come.
    fn begin(&self) -> Begun {
        let wanted: Vec<Value> = self.coming.values().flat_map(Coming::wanted).collect();
        let body = json!({ "docs": wanted }).to_string();
        self.server
            .begin_post(format!("/{}/_bulk_get?revs=true", url(self.database)), body.into_bytes())
    }

    /// The next document; `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Document>> {
        let server = self.server;
        // Whoever brings whole documents may break off again: only what brings none is counted as another attempt.
        while let Some(document) = server.repeat(|| self.answered())? {
            if document.leaves.len() == document.row.leaves().len() {
                return Ok(Some(document.whole()));
            }
            self.changed.push(document.row.id);
        }
        while let Some(id) = self.changed.pop() {
            match current(self.server, self.database, &id, self.max_document)? {
                None => self.gone += 1,
                current => return Ok(current),
            }
        }
        Ok(None)
    }

    /// The next one of whose leaves all are answered for; `None` at the end of the answer.
    fn answered(&mut self) -> Result<Option<Coming>> {
        while !self.is_over {
            let Some(item) = self.item()? else {
                self.is_over = true;
                break;
            };
            let answer: Answer<'_> = serde_json::from_slice(&item).map_err(not_an_answer)?;
            let document = self
                .coming
                .get_mut(&answer.id[..])
                .ok_or_else(|| Error::protocol(format!("the server sent the document `{}`, which nobody asked for", answer.id)))?;
            document.take(&answer, self.max_document)?;
            if document.answers >= document.row.leaves().len() {
                return Ok(self.coming.remove(&answer.id[..]));
            }
        }
        match self.coming.first_key_value() {
            None => Ok(None),
            Some((id, _)) => Err(Error::protocol(format!(
                "the server left out the document `{id}` of `{}`, and {} others",
                self.database,
                self.coming.len() - 1
            ))),
        }
    }

    /// The next item of the answer. After one that broke off, what has not come is asked for again.
    fn item(&mut self) -> Result<Option<Vec<u8>>> {
        let mut items = match self.items.take() {
            Some(items) => items,
            None => self.open()?,
        };
        match items.next()? {
            None => items.finish::<serde::de::IgnoredAny>().map(|_| None),
            item => {
                self.items = Some(items);
                Ok(item)
            }
        }
    }

    fn open(&mut self) -> Result<Items> {
        let begun = self.begun.take().unwrap_or_else(|| {
            self.coming.values_mut().for_each(Coming::forget);
            self.begin()
        });
        Items::open(
            begun.wait(self.server).context(|| "its documents cannot be read")?,
            format!("the answer with documents of `{}`", self.database),
            self.max_document.saturating_add(AROUND),
        )
    }
}

impl Coming {
    fn of(row: Row) -> Self {
        Self {
            answers: 0,
            bytes: 0,
            leaves: Vec::new(),
            row,
        }
    }

    /// How its leaves are asked for.
    fn wanted(&self) -> impl Iterator<Item = Value> {
        self.row.leaves().map(|rev| json!({ "id": self.row.id, "rev": rev }))
    }

    /// What came of it, as if it had not.
    fn forget(&mut self) {
        (self.answers, self.bytes) = (0, 0);
        self.leaves.clear();
    }

    fn take(&mut self, answer: &Answer<'_>, max_document: usize) -> Result<()> {
        for leaf in &answer.docs {
            self.answers += 1;
            let Some(raw) = leaf.ok else { continue };
            let (revision, bytes) = leaf_of(raw, &answer.id)?;
            let is_wanted = self.row.leaves().any(|rev| rev == revision.rev);
            if !is_wanted || self.leaves.iter().any(|(known, _)| known.rev == revision.rev) {
                return Err(Error::protocol(format!(
                    "the server sent the revision {} of `{}`, which nobody asked for",
                    revision.rev, answer.id
                )));
            }
            self.bytes += bytes.len();
            check_size(self.bytes, &answer.id, max_document)?;
            self.leaves.push((revision, bytes));
        }
        Ok(())
    }

    /// In the order of the feed, whatever the order of the answers: the same document is the same bytes in each run.
    fn whole(mut self) -> Document {
        let row = self.row;
        self.leaves
            .sort_by_key(|(revision, _)| row.leaves().position(|rev| rev == revision.rev));
        Document {
            id: row.id,
            leaves: self.leaves,
        }
    }
}

/// A document as it is now; `None` where it is no more, which takes a purge.
pub(crate) fn current(server: &Server, database: &str, id: &str, max_document: usize) -> Result<Option<Document>> {
    let path = format!("/{}/{}?open_revs=all&revs=true", url(database), document_url(id));
    match server.get(path, |answer| all_leaves(answer, id, max_document)) {
        Err(error) if error.kind == ErrorKind::NotFound => {
            // Of the document, or of the whole database?
            server.info(database)?;
            Ok(None)
        }
        document => document,
    }
}

fn all_leaves(answer: Response, id: &str, max_document: usize) -> Result<Option<Document>> {
    let what = format!("the answer with the document `{id}`");
    let mut items = Items::open(answer, what, max_document.saturating_add(AROUND))?;
    let (mut leaves, mut bytes) = (Vec::new(), 0);
    while let Some(item) = items.next()? {
        let leaf: Leaf<'_> = serde_json::from_slice(&item).map_err(not_an_answer)?;
        let Some(raw) = leaf.ok else { continue };
        let leaf = leaf_of(raw, id)?;
        bytes += leaf.1.len();
        check_size(bytes, id, max_document)?;
        leaves.push(leaf);
    }
    items.finish::<serde::de::IgnoredAny>()?;
    Ok((!leaves.is_empty()).then(|| Document { id: id.to_owned(), leaves }))
}

fn leaf_of(raw: &RawValue, id: &str) -> Result<(Revision, Vec<u8>)> {
    let bytes = raw.get().as_bytes().to_vec();
    let revision = Revision::read(&bytes)?;
    if revision.id != id {
        return Err(Error::protocol(format!(
            "the server sent the document `{}` for `{id}`",
            revision.id
        )));
    }
    Ok((revision, bytes))
}

fn check_size(bytes: usize, id: &str, max_document: usize) -> Result<()> {
    if bytes <= max_document {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Limit,
        format!("the leaf revisions of `{id}` have more than {max_document} bytes"),
    )
    .with_hint("raise `max-document`, and `limits.memory` to four times that")
    .with_setting("max-document"))
}

fn not_an_answer(error: serde_json::Error) -> Error {
    Error::protocol("an answer with documents is not what CouchDB makes of one").with_cause(error)
}
