//! Directories: real folders, with faults on demand.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    os::{
        fd::AsRawFd,
        unix::{
            ffi::{OsStrExt, OsStringExt},
            fs::{DirBuilderExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
        },
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    libc,
    sys::stat::{Mode, SFlag, mknod},
};

use super::{check_path, lock, store::OnePage};
use crate::{
    Error, ErrorKind, Result,
    description::Access,
    directory::{Attributes, DirectoryEntry, ExtendedAttribute, FileType, LockKind, Node, OpenMode, Space, SpecialFile, Stat},
    host,
    types::Timestamp,
};

/// Room that a directory has when the test says nothing: 1 TiB.
const ROOM: u64 = 1 << 40;

/// Names that are answered in one call, few enough that plugins ask again.
const ANSWERS: usize = 100;

/// Where Linux shows what this process has open.
const HANDLES: &str = "/proc/self/fd";

/// A directory that a test grants. Clones are the same folder.
#[derive(Clone)]
pub struct Directory {
    root: PathBuf,
    access: Access,
    faults: Arc<Faults>,
    attributes: Arc<Mutex<BTreeMap<Vec<u8>, Vec<ExtendedAttribute>>>>,
    has_hard_links: bool,
    /// Of a directory that a plugin has opened: what `root` leads to, whatever is at the path by then.
    _handle: Option<Arc<fs::File>>,
    _temporary: Option<Arc<tempfile::TempDir>>,
}

/// What somebody else does.
type Meanwhile = Box<dyn FnOnce() + Send>;

/// What goes wrong, and when.
struct Faults {
    /// Changes that succeed before the host is as good as dead.
    changes_left: AtomicU64,
    /// Bytes that can still be written.
    room: AtomicU64,
    /// Calls that fail, and with what.
    failing: Mutex<Vec<(Call, ErrorKind)>>,
    /// What happens in the next call of this sort, before it.
    meanwhile: Mutex<Option<(Call, Meanwhile)>>,
    /// Below this path there is another file system.
    mounted: Mutex<Option<Vec<u8>>>,
    /// Files that were synced by themselves.
    synced: AtomicU64,
    /// How far the clock that stamps files is behind this host's, in seconds.
    behind: AtomicU64,
}

/// A call on a directory that a test can let fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `Folder::open_file`
    OpenFile,
    /// `Folder::open_file` of a file that is there, for writing
    ModifyFile,
    /// `Folder::stat`
    Stat,
    /// `Folder::create_hard_link`
    CreateHardLink,
    /// `Folder::remove_file`
    RemoveFile,
    /// `Folder::rename`
    Rename,
    /// `Folder::space`
    Space,
}

impl Faults {
    /// Counts a change.
    fn change(&self) -> Result<()> {
        let counted = self
            .changes_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        counted.map(drop).map_err(|_| Error::new(ErrorKind::Io, "the host died here"))
    }

    fn is_mounted(&self, path: &[u8]) -> bool {
        let mounted = lock(&self.mounted);
        let rest = mounted.as_ref().and_then(|at| path.strip_prefix(&at[..]));
        rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }

    fn call(&self, call: Call) -> Result<()> {
        let due = lock(&self.meanwhile).take_if(|(before, _)| *before == call);
        if let Some((_, action)) = due {
            action();
        }
        match lock(&self.failing).iter().find(|(failing, _)| *failing == call) {
            Some((_, kind)) => Err(Error::new(*kind, format!("{call:?} fails, as the test wants"))),
            None => Ok(()),
        }
    }

    fn write(&self, bytes: u64) -> Result<()> {
        let counted = self
            .room
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(bytes));
        counted
            .map(drop)
            .map_err(|_| Error::new(ErrorKind::StorageFull, "No space left on device (os error 28)"))
    }
}

impl Directory {
    /// A new folder of mode 0700 that goes away with the harness and all clones of this, read-write.
    #[must_use]
    pub fn temporary() -> Self {
        let folder = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir()
            .expect("a temporary folder can be made");
        let root = folder.path().to_owned();
        Self {
            _temporary: Some(Arc::new(folder)),
            ..Self::at(root)
        }
    }

    /// A folder of the test's own, read-write.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            access: Access::ReadWrite,
            faults: Arc::new(Faults {
                changes_left: AtomicU64::new(u64::MAX),
                room: AtomicU64::new(ROOM),
                failing: Mutex::default(),
                meanwhile: Mutex::default(),
                mounted: Mutex::default(),
                synced: AtomicU64::new(0),
                behind: AtomicU64::new(0),
            }),
            attributes: Arc::default(),
            has_hard_links: true,
            _handle: None,
            _temporary: None,
        }
    }

    /// Granted for reading only.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.access = Access::ReadOnly;
        self
    }

    /// On a file system without hard links.
    #[must_use]
    pub fn without_hard_links(mut self) -> Self {
        self.has_hard_links = false;
        self
    }

    /// Has room for so many more bytes: a write beyond fails with `StorageFull`.
    pub fn set_room(&self, bytes: u64) {
        self.faults.room.store(bytes, Ordering::SeqCst);
    }

    /// So many more changes (creating, writing, renaming, removing, syncing) succeed; all later ones fail, as if the host had been killed there.
    pub fn die_after(&self, changes: u64) {
        self.faults.changes_left.store(changes, Ordering::SeqCst);
    }

    /// All calls of this sort fail with `kind` from now on.
    pub fn fail(&self, call: Call, kind: ErrorKind) {
        lock(&self.faults.failing).push((call, kind));
    }

    /// Somebody else does this right before the next call of this sort.
    pub fn meanwhile(&self, call: Call, action: impl FnOnce() + Send + 'static) {
        *lock(&self.faults.meanwhile) = Some((call, Box::new(action)));
    }

    /// From now on what is at `path` and below looks as if another file system were mounted there.
    pub fn mount_at(&self, path: &str) {
        *lock(&self.faults.mounted) = Some(path.as_bytes().to_vec());
    }

    /// How many times a file was synced by itself (`File::sync`).
    #[must_use]
    pub fn synced_files(&self) -> u64 {
        self.faults.synced.load(Ordering::SeqCst)
    }

    /// The clock that stamps files that are written is so far behind this host's, as a file server's can be.
    pub fn set_clock_behind(&self, behind: Duration) {
        self.faults.behind.store(behind.as_secs(), Ordering::SeqCst);
    }

    /// As the host opens it: the handle stays with this folder when another appears at its path.
    pub(super) fn open(&self) -> Result<Self> {
        let handle = fs::File::open(&self.root).map_err(at(&self.root))?;
        Ok(Self {
            // With the dot, the path of the folder itself is no symbolic link.
            root: format!("{HANDLES}/{}/.", handle.as_raw_fd()).into(),
            _handle: Some(Arc::new(handle)),
            ..self.clone()
        })
    }

    /// The folder on the host.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    pub(super) fn access(&self) -> Access {
        self.access
    }

    /// The path on the host.
    fn resolve(&self, path: &[u8]) -> Result<PathBuf> {
        check_path(path)?;
        Ok(if path.is_empty() {
            self.root.clone()
        } else {
            self.root.join(OsStr::from_bytes(path))
        })
    }

    /// Fails where there is no folder at `path`.
    fn open_folder(&self, path: &[u8]) -> Result<()> {
        let path = self.resolve(path)?;
        fs::read_dir(&path).map(drop).map_err(at(&path))
    }

    /// What is at `path`.
    fn node(&self, path: &[u8], max: u64) -> Result<Node> {
        let stat = host::Folder::stat(self, path)?;
        let target = (stat.file_type == FileType::Symlink).then(|| host::Folder::read_link(self, path));
        let content = match stat.file_type {
            FileType::Regular if stat.size <= max => {
                let content = host::Folder::open_file(self, path, OpenMode::Read)?.read_at(0, u32::MAX)?;
                let same = host::Folder::stat(self, path)? == stat;
                same.then(|| content.unwrap_or_default())
            }
            _ => None,
        };
        Ok(Node {
            stat,
            extended_attributes: host::Folder::extended_attributes(self, path)?,
            target: target.transpose()?,
            content,
        })
    }

    /// As `resolve`, for a change.
    fn resolve_change(&self, path: &[u8]) -> Result<PathBuf> {
        if self.access == Access::ReadOnly {
            return Err(Error::new(ErrorKind::PermissionDenied, "the directory is granted read-only"));
        }
        self.faults.change()?;
        self.resolve(path)
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Directory({})", self.root.display())
    }
}

fn below(folder: &[u8], name: &[u8]) -> Vec<u8> {
    match folder {
        [] => name.to_vec(),
        folder => [folder, b"/", name].concat(),
    }
}

/// An error of the operating system, with the path that it is about.
fn at(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |error| Error::from(error).context(format!("{}", shown(path).display()))
}

/// `path` with the path of the folder that was opened, not of its handle.
fn shown(path: &Path) -> PathBuf {
    let opened = || {
        let mut below = path.strip_prefix(HANDLES).ok()?.components();
        let folder = fs::read_link(Path::new(HANDLES).join(below.next()?)).ok()?;
        Some(folder.join(below.as_path()))
    };
    opened().unwrap_or_else(|| path.to_owned())
}

fn file_type(kind: fs::FileType) -> FileType {
    match kind {
        kind if kind.is_dir() => FileType::Directory,
        kind if kind.is_symlink() => FileType::Symlink,
        kind if kind.is_fifo() => FileType::Fifo,
        kind if kind.is_socket() => FileType::Socket,
        kind if kind.is_char_device() => FileType::CharacterDevice,
        kind if kind.is_block_device() => FileType::BlockDevice,
        _ => FileType::Regular,
    }
}

fn stat(metadata: &fs::Metadata) -> Stat {
    let time = |seconds, nanoseconds| Timestamp {
        seconds,
        nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
    };
    Stat {
        file_type: file_type(metadata.file_type()),
        size: metadata.len(),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        modified: time(metadata.mtime(), metadata.mtime_nsec()),
        changed: time(metadata.ctime(), metadata.ctime_nsec()),
        device: metadata.dev(),
        inode: metadata.ino(),
        links: metadata.nlink(),
        raw_device: metadata.rdev(),
    }
}

/// Sets what is asked for on an open file or folder.
fn set_attributes(file: &fs::File, attributes: &Attributes) -> io::Result<()> {
    if attributes.uid.is_some() || attributes.gid.is_some() {
        std::os::unix::fs::fchown(file, attributes.uid, attributes.gid)?;
    }
    if let Some(mode) = attributes.mode {
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    if let Some(time) = attributes.modified {
        let seconds = Duration::from_secs(time.seconds.unsigned_abs());
        let whole = if time.seconds < 0 {
            UNIX_EPOCH - seconds
        } else {
            UNIX_EPOCH + seconds
        };
        file.set_modified(whole + Duration::from_nanos(u64::from(time.nanoseconds)))?;
    }
    Ok(())
}

impl host::Folder for Directory {
    fn open_file(&self, path: &[u8], mode: OpenMode) -> Result<Box<dyn host::File>> {
        self.faults.call(Call::OpenFile)?;
        if mode == OpenMode::Modify {
            self.faults.call(Call::ModifyFile)?;
        }
        let at_path = if mode == OpenMode::Read {
            self.resolve(path)?
        } else {
            self.resolve_change(path)?
        };
        let mut options = fs::OpenOptions::new();
        options.read(true).write(mode != OpenMode::Read).mode(0o600);
        options
            .create_new(mode == OpenMode::Create)
            .create(mode == OpenMode::Replace)
            .truncate(mode == OpenMode::Replace);
        let file = options.open(&at_path).map_err(at(&at_path))?;
        if !file.metadata()?.is_file() {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("{} is not a regular file", at_path.display()),
            ));
        }
        Ok(Box::new(File {
            file,
            faults: Arc::clone(&self.faults),
        }))
    }

    fn create_folder(&self, path: &[u8], mode: u32) -> Result<()> {
        let path = self.resolve_change(path)?;
        fs::DirBuilder::new().mode(mode).create(&path).map_err(at(&path))
    }

    fn list(&self, path: &[u8]) -> Result<Box<dyn host::Listing>> {
        let path = self.resolve(path)?;
        let entries = fs::read_dir(&path).map_err(at(&path))?.map(|entry| {
            let entry = entry?;
            Ok(DirectoryEntry {
                file_type: file_type(entry.file_type()?),
                name: entry.file_name().into_vec(),
            })
        });
        Ok(Box::new(OnePage(Mutex::new(entries.collect::<io::Result<Vec<_>>>()?))))
    }

    fn stat(&self, path: &[u8]) -> Result<Stat> {
        self.faults.call(Call::Stat)?;
        let on_host = self.resolve(path)?;
        let mut stat = stat(&fs::symlink_metadata(&on_host).map_err(at(&on_host))?);
        stat.device += u64::from(self.faults.is_mounted(path));
        Ok(stat)
    }

    fn stat_names(&self, path: &[u8], names: &[Vec<u8>]) -> Result<Vec<Result<Stat>>> {
        self.open_folder(path)?;
        let first = names.iter().take(ANSWERS);
        Ok(first.map(|name| host::Folder::stat(self, &below(path, name))).collect())
    }

    fn read_names(&self, path: &[u8], names: &[Vec<u8>], max: u32) -> Result<Vec<Result<Node>>> {
        self.open_folder(path)?;
        let mut left = u64::from(max);
        let mut nodes: Vec<Result<Node>> = Vec::new();
        for name in names.iter().take(ANSWERS) {
            let node = self.node(&below(path, name), u64::from(max));
            let size = node.as_ref().map_or(0, |node| node.content.as_ref().map_or(0, Vec::len)) as u64;
            if size > left && !nodes.is_empty() {
                break;
            }
            left = left.saturating_sub(size);
            nodes.push(node);
        }
        Ok(nodes)
    }

    fn read_link(&self, path: &[u8]) -> Result<Vec<u8>> {
        let path = self.resolve(path)?;
        Ok(fs::read_link(&path).map_err(at(&path))?.into_os_string().into_vec())
    }

    fn create_symlink(&self, path: &[u8], target: &[u8]) -> Result<()> {
        let path = self.resolve_change(path)?;
        std::os::unix::fs::symlink(OsStr::from_bytes(target), &path).map_err(at(&path))
    }

    fn create_hard_link(&self, existing: &[u8], path: &[u8]) -> Result<()> {
        let (existing, path) = (self.resolve(existing)?, self.resolve_change(path)?);
        self.faults.call(Call::CreateHardLink)?;
        if !self.has_hard_links {
            return Err(Error::new(ErrorKind::PermissionDenied, "Operation not permitted (os error 1)"));
        }
        fs::hard_link(&existing, &path).map_err(at(&path))
    }

    fn rename(&self, from: &[u8], to: &[u8]) -> Result<()> {
        self.faults.call(Call::Rename)?;
        let (from, to) = (self.resolve(from)?, self.resolve_change(to)?);
        fs::rename(&from, &to).map_err(at(&from))
    }

    fn remove_file(&self, path: &[u8]) -> Result<()> {
        self.faults.call(Call::RemoveFile)?;
        let path = self.resolve_change(path)?;
        fs::remove_file(&path).map_err(at(&path))
    }

    fn remove_folder(&self, path: &[u8]) -> Result<()> {
        let path = self.resolve_change(path)?;
        fs::remove_dir(&path).map_err(at(&path))
    }

    fn set_attributes(&self, path: &[u8], attributes: &Attributes) -> Result<()> {
        let path = self.resolve_change(path)?;
        if fs::symlink_metadata(&path).map_err(at(&path))?.is_symlink() {
            return std::os::unix::fs::lchown(&path, attributes.uid, attributes.gid).map_err(at(&path));
        }
        fs::File::open(&path)
            .and_then(|file| set_attributes(&file, attributes))
            .map_err(at(&path))
    }

    fn extended_attributes(&self, path: &[u8]) -> Result<Vec<ExtendedAttribute>> {
        self.resolve(path)?;
        Ok(lock(&self.attributes).get(path).cloned().unwrap_or_default())
    }

    /// In memory: not every file system of a test has them.
    fn set_extended_attribute(&self, path: &[u8], attribute: &ExtendedAttribute) -> Result<()> {
        self.resolve_change(path)?;
        let mut attributes = lock(&self.attributes);
        let of_file = attributes.entry(path.to_vec()).or_default();
        of_file.retain(|other| other.name != attribute.name);
        of_file.push(attribute.clone());
        Ok(())
    }

    fn remove_extended_attribute(&self, path: &[u8], name: &[u8]) -> Result<()> {
        self.resolve_change(path)?;
        let mut attributes = lock(&self.attributes);
        let of_file = attributes.entry(path.to_vec()).or_default();
        match of_file.iter().position(|attribute| attribute.name == name) {
            Some(position) => _ = of_file.remove(position),
            None => return Err(Error::new(ErrorKind::NotFound, "there is no such extended attribute")),
        }
        Ok(())
    }

    fn create_special_file(&self, path: &[u8], node: SpecialFile, mode: u32) -> Result<()> {
        let path = self.resolve_change(path)?;
        let kind = match node {
            SpecialFile::Fifo => SFlag::S_IFIFO,
            SpecialFile::Socket => SFlag::S_IFSOCK,
            SpecialFile::CharacterDevice(_) | SpecialFile::BlockDevice(_) => {
                return Err(Error::new(ErrorKind::PermissionDenied, "a plugin cannot make device nodes"));
            }
        };
        let made = mknod(&path, kind, Mode::S_IRUSR, 0).map_err(io::Error::from);
        made.and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
            .map_err(at(&path))
    }

    fn sync(&self, path: &[u8]) -> Result<()> {
        let path = self.resolve_change(path)?;
        fs::File::open(&path).and_then(|folder| folder.sync_all()).map_err(at(&path))
    }

    fn sync_file_system(&self) -> Result<()> {
        self.sync(b"")
    }

    fn space(&self) -> Result<Space> {
        self.faults.call(Call::Space)?;
        Ok(Space {
            available: self.faults.room.load(Ordering::SeqCst),
            total: ROOM,
        })
    }
}

impl host::Listing for OnePage<DirectoryEntry> {
    fn next(&self) -> Result<Vec<DirectoryEntry>> {
        Ok(std::mem::take(&mut *lock(&self.0)))
    }
}

/// An open file.
struct File {
    file: fs::File,
    faults: Arc<Faults>,
}

/// A range to lock, or to unlock.
fn range(kind: Option<LockKind>, offset: u64, length: u64) -> Result<libc::flock> {
    let kind = match kind {
        Some(LockKind::Shared) => libc::F_RDLCK,
        Some(LockKind::Exclusive) => libc::F_WRLCK,
        None => libc::F_UNLCK,
    };
    let beyond = |_| Error::new(ErrorKind::Io, "a file has no such range");
    Ok(libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: offset.try_into().map_err(beyond)?,
        l_len: length.try_into().map_err(beyond)?,
        l_pid: 0,
    })
}

impl host::File for File {
    fn read_at(&self, offset: u64, max: u32) -> Result<Option<Vec<u8>>> {
        let left = usize::try_from(self.file.metadata()?.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut data = vec![0; left.min(max as usize)];
        self.file.read_exact_at(&mut data, offset)?;
        Ok((!data.is_empty()).then_some(data))
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.faults.change()?;
        self.faults.write(data.len() as u64)?;
        self.file.write_all_at(data, offset)?;
        match self.faults.behind.load(Ordering::SeqCst) {
            0 => Ok(()),
            behind => Ok(self.file.set_modified(SystemTime::now() - Duration::from_secs(behind))?),
        }
    }

    fn set_size(&self, size: u64) -> Result<()> {
        self.faults.change()?;
        Ok(self.file.set_len(size)?)
    }

    fn stat(&self) -> Result<Stat> {
        Ok(stat(&self.file.metadata()?))
    }

    fn set_attributes(&self, attributes: &Attributes) -> Result<()> {
        self.faults.change()?;
        Ok(set_attributes(&self.file, attributes)?)
    }

    fn lock_range(&self, offset: u64, length: u64, kind: LockKind) -> Result<bool> {
        match fcntl(&self.file, FcntlArg::F_OFD_SETLK(&range(Some(kind), offset, length)?)) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN) => Ok(false),
            Err(Errno::EBADF) => Err(Error::new(ErrorKind::PermissionDenied, "the file was opened for reading")),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }

    fn unlock_range(&self, offset: u64, length: u64) -> Result<()> {
        let unlocked = fcntl(&self.file, FcntlArg::F_OFD_SETLK(&range(None, offset, length)?));
        Ok(unlocked.map(drop).map_err(io::Error::from)?)
    }

    fn test_range(&self, offset: u64, length: u64, kind: LockKind) -> Result<bool> {
        let mut asked = range(Some(kind), offset, length)?;
        fcntl(&self.file, FcntlArg::F_OFD_GETLK(&mut asked)).map_err(io::Error::from)?;
        Ok(i32::from(asked.l_type) == libc::F_UNLCK)
    }

    fn sync(&self) -> Result<()> {
        self.faults.change()?;
        self.faults.synced.fetch_add(1, Ordering::SeqCst);
        Ok(self.file.sync_all()?)
    }
}
