//! One database, read: [`read`]. What the last snapshot has is kept, folder by folder, and what has changed since takes its place there. While documents are stored, the server
//! is looking for the next ones, and for the attachments of those that wait.

use std::collections::{BTreeSet, VecDeque};

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    entries::{self, Finished},
    http::Response,
    metadata::Metadata,
    progress, snapshot,
    types::{Finding, Proof},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    attachments::{Ahead, Wanted},
    changes::{Feed, Row},
    config::Config,
    folder::Folder,
    items::Items,
    names::{self, LOCAL, url},
    record::{FORMAT, Record, Tally, write},
    revisions::{self, Batch, Document},
    seen::Seen,
    server::{AT_ONCE, Info, Sequence, Server},
};

/// How often a document is asked for anew whose attachment was replaced and compacted away.
const ATTEMPTS: u32 = 3;
/// Bytes of documents with attachments that wait until the answer with them has been read.
const LADEN: usize = 4 << 20;
/// A database that has outgrown its folders so many times is read anew into more of them.
const OUTGROWN: u64 = 8;

/// A run.
pub(crate) struct Run<'r> {
    pub(crate) server: &'r Server,
    pub(crate) config: &'r Config,
    pub(crate) proof: Proof,
    pub(crate) findings: Vec<Finding>,
}

/// A database in progress.
pub(crate) struct Reading<'a, 'r> {
    pub(crate) run: &'a mut Run<'r>,
    name: &'a str,
    pub(crate) folder: String,
    pub(crate) levels: u8,
    max_document: usize,
    /// Whether entries of the last snapshot are there to be replaced.
    pub(crate) continues: bool,
    pub(crate) tally: Tally,
    documents: u64,
    changed_meanwhile: u64,
    /// Documents that were gone altogether when they were read, which takes a purge.
    purged: u64,
}

impl Run<'_> {
    /// Counts an entry.
    pub(crate) fn count(&mut self, finished: &Finished) {
        self.proof.count(finished);
    }

    /// Forgets an entry of the last snapshot whose place is taken.
    pub(crate) fn uncount(&mut self, size: u64) {
        self.proof.entries = self.proof.entries.saturating_sub(1);
        self.proof.bytes = self.proof.bytes.saturating_sub(size);
    }
}

/// Reads the database `name`, of which the server has just said `before`.
pub(crate) fn read(run: &mut Run<'_>, name: &str, before: Info) -> Result<Record> {
    let folder = names::folder(name);
    let identity = run.server.identity(&before);
    let last = if run.config.read_all { None } else { Record::stored(name)? };
    let reading = match &last {
        None if run.config.read_all => "all, as configured".to_owned(),
        None => "first".to_owned(),
        Some(last) => why_anew(last, &before, &identity).unwrap_or_else(|| "continued".to_owned()),
    };
    let last = last.filter(|_| reading == "continued");
    let total = before.doc_count + before.doc_del_count.unwrap_or_default();
    let mut database = Reading {
        name,
        levels: last.as_ref().map_or_else(|| names::levels(total), |last| last.levels),
        max_document: usize::try_from(run.config.max_document.0).unwrap_or(usize::MAX),
        continues: last.is_some(),
        tally: Tally::default(),
        documents: 0,
        changed_meanwhile: 0,
        purged: 0,
        folder,
        run,
    };
    if let Some(last) = &last {
        database.keep(&last.stored)?;
    }
    database.settings()?;
    database.changes(last.map_or_else(Sequence::beginning, |last| last.seq))?;
    if database.run.config.local_documents {
        database.local_documents()?;
    }
    let after = database.run.server.info(name)?;
    let record = Record {
        format: FORMAT,
        name: name.to_owned(),
        identity,
        seq: before.update_seq.clone(),
        levels: database.levels,
        stored: database.tally,
        documents_read: database.documents,
        changed_meanwhile: database.changed_meanwhile,
        counts: database.compare(&before, &after)?,
        revs_limit: database.run.server.limit(name, "_revs_limit")?,
        purged_infos_limit: match database.run.server.is_couchdb() {
            true => database.run.server.limit(name, "_purged_infos_limit")?,
            false => None,
        },
        reading,
        before,
        after,
    };
    let finished = record.store()?;
    database.run.count(&finished);
    Ok(record)
}

/// Why a database cannot be continued from `last`.
fn why_anew(last: &Record, before: &Info, identity: &str) -> Option<String> {
    let total = before.doc_count + before.doc_del_count.unwrap_or_default();
    if last.format != FORMAT {
        Some("the last snapshot has another layout".to_owned())
    } else if last.identity != identity {
        Some(format!("it was made anew: it was {}, and is {identity}", last.identity))
    } else if before.update_seq.number() < last.seq.number() {
        Some(format!("it was rewound, from {} to {}", last.seq, before.update_seq))
    } else if before.purge_seq.number() != last.before.purge_seq.number() {
        Some("documents were purged, which no feed tells".to_owned())
    } else if names::levels(total / OUTGROWN) > last.levels {
        Some("it has outgrown its folders".to_owned())
    } else {
        None
    }
}

impl Reading<'_, '_> {
    /// Carries everything forward; what has changed takes its place afterwards.
    fn keep(&mut self, stored: &Tally) -> Result<()> {
        for part in ["attachments", "design", "documents"] {
            match entries::keep(format!("{}/{part}", self.folder)) {
                Ok(kept) => self.run.count(&kept),
                // There was nothing of that kind.
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) if error.kind == ErrorKind::Corrupt => {
                    return Err(error
                        .context(format!("the last snapshot of `{}` is damaged", self.name))
                        .with_hint("run once with `config.read-all = true`, which reads everything anew"));
                }
                Err(error) => return Err(error),
            }
        }
        self.tally = *stored;
        Ok(())
    }

    fn settings(&mut self) -> Result<()> {
        if let Some(security) = self.run.server.setting(self.name, "_security")? {
            let finished = write(&format!("{}/security.json", self.folder), &security)?;
            self.run.count(&finished);
        }
        Ok(())
    }

    fn changes(&mut self, since: Sequence) -> Result<()> {
        let server = self.run.server;
        let mut feed = Feed::new(server, self.name, since);
        let mut seen = Seen::new();
        let mut asked = VecDeque::new();
        while let Some(page) = feed.page()? {
            let (mut rows, again): (Vec<Row>, Vec<Row>) = page.into_iter().partition(|row| seen.insert(&row.id));
            self.changed_meanwhile += again.len() as u64;
            while !rows.is_empty() {
                let others = rows.split_off(batch(&rows));
                asked.push_back(Batch::ask(server, self.name, rows, self.max_document));
                rows = others;
                if asked.len() == AT_ONCE {
                    asked.pop_front().map_or(Ok(()), |batch| self.documents(batch))?;
                }
            }
        }
        asked.into_iter().try_for_each(|batch| self.documents(batch))?;
        if self.purged > 0 {
            let message = format!("{} documents of `{}` were purged before they could be read", self.purged, self.name);
            self.run.findings.push(Finding::info("documents-purged", message));
        }
        Ok(())
    }

    /// Stores the documents of a batch. Those with attachments come after the others, so that the answer does not wait for what its documents lead to.
    fn documents(&mut self, mut batch: Batch<'_>) -> Result<()> {
        let (mut laden, mut bytes) = (Vec::new(), 0);
        while let Some(document) = batch.next()? {
            if !document.has_attachments() {
                Folder::of(self, &document.id)?.empty(self)?;
                self.write(&document)?;
                continue;
            }
            bytes += document.bytes();
            laden.push(document);
            if bytes > LADEN {
                self.laden(&std::mem::take(&mut laden))?;
                bytes = 0;
            }
        }
        self.laden(&laden)?;
        self.purged += batch.gone;
        let phase = format!("reading {}: {} documents", self.name, self.documents);
        progress::report(&phase, self.run.proof.bytes, None);
        Ok(())
    }

    /// Stores documents with their attachments.
    fn laden(&mut self, documents: &[Document]) -> Result<()> {
        let folders = documents.iter().map(|document| Folder::of(self, &document.id));
        let mut folders: Vec<Folder> = folders.collect::<Result<_>>()?;
        let lacks = folders
            .iter_mut()
            .zip(documents)
            .map(|(folder, document)| folder.lacks(self.name, document));
        let lacks: Vec<Vec<Wanted<'_>>> = lacks.collect();
        let mut ahead = Ahead::of(self.run.server, lacks.iter().flatten());
        for ((document, mut folder), lacks) in documents.iter().zip(folders).zip(&lacks) {
            match folder.fill(self, lacks, &mut ahead) {
                Err(error) if error.kind == ErrorKind::NotFound => self.replaced(&document.id, folder, error)?,
                filled => {
                    filled?;
                    folder.empty(self)?;
                    self.write(document)?;
                }
            }
        }
        Ok(())
    }

    /// Stores a document as it is now, one of whose attachments was replaced and compacted away since it was read. Attachments that it had and that are stored already stay,
    /// and are counted; the next run, which reads it again, empties them.
    fn replaced(&mut self, id: &str, mut folder: Folder, mut missing: Error) -> Result<()> {
        for _ in 1..ATTEMPTS {
            let Some(current) = revisions::current(self.run.server, self.name, id, self.max_document)? else {
                self.purged += 1;
                return Ok(());
            };
            let lacks = folder.lacks(self.name, &current);
            // One by one, since those of the next documents are on their way.
            match folder.fill(self, &lacks, &mut Ahead::of(self.run.server, [])) {
                Err(error) if error.kind == ErrorKind::NotFound => missing = error,
                filled => {
                    filled?;
                    folder.empty(self)?;
                    return self.write(&current);
                }
            }
        }
        Err(missing)
    }

    fn write(&mut self, document: &Document) -> Result<()> {
        let path = names::document(&self.folder, &document.id, self.levels);
        if self.continues {
            match snapshot::stat(&path) {
                Ok(old) => {
                    self.run.uncount(old.size);
                    *self.counter(is_tombstone(old.metadata.mode)) -= 1;
                }
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let is_deleted = document.leaves.iter().all(|(leaf, _)| leaf.is_deleted);
        let mode = if is_deleted { 0o400 } else { 0o600 };
        let mut content = Vec::new();
        for (_, bytes) in &document.leaves {
            // Between tokens, a line's end is a space like others; within a text JSON has none.
            content.extend(bytes.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
            content.push(b'\n');
        }
        let mut writer = entries::create(&path, &Metadata::file().with_mode(mode))?;
        writer.write_bytes(&content)?;
        let finished = writer.finish()?;
        self.run.count(&finished);
        *self.counter(is_deleted) += 1;
        self.documents += 1;
        Ok(())
    }

    fn counter(&mut self, is_deleted: bool) -> &mut u64 {
        match is_deleted {
            true => &mut self.tally.deleted,
            false => &mut self.tally.documents,
        }
    }

    fn local_documents(&mut self) -> Result<()> {
        let server = self.run.server;
        let path = format!("/{}/_local_docs?include_docs=true", url(self.name));
        let mut stored = BTreeSet::new();
        match server.get(path, |answer| self.read_local_documents(answer, &mut stored)) {
            Err(error) if error.kind == ErrorKind::NotFound => {
                self.run.findings.push(Finding::warning(
                    "local-documents-unlisted",
                    format!("this server does not list the local documents of `{}`", self.name),
                ));
                Ok(())
            }
            read => read,
        }
    }

    /// Stores those that are not `stored`: what was written before an answer broke off cannot be written again.
    fn read_local_documents(&mut self, answer: Response, stored: &mut BTreeSet<String>) -> Result<()> {
        #[derive(Deserialize)]
        struct Local<'a> {
            id: String,
            #[serde(borrow)]
            doc: Option<&'a RawValue>,
        }
        let mut items = Items::open(answer, format!("the local documents of `{}`", self.name), self.max_document)?;
        while let Some(item) = items.next()? {
            let local: Local<'_> =
                serde_json::from_slice(&item).map_err(|error| Error::protocol("a local document cannot be read").with_cause(error))?;
            let Some(document) = local.doc.filter(|_| !stored.contains(&local.id)) else {
                continue;
            };
            let name = local.id.strip_prefix(LOCAL).unwrap_or(&local.id);
            let path = format!("{}/local/{}.json", self.folder, names::component(name));
            let finished = write(&path, document.get().as_bytes())?;
            self.run.count(&finished);
            stored.insert(local.id);
        }
        items.finish::<serde::de::IgnoredAny>().map(drop)
    }

    /// Holds what is stored against what the server counts.
    fn compare(&mut self, before: &Info, after: &Info) -> Result<String> {
        let difference = |stored: u64, counted: Option<u64>| counted.map_or(0, |counted| stored.abs_diff(counted));
        let differs = difference(self.tally.documents, Some(after.doc_count)).max(difference(self.tally.deleted, after.doc_del_count));
        if differs == 0 {
            return Ok("equal".to_owned());
        }
        let (Some(first), Some(last)) = (before.update_seq.number(), after.update_seq.number()) else {
            let message = format!(
                "the server does not number the changes of `{}`: its counts are not compared",
                self.name
            );
            self.run.findings.push(Finding::warning("counts-not-compared", message));
            return Ok("not compared".to_owned());
        };
        let meanwhile = last.saturating_sub(first);
        if differs <= meanwhile {
            return Ok(format!("within the {meanwhile} changes that were made meanwhile"));
        }
        let message = format!(
            "`{}` has {} documents and {} deleted ones by its own account; {} and {} were stored, and only {meanwhile} changes were made meanwhile",
            self.name,
            after.doc_count,
            after.doc_del_count.map_or_else(|| "unknown".to_owned(), |count| count.to_string()),
            self.tally.documents,
            self.tally.deleted
        );
        Err(Error::new(ErrorKind::Conflict, message)
            .with_hint("run it again; if that does not help, once with `config.read-all = true`, which reads everything anew"))
    }
}

/// How many of the rows are asked for at once.
fn batch(rows: &[Row]) -> usize {
    let mut leaves = 0;
    let fits = rows.iter().take(revisions::DOCUMENTS).take_while(|row| {
        leaves += row.leaves().len();
        leaves <= revisions::LEAVES
    });
    fits.count().max(1)
}

/// Whether an entry of this mode is a document that is deleted.
pub(crate) fn is_tombstone(mode: u32) -> bool {
    mode & 0o200 == 0
}
