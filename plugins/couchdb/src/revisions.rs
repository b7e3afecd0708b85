//! All leaf revisions of documents, with their histories: [`read`] asks for many at once, and hands on each document when it is whole.

use std::collections::BTreeMap;

use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use crate::{
    changes::Row,
    document::Revision,
    items::Items,
    names::{document_url, url},
    server::Server,
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
struct Coming<'r> {
    row: &'r Row,
    answers: usize,
    bytes: usize,
    leaves: Vec<(Revision, Vec<u8>)>,
}

/// Reads the documents of `rows`, which may be [`DOCUMENTS`] with [`LEAVES`] in all; `then` gets each when all of its leaves have come. One that has changed
/// since it was named in the feed is asked for again; one that is gone altogether is left out, and counted.
pub(crate) fn read(
    server: &Server,
    database: &str,
    rows: &[Row],
    max_document: usize,
    mut then: impl FnMut(Document) -> Result<()>,
) -> Result<u64> {
    let mut coming: BTreeMap<&str, Coming<'_>> = BTreeMap::new();
    let mut wanted = Vec::new();
    for row in rows {
        wanted.extend(row.leaves().map(|rev| json!({ "id": row.id, "rev": rev })));
        let nothing = Coming {
            row,
            answers: 0,
            bytes: 0,
            leaves: Vec::with_capacity(row.leaves().len()),
        };
        coming.insert(&row.id, nothing);
    }
    let body = json!({ "docs": wanted }).to_string();
    let response = server
        .post(&format!("/{}/_bulk_get?revs=true", url(database)), body.as_bytes())
        .context(|| "its documents cannot be read")?;
    let mut items = Items::open(
        response,
        format!("the answer with documents of `{database}`"),
        max_document.saturating_add(AROUND),
    )?;
    let mut again = Vec::new();
    while let Some(item) = items.next()? {
        let answer: Answer<'_> = serde_json::from_slice(&item).map_err(not_an_answer)?;
        let document = coming
            .get_mut(&answer.id[..])
            .ok_or_else(|| Error::protocol(format!("the server sent the document `{}`, which nobody asked for", answer.id)))?;
        document.take(&answer, max_document)?;
        if document.answers < document.row.leaves().len() {
            continue;
        }
        let Some(document) = coming.remove(&answer.id[..]) else { continue };
        if document.leaves.len() < document.row.leaves().len() {
            again.push(answer.id);
            continue;
        }
        then(document.whole())?;
    }
    items.finish::<serde::de::IgnoredAny>()?;
    if let Some((id, _)) = coming.first_key_value() {
        return Err(Error::protocol(format!(
            "the server left out the document `{id}` of `{database}`, and {} others",
            coming.len() - 1
        )));
    }
    let mut gone = 0;
    for id in again {
        match current(server, database, &id, max_document)? {
            Some(document) => then(document)?,
            None => gone += 1,
        }
    }
    Ok(gone)
}

impl Coming<'_> {
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
            id: row.id.clone(),
            leaves: self.leaves,
        }
    }
}

/// A document as it is now; `None` where it is no more, which takes a purge.
pub(crate) fn current(server: &Server, database: &str, id: &str, max_document: usize) -> Result<Option<Document>> {
    let path = format!("/{}/{}?open_revs=all&revs=true", url(database), document_url(id));
    let response = match server.get(&path) {
        Err(error) if error.kind == ErrorKind::NotFound => {
            // Of the document, or of the whole database?
            server.info(database)?;
            return Ok(None);
        }
        response => response?,
    };
    let mut items = Items::open(
        response,
        format!("the answer with the document `{id}`"),
        max_document.saturating_add(AROUND),
    )?;
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
