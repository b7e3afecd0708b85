//! The snapshot as a file, with what was stored beside it: [`restore`].

use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt,
    directory::{self, Attributes, Folder, OpenMode},
    host::BEST_TRANSFER,
    metadata::NodeType,
    progress, snapshot,
    source::{RestoreRequest, RestoreResult},
    types::{Fact, Finding},
};

use super::TARGET;
use crate::{facts, runbook};

/// Writes what is asked for into the granted folder, which must be empty.
pub(crate) fn restore(request: &RestoreRequest) -> Result<RestoreResult> {
    let folder = directory::open(TARGET)?;
    let location = location();
    if let Some(entry) = folder.list("")?.next() {
        let name = String::from_utf8_lossy(&entry?.name).into_owned();
        return Err(
            Error::new(ErrorKind::Conflict, format!("{location} is not empty: `{name}` is in it"))
                .with_hint("restore into an empty folder, and move files to their places from there"),
        );
    }
    let mut result = RestoreResult::default();
    for entry in snapshot::walk("")? {
        let entry = entry?;
        if !request.selects(&entry.path) {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path).into_owned();
        place(&folder, &entry, &mut result).context(|| format!("restoring {name} failed"))?;
    }
    folder.sync("")?;
    advise(&location, &mut result);
    Ok(result)
}

/// The folder's path on the host.
fn location() -> String {
    let grant = directory::grants().into_iter().find(|grant| grant.name == TARGET);
    grant.map_or_else(|| TARGET.to_owned(), |grant| grant.location)
}

fn place(folder: &Folder, entry: &snapshot::Entry, result: &mut RestoreResult) -> Result<()> {
    if let Some(end) = entry.path.iter().rposition(|byte| *byte == b'/') {
        folder.create_folders(&entry.path[..end], 0o700)?;
    }
    match &entry.metadata.node_type {
        NodeType::Directory => folder.create_folders(&entry.path, entry.metadata.mode & 0o777),
        NodeType::Symlink(target) => folder.create_symlink(&entry.path, target),
        NodeType::File => content(folder, entry, result),
        // Never stored by this plugin.
        NodeType::Fifo | NodeType::Socket | NodeType::CharacterDevice(_) | NodeType::BlockDevice(_) => Ok(()),
    }
}

fn content(folder: &Folder, entry: &snapshot::Entry, result: &mut RestoreResult) -> Result<()> {
    let mut reader = snapshot::open(&entry.path)?;
    let mut file = folder.open_file(&entry.path, OpenMode::Create)?;
    while let Some(part) = reader.read_bytes(BEST_TRANSFER)? {
        file.write_bytes(&part)?;
        result.bytes += part.len() as u64;
        progress::report("writing the snapshot", result.bytes, None);
    }
    // Whoever restores owns it: etcd's tools read the snapshot as the operator, and keys among the files stay private.
    file.set_attributes(&Attributes {
        mode: Some(entry.metadata.mode & 0o777),
        modified: entry.metadata.modified,
        ..Attributes::default()
    })?;
    file.sync()?;
    result.entries += 1;
    Ok(())
}

/// What to do with it now.
fn advise(location: &str, result: &mut RestoreResult) {
    let facts = snapshot::info().facts;
    let fact = |name: &str| facts.iter().find(|fact| fact.name == name).map(|fact| fact.value.clone());
    let server = fact(facts::VERSION).unwrap_or_default();
    let command = runbook::command(&server, &format!("{location}/{}", facts::SNAPSHOT));
    result.facts.push(Fact::new("restore-command", &command));
    result
        .facts
        .push(Fact::new(facts::REVISION, fact(facts::REVISION).unwrap_or_default()));
    let message = format!(
        "{location}/{} is a snapshot as etcd's own tools take it; {} beside it says how to rebuild the cluster",
        facts::SNAPSHOT,
        facts::RUNBOOK
    );
    let hint = format!(
        "{command} (one for each member, with its --name and --initial-cluster). {}",
        runbook::about_revision(&server)
    );
    result.findings.push(Finding::info("restore-command", message).with_hint(hint));
}
