//! Looking into a snapshot by the names that CouchDB knows: [`browse`]. The inventory lists databases, a database's record the ids of its documents, and a document its leaf
//! revisions and their attachments; what each is stored as is told beside it, for `bulkhead dump`.
//!
//! Documents are spread over folders by a hash, and a listing is in the order of ids: each page walks the database once, and keeps the first ids behind the last page's.

use std::io::BufRead as _;

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    metadata::NodeType,
    page::Page,
    snapshot::{self, Entry},
    source::{BrowseRequest, Item},
    types::Fact,
};

use crate::{
    attachments::{self, COMPRESSED},
    database::is_tombstone,
    document::{Revision, Stub},
    names::{self, DESIGN, LOCAL},
    record::{INVENTORY, Inventory, Record},
};

/// Bytes of the names of a page.
const PAGE_BYTES: usize = 8 << 20;

/// One page.
///
/// # Errors
/// `Unsupported`: the entry has no inside; `Corrupt`.
pub(crate) fn browse(request: &BrowseRequest) -> Result<Vec<Item>> {
    let path = String::from_utf8_lossy(&request.entry).into_owned();
    let mut listing = Listing {
        request,
        page: Page::new(PAGE_BYTES),
    };
    let parts: Vec<&str> = path.split('/').collect();
    match &parts[..] {
        [INVENTORY] => listing.databases()?,
        ["databases", folder, "database.json"] => listing.documents(&format!("databases/{folder}"))?,
        ["databases", folder, "documents" | "design", ..] => listing.revisions(&format!("databases/{folder}"), &path)?,
        _ => {
            return Err(Error::new(ErrorKind::Unsupported, format!("{path} has no inside")).with_hint(format!(
                "`{INVENTORY}` lists the databases, `databases/NAME/database.json` the ids of documents, and a document's entry its revisions and attachments"
            )));
        }
    }
    Ok(listing.page.into_iter().map(|(name, told)| told.item(name)).collect())
}

/// What is told beside a name.
struct Told {
    size: Option<u64>,
    facts: Vec<Fact>,
}

impl Told {
    fn item(self, name: String) -> Item {
        Item {
            name,
            size: self.size,
            facts: self.facts,
        }
    }
}

/// The first of those that are asked for.
struct Listing<'r> {
    request: &'r BrowseRequest,
    page: Page<Told>,
}

impl Listing<'_> {
    fn wants(&self, name: &str) -> bool {
        let is_behind = self.request.after.as_ref().is_none_or(|after| name > &after[..]);
        is_behind && name.starts_with(&self.request.prefix) && self.page.has_room_for(name)
    }

    fn add(&mut self, name: String, size: Option<u64>, facts: Vec<Fact>) {
        if self.wants(&name) {
            self.page.add(name, Told { size, facts });
        }
    }

    fn databases(&mut self) -> Result<()> {
        for (name, record) in Inventory::stored()?.databases {
            let entry = format!("{}/database.json", names::folder(&name));
            let facts = vec![
                Fact::new("documents", record.stored.documents),
                Fact::new("deleted", record.stored.deleted),
                Fact::new("attachments", record.stored.attachments),
                Fact::new("entry", entry),
            ];
            self.add(name, None, facts);
        }
        Ok(())
    }

    fn documents(&mut self, folder: &str) -> Result<()> {
        for (part, prefix) in [("documents", ""), ("design", DESIGN), ("local", LOCAL)] {
            let walk = match snapshot::walk(format!("{folder}/{part}")) {
                Err(error) if error.kind == ErrorKind::NotFound => continue,
                walk => walk?,
            };
            for entry in walk {
                let entry = entry?;
                if entry.metadata.node_type == NodeType::File {
                    self.document(&entry, prefix)?;
                }
            }
        }
        Ok(())
    }

    fn document(&mut self, entry: &Entry, prefix: &str) -> Result<()> {
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        let file = path.rsplit('/').next().unwrap_or_default();
        let component = file.strip_suffix(".json").unwrap_or(file);
        let id = match names::name(component) {
            Some(name) => format!("{prefix}{name}"),
            // Too long for a name of an entry.
            None => id(&path)?,
        };
        if !self.wants(&id) {
            return Ok(());
        }
        let mut facts = vec![Fact::new("entry", path)];
        if is_tombstone(entry.metadata.mode) {
            facts.push(Fact::new("deleted", true));
        }
        self.add(id, Some(entry.size), facts);
        Ok(())
    }

    fn revisions(&mut self, folder: &str, path: &str) -> Result<()> {
        let levels = Record::at(folder)?.levels;
        for line in snapshot::open(path)?.split(b'\n') {
            let line = line?;
            let revision = read(&line, path)?;
            let facts = if revision.is_deleted {
                vec![Fact::new("deleted", true)]
            } else {
                Vec::new()
            };
            self.add(revision.rev.clone(), Some(line.len() as u64), facts);
            let attachments = names::attachments(folder, &revision.id, levels);
            for (name, stub) in &revision.attachments {
                let facts = attachment(&attachments, stub)?;
                self.add(format!("{}/{name}", revision.rev), Some(stub.length), facts);
            }
        }
        Ok(())
    }
}

fn attachment(folder: &str, stub: &Stub) -> Result<Vec<Fact>> {
    let path = format!("{folder}/{}", attachments::entry_name(stub));
    let path = match snapshot::stat(&path) {
        Err(error) if error.kind == ErrorKind::NotFound => format!("{path}{COMPRESSED}"),
        found => found.map(|_| path)?,
    };
    Ok(vec![
        Fact::new("content-type", &stub.content_type),
        Fact::new("digest", &stub.digest),
        Fact::new("entry", path),
    ])
}

/// The id that is in a document itself.
fn id(path: &str) -> Result<String> {
    let first = snapshot::open(path)?.split(b'\n').next().transpose()?.unwrap_or_default();
    read(&first, path).map(|revision| revision.id)
}

fn read(line: &[u8], path: &str) -> Result<Revision> {
    Revision::read(line).map_err(|error| Error {
        kind: ErrorKind::Corrupt,
        ..error.context(format!("{path} cannot be read"))
    })
}
