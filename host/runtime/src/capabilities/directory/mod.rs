//! Folders that the operator granted. Paths are resolved by cap-std below the granted folder, so that neither `..` nor a symbolic link leads out; what
//! cap-std leaves out (owners, modes, times, attributes, fsync) is done on handles and single names below such a resolved folder.
//!
//! Every call goes to the blocking pool, but a read of what the kernel has in memory: a cold disk or a dead NFS server holds up neither the executor nor a
//! limit or cancellation. That costs some ten microseconds a call, on a busy host up to a hundred, which is why a plugin should read and write 256 KiB at a time.

mod attributes;
mod file;
mod folder;
mod listing;
mod lock;
mod names;

use std::path::Path;
use std::sync::Arc;

use bulkhead_model::{Fault, FaultKind, Timestamp};
use cap_std::ambient_authority;
use cap_std::fs::Dir;

pub use file::File;
pub use folder::{Folder, Space};
pub use listing::{DirectoryEntry, Listing};
pub use lock::LockKind;
pub use names::Node;

use super::budget::Descriptor;
use super::{Budget, Granted};
use crate::{Access, DirectoryGrant};

/// The directories of one plugin.
#[derive(Debug, Clone)]
pub struct Directories {
    granted: Granted<DirectoryGrant>,
    budget: Arc<Budget>,
}

/// A granted directory, as the plugin is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedDirectory {
    /// Its name in the TOML.
    pub name: String,
    /// What may be done in it.
    pub access: Access,
    /// The path on the host.
    pub location: String,
}

/// What a name in a folder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "POSIX's words")]
pub enum FileType {
    Regular,
    Directory,
    Symlink,
    Fifo,
    Socket,
    CharacterDevice,
    BlockDevice,
}

/// `stat` of POSIX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "documented in wit/, interface directory")]
pub struct Stat {
    pub file_type: FileType,
    pub size: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub modified: Timestamp,
    pub changed: Timestamp,
    pub device: u64,
    pub inode: u64,
    pub links: u64,
    pub raw_device: u64,
}

/// What to change; `None` leaves as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "documented in wit/, interface directory")]
pub struct Attributes {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub modified: Option<Timestamp>,
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    Modify,
    /// A new file, mode 0600; `already-exists` if there is one.
    Create,
    /// As `Create`, but an existing file is emptied.
    Replace,
}

/// A node without content that can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "POSIX's words")]
pub enum SpecialFile {
    Fifo,
    Socket,
    /// Device number.
    CharacterDevice(u64),
    /// Device number.
    BlockDevice(u64),
}

impl Directories {
    /// Over the plugin's grants, within a budget.
    #[must_use]
    pub fn new(granted: Granted<DirectoryGrant>, budget: Arc<Budget>) -> Self {
        Self { granted, budget }
    }

    /// What was granted.
    #[must_use]
    pub fn grants(&self) -> Vec<GrantedDirectory> {
        let describe = |(name, grant): (&String, &DirectoryGrant)| GrantedDirectory {
            name: name.clone(),
            access: grant.access,
            location: grant.path.display().to_string(),
        };
        self.granted.iter().map(describe).collect()
    }

    /// Opens a granted folder.
    ///
    /// # Errors
    /// `not-granted`, `not-found`, `limit` (64 folders are open).
    pub async fn open(&self, name: &str) -> Result<Folder, Fault> {
        let grant = self.granted.get(name)?.clone();
        let path = grant.path.clone();
        let place = self.budget.descriptor(Descriptor::Folder)?;
        let opened = self.budget.within(self.budget.blocking(move || {
            Dir::open_ambient_dir(&path, ambient_authority()).map_err(|error| io_fault("open", &path.display().to_string(), &error))
        }));
        let root = opened.await.map_err(|fault| match fault.kind {
            FaultKind::NotFound => fault.hint(format!("create the folder, or correct `directory.{name}`")),
            _ => fault,
        })?;
        Ok(Folder::new(root, grant.access, name.to_owned(), place, self.budget.clone()))
    }
}

/// A failure of the operating system in the ABI's words.
fn io_fault(action: &str, path: &str, error: &std::io::Error) -> Fault {
    use rustix::io::Errno;
    use std::io::ErrorKind;
    let kind = match (error.kind(), Errno::from_io_error(error)) {
        (ErrorKind::NotFound, _) => FaultKind::NotFound,
        (ErrorKind::AlreadyExists, _) => FaultKind::AlreadyExists,
        (ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem, _) => FaultKind::PermissionDenied,
        (ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge, _) => FaultKind::StorageFull,
        (ErrorKind::ArgumentListTooLong, _) => FaultKind::Limit,
        (ErrorKind::DirectoryNotEmpty | ErrorKind::NotADirectory | ErrorKind::IsADirectory, _) => FaultKind::Conflict,
        (_, Some(Errno::LOOP | Errno::MLINK | Errno::XDEV)) => FaultKind::Conflict,
        (ErrorKind::Unsupported, _) | (_, Some(Errno::OPNOTSUPP)) => FaultKind::Unsupported,
        _ => FaultKind::Io,
    };
    Fault::new(kind, format!("cannot {action} `{path}`: {error}"))
}

/// How a path is shown in messages: with the grant's name in front.
fn shown(grant: &str, path: &Path) -> String {
    format!("{grant}:{}", path.display())
}
