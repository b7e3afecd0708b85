//! A granted folder and what can be done below it.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use bulkhead_model::{EntryPath, ExtendedAttribute, Fault, FaultKind};
use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::{AtFlags, Mode, OFlags};
use tokio::sync::OwnedSemaphorePermit;

use super::{Attributes, File, FileType, Listing, OpenMode, SpecialFile, Stat, attributes, io_fault, shown};
use crate::Access;
use crate::capabilities::Budget;
use crate::capabilities::budget::Descriptor;

/// A granted folder. Clones are the same folder.
#[derive(Debug, Clone)]
pub struct Folder(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) root: Dir,
    access: Access,
    grant: String,
    budget: Arc<Budget>,
    _place: OwnedSemaphorePermit,
}

/// Space of the file system that a folder is on, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Available to this process.
    pub available: u64,
    /// In all.
    pub total: u64,
}

impl Inner {
    /// Calls `act` with the resolved parent folder and the last component; `.` where the path is the folder itself.
    fn at<T>(&self, path: &EntryPath, act: impl FnOnce(BorrowedFd<'_>, &OsStr) -> std::io::Result<T>) -> std::io::Result<T> {
        let bytes = path.as_bytes();
        match bytes.iter().rposition(|byte| *byte == b'/') {
            None if path.is_root() => act(self.root.as_fd(), OsStr::new(".")),
            None => act(self.root.as_fd(), OsStr::from_bytes(bytes)),
            Some(slash) => {
                let parent = self.root.open_dir(to_path(&bytes[..slash]))?;
                act(parent.as_fd(), OsStr::from_bytes(&bytes[slash + 1..]))
            }
        }
    }

    pub(super) fn fault(&self, action: &str, path: &EntryPath, error: &std::io::Error) -> Fault {
        io_fault(action, &shown(&self.grant, to_path(path.as_bytes())), error)
    }
}

pub(super) fn to_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(if bytes.is_empty() { b"." } else { bytes }))
}

impl Folder {
    pub(super) fn new(root: Dir, access: Access, grant: String, place: OwnedSemaphorePermit, budget: Arc<Budget>) -> Self {
        Self(Arc::new(Inner {
            root,
            access,
            grant,
            budget,
            _place: place,
        }))
    }

    pub(super) async fn call<T: Send + 'static>(
        &self,
        action: &'static str,
        path: EntryPath,
        call: impl FnOnce(&Inner, &EntryPath) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let inner = self.0.clone();
        let run = self
            .0
            .budget
            .blocking(move || call(&inner, &path).map_err(|error| inner.fault(action, &path, &error)));
        self.0.budget.within(run).await
    }

    /// As `call`, where the grant allows changes and `path` is not the folder itself.
    async fn change<T: Send + 'static>(
        &self,
        action: &'static str,
        path: EntryPath,
        call: impl FnOnce(&Inner, &EntryPath) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        self.check_writable(action, &path)?;
        self.call(action, path, call).await
    }

    fn check_writable(&self, action: &str, path: &EntryPath) -> Result<(), Fault> {
        if self.0.access == Access::ReadWrite {
            return Ok(());
        }
        let grant = &self.0.grant;
        let message = format!(
            "cannot {action} `{}`: the plugin may only read the directory `{grant}`",
            shown(grant, to_path(path.as_bytes()))
        );
        let hint = format!("`access = \"read-write\"` in `directory.{grant}` allows changes, where the plugin's `describe` asks for them");
        Err(Fault::new(FaultKind::PermissionDenied, message).hint(hint))
    }

    /// Opens a regular file.
    ///
    /// # Errors
    /// `not-found`, `already-exists`, `permission-denied`, `conflict` where it is no regular file, `limit` (256 files are open).
    pub async fn open_file(&self, path: EntryPath, mode: OpenMode) -> Result<File, Fault> {
        if mode != OpenMode::Read {
            self.check_writable("open for writing", &path)?;
        }
        let place = self.0.budget.descriptor(Descriptor::File)?;
        let opened = self
            .call("open", path.clone(), move |inner, path| open(&inner.root, path, mode))
            .await?;
        let Some(file) = opened else {
            let message = format!("`{}` is not a regular file", shown(&self.0.grant, to_path(path.as_bytes())));
            return Err(Fault::new(FaultKind::Conflict, message));
        };
        let path = to_path(path.as_bytes()).to_owned();
        Ok(File::new(
            file,
            mode != OpenMode::Read,
            self.0.grant.clone(),
            path,
            place,
            self.0.budget.clone(),
        ))
    }

    /// Creates a folder with permission bits `mode`, whatever the umask.
    ///
    /// # Errors
    /// `already-exists`, `not-found` where the parent is missing.
    pub async fn create_folder(&self, path: EntryPath, mode: u32) -> Result<(), Fault> {
        attributes::refuse_set_id(Some(mode), FileType::Directory)?;
        self.change("create", path, move |inner, path| {
            inner.at(path, |parent, name| {
                rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700))?;
                let attributes = Attributes {
                    mode: Some(mode),
                    ..Attributes::default()
                };
                Ok(attributes::change_at(parent, name, &attributes)?)
            })
        })
        .await
    }

    /// Lists a folder.
    ///
    /// # Errors
    /// `not-found`, `conflict` where it is no folder, `limit` (64 listings are in progress).
    pub async fn list(&self, path: EntryPath) -> Result<Listing, Fault> {
        let name = shown(&self.0.grant, to_path(path.as_bytes()));
        let place = self.0.budget.descriptor(Descriptor::Listing)?;
        let dir = self.call("list", path, |inner, path| {
            let dir = inner.root.open_dir(to_path(path.as_bytes()))?;
            Ok(rustix::fs::Dir::new(readable(&dir)?)?)
        });
        Ok(Listing::new(dir.await?, name, place, self.0.budget.clone()))
    }

    /// Attributes, of a symbolic link its own.
    ///
    /// # Errors
    /// `not-found`.
    pub async fn stat(&self, path: EntryPath) -> Result<Stat, Fault> {
        let stat = self.call("stat", path, |inner, path| {
            inner.at(path, |parent, name| {
                Ok(rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?)
            })
        });
        stat.await.map(|stat| attributes::convert(&stat))
    }

    /// A symbolic link's target.
    ///
    /// # Errors
    /// `not-found`, `io` where it is no link.
    pub async fn read_link(&self, path: EntryPath) -> Result<Vec<u8>, Fault> {
        let read = |inner: &Inner, path: &EntryPath| {
            inner.at(path, |parent, name| {
                Ok(rustix::fs::readlinkat(parent, name, Vec::new())?.into_bytes())
            })
        };
        self.call("read the link", path, read).await
    }

    /// Creates a symbolic link; the target is stored as given.
    ///
    /// # Errors
    /// `already-exists`.
    pub async fn create_symlink(&self, path: EntryPath, target: Vec<u8>) -> Result<(), Fault> {
        self.change("create", path, move |inner, path| {
            inner.at(path, |parent, name| {
                Ok(rustix::fs::symlinkat(OsStr::from_bytes(&target), parent, name)?)
            })
        })
        .await
    }

    /// Creates a hard link; a symbolic link is linked itself.
    ///
    /// # Errors
    /// `not-found`, `already-exists`.
    pub async fn create_hard_link(&self, existing: EntryPath, path: EntryPath) -> Result<(), Fault> {
        self.change("create", path, move |inner, path| {
            inner.at(&existing, |from, existing| {
                inner.at(path, |to, name| Ok(rustix::fs::linkat(from, existing, to, name, AtFlags::empty())?))
            })
        })
        .await
    }

    /// Renames atomically; replaces a file that is there.
    ///
    /// # Errors
    /// `not-found`, `conflict`.
    pub async fn rename(&self, from: EntryPath, to: EntryPath) -> Result<(), Fault> {
        self.change("rename", from, move |inner, from| {
            inner.at(from, |old_parent, old| {
                inner.at(&to, |new_parent, new| Ok(rustix::fs::renameat(old_parent, old, new_parent, new)?))
            })
        })
        .await
    }

    /// Removes a file, link or device node.
    ///
    /// # Errors
    /// `not-found`.
    pub async fn remove_file(&self, path: EntryPath) -> Result<(), Fault> {
        self.remove(path, AtFlags::empty()).await
    }

    /// Removes an empty folder.
    ///
    /// # Errors
    /// `not-found`, `conflict` where it is not empty.
    pub async fn remove_folder(&self, path: EntryPath) -> Result<(), Fault> {
        self.remove(path, AtFlags::REMOVEDIR).await
    }

    async fn remove(&self, path: EntryPath, flags: AtFlags) -> Result<(), Fault> {
        let remove = move |inner: &Inner, path: &EntryPath| inner.at(path, |parent, name| Ok(rustix::fs::unlinkat(parent, name, flags)?));
        self.change("remove", path, remove).await
    }

    /// Changes attributes, of a symbolic link its own (which has no mode).
    ///
    /// # Errors
    /// `not-found`, `permission-denied`, `unsupported`.
    pub async fn set_attributes(&self, path: EntryPath, attributes: Attributes) -> Result<(), Fault> {
        // Whether set-gid may be is known where the node is: `change_at`.
        attributes::refuse_set_id(attributes.mode, FileType::Directory)?;
        self.change("change the attributes of", path, move |inner, path| {
            inner.at(path, |parent, name| Ok(attributes::change_at(parent, name, &attributes)?))
        })
        .await
    }

    /// Extended attributes of a file or folder; of other nodes none.
    ///
    /// # Errors
    /// `not-found`, `permission-denied`.
    pub async fn extended_attributes(&self, path: EntryPath) -> Result<Vec<ExtendedAttribute>, Fault> {
        let read = |inner: &Inner, path: &EntryPath| inner.at(path, attributes::extended_attributes);
        self.call("read the extended attributes of", path, read).await
    }

    /// Sets an extended attribute of a file or folder.
    ///
    /// # Errors
    /// `not-found`, `permission-denied`, `unsupported`, `storage-full`.
    pub async fn set_extended_attribute(&self, path: EntryPath, attribute: ExtendedAttribute) -> Result<(), Fault> {
        attributes::refuse_privileged_namespace(&attribute.name)?;
        self.0.budget.write(attribute.value.len() as u64)?;
        self.change("set an extended attribute of", path, move |inner, path| {
            inner.at(path, |parent, name| {
                Ok(attributes::set_extended_attribute(parent, name, &attribute)?)
            })
        })
        .await
    }

    /// Removes an extended attribute of a file or folder.
    ///
    /// # Errors
    /// `not-found`, also where there is no attribute of that name; `permission-denied`, `unsupported`.
    pub async fn remove_extended_attribute(&self, path: EntryPath, attribute: Vec<u8>) -> Result<(), Fault> {
        attributes::refuse_privileged_namespace(&attribute)?;
        self.change("remove an extended attribute of", path, move |inner, path| {
            inner.at(path, |parent, name| {
                Ok(attributes::remove_extended_attribute(parent, name, &attribute)?)
            })
        })
        .await
    }

    /// Makes a pipe or socket with permission bits `mode`, whatever the umask.
    ///
    /// # Errors
    /// `already-exists`, `not-found` where the parent is missing, `permission-denied` for device nodes.
    pub async fn create_special_file(&self, path: EntryPath, node: SpecialFile, mode: u32) -> Result<(), Fault> {
        attributes::refuse_set_id(Some(mode), FileType::Fifo)?;
        let kind = attributes::kind_to_make(node)?;
        self.change("create", path, move |inner, path| {
            inner.at(path, |parent, name| {
                rustix::fs::mknodat(parent, name, kind, Mode::from_raw_mode(0o600), 0)?;
                let attributes = Attributes {
                    mode: Some(mode),
                    ..Attributes::default()
                };
                Ok(attributes::change_at(parent, name, &attributes)?)
            })
        })
        .await
    }

    /// fsync of a folder.
    ///
    /// # Errors
    /// `not-found`, `io`.
    pub async fn sync(&self, path: EntryPath) -> Result<(), Fault> {
        let sync = |inner: &Inner, path: &EntryPath| {
            let folder = inner.root.open_dir(to_path(path.as_bytes()))?;
            Ok(rustix::fs::fsync(readable(&folder)?)?)
        };
        self.call("sync", path, sync).await
    }

    /// syncfs of the file system that holds the folder; it also reports a write that failed in the background and that nobody was told of.
    ///
    /// # Errors
    /// `io`, `storage-full`; `permission-denied` without the right to write.
    pub async fn sync_file_system(&self) -> Result<(), Fault> {
        self.change("sync the file system of", EntryPath::default(), |inner, _| {
            Ok(rustix::fs::syncfs(readable(&inner.root)?)?)
        })
        .await
    }

    /// Space of the file system.
    ///
    /// # Errors
    /// `io`.
    pub async fn space(&self) -> Result<Space, Fault> {
        self.call("ask for the space of", EntryPath::default(), |inner, _| {
            let space = rustix::fs::fstatvfs(&inner.root)?;
            let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
            Ok(Space {
                available: bytes(space.f_bavail),
                total: bytes(space.f_blocks),
            })
        })
        .await
    }
}

/// A handle that can be read and synced: cap-std's own only stands for the path.
fn readable(folder: &Dir) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(folder, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a regular file below `root`; `None` for another node.
fn open(root: &Dir, path: &EntryPath, mode: OpenMode) -> std::io::Result<Option<std::fs::File>> {
    let path = to_path(path.as_bytes());
    match mode {
        OpenMode::Read | OpenMode::Modify => open_existing(root, path, mode),
        OpenMode::Create => create(root, path).map(Some),
        OpenMode::Replace => match open_existing(root, path, mode) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => create(root, path).map(Some),
            opened => opened,
        },
    }
}

fn create(root: &Dir, path: &Path) -> std::io::Result<std::fs::File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    Ok(root.open_with(path, &options)?.into_std())
}

/// Opening a device or pipe does something to it, and may wait. So the node is found first, without being opened, and what is opened then is that very
/// node, by its handle's own name, whatever is at the path by then.
fn open_existing(root: &Dir, path: &Path, mode: OpenMode) -> std::io::Result<Option<std::fs::File>> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlags::PATH.bits().cast_signed());
    if mode == OpenMode::Replace {
        options.follow(FollowSymlinks::No);
    }
    let node = root.open_with(path, &options)?;
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&node)?.st_mode);
    if kind != rustix::fs::FileType::RegularFile {
        return Ok(None);
    }
    let writable = mode != OpenMode::Read;
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(writable).truncate(mode == OpenMode::Replace);
    options.open(format!("/proc/self/fd/{}", node.as_raw_fd())).map(Some)
}
