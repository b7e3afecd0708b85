//! Compares a snapshot's entries with what is in a folder: [`Existing`], the eyes of `restore --delta`.
//!
//! As in the writer, every name is looked up relative to a folder that is held open and was opened without following links.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
};

use bulkhead_model::{EntryPath, NodeType};
use bulkhead_vault::{Chunk, SnapshotEntry};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat},
    io::Errno,
};
use sha2::{Digest as _, Sha256};

use crate::folder::{
    PASSAGE,
    attributes::{self, CAPABILITIES},
    decision::{FileId, Shortfall, Skipped},
    name_of,
    owners::{Owners, without_set_id},
    parent_of,
};

/// One read of a file that is compared.
const READ_SIZE: usize = 256 << 10;

/// What is in the place of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// Something that is replaced.
    Other,
    /// The entry.
    Same,
    /// The same file or folder with another content (`true` for each chunk that differs; none for a folder) or other metadata.
    Changed(FileId, Box<[bool]>),
}

/// What is in the folder that a restore goes to.
pub(crate) struct Existing {
    root: OwnedFd,
    /// The folder that was looked into last.
    parent: Option<(Box<[u8]>, OwnedFd)>,
    owners: Owners,
    user: u32,
    checksum: bool,
    buffer: Box<[u8]>,
    /// Bytes that were read.
    pub(crate) compared: u64,
    pub(crate) skipped: Skipped,
}

impl Existing {
    /// In `root`; with `checksum`, files of the same size and time are compared, too.
    pub(crate) fn new(root: OwnedFd, owners: Owners, checksum: bool) -> Self {
        Self {
            root,
            parent: None,
            owners,
            user: rustix::process::geteuid().as_raw(),
            checksum,
            buffer: vec![0; READ_SIZE].into(),
            compared: 0,
            skipped: Skipped::default(),
        }
    }

    /// What is in the place of `entry`, whose content has these chunks.
    pub(crate) fn find(&mut self, entry: &SnapshotEntry, chunks: &[Chunk]) -> rustix::io::Result<Found> {
        if !self.enter_parent(&entry.path)? {
            return Ok(Found::Nothing);
        }
        let folder = self.parent.as_ref().map_or(self.root.as_fd(), |(_, folder)| folder.as_fd());
        let folder = rustix::io::dup(folder)?;
        let stat = match rustix::fs::statat(&folder, name_of(&entry.path), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        let file_type = FileType::from_raw_mode(stat.st_mode);
        let same_or_other = |same: bool| if same { Found::Same } else { Found::Other };
        let found = match (&entry.metadata.node_type, file_type) {
            (NodeType::File, FileType::RegularFile) => self.find_file(folder.as_fd(), entry, chunks)?,
            (NodeType::Directory, FileType::Directory) => self.find_folder(folder.as_fd(), entry)?,
            (NodeType::Symlink(target), FileType::Symlink) => {
                let found = rustix::fs::readlinkat(&folder, name_of(&entry.path), Vec::new())?;
                let same = found.as_bytes() == target && self.same_owner(&stat, entry) && attributes::same_time(&stat, &entry.metadata);
                same_or_other(same && self.same_extended_by_name(folder.as_fd(), entry)?)
            }
            (NodeType::Fifo, FileType::Fifo) | (NodeType::Socket, FileType::Socket) => {
                same_or_other(self.same_metadata(&stat, entry) && self.same_extended_by_name(folder.as_fd(), entry)?)
            }
            (NodeType::CharacterDevice(number), FileType::CharacterDevice) | (NodeType::BlockDevice(number), FileType::BlockDevice) => {
                let same = stat.st_rdev == *number && self.same_metadata(&stat, entry);
                same_or_other(same && self.same_extended_by_name(folder.as_fd(), entry)?)
            }
            _ => Found::Other,
        };
        if found == Found::Same && self.misses_owner(&stat, entry) {
            self.skipped.add(Shortfall::Owner, &entry.path);
        }
        Ok(found)
    }

    /// Whether two paths are names of one file.
    pub(crate) fn same_file(&mut self, one: &EntryPath, other: &EntryPath) -> rustix::io::Result<bool> {
        let one = self.file_id(one)?;
        Ok(one.is_some() && one == self.file_id(other)?)
    }

    /// Whether anything has that name.
    pub(crate) fn exists(&mut self, path: &EntryPath) -> rustix::io::Result<bool> {
        Ok(self.file_id(path)?.is_some())
    }

    fn file_id(&mut self, path: &EntryPath) -> rustix::io::Result<Option<FileId>> {
        if !self.enter_parent(path)? {
            return Ok(None);
        }
        let folder = self.parent.as_ref().map_or(self.root.as_fd(), |(_, folder)| folder.as_fd());
        match rustix::fs::statat(folder, name_of(path), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some((stat.st_dev, stat.st_ino))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the folder that `path` is in is there.
    fn enter_parent(&mut self, path: &EntryPath) -> rustix::io::Result<bool> {
        let parent = parent_of(path);
        if parent.is_empty() {
            self.parent = None;
            return Ok(true);
        }
        if self.parent.as_ref().is_some_and(|(known, _)| **known == *parent) {
            return Ok(true);
        }
        match open_below(self.root.as_fd(), parent, PASSAGE) {
            Ok(folder) => {
                self.parent = Some((parent.into(), folder));
                Ok(true)
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn find_folder(&self, parent: BorrowedFd<'_>, entry: &SnapshotEntry) -> rustix::io::Result<Found> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(parent, name_of(&entry.path), flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&folder)?;
        if self.same_metadata(&stat, entry) && self.same_extended(folder.as_fd(), entry)? {
            return Ok(Found::Same);
        }
        Ok(Found::Changed((stat.st_dev, stat.st_ino), Box::default()))
    }

    fn find_file(&mut self, parent: BorrowedFd<'_>, entry: &SnapshotEntry, chunks: &[Chunk]) -> rustix::io::Result<Found> {
        let open = |flags| {
            let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            match rustix::fs::openat(parent, name_of(&entry.path), flags, Mode::empty()) {
                Ok(file) => Ok(Some(file)),
                Err(Errno::ACCESS | Errno::PERM | Errno::TXTBSY) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let Some(file) = open(OFlags::RDONLY)? else {
            return Ok(Found::Other);
        };
        let stat = rustix::fs::fstat(&file)?;
        let same_size = u64::try_from(stat.st_size) == Ok(entry.size);
        let differing = if same_size && !self.checksum && attributes::same_time(&stat, &entry.metadata) {
            vec![false; chunks.len()]
        } else {
            self.differing(file.as_fd(), chunks)?
        };
        let same_content = same_size && !differing.contains(&true);
        let has_other_names = stat.st_nlink > 1;
        if same_content && self.same_metadata(&stat, entry) && self.same_extended(file.as_fd(), entry)? {
            let is_alone = !has_other_names || entry.metadata.links > 1;
            return Ok(if is_alone { Found::Same } else { Found::Other });
        }
        // What has another name, perhaps outside of the folder, is not changed; nor what can't be.
        let is_changeable = !has_other_names && (same_content || open(OFlags::WRONLY)?.is_some());
        Ok(if is_changeable {
            Found::Changed((stat.st_dev, stat.st_ino), differing.into())
        } else {
            Found::Other
        })
    }

    /// For each chunk whether the file has something else in its place.
    fn differing(&mut self, file: BorrowedFd<'_>, chunks: &[Chunk]) -> rustix::io::Result<Vec<bool>> {
        let mut begin = 0;
        let mut differing = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let digest = self.digest(file, begin, chunk.length)?;
            differing.push(digest.as_ref() != Some(chunk.id.as_bytes()));
            begin += chunk.length;
        }
        Ok(differing)
    }

    /// SHA-256 of a part of a file; `None` where it ends before.
    fn digest(&mut self, file: BorrowedFd<'_>, begin: u64, length: u64) -> rustix::io::Result<Option<[u8; 32]>> {
        let mut digest = Sha256::new();
        let mut done = 0;
        while done < length {
            let wanted = (length - done).min(READ_SIZE as u64) as usize;
            let count = match rustix::io::pread(file, &mut self.buffer[..wanted], begin + done) {
                Ok(0) => return Ok(None),
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error),
            };
            digest.update(&self.buffer[..count]);
            done += count as u64;
            self.compared += count as u64;
        }
        Ok(Some(digest.finalize().into()))
    }

    fn same_metadata(&self, stat: &Stat, entry: &SnapshotEntry) -> bool {
        let mut mode = self.owners.of(&entry.metadata).mode;
        if self.misses_owner(stat, entry) {
            mode = without_set_id(mode);
        }
        stat.st_mode & 0o7777 == mode && self.same_owner(stat, entry) && attributes::same_time(stat, &entry.metadata)
    }

    fn same_owner(&self, stat: &Stat, entry: &SnapshotEntry) -> bool {
        let wanted = self.owners.of(&entry.metadata).ids;
        wanted.is_none_or(|wanted| wanted == (stat.st_uid, stat.st_gid)) || self.misses_owner(stat, entry)
    }

    /// Whether it is ours and should be somebody else's, whom only root could give it to.
    fn misses_owner(&self, stat: &Stat, entry: &SnapshotEntry) -> bool {
        let wanted = self.owners.of(&entry.metadata).ids;
        self.user != 0 && stat.st_uid == self.user && wanted.is_some_and(|(uid, _)| uid != self.user)
    }

    fn same_extended(&self, file: BorrowedFd<'_>, entry: &SnapshotEntry) -> rustix::io::Result<bool> {
        Ok(self.same_managed(attributes::extended(file)?, entry))
    }

    fn same_extended_by_name(&self, parent: BorrowedFd<'_>, entry: &SnapshotEntry) -> rustix::io::Result<bool> {
        let found = attributes::extended_by_name(parent, name_of(&entry.path))?;
        Ok(self.same_managed(found, entry))
    }

    fn same_managed(&self, mut found: BTreeMap<Vec<u8>, Vec<u8>>, entry: &SnapshotEntry) -> bool {
        let mut wanted = entry.metadata.extended_attributes.clone();
        // Only root sets them, and only for the snapshot's owner.
        if self.user != 0 {
            found.remove(CAPABILITIES);
        }
        if self.user != 0 || !self.owners.of(&entry.metadata).is_owner {
            wanted.retain(|attribute| attribute.name != CAPABILITIES);
        }
        attributes::same_extended(&found, &wanted)
    }
}

/// Opens the folder at `path` below `root`, without following links.
pub(crate) fn open_below(root: BorrowedFd<'_>, path: &[u8], last: OFlags) -> rustix::io::Result<OwnedFd> {
    let mut folder = rustix::io::dup(root)?;
    let mut components = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).peekable();
    if components.peek().is_none() {
        return rustix::fs::openat(&folder, ".", last, Mode::empty());
    }
    while let Some(name) = components.next() {
        let flags = if components.peek().is_some() { PASSAGE } else { last };
        folder = rustix::fs::openat(&folder, OsStr::from_bytes(name), flags, Mode::empty())?;
    }
    Ok(folder)
}
