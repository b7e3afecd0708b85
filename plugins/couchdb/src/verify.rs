//! Whether what is stored is whole: [`verify`] reads every document back with its attachments, computes each digest anew, and counts.

use std::collections::BTreeSet;
use std::io::BufRead as _;

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    digest::{Algorithm, Hasher},
    host::BEST_TRANSFER,
    metadata::NodeType,
    progress, snapshot,
    types::Finding,
};

use crate::{
    attachments::{self, COMPRESSED},
    document::{Revision, Stub},
    names,
    record::{Inventory, Record, Tally},
};

const HINT: &str = "restore from another snapshot";

/// Verifies all databases.
pub(crate) fn verify() -> Result<Vec<Finding>> {
    let inventory = Inventory::stored()?;
    let mut findings = Vec::new();
    for (name, record) in &inventory.databases {
        progress::report(&format!("verifying {name}"), 0, None);
        findings.push(match tally(name, record) {
            Ok(found) if found == record.stored => Finding::info(
                "database-verified",
                format!(
                    "{name}: {} documents, {} deleted ones, and {} attachments; those that documents have match their digests",
                    found.documents, found.deleted, found.attachments
                ),
            ),
            Ok(found) => {
                let message = format!("{name} has {found:?}, its record says {:?}", record.stored);
                Finding::error("proof-differs", message).with_hint(HINT)
            }
            // Damage is what a verification is there to find; anything else keeps it from being made.
            Err(error) if matches!(error.kind, ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::Protocol) => {
                Finding::error("database-damaged", format!("{name}: {error}")).with_hint(HINT)
            }
            Err(error) => return Err(error),
        });
    }
    Ok(findings)
}

fn tally(name: &str, record: &Record) -> Result<Tally> {
    let folder = names::folder(name);
    let mut found = Tally::default();
    for part in ["design", "documents"] {
        let walk = match snapshot::walk(format!("{folder}/{part}")) {
            Err(error) if error.kind == ErrorKind::NotFound => continue,
            walk => walk?,
        };
        for entry in walk {
            let entry = entry?;
            if entry.metadata.node_type == NodeType::File {
                document(&folder, &entry.path, record, &mut found)?;
            }
        }
    }
    attachments_in(&folder, &mut found)?;
    Ok(found)
}

/// Counts all that is stored of attachments, also what a document lost while it was read.
fn attachments_in(folder: &str, found: &mut Tally) -> Result<()> {
    let walk = match snapshot::walk(format!("{folder}/attachments")) {
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
        walk => walk?,
    };
    for entry in walk {
        let entry = entry?;
        if entry.metadata.node_type == NodeType::File {
            found.attachments += u64::from(entry.size > 0);
            found.attachment_bytes += entry.size;
        }
    }
    Ok(())
}

fn document(folder: &str, path: &[u8], record: &Record, found: &mut Tally) -> Result<()> {
    let shown = String::from_utf8_lossy(path);
    let (mut is_live, mut id) = (false, None);
    let mut attachments = BTreeSet::new();
    for line in snapshot::open(path)?.split(b'\n') {
        let revision = Revision::read(&line?).map_err(|error| error.context(format!("{shown} cannot be read")))?;
        is_live |= !revision.is_deleted;
        for stub in revision.attachments.values() {
            if attachments.insert(attachments::entry_name(stub)) {
                attachment(&names::attachments(folder, &revision.id, record.levels), stub)?;
            }
        }
        id = Some(revision.id);
    }
    if id.is_none_or(|id| names::document(folder, &id, record.levels).as_bytes() != path) {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!("{shown} is not the document that it should be"),
        ));
    }
    *(if is_live { &mut found.documents } else { &mut found.deleted }) += 1;
    Ok(())
}

/// Reads an attachment, and compares it with its digest.
fn attachment(folder: &str, stub: &Stub) -> Result<()> {
    let path = format!("{folder}/{}", attachments::entry_name(stub));
    let mut reader = match snapshot::open(&path) {
        Err(error) if error.kind == ErrorKind::NotFound => snapshot::open(format!("{path}{COMPRESSED}"))?,
        reader => reader?,
    };
    let mut hasher = Hasher::new(Algorithm::Md5);
    while let Some(part) = reader.read_bytes(BEST_TRANSFER)? {
        hasher.update(&part);
    }
    match stub.md5() {
        Some(expected) if expected != hasher.finish() => Err(Error::new(
            ErrorKind::Corrupt,
            format!("{path} does not match the digest {}", stub.digest),
        )),
        _ => Ok(()),
    }
}
