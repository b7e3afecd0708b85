//! A database back in its place: [`place`]. It is written beside its place, made durable, and renamed: at any moment there is the old one or the new one. The old one's
//! log goes just before, for it would be played into the new one.

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    directory::{Attributes, File, Folder, OpenMode},
    host::BEST_TRANSFER,
    snapshot::{self, Entry},
};

use crate::{
    image::BESIDE,
    locks::{self, Attempt},
};

/// What a file is called until it is whole.
const PARTIAL: &[u8] = b".restoring";

/// Writes the database of a snapshot to `path`, whose folder is there. `written` is told the bytes of each part.
///
/// # Errors
/// `Conflict`: one is there that must not be overwritten, or is in use; what writing failed with.
pub fn place(folder: &Folder, path: &[u8], entry: &Entry, overwrite: bool, written: &mut dyn FnMut(u64)) -> Result<()> {
    // Held until the new database is in its place.
    let _old = make_way(folder, path, overwrite)?;
    let partial = content(folder, path, entry, written)?;
    // The old one's log or journal would be played into the new one.
    for suffix in BESIDE {
        match folder.remove_file([path, suffix].concat()) {
            Err(error) if error.kind != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    folder.sync(parent(path))?;
    rename(folder, &partial, path)
}

/// Writes any file of a snapshot to `path`, with its mode, owner and time: beside its place first, then renamed over what is there.
///
/// # Errors
/// What writing failed with.
pub fn write(folder: &Folder, path: &[u8], entry: &Entry, written: &mut dyn FnMut(u64)) -> Result<()> {
    let partial = content(folder, path, entry, written)?;
    rename(folder, &partial, path)
}

fn rename(folder: &Folder, partial: &[u8], path: &[u8]) -> Result<()> {
    folder.rename(partial, path)?;
    folder.sync(parent(path))
}

fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(&path[..0], |end| &path[..end])
}

/// Sees that nothing is lost that nobody meant to lose: a database that is there, or a log of one.
fn make_way(folder: &Folder, path: &[u8], overwrite: bool) -> Result<Option<File>> {
    for suffix in [&b""[..]].into_iter().chain(BESIDE) {
        let path = [path, suffix].concat();
        match folder.stat(&path) {
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(_) if overwrite => {}
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

/// Writes a file beside its place; the path there.
fn content(folder: &Folder, path: &[u8], entry: &Entry, written: &mut dyn FnMut(u64)) -> Result<Vec<u8>> {
    let partial = [path, PARTIAL].concat();
    let mut reader = snapshot::open(&entry.path)?;
    let mut file = folder.open_file(&partial, OpenMode::Replace)?;
    while let Some(part) = reader.read_bytes(BEST_TRANSFER)? {
        file.write_bytes(&part)?;
        written(part.len() as u64);
    }
    let owner = Attributes {
        uid: Some(entry.metadata.uid),
        gid: Some(entry.metadata.gid),
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
    file.sync()?;
    Ok(partial)
}
