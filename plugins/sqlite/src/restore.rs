//! Databases back in their places: [`restore`]. Each is written beside its place, made durable, and renamed: at any moment there
//! is the old one or the new one. The old one's log goes just before, for it would be played into the new one.

use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt,
    directory::{self, Attributes, Folder, OpenMode},
    host::BEST_TRANSFER,
    metadata::NodeType,
    progress,
    snapshot::{self, Entry},
    source::{RestoreRequest, RestoreResult},
};

use crate::{
    config::RestoreOptions,
    image::{INDEX, JOURNAL, LOG},
    inventory::INVENTORY,
    locks::{self, Attempt},
};

/// What a database is called until it is whole.
const PARTIAL: &[u8] = b".restoring";

/// Writes what is asked for into the granted directories, which have the names that they had in the backup.
pub(crate) fn restore(request: &RestoreRequest) -> Result<RestoreResult> {
    let options: RestoreOptions = request.options()?;
    let mut result = RestoreResult::default();
    for entry in snapshot::walk("")? {
        let entry = entry?;
        if entry.path == INVENTORY.as_bytes() || entry.metadata.node_type != NodeType::File || !request.selects(&entry.path) {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path).into_owned();
        place(&entry, &options, &mut result).context(|| format!("restoring {name} failed"))?;
    }
    Ok(result)
}

fn place(entry: &Entry, options: &RestoreOptions, result: &mut RestoreResult) -> Result<()> {
    let slash = entry.path.iter().position(|byte| *byte == b'/').unwrap_or(entry.path.len());
    let (grant, path) = (
        String::from_utf8_lossy(&entry.path[..slash]),
        &entry.path[(slash + 1).min(entry.path.len())..],
    );
    let folder = directory::open(&grant)?;
    let parent = path.iter().rposition(|byte| *byte == b'/').map_or(&path[..0], |end| &path[..end]);
    if !parent.is_empty() {
        folder.create_folders(parent, 0o700)?;
    }
    // Held until the new database is in its place.
    let _old = make_way(&folder, path, options)?;
    let partial = [path, PARTIAL].concat();
    content(&folder, entry, &partial, result)?;
    // The old one's log or journal would be played into the new one.
    for suffix in [JOURNAL, LOG, INDEX] {
        match folder.remove_file([path, suffix].concat()) {
            Err(error) if error.kind != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    folder.sync(parent)?;
    folder.rename(&partial, path)?;
    folder.sync(parent)?;
    result.entries += 1;
    Ok(())
}

/// Sees that nothing is lost that nobody meant to lose: a database that is there, or a log of one.
fn make_way(folder: &Folder, path: &[u8], options: &RestoreOptions) -> Result<Option<directory::File>> {
    for suffix in [&b""[..], JOURNAL, LOG, INDEX] {
        let path = [path, suffix].concat();
        match folder.stat(&path) {
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(_) if options.overwrite => {}
            Ok(_) => {
                let message = format!("there is already a {}", String::from_utf8_lossy(&path));
                return Err(Error::new(ErrorKind::Conflict, message)
                    .with_hint("restore into another directory, or replace it with `config = { overwrite = true }` in the target"));
            }
        }
    }
    let old = match folder.open_file(path, OpenMode::Modify) {
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
        old => old?,
    };
    match locks::take(&old)? {
        Attempt::Held(()) => Ok(Some(old)),
        Attempt::Busy(reason) => {
            let message = format!("the database that is there is in use: {reason}");
            Err(Error::new(ErrorKind::Conflict, message).with_hint("stop the programs that use it"))
        }
    }
}

fn content(folder: &Folder, entry: &Entry, partial: &[u8], result: &mut RestoreResult) -> Result<()> {
    let mut reader = snapshot::open(&entry.path)?;
    let mut file = folder.open_file(partial, OpenMode::Replace)?;
    while let Some(part) = reader.read_bytes(BEST_TRANSFER)? {
        file.write_bytes(&part)?;
        result.bytes += part.len() as u64;
        progress::report("writing databases", result.bytes, None);
    }
    let (uid, gid) = (entry.metadata.uid, entry.metadata.gid);
    let owner = Attributes {
        uid: Some(uid),
        gid: Some(gid),
        ..Attributes::default()
    };
    match file.set_attributes(&owner) {
        // Only root gives files away; whoever restores owns it then.
        Err(error) if error.kind == ErrorKind::PermissionDenied => {}
        set => set?,
    }
    file.set_attributes(&Attributes {
        mode: Some(entry.metadata.mode),
        modified: entry.metadata.modified,
        ..Attributes::default()
    })?;
    file.sync()
}
