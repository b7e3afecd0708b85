//! Storing and removing objects by their keys.

use bulkhead_sdk::{http::Exchange, prelude::*, warn};
use serde_json::json;

use crate::{
    client::{Call, FILES, File, with_query},
    config::Removed,
    folders,
    refusal::Verdict,
    tree::{Tree, best, place},
    upload::{self, Target},
};

/// Stores an object. One that is there gets new content, which takes its place at once and whole; a new one appears once it is whole.
pub(crate) fn put(tree: &mut Tree, key: &str, body: &mut ObjectReader<'_>, if_absent: bool, piece: u64) -> Result<()> {
    let begun = if if_absent { None } else { begin(tree, key, body.size())? };
    let existing = tree.find(key)?;
    if if_absent && !existing.is_empty() {
        return Err(already_exists(key));
    }
    let file = match best(&existing) {
        Some(file) => send(tree, key, body, piece, &Target::Replace { id: &file.id }, None)?,
        None => create(tree, key, body, piece, begun)?,
    };
    tree.remember(key, &file);
    if if_absent { require_first(tree, key, &file) } else { Ok(()) }
}

/// Asks for a session for a new file, which most objects are, while it is still to be looked for: an answer takes long. One that nobody uses is forgotten by Drive.
fn begin(tree: &mut Tree, key: &str, size: u64) -> Result<Option<Exchange>> {
    let (folder, name) = place(key);
    let parent = tree.folders_at(folder)?.first().cloned();
    // What fails here is asked for again when its turn comes.
    Ok(parent.and_then(|parent| upload::begin(&Target::New { name, parent: &parent }, size).ok()))
}

/// Makes a new file. A folder that has gone since it was looked up is looked up again, once.
fn create(tree: &mut Tree, key: &str, body: &mut ObjectReader<'_>, piece: u64, begun: Option<Exchange>) -> Result<File> {
    let (folder, name) = place(key);
    let parent = folders::ensure(tree, folder)?;
    match send(tree, key, body, piece, &Target::New { name, parent: &parent }, begun) {
        Err(error) if error.kind == ErrorKind::NotFound && !folder.is_empty() => {
            tree.forget();
            let parent = folders::ensure(tree, folder)?;
            send(tree, key, body, piece, &Target::New { name, parent: &parent }, None)
        }
        other => other,
    }
}

/// Uploads the object, and once more where Drive has got something else. A new file that is not the object does not stay.
fn send(tree: &Tree, key: &str, body: &mut ObjectReader<'_>, piece: u64, target: &Target<'_>, mut begun: Option<Exchange>) -> Result<File> {
    tree.client.retrying(key, || {
        // All that could be tried again has been, within.
        let stored = upload::store(&tree.client, target, body, piece, begun.take()).map_err(Verdict::Fail)?;
        if let Err(error) = upload::require_same(&stored, body) {
            if matches!(target, Target::New { .. })
                && let Err(left) = remove(tree, &stored.id, Removed::Deleted)
            {
                warn!("a damaged {key} stays in Drive: {left}");
            }
            return Err(error.into());
        }
        Ok(stored)
    })
}

/// Drive has no condition on names. Where two hosts have stored the same key at once, the older file stays, and whoever made the other one is told.
fn require_first(tree: &mut Tree, key: &str, ours: &File) -> Result<()> {
    let files = tree.find(key)?;
    let first = files.iter().min_by_key(|file| (&file.created_time, &file.id));
    if first.is_none_or(|first| first.id == ours.id) {
        return Ok(());
    }
    remove(tree, &ours.id, Removed::Deleted)?;
    tree.lose(key);
    Err(already_exists(key))
}

/// Removes all files that have this key.
pub(crate) fn delete(tree: &mut Tree, key: &str, removed: Removed) -> Result<()> {
    for file in tree.find(key)? {
        remove(tree, &file.id, removed)?;
    }
    tree.lose(key);
    Ok(())
}

/// Removes a file. One that has gone is no error.
pub(crate) fn remove(tree: &Tree, id: &str, removed: Removed) -> Result<()> {
    let path = with_query(&format!("{FILES}/{id}"), &[("supportsAllDrives", "true"), ("fields", "id")]);
    let call = match removed {
        Removed::Deleted => Call::new("DELETE", path),
        Removed::Trashed => Call::new("PATCH", path).json(&json!({ "trashed": true })),
    };
    match tree.client.call(&call) {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn already_exists(key: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("{key} is already stored"))
}
