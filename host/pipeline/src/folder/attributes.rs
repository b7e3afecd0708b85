//! Metadata of what is on the disk: reading it, to compare it with a snapshot's, and setting it.
//!
//! In this order: the owner, which takes permissions and capabilities away; extended attributes, which need the permission to write; permissions; and
//! last the time, which everything before it changes, and which tells a later restore that the entry is done.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    os::{
        fd::{AsRawFd as _, BorrowedFd},
        unix::ffi::OsStrExt as _,
    },
    path::PathBuf,
};

use bulkhead_model::{EntryMetadata, EntryPath, ExtendedAttribute, NodeType, Timestamp};
use rustix::{
    buffer::spare_capacity,
    fs::{AtFlags, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags},
    io::Errno,
};

use crate::folder::{
    decision::{Shortfall, Skipped},
    owners::{Owners, without_set_id},
};

/// Most bytes that the names of an entry's extended attributes, or the value of one, take on Linux.
const MAX_ATTRIBUTES: usize = 64 << 10;

/// The extended attribute with the capabilities of a program.
pub(crate) const CAPABILITIES: &[u8] = b"security.capability";

/// Whose an entry is now.
struct Owned {
    /// The permission bits that go with that.
    mode: u32,
    /// Whether it is the snapshot's owner.
    is_owner: bool,
}

/// What was being done when it failed.
pub(crate) type Failed = (&'static str, Errno);

/// Sets what a snapshot says of an entry.
pub(crate) struct Attributes {
    owners: Owners,
    pub(crate) skipped: Skipped,
}

impl Attributes {
    pub(crate) fn new(owners: Owners) -> Self {
        Self {
            owners,
            skipped: Skipped::default(),
        }
    }

    /// Of an open file or folder; with `existing`, one that has attributes of its own already.
    pub(crate) fn set(&mut self, file: BorrowedFd<'_>, path: &EntryPath, metadata: &EntryMetadata, existing: bool) -> Result<(), Failed> {
        let stat = rustix::fs::fstat(file).map_err(|error| ("look at", error))?;
        let chown = |uid, gid| rustix::fs::fchown(file, uid, gid);
        let Owned { mode, is_owner } = self.set_owner(path, metadata, &stat, chown)?;
        if existing && stat.st_mode & 0o600 != 0o600 {
            // It forbids what follows.
            let mode = Mode::from_raw_mode(stat.st_mode & 0o777 | 0o600);
            rustix::fs::fchmod(file, mode).map_err(|error| ("set the permissions of", error))?;
        }
        let wanted = self.settable(path, metadata, is_owner);
        if existing {
            self.remove_others(file, path, &wanted)?;
        }
        for attribute in wanted {
            let set = rustix::fs::fsetxattr(file, OsStr::from_bytes(&attribute.name), &attribute.value, XattrFlags::empty());
            self.allow(set, path)?;
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode)).map_err(|error| ("set the permissions of", error))?;
        match metadata.modified {
            Some(modified) => rustix::fs::futimens(file, &timestamps(modified)).map_err(|error| ("set the time of", error)),
            None => Ok(()),
        }
    }

    /// Of what was just made as `name` in `folder`, and can't be opened: a link, a pipe, a socket, a device.
    pub(crate) fn set_by_name(
        &mut self,
        folder: BorrowedFd<'_>,
        name: &OsStr,
        path: &EntryPath,
        metadata: &EntryMetadata,
    ) -> Result<(), Failed> {
        let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| ("look at", error))?;
        let chown = |uid, gid| rustix::fs::chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW);
        let Owned { mode, is_owner } = self.set_owner(path, metadata, &stat, chown)?;
        let node = by_path(folder, name);
        for attribute in self.settable(path, metadata, is_owner) {
            let set = rustix::fs::lsetxattr(&node, OsStr::from_bytes(&attribute.name), &attribute.value, XattrFlags::empty());
            self.allow(set, path)?;
        }
        if !matches!(metadata.node_type, NodeType::Symlink(_)) {
            set_mode(folder, name, &stat, mode).map_err(|error| ("set the permissions of", error))?;
        }
        match metadata.modified {
            Some(modified) => rustix::fs::utimensat(folder, name, &timestamps(modified), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| ("set the time of", error)),
            None => Ok(()),
        }
    }

    /// Sets the owner; what goes with the one that it has now.
    fn set_owner(
        &mut self,
        path: &EntryPath,
        metadata: &EntryMetadata,
        stat: &Stat,
        chown: impl Fn(Option<Uid>, Option<Gid>) -> rustix::io::Result<()>,
    ) -> Result<Owned, Failed> {
        let wanted = self.owners.of(metadata);
        let (mut mode, mut is_owner) = (wanted.mode, wanted.is_owner);
        if let Some((uid, gid)) = wanted.ids
            && (stat.st_uid, stat.st_gid) != (uid, gid)
        {
            match chown(Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))) {
                Ok(()) => {}
                Err(Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL) => {
                    self.skipped.add(Shortfall::Owner, path);
                    (mode, is_owner) = (without_set_id(mode), false);
                }
                Err(error) => return Err(("set the owner of", error)),
            }
        }
        if mode != metadata.mode & 0o7777 {
            self.skipped.add(Shortfall::SetId, path);
        }
        Ok(Owned { mode, is_owner })
    }

    /// The extended attributes to set. Capabilities give whoever runs a program more rights, as set-user-id does, and stay away with it.
    fn settable<'m>(&mut self, path: &EntryPath, metadata: &'m EntryMetadata, is_owner: bool) -> Vec<&'m ExtendedAttribute> {
        let all = metadata.extended_attributes.iter();
        let (settable, refused): (Vec<_>, Vec<_>) = all.partition(|attribute| is_owner || attribute.name != CAPABILITIES);
        if !refused.is_empty() {
            self.skipped.add(Shortfall::SetId, path);
        }
        settable
    }

    /// Removes the extended attributes that are not wanted.
    fn remove_others(&mut self, file: BorrowedFd<'_>, path: &EntryPath, all_wanted: &[&ExtendedAttribute]) -> Result<(), Failed> {
        for name in extended(file).map_err(|error| ("list the extended attributes of", error))?.keys() {
            if !all_wanted.iter().any(|wanted| wanted.name == *name) {
                self.allow(rustix::fs::fremovexattr(file, OsStr::from_bytes(name)), path)?;
            }
        }
        Ok(())
    }

    fn allow(&mut self, result: rustix::io::Result<()>, path: &EntryPath) -> Result<(), Failed> {
        match result {
            Ok(()) => Ok(()),
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::ACCESS | Errno::NOENT) => {
                self.skipped.add(Shortfall::Attributes, path);
                Ok(())
            }
            Err(error) => Err(("set an extended attribute of", error)),
        }
    }
}

/// Sets the permissions of the very node that `stat` was found of: chmod follows links, and whoever may write to the folder may have put one there.
fn set_mode(folder: BorrowedFd<'_>, name: &OsStr, stat: &Stat, mode: u32) -> rustix::io::Result<()> {
    let node = rustix::fs::openat(folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let now = rustix::fs::fstat(&node)?;
    if (now.st_dev, now.st_ino) != (stat.st_dev, stat.st_ino) {
        return Err(Errno::BUSY);
    }
    rustix::fs::chmod(format!("/proc/self/fd/{}", node.as_raw_fd()), Mode::from_raw_mode(mode))
}

/// The extended attributes of an open file or folder that are an operator's own to set: those of users, access control lists, and capabilities. Labels of the
/// system's security modules are not among them.
pub(crate) fn extended(file: BorrowedFd<'_>) -> rustix::io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    managed(
        rustix::fs::flistxattr_query(file),
        |names| rustix::fs::flistxattr(file, spare_capacity(names)),
        |name, value| rustix::fs::fgetxattr(file, name, spare_capacity(value)),
    )
}

/// The same of what `name` in `folder` is, which can't be opened.
pub(crate) fn extended_by_name(folder: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let path = by_path(folder, name);
    managed(
        rustix::fs::llistxattr_query(&path),
        |names| rustix::fs::llistxattr(&path, spare_capacity(names)),
        |name, value| rustix::fs::lgetxattr(&path, name, spare_capacity(value)),
    )
}

/// Of the names that `list` appends, `bytes` in all, those that are managed, with what `get` appends of each.
fn managed(
    bytes: rustix::io::Result<usize>,
    list: impl FnOnce(&mut Vec<u8>) -> rustix::io::Result<usize>,
    get: impl Fn(&OsStr, &mut Vec<u8>) -> rustix::io::Result<usize>,
) -> rustix::io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut found = BTreeMap::new();
    match bytes {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(found),
        Ok(_) => {}
        Err(error) => return Err(error),
    }
    let mut names = Vec::with_capacity(MAX_ATTRIBUTES);
    list(&mut names)?;
    let mut value = Vec::with_capacity(MAX_ATTRIBUTES);
    for name in names.split(|byte| *byte == 0).filter(|name| is_managed(name)) {
        value.clear();
        get(OsStr::from_bytes(name), &mut value)?;
        found.insert(name.to_vec(), value.clone());
    }
    Ok(found)
}

/// A name in an open folder, for calls that only take a path.
fn by_path(folder: BorrowedFd<'_>, name: &OsStr) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name)
}

fn is_managed(name: &[u8]) -> bool {
    name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_") || name == CAPABILITIES
}

/// Whether `found` has what is `wanted` of the attributes that [`extended`] lists, and nothing else.
pub(crate) fn same_extended(found: &BTreeMap<Vec<u8>, Vec<u8>>, wanted: &[ExtendedAttribute]) -> bool {
    let managed = wanted.iter().filter(|attribute| is_managed(&attribute.name));
    managed.clone().count() == found.len()
        && managed
            .into_iter()
            .all(|attribute| found.get(&attribute.name) == Some(&attribute.value))
}

/// Whether `stat` has the time that the snapshot has; not where that has none.
pub(crate) fn same_time(stat: &Stat, metadata: &EntryMetadata) -> bool {
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).ok();
    metadata
        .modified
        .is_some_and(|time| time.seconds == stat.st_mtime && Some(time.nanoseconds) == nanoseconds)
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
