//! Writes a snapshot's entries into a folder: [`FolderWriter`], the half of a restore that touches the disk.
//!
//! A snapshot may come from somebody who means harm. Every name is one component, created relative to a folder that is held open and was opened
//! without following links, and nothing is ever created over something that exists: so nothing can land outside the target, whatever links the
//! snapshot contains. Set-user-id bits are dropped where the owner could not be restored.

use std::{
    collections::HashMap,
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use bulkhead_model::{EntryMetadata, EntryPath, Finding, NodeType, Severity, Timestamp};
use bulkhead_vault::{ObjectId, SnapshotEntry};
use bytes::Bytes;
use rustix::{
    fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags},
    io::Errno,
};

const SET_ID_BITS: u32 = 0o6000;
const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// A folder that only leads somewhere else.
const PASSAGE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Something could not be written.
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

/// Writes entries into a folder, in the order of a walk: a folder comes before what is in it.
pub(crate) struct FolderWriter {
    target: PathBuf,
    root: OwnedFd,
    /// Folders from the root to where we are; their metadata is set when they are left, since writing into them changes their times.
    open: Vec<OpenFolder>,
    file: Option<OpenFile>,
    /// First path of each file with several names, by device and inode.
    links: HashMap<Identity, EntryPath>,
    skipped: Skipped,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

/// What two names of one file have in common in a snapshot: device, inode, size, time of modification and content. Device and inode alone could
/// join files of two machines, or of two moments.
type Identity = (u64, u64, u64, Option<(i64, u32)>, Option<ObjectId>);

struct OpenFolder {
    path: EntryPath,
    folder: OwnedFd,
    metadata: Option<EntryMetadata>,
}

struct OpenFile {
    entry: SnapshotEntry,
    file: OwnedFd,
    written: u64,
}

/// What could not be restored for lack of rights: counted, with the first of each kind.
#[derive(Default)]
struct Skipped(Vec<(&'static str, &'static str, u64, String)>);

impl Skipped {
    fn add(&mut self, code: &'static str, what: &'static str, path: &EntryPath) {
        match self.0.iter_mut().find(|(known, ..)| *known == code) {
            Some((.., count, _)) => *count += 1,
            None => self.0.push((code, what, 1, path.to_string())),
        }
    }

    fn findings(&self) -> Vec<Finding> {
        let finding = |(code, what, count, first): &(&'static str, &'static str, u64, String)| Finding {
            severity: Severity::Warning,
            code: (*code).to_owned(),
            message: format!(
                "{what} of {count} {} could not be restored (first: {first})",
                if *count == 1 { "entry" } else { "entries" }
            ),
            hint: Some("restore as root, onto a file system that supports it".to_owned()),
            setting: None,
        };
        self.0.iter().map(finding).collect()
    }
}

impl FolderWriter {
    /// Opens `target`, making it where it does not exist. `NotEmpty` (as [`io::ErrorKind::DirectoryNotEmpty`]) where there is something in it.
    pub(crate) fn open(target: &Path) -> Result<Self, FolderError> {
        let failed = |action, source: io::Error| FolderError {
            action,
            path: target.to_owned(),
            source,
        };
        if let Some(parent) = target.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(|error| failed("create the folder above", error))?;
        }
        match rustix::fs::mkdir(target, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed("create the folder", error.into())),
        }
        // The operator's own path may be a link to a folder; only what is below is ours.
        let flags = FOLDER.difference(OFlags::NOFOLLOW);
        let root = rustix::fs::open(target, flags, Mode::empty()).map_err(|error| failed("open the folder", error.into()))?;
        // Of the folder that was opened, which is not necessarily the one that has this name by now.
        if !is_empty(&root).map_err(|error| failed("list the folder", error.into()))? {
            return Err(failed("restore into", io::ErrorKind::DirectoryNotEmpty.into()));
        }
        Ok(Self {
            target: target.to_owned(),
            root,
            open: Vec::new(),
            file: None,
            links: HashMap::new(),
            skipped: Skipped::default(),
            entries: 0,
            bytes: 0,
        })
    }

    /// Makes the folder at `path`, which the restore itself does not contain, and enters it.
    pub(crate) fn enter(&mut self, path: &EntryPath, metadata: EntryMetadata) -> Result<(), FolderError> {
        self.go_to_parent_of(path)?;
        let name = name_of(path);
        // Nothing that we did not make ourselves is ever entered.
        rustix::fs::mkdirat(self.current(), name, Mode::from_raw_mode(0o700))
            .map_err(|error| self.failed("create the folder", path, error))?;
        let folder =
            rustix::fs::openat(self.current(), name, FOLDER, Mode::empty()).map_err(|error| self.failed("open the folder", path, error))?;
        self.open.push(OpenFolder {
            path: path.clone(),
            folder,
            metadata: Some(metadata),
        });
        Ok(())
    }

    /// Begins `entry`; the content of a file comes by [`FolderWriter::write`] and ends with [`FolderWriter::finish_file`].
    pub(crate) fn begin(&mut self, entry: SnapshotEntry) -> Result<(), FolderError> {
        self.entries += 1;
        if entry.metadata.node_type == NodeType::Directory {
            return self.enter(&entry.path, entry.metadata);
        }
        self.go_to_parent_of(&entry.path)?;
        match &entry.metadata.node_type {
            NodeType::File => self.begin_file(entry),
            NodeType::Symlink(target) => {
                let target = OsStr::from_bytes(target);
                rustix::fs::symlinkat(target, self.current(), name_of(&entry.path))
                    .map_err(|error| self.failed("create the link", &entry.path, error))?;
                self.set_link_attributes(&entry)
            }
            NodeType::Fifo => self.make_node(&entry, FileType::Fifo, 0),
            NodeType::Socket => self.make_node(&entry, FileType::Socket, 0),
            NodeType::CharacterDevice(number) => self.make_node(&entry, FileType::CharacterDevice, *number),
            NodeType::BlockDevice(number) => self.make_node(&entry, FileType::BlockDevice, *number),
            NodeType::Directory => Ok(()),
        }
    }

    fn begin_file(&mut self, entry: SnapshotEntry) -> Result<(), FolderError> {
        let EntryMetadata {
            device, inode, modified, ..
        } = entry.metadata;
        let identity = (
            device,
            inode,
            entry.size,
            modified.map(|time| (time.seconds, time.nanoseconds)),
            entry.content,
        );
        if entry.metadata.links > 1 && inode != 0 && device != 0 {
            if let Some(first) = self.links.get(&identity).cloned() {
                return self.link(&first, &entry.path);
            }
            self.links.insert(identity, entry.path.clone());
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.current(), name_of(&entry.path), flags, Mode::from_raw_mode(0o600))
            .map_err(|error| self.failed("create", &entry.path, error))?;
        self.file = Some(OpenFile { entry, file, written: 0 });
        Ok(())
    }

    /// Appends to the file that was begun; a further name of a file that is there already takes nothing. Zeros become a hole.
    pub(crate) fn write(&mut self, data: &Bytes) -> Result<(), FolderError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        if data.iter().any(|byte| *byte != 0) {
            let mut rest = &data[..];
            let mut at = file.written;
            while !rest.is_empty() {
                match rustix::io::pwrite(&file.file, rest, at) {
                    Ok(count) => {
                        rest = &rest[count..];
                        at += count as u64;
                    }
                    Err(Errno::INTR) => {}
                    Err(error) => {
                        let path = file.entry.path.clone();
                        return Err(self.failed("write", &path, error));
                    }
                }
            }
        }
        file.written += data.len() as u64;
        self.bytes += data.len() as u64;
        Ok(())
    }

    /// Ends the file that was begun.
    pub(crate) fn finish_file(&mut self) -> Result<(), FolderError> {
        let Some(OpenFile { entry, file, written }) = self.file.take() else {
            return Ok(());
        };
        rustix::fs::ftruncate(&file, written).map_err(|error| self.failed("write", &entry.path, error))?;
        self.set_attributes(file.as_fd(), &entry.path, &entry.metadata)
    }

    /// Ends the restore: folders get their attributes, everything is made durable. Returns what could not be restored for lack of rights.
    pub(crate) fn finish(mut self) -> Result<Vec<Finding>, FolderError> {
        while let Some(folder) = self.open.pop() {
            self.leave(folder)?;
        }
        rustix::fs::syncfs(&self.root).map_err(|error| self.failed("sync", &EntryPath::default(), error))?;
        Ok(self.skipped.findings())
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
        match folder.metadata {
            Some(metadata) => self.set_attributes(folder.folder.as_fd(), &folder.path, &metadata),
            None => Ok(()),
        }
    }

    /// Another name for the file at `first`.
    fn link(&mut self, first: &EntryPath, path: &EntryPath) -> Result<(), FolderError> {
        let mut folder = rustix::io::dup(&self.root).map_err(|error| self.failed("link", path, error))?;
        let mut components: Vec<&[u8]> = first.components().collect();
        let name = components.pop().unwrap_or_default();
        for component in components {
            // Not to read it, which the permissions that it has by now may forbid.
            folder = rustix::fs::openat(&folder, OsStr::from_bytes(component), PASSAGE, Mode::empty())
                .map_err(|error| self.failed("link", path, error))?;
        }
        rustix::fs::linkat(&folder, OsStr::from_bytes(name), self.current(), name_of(path), AtFlags::empty())
            .map_err(|error| self.failed("link", path, error))
    }

    fn make_node(&mut self, entry: &SnapshotEntry, kind: FileType, device: u64) -> Result<(), FolderError> {
        match rustix::fs::mknodat(self.current(), name_of(&entry.path), kind, Mode::from_raw_mode(0o600), device) {
            Ok(()) => self.set_link_attributes(entry),
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL) => {
                self.skipped.add("nodes-skipped", "the device nodes or sockets", &entry.path);
                Ok(())
            }
            Err(error) => Err(self.failed("create", &entry.path, error)),
        }
    }

    /// Owner, permissions, extended attributes and time of an open file or folder; the time last, because the others may change it.
    fn set_attributes(&mut self, file: BorrowedFd<'_>, path: &EntryPath, metadata: &EntryMetadata) -> Result<(), FolderError> {
        let owned = self.set_owner(path, metadata, |uid, gid| rustix::fs::fchown(file, uid, gid))?;
        let mode = if owned { metadata.mode } else { metadata.mode & !SET_ID_BITS };
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode & 0o7777)).map_err(|error| self.failed("set the permissions of", path, error))?;
        for attribute in &metadata.extended_attributes {
            match rustix::fs::fsetxattr(file, OsStr::from_bytes(&attribute.name), &attribute.value, XattrFlags::empty()) {
                Ok(()) => {}
                Err(Errno::PERM | Errno::OPNOTSUPP | Errno::ACCESS) => self.skipped.add("attributes-skipped", "extended attributes", path),
                Err(error) => return Err(self.failed("set an extended attribute of", path, error)),
            }
        }
        match metadata.modified {
            Some(modified) => {
                rustix::fs::futimens(file, &timestamps(modified)).map_err(|error| self.failed("set the time of", path, error))
            }
            None => Ok(()),
        }
    }

    /// The same by name, for what can't be opened.
    fn set_link_attributes(&mut self, entry: &SnapshotEntry) -> Result<(), FolderError> {
        let (path, metadata) = (&entry.path, &entry.metadata);
        let folder = rustix::io::dup(self.current()).map_err(|error| self.failed("open the folder of", path, error))?;
        let name = name_of(path);
        let owned = self.set_owner(path, metadata, |uid, gid| {
            rustix::fs::chownat(&folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
        })?;
        if !matches!(metadata.node_type, NodeType::Symlink(_)) {
            let mode = if owned { metadata.mode } else { metadata.mode & !SET_ID_BITS };
            // We made it a moment ago, so it is no link to follow.
            rustix::fs::chmodat(&folder, name, Mode::from_raw_mode(mode & 0o7777), AtFlags::empty())
                .map_err(|error| self.failed("set the permissions of", path, error))?;
        }
        match metadata.modified {
            Some(modified) => rustix::fs::utimensat(&folder, name, &timestamps(modified), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| self.failed("set the time of", path, error)),
            None => Ok(()),
        }
    }

    /// Whether the owner is now the snapshot's.
    fn set_owner(
        &mut self,
        path: &EntryPath,
        metadata: &EntryMetadata,
        chown: impl Fn(Option<Uid>, Option<Gid>) -> rustix::io::Result<()>,
    ) -> Result<bool, FolderError> {
        let (Some(uid), Some(gid)) = (valid(metadata.uid), valid(metadata.gid)) else {
            return Ok(false);
        };
        match chown(Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))) {
            Ok(()) => Ok(true),
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL) => {
                self.skipped.add("owners-skipped", "the owner", path);
                Ok(false)
            }
            Err(error) => Err(self.failed("set the owner of", path, error)),
        }
    }

    fn failed(&self, action: &'static str, path: &EntryPath, error: Errno) -> FolderError {
        FolderError {
            action,
            path: self.target.join(OsStr::from_bytes(path.as_bytes())),
            source: error.into(),
        }
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

/// `u32::MAX` means "don't change" to the operating system.
fn valid(id: u32) -> Option<u32> {
    (id != u32::MAX).then_some(id)
}

fn timestamps(modified: Timestamp) -> Timestamps {
    let time = Timespec {
        tv_sec: modified.seconds,
        tv_nsec: modified.nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
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
