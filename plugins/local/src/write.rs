//! Storing and removing objects so that a crash at any moment leaves each whole or absent.

use std::hash::{BuildHasher, Hasher, RandomState};

use bulkhead_sdk::{
    directory::{File, Folder, OpenMode},
    host::BEST_TRANSFER,
    prelude::*,
};

use crate::layout::FOLDER_MODE;

/// Between an object's name and a random number in the name of what is not whole yet; restic's own convention.
pub(crate) const TEMPORARY: &str = "-tmp-";

/// Stores `body` under `key`; with `if_absent` fails with `AlreadyExists` rather than replace.
pub(crate) fn put(root: &Folder, key: &str, body: &mut ObjectReader<'_>, if_absent: bool) -> Result<()> {
    if if_absent && root.stat(key).is_ok() {
        return Err(already_exists(key));
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

/// A new file beside the object's place. restic makes the folders of `data` at once, others that write its format when they are needed: both will do.
fn create_temporary(root: &Folder, key: &str) -> Result<(String, File)> {
    let random = RandomState::new().build_hasher().finish();
    let temporary = format!("{key}{TEMPORARY}{random:016x}");
    match root.open_file(&temporary, OpenMode::Create) {
        Ok(file) => Ok((temporary, file)),
        Err(error) if error.kind == ErrorKind::NotFound && key.contains('/') => {
            root.create_folders(folder_of(key), FOLDER_MODE)?;
            root.sync(folder_of(folder_of(key)))?;
            let file = root.open_file(&temporary, OpenMode::Create)?;
            Ok((temporary, file))
        }
        Err(error) => Err(error),
    }
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
    root.sync(folder_of(key))
}

/// Gives the file its name unless that is taken, in one step. Where a file system has no hard links, in two: looking, then renaming.
fn link(root: &Folder, temporary: &str, key: &str) -> Result<()> {
    match root.create_hard_link(temporary, key) {
        Ok(()) => root.remove_file(temporary),
        Err(error) if error.kind == ErrorKind::AlreadyExists => Err(already_exists(key)),
        Err(error) if matches!(error.kind, ErrorKind::Unsupported | ErrorKind::PermissionDenied | ErrorKind::Io) => match root.stat(key) {
            Ok(_) => Err(already_exists(key)),
            Err(_) => root.rename(temporary, key),
        },
        Err(error) => Err(error),
    }
}
