//! What a folder has that a snapshot does not: [`Survey`] finds it, [`Surplus`] is the plan of its removal, for `restore --delta --delete`.
//!
//! Nothing is removed but what the plan names, nothing outside of the target, and nothing on another file system than the target's.

use std::{
    collections::HashMap,
    ffi::OsStr,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use bulkhead_model::{EntryPath, NodeType};
use bulkhead_vault::SnapshotEntry;
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, Stat},
    io::Errno,
};
use serde::Serialize;

use crate::{
    folder::{FOLDER, FolderError, PASSAGE, compare::open_below},
    restore::{Selected, Selection},
};

/// What is to be removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surplus {
    /// Files, and folders with all that is in them, in no order.
    pub items: Vec<SurplusItem>,
}

/// Something to be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SurplusItem {
    /// Its path in the target.
    pub path: PathBuf,
    /// Files and folders: itself, and what is in it.
    pub entries: u64,
    /// Bytes of the files.
    pub bytes: u64,
}

impl Surplus {
    /// Files and folders.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.items.iter().map(|item| item.entries).sum()
    }

    /// Removes everything from `root`, which is at `target`.
    pub(crate) fn remove(&self, root: BorrowedFd<'_>, target: &Path) -> Result<(), FolderError> {
        for item in &self.items {
            let removed = rustix::fs::fstat(root).and_then(|stat| {
                let (parent, name) = split(item.path.as_os_str().as_bytes());
                remove(open_below(root, parent, PASSAGE)?.as_fd(), OsStr::from_bytes(name), stat.st_dev)
            });
            removed.map_err(|error| FolderError::new("remove", target.join(&item.path), error))?;
        }
        Ok(())
    }
}

/// Compares the names in a snapshot, told in the order of a walk, with those in a folder.
pub(crate) struct Survey<'s> {
    root: OwnedFd,
    device: u64,
    target: &'s Path,
    selection: &'s Selection,
    /// Folders of the snapshot from the outermost to where the walk is.
    open: Vec<Level>,
    surplus: Surplus,
}

/// A folder and the names in it, `true` for folders.
struct Level {
    path: EntryPath,
    names: HashMap<Box<[u8]>, bool>,
}

impl<'s> Survey<'s> {
    /// Of `root`, which is at `target`.
    pub(crate) fn new(root: OwnedFd, target: &'s Path, selection: &'s Selection) -> Result<Self, FolderError> {
        let stat = rustix::fs::fstat(&root).map_err(|error| FolderError::new("look at", target, error))?;
        Ok(Self {
            root,
            device: stat.st_dev,
            target,
            selection,
            open: Vec::new(),
            surplus: Surplus::default(),
        })
    }

    /// Begins with everything below the root, which no walk names.
    pub(crate) fn enter_root(&mut self) {
        self.open.push(Level {
            path: EntryPath::default(),
            names: HashMap::new(),
        });
    }

    /// The next entry of the walk, whether it is restored or not.
    pub(crate) fn note(&mut self, entry: &SnapshotEntry) -> Result<(), FolderError> {
        while self
            .open
            .last()
            .is_some_and(|level| level.path == entry.path || !entry.path.starts_with(&level.path))
        {
            self.leave()?;
        }
        let is_folder = entry.metadata.node_type == NodeType::Directory;
        if let Some(level) = self.open.last_mut() {
            let (_, name) = split(entry.path.as_bytes());
            level.names.insert(name.into(), is_folder);
        }
        if is_folder {
            self.open.push(Level {
                path: entry.path.clone(),
                names: HashMap::new(),
            });
        }
        Ok(())
    }

    /// Leaves out what is in the folder that came last.
    pub(crate) fn skip_below(&mut self, entry: &SnapshotEntry) {
        if self.open.last().is_some_and(|level| level.path == entry.path) {
            self.open.pop();
        }
    }

    /// Ends a walk.
    pub(crate) fn end(&mut self) -> Result<(), FolderError> {
        while !self.open.is_empty() {
            self.leave()?;
        }
        Ok(())
    }

    /// What it came to.
    pub(crate) fn into_surplus(self) -> Surplus {
        self.surplus
    }

    /// Looks for what else is in the folder that is left.
    fn leave(&mut self) -> Result<(), FolderError> {
        let Some(level) = self.open.pop() else { return Ok(()) };
        let path = level.path.as_bytes();
        let failed = |target: &Path, error| FolderError::new("list the folder", target.join(OsStr::from_bytes(path)), error);
        let folder = match open_below(self.root.as_fd(), path, FOLDER) {
            Ok(folder) => folder,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(error) => return Err(failed(self.target, error)),
        };
        for name in names(&folder).map_err(|error| failed(self.target, error))? {
            if level.names.get(&*name) != Some(&true) {
                let in_the_way = level.names.contains_key(&*name);
                self.examine(folder.as_fd(), join(path, &name), in_the_way)?;
            }
        }
        Ok(())
    }

    /// Adds what is at `path` to the surplus: all of it, or what of it is selected. What stands where a file is to be is only surplus if it is a folder.
    fn examine(&mut self, folder: BorrowedFd<'_>, path: Vec<u8>, in_the_way: bool) -> Result<(), FolderError> {
        let full = self.target.join(OsStr::from_bytes(&path));
        let (_, name) = split(&path);
        let stat = match rustix::fs::statat(folder, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(FolderError::new("look at", full, error)),
        };
        if !in_the_way || is_folder(&stat) {
            self.collect(folder, path, &stat)
                .map_err(|error| FolderError::new("look at", full, error))?;
        }
        Ok(())
    }

    /// Whether all that is at `path` goes.
    fn collect(&mut self, parent: BorrowedFd<'_>, path: Vec<u8>, stat: &Stat) -> rustix::io::Result<bool> {
        let selected = self.selection.of(&path);
        if selected == Selected::No || stat.st_dev != self.device {
            return Ok(false);
        }
        let before = self.surplus.items.len();
        let mut goes = selected == Selected::Yes;
        if is_folder(stat) {
            let (_, name) = split(&path);
            let folder = rustix::fs::openat(parent, OsStr::from_bytes(name), FOLDER, Mode::empty())?;
            for name in names(&folder)? {
                let stat = rustix::fs::statat(&folder, OsStr::from_bytes(&name), AtFlags::SYMLINK_NOFOLLOW)?;
                goes &= self.collect(folder.as_fd(), join(&path, &name), &stat)?;
            }
        }
        if goes {
            let inside = self.surplus.items.drain(before..);
            let start = SurplusItem {
                path: PathBuf::from(OsStr::from_bytes(&path)),
                entries: 1,
                bytes: if is_folder(stat) {
                    0
                } else {
                    u64::try_from(stat.st_size).unwrap_or_default()
                },
            };
            let whole = inside.fold(start, |whole, item| SurplusItem {
                entries: whole.entries + item.entries,
                bytes: whole.bytes + item.bytes,
                ..whole
            });
            self.surplus.items.push(whole);
        }
        Ok(goes)
    }
}

fn remove(parent: BorrowedFd<'_>, name: &OsStr, device: u64) -> rustix::io::Result<()> {
    let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        stat => stat?,
    };
    if stat.st_dev != device {
        return Err(Errno::XDEV);
    }
    if !is_folder(&stat) {
        return rustix::fs::unlinkat(parent, name, AtFlags::empty());
    }
    let folder = rustix::fs::openat(parent, name, FOLDER, Mode::empty())?;
    for inside in names(&folder)? {
        remove(folder.as_fd(), OsStr::from_bytes(&inside), device)?;
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

fn names(folder: &OwnedFd) -> rustix::io::Result<Vec<Box<[u8]>>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            found.push(name.into());
        }
    }
    Ok(found)
}

fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() {
        return name.to_vec();
    }
    [folder, b"/", name].concat()
}

/// Folder and name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}
