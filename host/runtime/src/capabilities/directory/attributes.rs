//! Modes, owners, times and extended attributes, by handle or by a single name that is never followed.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use bulkhead_model::{ExtendedAttribute, Fault, FaultKind, Timestamp};
use rustix::fs::{AtFlags, FileType as Kind, Gid, Mode, OFlags, RawMode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::{Errno, Result};

use super::{Attributes, FileType, SpecialFile, Stat};

/// Most bytes of one attribute's value, and of all names: the kernel's own bounds.
const MAX_XATTR: usize = 64 << 10;
/// Most bytes of all attributes of a node together, names and values: some file systems take gigabytes of them.
const MAX_XATTRS: usize = 1 << 20;

pub(super) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
        Kind::CharacterDevice => FileType::CharacterDevice,
        Kind::BlockDevice => FileType::BlockDevice,
        Kind::RegularFile | Kind::Unknown => FileType::Regular,
    }
}

pub(super) fn convert(stat: &rustix::fs::Stat) -> Stat {
    let kind = file_type(Kind::from_raw_mode(stat.st_mode));
    Stat {
        file_type: kind,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        modified: timestamp(stat.st_mtime, stat.st_mtime_nsec),
        changed: timestamp(stat.st_ctime, stat.st_ctime_nsec),
        device: stat.st_dev,
        inode: stat.st_ino,
        links: stat.st_nlink,
        raw_device: if matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
            stat.st_rdev
        } else {
            0
        },
    }
}

fn timestamp(seconds: i64, nanoseconds: u64) -> Timestamp {
    Timestamp {
        seconds,
        nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
    }
}

/// Bits and namespaces by which a file gives its rights to whoever runs it.
const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const PRIVILEGED_NAMESPACES: [&[u8]; 2] = [b"security.", b"trusted."];

/// Refuses what would let a plugin leave a program behind that others run with the rights of the host's user. Of a folder, set-gid only says which group
/// new files in it belong to.
pub(super) fn refuse_set_id(mode: Option<u32>, kind: FileType) -> std::result::Result<(), Fault> {
    let refused = if kind == FileType::Directory { SET_UID } else { SET_UID | SET_GID };
    match mode {
        Some(mode) if mode & refused != 0 => Err(Fault::new(
            FaultKind::PermissionDenied,
            format!("the mode {mode:o} has a set-uid or set-gid bit, which a plugin cannot set"),
        )),
        _ => Ok(()),
    }
}

/// As [`refuse_set_id`], of extended attributes (file capabilities are one).
pub(super) fn refuse_privileged_namespace(name: &[u8]) -> std::result::Result<(), Fault> {
    if PRIVILEGED_NAMESPACES.iter().any(|namespace| name.starts_with(namespace)) {
        let message = format!("a plugin cannot set the extended attribute `{}`", String::from_utf8_lossy(name));
        return Err(Fault::new(FaultKind::PermissionDenied, message));
    }
    Ok(())
}

/// Changes an open file or folder.
pub(super) fn change(file: BorrowedFd<'_>, attributes: &Attributes) -> Result<()> {
    if attributes.uid.is_some() || attributes.gid.is_some() {
        rustix::fs::fchown(file, attributes.uid.map(Uid::from_raw), attributes.gid.map(Gid::from_raw))?;
    }
    if let Some(mode) = attributes.mode {
        rustix::fs::fchmod(file, permissions(mode))?;
    }
    match attributes.modified {
        Some(modified) => rustix::fs::futimens(file, &times(modified)?),
        None => Ok(()),
    }
}

/// Changes what `name` in `parent` stands for, without following a symbolic link.
pub(super) fn change_at(parent: BorrowedFd<'_>, name: &OsStr, attributes: &Attributes) -> Result<()> {
    if attributes.uid.is_some() || attributes.gid.is_some() {
        let (uid, gid) = (attributes.uid.map(Uid::from_raw), attributes.gid.map(Gid::from_raw));
        rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    if let Some(mode) = attributes.mode {
        change_mode(parent, name, permissions(mode))?;
    }
    match attributes.modified {
        Some(modified) => rustix::fs::utimensat(parent, name, &times(modified)?, AtFlags::SYMLINK_NOFOLLOW),
        None => Ok(()),
    }
}

/// `chmod` without following a link. Linux before 6.6 has no such call: the way around is the handle's own name in /proc, as in every libc.
fn change_mode(parent: BorrowedFd<'_>, name: &OsStr, mode: Mode) -> Result<()> {
    let node = rustix::fs::openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    match Kind::from_raw_mode(rustix::fs::fstat(&node)?.st_mode) {
        Kind::Symlink => return Err(Errno::OPNOTSUPP),
        Kind::Directory => {}
        // What is behind the name is known only now.
        _ if mode.as_raw_mode() & SET_GID != 0 => return Err(Errno::PERM),
        _ => {}
    }
    rustix::fs::chmod(format!("/proc/self/fd/{}", node.as_raw_fd()), mode)
}

fn permissions(mode: u32) -> Mode {
    Mode::from_raw_mode(RawMode::from(mode & 0o7777))
}

fn times(modified: Timestamp) -> Result<Timestamps> {
    if modified.nanoseconds >= 1_000_000_000 {
        return Err(Errno::INVAL);
    }
    let last_access = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_OMIT,
    };
    Ok(Timestamps {
        last_access,
        last_modification: Timespec {
            tv_sec: modified.seconds,
            tv_nsec: modified.nanoseconds.into(),
        },
    })
}

/// Opens a regular file or folder for its attributes; `None` for what must not be opened (links, devices, pipes).
fn open_for_attributes(parent: BorrowedFd<'_>, name: &OsStr) -> Result<Option<OwnedFd>> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if !matches!(Kind::from_raw_mode(stat.st_mode), Kind::RegularFile | Kind::Directory) {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty()).map(Some)
}

/// All extended attributes; empty where the file system has none.
pub(super) fn extended_attributes(parent: BorrowedFd<'_>, name: &OsStr) -> std::io::Result<Vec<ExtendedAttribute>> {
    match open_for_attributes(parent, name)? {
        Some(node) => of_open(node.as_fd()),
        None => of_unopened(parent, name),
    }
}

/// As [`extended_attributes`], of what is open.
pub(super) fn of_open(node: BorrowedFd<'_>) -> std::io::Result<Vec<ExtendedAttribute>> {
    let names = attribute_names(rustix::fs::flistxattr_query(node), |names| rustix::fs::flistxattr(node, names))?;
    collect(&names, |name, value| rustix::fs::fgetxattr(node, name, value))
}

/// As [`extended_attributes`], of what must not be opened: a link's are its own. No call of Linux before 6.13 takes a folder and a name: the way around is the
/// folder's handle in /proc.
pub(super) fn of_unopened(parent: BorrowedFd<'_>, name: &OsStr) -> std::io::Result<Vec<ExtendedAttribute>> {
    let path = PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd())).join(name);
    let names = attribute_names(rustix::fs::llistxattr_query(&path), |names| rustix::fs::llistxattr(&path, names))?;
    collect(&names, |name, value| rustix::fs::lgetxattr(&path, name, value))
}

/// The attributes of these `names`, whose values `get` fills in.
fn collect(names: &[u8], get: impl Fn(&OsStr, &mut [u8]) -> Result<usize>) -> std::io::Result<Vec<ExtendedAttribute>> {
    let mut collected = Collected::default();
    let mut value = vec![0; if names.is_empty() { 0 } else { MAX_XATTR }];
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        match get(OsStr::from_bytes(name), &mut value[..]) {
            Ok(length) => collected.add(name, &value[..length])?,
            // Removed meanwhile.
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(collected.attributes)
}

/// All names that `list` fills in, each with a zero behind it. Most files have none (`bytes`), and none costs no buffer.
fn attribute_names(bytes: Result<usize>, list: impl FnOnce(&mut [u8]) -> Result<usize>) -> Result<Vec<u8>> {
    match bytes {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Ok(_) => {}
        Err(error) => return Err(error),
    }
    let mut names = vec![0; MAX_XATTR];
    let length = list(&mut names[..])?;
    names.truncate(length);
    Ok(names)
}

/// The attributes of one node so far, bounded in all.
#[derive(Debug, Default)]
struct Collected {
    attributes: Vec<ExtendedAttribute>,
    bytes: usize,
}

impl Collected {
    fn add(&mut self, name: &[u8], value: &[u8]) -> std::io::Result<()> {
        self.bytes += name.len() + value.len();
        if self.bytes > MAX_XATTRS {
            let message = format!("they have more than {MAX_XATTRS} bytes in all");
            return Err(std::io::Error::new(std::io::ErrorKind::ArgumentListTooLong, message));
        }
        self.attributes.push(ExtendedAttribute {
            name: name.to_vec(),
            value: value.to_vec(),
        });
        Ok(())
    }
}

pub(super) fn set_extended_attribute(parent: BorrowedFd<'_>, name: &OsStr, attribute: &ExtendedAttribute) -> Result<()> {
    let node = open_for_attributes(parent, name)?.ok_or(Errno::OPNOTSUPP)?;
    rustix::fs::fsetxattr(node, OsStr::from_bytes(&attribute.name), &attribute.value, XattrFlags::empty())
}

pub(super) fn remove_extended_attribute(parent: BorrowedFd<'_>, name: &OsStr, attribute: &[u8]) -> Result<()> {
    let node = open_for_attributes(parent, name)?.ok_or(Errno::OPNOTSUPP)?;
    match rustix::fs::fremovexattr(node, OsStr::from_bytes(attribute)) {
        Err(Errno::NODATA) => Err(Errno::NOENT),
        other => other,
    }
}

/// Refuses device nodes: whoever may open one has what is behind it, a whole disk say.
pub(super) fn kind_to_make(node: SpecialFile) -> std::result::Result<Kind, Fault> {
    match node {
        SpecialFile::Fifo => Ok(Kind::Fifo),
        SpecialFile::Socket => Ok(Kind::Socket),
        SpecialFile::CharacterDevice(_) | SpecialFile::BlockDevice(_) => {
            let fault = Fault::new(FaultKind::PermissionDenied, "a plugin cannot make device nodes");
            Err(fault.hint("`bulkhead restore` into a folder, without the plugin, makes them with the rights of its user"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::{Collected, FileType, MAX_XATTR, refuse_privileged_namespace, refuse_set_id};

    #[test]
    fn attributes_of_a_node_are_bounded_in_all() {
        let mut collected = Collected::default();
        let value = vec![0; MAX_XATTR - 4];
        assert!((0..16).all(|_| collected.add(b"user", &value).is_ok()));
        let refused = collected.add(b"user", b"").map_err(|error| error.kind());
        assert_eq!(refused, Err(ErrorKind::ArgumentListTooLong));
    }

    #[test]
    fn what_would_lend_the_hosts_rights_is_refused() {
        for mode in [0o4755, 0o2755, 0o6000] {
            assert!(refuse_set_id(Some(mode), FileType::Regular).is_err(), "{mode:o}");
        }
        assert!(refuse_set_id(Some(0o4755), FileType::Directory).is_err());
        assert!(refuse_set_id(Some(0o2755), FileType::Directory).is_ok());
        assert!(refuse_set_id(Some(0o1777), FileType::Regular).is_ok());
        assert!(refuse_set_id(None, FileType::Regular).is_ok());
        assert!(refuse_privileged_namespace(b"security.capability").is_err());
        assert!(refuse_privileged_namespace(b"trusted.overlay.opaque").is_err());
        assert!(refuse_privileged_namespace(b"user.comment").is_ok());
    }
}
