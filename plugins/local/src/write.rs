//! Storing and removing objects so that a crash at any moment leaves each whole or absent.

use bulkhead_sdk::{
    directory::{File, Folder, OpenMode},
    host::BEST_TRANSFER,
    prelude::*,
};

use crate::layout::{CONFIG, FOLDER_MODE, KEYS, State, has_config, state, temporary_name};

/// Stores `body` under `key`; with `if_absent` fails with `AlreadyExists` rather than replace.
pub(crate) fn put(root: &Folder, key: &str, body: &mut ObjectReader<'_>, if_absent: bool) -> Result<()> {
    if if_absent {
        require_absent(root, key)?;
    }
    let (temporary, file) = create_temporary(root, key)?;
    let stored = fill(&file, key, body).and_then(|()| reveal(root, &temporary, key, if_absent));
    if stored.is_err() {
        // The failure that counts is the first. What cannot be removed now is swept later by `list`.
        _ = root.remove_file(&temporary);
    }
    stored
}

/// Removes the object, durably: a prune removes packs only once the index that named them is gone for good.
pub(crate) fn delete(root: &Folder, key: &str) -> Result<()> {
    match root.remove_file(key) {
        Ok(()) => root.sync(folder_of(key)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The folder that an object is in.
fn folder_of(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn already_exists(key: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("{key} is already stored"))
}

/// Whether hard links can be made here, which is what makes `if_absent` atomic. Tried only where nothing of somebody else's is.
pub(crate) fn has_hard_links(root: &Folder) -> bool {
    if !matches!(state(root), Ok(State::Empty | State::Repository)) {
        return false;
    }
    let (probe, linked) = (temporary_name(CONFIG), temporary_name(CONFIG));
    if root.open_file(&probe, OpenMode::Create).is_err() {
        return false;
    }
    let made = root.create_hard_link(&probe, &linked).is_ok();
    if made {
        _ = root.remove_file(&linked);
    }
    _ = root.remove_file(&probe);
    made
}

fn require_absent(root: &Folder, key: &str) -> Result<()> {
    match root.stat(key) {
        Ok(_) => Err(already_exists(key)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// A new file beside the object's place. restic makes the folders of `data` at once, others that write its format when they are needed: both will do.
fn create_temporary(root: &Folder, key: &str) -> Result<(String, File)> {
    let temporary = temporary_name(key);
    match root.open_file(&temporary, OpenMode::Create) {
        Ok(file) => Ok((temporary, file)),
        Err(error) if error.kind == ErrorKind::NotFound => {
            create_folder_of(root, key)?;
            let file = root.open_file(&temporary, OpenMode::Create)?;
            Ok((temporary, file))
        }
        Err(error) => Err(error),
    }
}

/// Creates the folders above `key`, durably, in what still is a vault or about to become one.
fn create_folder_of(root: &Folder, key: &str) -> Result<()> {
    let folder = folder_of(key);
    if folder.is_empty() || !may_create(root, folder)? {
        return Err(gone());
    }
    root.create_folders(folder, FOLDER_MODE)?;
    let above = folder_of(folder);
    root.sync(above)?;
    if above.is_empty() { Ok(()) } else { root.sync("") }
}

/// Whether a folder of the layout may be missing: one of a vault, or that of the keys, which come before `config` makes a vault of the rest.
fn may_create(root: &Folder, folder: &str) -> Result<bool> {
    let looked = has_config(root).and_then(|is_vault| Ok(is_vault || (folder == KEYS && state(root)? == State::Empty)));
    match looked {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(false), // the folder itself was removed
        other => other,
    }
}

fn gone() -> Error {
    let location = crate::location();
    Error::new(ErrorKind::Conflict, format!("the vault at {location} has gone; is it mounted?")).with_hint(format!(
        "look whether {location} holds the file `config`; mount the file system that does, then run again: nothing was stored in its place"
    ))
}

/// Writes the whole body and makes it durable.
fn fill(file: &File, key: &str, body: &mut ObjectReader<'_>) -> Result<()> {
    let mut offset = 0;
    while let Some(piece) = body.read_bytes(BEST_TRANSFER)? {
        file.write_at(offset, &piece)?;
        offset += piece.len() as u64;
    }
    if offset != body.size() {
        return Err(Error::new(
            ErrorKind::Internal,
            format!("{key} was to have {} bytes and came with {offset}", body.size()),
        ));
    }
    file.sync()
}

/// Gives the finished file its name, durably.
fn reveal(root: &Folder, temporary: &str, key: &str, if_absent: bool) -> Result<()> {
    if if_absent {
        link(root, temporary, key)?
    } else {
        root.rename(temporary, key)?
    }
    let durable = root.sync(folder_of(key));
    if durable.is_err() && if_absent {
        // Nothing was there before: so nothing is there after a failure.
        _ = root.remove_file(key);
    }
    durable
}

/// Gives the file its name unless that is taken, in one step. Where a file system has no hard links, in two: looking, then renaming.
fn link(root: &Folder, temporary: &str, key: &str) -> Result<()> {
    match root.create_hard_link(temporary, key) {
        Ok(()) => {
            // The object is there: a second name that cannot be removed now is swept later by `list`.
            _ = root.remove_file(temporary);
            Ok(())
        }
        Err(error) if error.kind == ErrorKind::AlreadyExists => Err(already_exists(key)),
        Err(error) if matches!(error.kind, ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
            require_absent(root, key)?;
            root.rename(temporary, key)
        }
        Err(error) => Err(error),
    }
}
