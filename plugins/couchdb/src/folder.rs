//! The attachments of a document: [`Folder`] has those that the last snapshot has, and fetches those that it lacks.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_sdk::{ErrorKind, Result, ResultExt, snapshot};

use crate::{
    attachments::{self, Ahead, COMPRESSED, Wanted},
    database::Reading,
    names,
    record::write,
    revisions::Document,
};

/// The entries of a document's attachments.
pub(crate) struct Folder {
    path: String,
    /// Names of entries that are kept, with their bytes, until it is known that they are needed.
    old: BTreeMap<String, u64>,
    /// Without what follows the name of a compressed one.
    done: BTreeSet<String>,
}

impl Folder {
    pub(crate) fn of(database: &Reading<'_, '_>, id: &str) -> Result<Self> {
        let path = names::attachments(&database.folder, id, database.levels);
        let mut old = BTreeMap::new();
        if database.continues && database.tally.attachments > 0 {
            let prefix = format!("{path}/");
            match snapshot::walk(&path) {
                Err(error) if error.kind == ErrorKind::NotFound => {}
                walk => {
                    for entry in walk? {
                        let entry = entry?;
                        let name = String::from_utf8_lossy(&entry.path).into_owned();
                        old.extend(name.strip_prefix(&prefix).map(|name| (name.to_owned(), entry.size)));
                    }
                }
            }
        }
        Ok(Self {
            path,
            old,
            done: BTreeSet::new(),
        })
    }

    /// What it lacks of the attachments of all leaf revisions: one entry once, whatever names it has.
    pub(crate) fn lacks<'d>(&mut self, database: &'d str, document: &'d Document) -> Vec<Wanted<'d>> {
        let mut lacking = BTreeMap::new();
        for (leaf, _) in &document.leaves {
            for (name, stub) in &leaf.attachments {
                let entry = attachments::entry_name(stub);
                if self.done.contains(&entry) || self.has(&entry, stub.length) {
                    continue;
                }
                let (id, rev) = (&leaf.id, &leaf.rev);
                lacking.entry(entry).or_insert(Wanted {
                    database,
                    id,
                    rev,
                    name,
                    stub,
                });
            }
        }
        lacking.into_values().collect()
    }

    /// Whether it was kept of the last snapshot; it is needed then.
    fn has(&mut self, entry: &str, length: u64) -> bool {
        let compressed = format!("{entry}{COMPRESSED}");
        for name in [entry, &compressed] {
            if self.old.get(name).is_some_and(|size| *size > 0 || length == 0) {
                self.old.remove(name);
                self.done.insert(entry.to_owned());
                return true;
            }
        }
        false
    }

    /// Stores what it lacks, which are the next ones that come.
    pub(crate) fn fill(&mut self, database: &mut Reading<'_, '_>, lacks: &[Wanted<'_>], ahead: &mut Ahead<'_>) -> Result<()> {
        for (position, wanted) in lacks.iter().enumerate() {
            let stored = self.fetch(database, wanted, ahead);
            if stored.is_err() {
                ahead.skip(lacks.len() - position - 1);
            }
            stored.context(|| format!("the attachments of `{}` cannot be read", wanted.id))?;
        }
        Ok(())
    }

    fn fetch(&mut self, database: &mut Reading<'_, '_>, wanted: &Wanted<'_>, ahead: &mut Ahead<'_>) -> Result<()> {
        let server = database.run.server;
        let begun = ahead.next().unwrap_or_else(|| wanted.begin(server));
        let response = begun.answer(server)?;
        let name = wanted.entry(&response);
        if let Some(emptied) = self.old.remove(&name) {
            database.run.uncount(emptied);
        }
        let finished = attachments::store(server, response, &format!("{}/{name}", self.path), wanted)?;
        database.run.count(&finished);
        database.tally.attachments += u64::from(finished.size > 0);
        database.tally.attachment_bytes += finished.size;
        self.done.insert(attachments::entry_name(wanted.stub));
        Ok(())
    }

    /// What the document no longer has takes no more room: an entry that was kept cannot be taken back, but be empty.
    pub(crate) fn empty(self, database: &mut Reading<'_, '_>) -> Result<()> {
        for (name, size) in self.old.into_iter().filter(|(_, size)| *size > 0) {
            database.run.uncount(size);
            let finished = write(&format!("{}/{name}", self.path), &[])?;
            database.run.count(&finished);
            database.tally.attachments = database.tally.attachments.saturating_sub(1);
            database.tally.attachment_bytes = database.tally.attachment_bytes.saturating_sub(size);
        }
        Ok(())
    }
}
