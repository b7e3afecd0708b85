//! What a folder is found to hold, beside restic's own layout of a repository ([`bulkhead_layout`]).

use std::hash::{BuildHasher, Hasher, RandomState};

use bulkhead_layout::is_hex;
pub(crate) use bulkhead_layout::{CONFIG, KEYS, is_folder, is_key};
use bulkhead_sdk::{
    directory::{FileType, Folder},
    prelude::*,
};

/// Between an object's name and a random number in the name of what is not whole yet; restic's own convention.
const TEMPORARY: &str = "-tmp-";
/// What `mkfs` puts into the root of an ext file system: a folder that is a mount point counts as empty all the same.
const OF_THE_FILE_SYSTEM: &str = "lost+found";
/// Permission bits of all folders.
pub(crate) const FOLDER_MODE: u32 = 0o700;
/// Names that are told at most, of what is in the way.
const TOLD: usize = 5;

/// What a folder holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing, or the folders of a repository without a file in them.
    Empty,
    /// A repository.
    Repository,
    /// Files of a repository, but not the one that makes it one: its creation was cut off, or it was damaged.
    Half,
    /// Something else; some of its names.
    Foreign(Vec<String>),
}

/// A name, not taken, for what becomes `key` once it is whole.
pub(crate) fn temporary_name(key: &str) -> String {
    let random = RandomState::new().build_hasher().finish();
    format!("{key}{TEMPORARY}{random:016x}")
}

/// The key that a temporary file was to become; `None` for any other name.
pub(crate) fn key_of_temporary(name: &str) -> Option<&str> {
    let (key, random) = name.rsplit_once(TEMPORARY)?;
    (is_hex(random) && is_key(key)).then_some(key)
}

/// Whether `root` has the file that makes it a repository.
pub(crate) fn has_config(root: &Folder) -> Result<bool> {
    match root.stat(CONFIG) {
        Ok(stat) => Ok(stat.file_type == FileType::Regular),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Refuses what is not an object of a repository.
pub(crate) fn require_key(key: &str) -> Result<()> {
    if is_key(key) {
        Ok(())
    } else {
        Err(Error::new(ErrorKind::Internal, format!("{key:?} is not the key of an object")))
    }
}

/// Looks at what is there. Temporary files of objects are neither the vault's nor in its way.
pub(crate) fn state(root: &Folder) -> Result<State> {
    let mut foreign = Vec::new();
    let (mut has_config, mut has_folders) = (false, Vec::new());
    for entry in root.list("")? {
        let name = String::from_utf8_lossy(&entry?.name).into_owned();
        match name.as_str() {
            CONFIG => has_config = true,
            OF_THE_FILE_SYSTEM => {}
            temporary if key_of_temporary(temporary).is_some() => {}
            folder if is_folder(folder) => has_folders.push(name),
            _ => foreign.push(name),
        }
    }
    if has_config && has_folders.iter().any(|folder| folder == KEYS) {
        return Ok(State::Repository);
    }
    if !foreign.is_empty() {
        foreign.sort();
        foreign.truncate(TOLD);
        return Ok(State::Foreign(foreign));
    }
    for folder in has_folders {
        if has_files(root, &folder)? {
            return Ok(State::Half);
        }
    }
    Ok(if has_config { State::Half } else { State::Empty })
}

/// Whether there is anything but layout below `folder`.
fn has_files(root: &Folder, folder: &str) -> Result<bool> {
    for entry in root.list(folder)? {
        let path = format!("{folder}/{}", String::from_utf8_lossy(&entry?.name));
        if key_of_temporary(&path).is_some() {
            continue;
        }
        if !is_folder(&path) || has_files(root, &path)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Creates the folders of a repository in an empty folder.
pub(crate) fn initialize(root: &Folder) -> Result<()> {
    let location = crate::location();
    let conflict = |message: String| Error::new(ErrorKind::Conflict, message);
    match state(root)? {
        State::Empty => create(root),
        State::Repository => Err(conflict(format!("{location} already holds a vault"))
            .with_hint("leave out `init` to use it, or give the new vault a folder of its own in `directory.root.path`")),
        State::Half => Err(conflict(format!("{location} holds part of a vault: its creation was cut off, or its file `config` was lost"))
            .with_hint(format!(
                "if no backup was ever made into it, empty the folder (`rm -r {location}/*`) and init again; otherwise restore `config` from another replica"
            ))),
        State::Foreign(names) => Err(conflict(format!("{location} is not empty and not a vault; it holds {}", names.join(", ")))
            .with_hint("give the vault a folder of its own in `directory.root.path`")),
    }
}

fn create(root: &Folder) -> Result<()> {
    for folder in bulkhead_layout::folders() {
        root.create_folders(&folder, FOLDER_MODE)?;
    }
    root.sync(bulkhead_layout::DATA)?;
    root.sync("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporaries_are_those_of_keys() {
        assert_eq!(key_of_temporary("data/ab/abcd-tmp-0f"), Some("data/ab/abcd"));
        assert_eq!(key_of_temporary(&temporary_name(CONFIG)), Some(CONFIG));
        for bad in [
            "photos-tmp-2019",
            "config-tmp-",
            "config-tmp-final",
            "config-tmp-1-tmp-2",
            "keys/0a",
            "data/ab/cdef-tmp-1",
            "-tmp-1",
        ] {
            assert_eq!(key_of_temporary(bad), None, "{bad}");
        }
    }
}
