//! Writes a snapshot's entries into a folder: [`FolderWriter`], the half of a restore that touches the disk.
//!
//! A snapshot may come from somebody who means harm. Every name is one component, created relative to a folder that is held open and was opened
//! without following links, and nothing is created over something that exists (what a `--delta` replaces is removed by name first): so nothing can
//! land outside the target, whatever links the snapshot contains. A file that has further names is never changed in place, since one of them may be
//! outside. Set-user-id bits are dropped where the owner is not the snapshot's.
//!
//! Files are written in place, and get their time last. One that was cut off has the time of the moment in which it was, and so a later `--delta`
//! sees that it isn't done.

mod attributes;
mod compare;
mod decision;
mod file;
mod owners;
mod surplus;

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use attributes::Attributes;
use bulkhead_model::{EntryMetadata, EntryPath, Finding, NodeType};
use bulkhead_vault::SnapshotEntry;
use bytes::Bytes;
use file::OpenFile;
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags},
    io::Errno,
};

pub use decision::{Changes, EntryChange};
pub use owners::{IdMapping, IdMappingError, Owners};
pub use surplus::{Surplus, SurplusItem};

pub(crate) use compare::{Existing, Found};
pub(crate) use decision::{Action, Decision, Links, Shortfall, Skipped, Tally};
pub(crate) use surplus::Survey;

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// A folder that only leads somewhere else.
const PASSAGE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Something could not be written, or compared.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct FolderError {
    /// What was being done.
    pub action: &'static str,
    /// The path in the target.
    pub path: PathBuf,
    /// What the operating system says.
    pub source: io::Error,
}

/// [`FolderError::action`] where the target itself is not empty.
pub(crate) const INTO: &str = "restore into";

impl FolderError {
    pub(crate) fn new(action: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self {
            action,
            path: path.into(),
            source: source.into(),
        }
    }
}

/// The folder that a restore goes to, as it is found: `None` where it does not exist.
pub(crate) fn look_at(target: &Path) -> Result<Option<OwnedFd>, FolderError> {
    // The operator's own path may be a link to a folder; only what is below is ours.
    match rustix::fs::open(target, FOLDER.difference(OFlags::NOFOLLOW), Mode::empty()) {
        Ok(root) => Ok(Some(root)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(FolderError::new("open the folder", target, error)),
    }
}

/// Fails with [`io::ErrorKind::DirectoryNotEmpty`] where there is something in `root`.
pub(crate) fn expect_empty(root: &OwnedFd, target: &Path) -> Result<(), FolderError> {
    match is_empty(root) {
        Ok(true) => Ok(()),
        Ok(false) => Err(FolderError::new(INTO, target, io::ErrorKind::DirectoryNotEmpty)),
        Err(error) => Err(FolderError::new("list the folder", target, error)),
    }
}

/// Makes the folder that a restore goes to, where it does not exist, and opens it.
pub(crate) fn make(target: &Path) -> Result<OwnedFd, FolderError> {
    if let Some(parent) = target.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|error| FolderError::new("create the folder above", target, error))?;
    }
    match rustix::fs::mkdir(target, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(FolderError::new("create the folder", target, error)),
    }
    look_at(target)?.ok_or_else(|| FolderError::new("open the folder", target, Errno::NOENT))
}

/// Writes entries into a folder, in the order of a walk: a folder comes before what is in it.
pub(crate) struct FolderWriter {
    target: PathBuf,
    root: OwnedFd,
    /// Folders from the root to where we are.
    open: Vec<OpenFolder>,
    file: Option<OpenFile>,
    attributes: Attributes,
}

struct OpenFolder {
    path: EntryPath,
    folder: OwnedFd,
    metadata: EntryMetadata,
    leaving: Leaving,
}

/// What is done to a folder that is left: its metadata is set then, since writing into it changes its time.
enum Leaving {
    /// It gets its metadata; with `existing`, it had some before.
    Set { existing: bool },
    /// It had it, and gets it again if something in it has changed.
    SetIfTouched,
    /// Nothing.
    Leave,
}

impl FolderWriter {
    /// Writes into `root`, which is at `target`.
    pub(crate) fn new(root: OwnedFd, target: &Path, owners: Owners) -> Self {
        Self {
            target: target.to_owned(),
            root,
            open: Vec::new(),
            file: None,
            attributes: Attributes::new(owners),
        }
    }

    /// Begins `entry`; the content of a file comes by [`FolderWriter::write`] and ends with [`FolderWriter::finish_file`].
    pub(crate) fn begin(&mut self, entry: SnapshotEntry, decision: &Decision) -> Result<(), FolderError> {
        if decision.action == Action::Refuse {
            return Ok(());
        }
        self.go_to_parent_of(&entry.path)?;
        if matches!(decision.action, Action::Replace | Action::Link { replace: true, .. }) {
            self.remove_obstacle(&entry.path)?;
        }
        match (&entry.metadata.node_type, &decision.action) {
            (NodeType::Directory, _) => self.enter(entry, decision),
            (_, Action::Keep | Action::Refuse) => Ok(()),
            (_, Action::Link { to, .. }) => self.link(&to.clone(), &entry.path),
            (NodeType::File, Action::Update(id)) => self.open_file(entry, *id),
            (NodeType::File, _) => self.create_file(entry),
            (NodeType::Symlink(target), _) => {
                rustix::fs::symlinkat(OsStr::from_bytes(target), self.current(), name_of(&entry.path))
                    .map_err(|error| self.failed("create the link", &entry.path, error))?;
                self.set_by_name(&entry)
            }
            (NodeType::Fifo, _) => self.make_node(&entry, FileType::Fifo, 0),
            (NodeType::Socket, _) => self.make_node(&entry, FileType::Socket, 0),
            (NodeType::CharacterDevice(number), _) => self.make_node(&entry, FileType::CharacterDevice, *number),
            (NodeType::BlockDevice(number), _) => self.make_node(&entry, FileType::BlockDevice, *number),
        }
    }

    /// Makes a folder, where it isn't there, and enters it.
    fn enter(&mut self, entry: SnapshotEntry, decision: &Decision) -> Result<(), FolderError> {
        let SnapshotEntry { path, metadata, .. } = entry;
        let name = name_of(&path);
        let is_new = !matches!(decision.action, Action::Keep | Action::Update(_));
        if is_new {
            // Nothing that we did not make ourselves is ever entered.
            rustix::fs::mkdirat(self.current(), name, Mode::from_raw_mode(0o700))
                .map_err(|error| self.failed("create the folder", &path, error))?;
        }
        let folder = rustix::fs::openat(self.current(), name, FOLDER, Mode::empty())
            .map_err(|error| self.failed("open the folder", &path, error))?;
        let leaving = match (is_new, decision.is_passage) {
            (true, _) => Leaving::Set { existing: false },
            (false, true) => Leaving::Leave,
            (false, false) if self.make_writable(folder.as_fd(), &path)? || decision.action != Action::Keep => {
                Leaving::Set { existing: true }
            }
            (false, false) => Leaving::SetIfTouched,
        };
        self.open.push(OpenFolder {
            path,
            folder,
            metadata,
            leaving,
        });
        Ok(())
    }

    /// Lets its owner write into a folder; whether that had to be done.
    fn make_writable(&self, folder: BorrowedFd<'_>, path: &EntryPath) -> Result<bool, FolderError> {
        let failed = |error| self.failed("set the permissions of", path, error);
        let stat = rustix::fs::fstat(folder).map_err(failed)?;
        let user = rustix::process::geteuid().as_raw();
        if user == 0 || stat.st_uid != user || stat.st_mode & 0o700 == 0o700 {
            return Ok(false);
        }
        rustix::fs::fchmod(folder, Mode::from_raw_mode(stat.st_mode & 0o777 | 0o700)).map_err(failed)?;
        Ok(true)
    }

    fn create_file(&mut self, entry: SnapshotEntry) -> Result<(), FolderError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.current(), name_of(&entry.path), flags, Mode::from_raw_mode(0o600))
            .map_err(|error| self.failed("create", &entry.path, error))?;
        self.file = Some(OpenFile::new(entry, file, None));
        Ok(())
    }

    /// Opens a file that is there, to change it in place.
    fn open_file(&mut self, entry: SnapshotEntry, id: (u64, u64)) -> Result<(), FolderError> {
        let failed = |error| self.failed("open", &entry.path, error);
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = |access| rustix::fs::openat(self.current(), name_of(&entry.path), flags | access, Mode::empty());
        let file = match open(OFlags::WRONLY) {
            // Of which only the metadata differs: else it had not been decided to change it.
            Err(Errno::ACCESS | Errno::TXTBSY) => open(OFlags::RDONLY),
            opened => opened,
        };
        let file = file.map_err(failed)?;
        let stat = rustix::fs::fstat(&file).map_err(failed)?;
        if (stat.st_dev, stat.st_ino) != id || stat.st_nlink != 1 {
            // Somebody else is at work here.
            return Err(failed(Errno::BUSY));
        }
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        self.file = Some(OpenFile::new(entry, file, Some(size)));
        Ok(())
    }

    /// Appends to the file that was begun.
    pub(crate) fn write(&mut self, data: &Bytes) -> Result<(), FolderError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let written = file.write(data);
        let path = file.entry.path.clone();
        written.map_err(|error| self.failed("write", &path, error))
    }

    /// Goes on behind bytes of the file that are there already.
    pub(crate) fn skip(&mut self, bytes: u64) {
        if let Some(file) = &mut self.file {
            file.skip(bytes);
        }
    }

    /// Ends the file that was begun.
    pub(crate) fn finish_file(&mut self) -> Result<(), FolderError> {
        let Some(file) = self.file.take() else {
            return Ok(());
        };
        let existing = file.is_existing();
        let OpenFile { entry, file, .. } = file.finish().map_err(|(entry, error)| self.failed("write", &entry.path, error))?;
        self.attributes
            .set(file.as_fd(), &entry.path, &entry.metadata, existing)
            .map_err(|(action, error)| self.failed(action, &entry.path, error))
    }

    /// Ends the restore: folders get their attributes, everything is made durable. Returns what could not be restored for lack of rights.
    pub(crate) fn finish(mut self) -> Result<Vec<Finding>, FolderError> {
        while let Some(folder) = self.open.pop() {
            self.leave(folder)?;
        }
        rustix::fs::syncfs(&self.root).map_err(|error| self.failed("sync", &EntryPath::default(), error))?;
        Ok(self.attributes.skipped.findings())
    }

    fn current(&self) -> BorrowedFd<'_> {
        self.open.last().map_or(self.root.as_fd(), |folder| folder.folder.as_fd())
    }

    /// Leaves folders until the one that `path` is in is the current one.
    fn go_to_parent_of(&mut self, path: &EntryPath) -> Result<(), FolderError> {
        let parent = parent_of(path);
        while self
            .open
            .last()
            .is_some_and(|folder| folder.path.as_bytes() != parent && !is_below(parent, folder.path.as_bytes()))
        {
            if let Some(folder) = self.open.pop() {
                self.leave(folder)?;
            }
        }
        if self.open.last().map_or(&b""[..], |folder| folder.path.as_bytes()) == parent {
            return Ok(());
        }
        Err(self.failed("create", path, Errno::NOENT))
    }

    fn leave(&mut self, folder: OpenFolder) -> Result<(), FolderError> {
        let OpenFolder {
            path,
            folder,
            metadata,
            leaving,
        } = folder;
        let existing = match leaving {
            Leaving::Leave => return Ok(()),
            Leaving::Set { existing } => existing,
            Leaving::SetIfTouched => {
                let stat = rustix::fs::fstat(&folder).map_err(|error| self.failed("look at", &path, error))?;
                if attributes::same_time(&stat, &metadata) {
                    return Ok(());
                }
                true
            }
        };
        self.attributes
            .set(folder.as_fd(), &path, &metadata, existing)
            .map_err(|(action, error)| self.failed(action, &path, error))
    }

    /// Another name for the file at `first`.
    fn link(&mut self, first: &EntryPath, path: &EntryPath) -> Result<(), FolderError> {
        // Not to read it, which the permissions that it has by now may forbid.
        let folder = compare::open_below(self.root.as_fd(), parent_of(first), PASSAGE).map_err(|error| self.failed("link", path, error))?;
        rustix::fs::linkat(&folder, name_of(first), self.current(), name_of(path), AtFlags::empty())
            .map_err(|error| self.failed("link", path, error))
    }

    /// Removes what is in the place of an entry; a folder only if it is empty.
    fn remove_obstacle(&self, path: &EntryPath) -> Result<(), FolderError> {
        let remove = |flags| rustix::fs::unlinkat(self.current(), name_of(path), flags);
        match remove(AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => remove(AtFlags::REMOVEDIR),
            removed => removed,
        }
        .map_err(|error| self.failed("replace", path, error))
    }

    fn make_node(&mut self, entry: &SnapshotEntry, kind: FileType, device: u64) -> Result<(), FolderError> {
        match rustix::fs::mknodat(self.current(), name_of(&entry.path), kind, Mode::from_raw_mode(0o600), device) {
            Ok(()) => self.set_by_name(entry),
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL) => {
                self.attributes.skipped.add(Shortfall::Nodes, &entry.path);
                Ok(())
            }
            Err(error) => Err(self.failed("create", &entry.path, error)),
        }
    }

    fn set_by_name(&mut self, entry: &SnapshotEntry) -> Result<(), FolderError> {
        let folder = self.open.last().map_or(self.root.as_fd(), |folder| folder.folder.as_fd());
        self.attributes
            .set_by_name(folder, name_of(&entry.path), &entry.path, &entry.metadata)
            .map_err(|(action, error)| self.failed(action, &entry.path, error))
    }

    fn failed(&self, action: &'static str, path: &EntryPath, error: Errno) -> FolderError {
        FolderError::new(action, self.target.join(OsStr::from_bytes(path.as_bytes())), error)
    }
}

fn is_empty(folder: &OwnedFd) -> rustix::io::Result<bool> {
    for entry in Dir::read_from(folder)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn name_of(path: &EntryPath) -> &OsStr {
    OsStr::from_bytes(path.components().next_back().unwrap_or_default())
}

fn parent_of(path: &EntryPath) -> &[u8] {
    let bytes = path.as_bytes();
    let end = bytes.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    &bytes[..end]
}

fn is_below(path: &[u8], ancestor: &[u8]) -> bool {
    path.strip_prefix(ancestor).is_some_and(|rest| rest.first() == Some(&b'/'))
}

#[cfg(test)]
mod tests;
