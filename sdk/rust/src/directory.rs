//! Folders that the operator named. Paths are bytes, relative, `/`-separated, without empty, `.` or `..` components; they never leave the folder,
//! whatever its symbolic links say.

use std::io::{self, Read, Seek, SeekFrom, Write};

pub use crate::description::Access;
use crate::{
    Error, ErrorKind, Result,
    host::{self, BEST_TRANSFER, MAX_TRANSFER},
    snapshot::transfer,
    types::Timestamp,
};

/// What a name in a folder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the file types of POSIX")]
pub enum FileType {
    Regular,
    Directory,
    Symlink,
    Fifo,
    Socket,
    CharacterDevice,
    BlockDevice,
}

/// One extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExtendedAttribute {
    /// Its full name (`user.comment`).
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// What `stat` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// File, folder, link, …
    pub file_type: FileType,
    /// Bytes.
    pub size: u64,
    /// Permission bits, with set-uid, set-gid and sticky (`0o7777`).
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// When the content changed.
    pub modified: Timestamp,
    /// When the inode changed.
    pub changed: Timestamp,
    /// With `inode` the file's identity on the host.
    pub device: u64,
    /// With `device` the file's identity on the host.
    pub inode: u64,
    /// Hard links.
    pub links: u64,
    /// Device number of a device node, else 0.
    pub raw_device: u64,
}

/// What is at a name, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its attributes.
    pub stat: Stat,
    /// A symbolic link has its own.
    pub extended_attributes: Vec<ExtendedAttribute>,
    /// Of a symbolic link.
    pub target: Option<Vec<u8>>,
    /// Of a regular file that is small enough, and did not change while it was read.
    pub content: Option<Vec<u8>>,
}

/// One name of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Its name, one component.
    pub name: Vec<u8>,
    /// What it stands for.
    pub file_type: FileType,
}

/// What to change; `None` leaves as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Numeric owner.
    pub uid: Option<u32>,
    /// Numeric group.
    pub gid: Option<u32>,
    /// Modification time.
    pub modified: Option<Timestamp>,
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpenMode {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    Modify,
    /// A new file, mode 0600, for reading and writing; `AlreadyExists` if there is one.
    Create,
    /// As `Create`, but an existing file is emptied.
    Replace,
}

/// A node without content that can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpecialFile {
    /// A named pipe.
    Fifo,
    /// A Unix socket that nobody listens on.
    Socket,
    /// With its device number; the host refuses device nodes with `PermissionDenied`.
    CharacterDevice(u64),
    /// As `CharacterDevice`.
    BlockDevice(u64),
}

/// How a range of a file is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LockKind {
    /// Others may lock it shared too.
    Shared,
    /// Nobody else may lock it; needs a file that was opened for writing.
    Exclusive,
}

/// Room in the file system of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes available to this process.
    pub available: u64,
    /// Bytes in all.
    pub total: u64,
}

/// A directory that was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// As the TOML names it.
    pub name: String,
    /// What may be done.
    pub access: Access,
    /// The path on the host, as the operator wrote it, for links and messages.
    pub location: String,
}

/// An open regular file: at offsets, or sequentially through [`Read`], [`Write`] and [`Seek`] with a position that is this handle's own.
pub struct File {
    inner: Box<dyn host::File>,
    position: u64,
}

impl File {
    /// Up to `max` bytes (at most 1 MiB) at `offset`, without a copy; fewer only at the end of the file, `None` beyond it.
    ///
    /// # Errors
    /// `Io`.
    pub fn read_at(&self, offset: u64, max: usize) -> Result<Option<Vec<u8>>> {
        self.inner.read_at(offset, transfer(max))
    }

    /// Writes all of it at `offset`.
    ///
    /// # Errors
    /// `StorageFull`, `PermissionDenied`, `Io`.
    pub fn write_at(&self, mut offset: u64, data: &[u8]) -> Result<()> {
        data.chunks(MAX_TRANSFER).try_for_each(|part| {
            self.inner.write_at(offset, part)?;
            offset += part.len() as u64;
            Ok(())
        })
    }

    /// The next bytes in sequence, without a copy; `None` at the end.
    ///
    /// # Errors
    /// `Io`.
    pub fn read_bytes(&mut self, max: usize) -> Result<Option<Vec<u8>>> {
        let data = self.read_at(self.position, max)?;
        self.position += data.as_ref().map_or(0, Vec::len) as u64;
        Ok(data)
    }

    /// Appends at the position of this handle.
    ///
    /// # Errors
    /// As [`File::write_at`].
    pub fn write_bytes(&mut self, data: &[u8]) -> Result<()> {
        self.write_at(self.position, data)?;
        self.position += data.len() as u64;
        Ok(())
    }

    /// Cuts the file, or extends it with zeros.
    ///
    /// # Errors
    /// As [`File::write_at`].
    pub fn set_size(&self, size: u64) -> Result<()> {
        self.inner.set_size(size)
    }

    /// Its attributes.
    ///
    /// # Errors
    /// `Io`.
    pub fn stat(&self) -> Result<Stat> {
        self.inner.stat()
    }

    /// Changes attributes.
    ///
    /// # Errors
    /// `PermissionDenied`.
    pub fn set_attributes(&self, attributes: &Attributes) -> Result<()> {
        self.inner.set_attributes(attributes)
    }

    /// Locks a range against all other programs and open files, without waiting: `false` where somebody else's lock is in the way. A `length` of 0
    /// reaches to the end of any size. The locks exclude POSIX record locks of other programs, such as SQLite's, and end with this handle.
    ///
    /// # Errors
    /// `PermissionDenied` for an exclusive lock on a file that was opened for reading, `Limit` after 4,096 of them, `Unsupported`.
    pub fn lock_range(&self, offset: u64, length: u64, kind: LockKind) -> Result<bool> {
        self.inner.lock_range(offset, length, kind)
    }

    /// Gives up what this handle holds of the range.
    ///
    /// # Errors
    /// `Limit` after 4,096 of them.
    pub fn unlock_range(&self, offset: u64, length: u64) -> Result<()> {
        self.inner.unlock_range(offset, length)
    }

    /// Whether the range could be locked now, by somebody who may write to the file if need be.
    ///
    /// # Errors
    /// `Unsupported`, `Io`.
    pub fn test_range(&self, offset: u64, length: u64, kind: LockKind) -> Result<bool> {
        self.inner.test_range(offset, length, kind)
    }

    /// fsync: content and metadata are durable when it returns.
    ///
    /// # Errors
    /// `StorageFull`, `Io`.
    pub fn sync(&self) -> Result<()> {
        self.inner.sync()
    }
}

impl std::fmt::Debug for File {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "File(at {})", self.position)
    }
}

/// Unbuffered: wrap it in a [`BufReader`](io::BufReader) for small reads.
impl Read for File {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        let data = self.read_bytes(into.len())?.unwrap_or_default();
        into[..data.len()].copy_from_slice(&data);
        Ok(data.len())
    }
}

/// Unbuffered: wrap it in a [`BufWriter`](io::BufWriter) for small writes.
impl Write for File {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_bytes(data)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => self.stat()?.size.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// A listing in progress, in the file system's order.
pub struct Listing {
    inner: Box<dyn host::Listing>,
    page: std::vec::IntoIter<DirectoryEntry>,
    ended: bool,
}

impl std::fmt::Debug for Listing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Listing")
    }
}

impl Iterator for Listing {
    type Item = Result<DirectoryEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(entry) = self.page.next() {
            return Some(Ok(entry));
        }
        if self.ended {
            return None;
        }
        match self.inner.next() {
            Ok(page) => {
                self.ended = page.is_empty();
                self.page = page.into_iter();
                self.page.next().map(Ok)
            }
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }
}

/// A granted folder; paths are below it, the empty path is the folder itself. All changes fail with `PermissionDenied` where the grant is read-only,
/// and with `NotFound`, `AlreadyExists`, `StorageFull`, … as their names say.
pub struct Folder(Box<dyn host::Folder>);

impl std::fmt::Debug for Folder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Folder")
    }
}

#[expect(clippy::missing_errors_doc, reason = "told once, at the type")]
impl Folder {
    /// Opens or creates a regular file.
    pub fn open_file(&self, path: impl AsRef<[u8]>, mode: OpenMode) -> Result<File> {
        self.0.open_file(path.as_ref(), mode).map(|inner| File { inner, position: 0 })
    }

    /// The whole content of a file, which may have `limit` bytes (`Limit` beyond).
    pub fn read(&self, path: impl AsRef<[u8]>, limit: usize) -> Result<Vec<u8>> {
        let mut file = self.open_file(path.as_ref(), OpenMode::Read)?;
        let mut content = Vec::new();
        while let Some(part) = file.read_bytes(BEST_TRANSFER)? {
            if content.len() + part.len() > limit {
                let name = String::from_utf8_lossy(path.as_ref()).into_owned();
                return Err(Error::new(ErrorKind::Limit, format!("{name} has more than {limit} bytes")));
            }
            content.extend_from_slice(&part);
        }
        Ok(content)
    }

    /// Creates a folder with permission bits `mode`; its parent must exist.
    pub fn create_folder(&self, path: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        self.0.create_folder(path.as_ref(), mode)
    }

    /// Creates a folder and what is missing above it; one that is there is no error.
    pub fn create_folders(&self, path: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        let path = path.as_ref();
        let ends = path
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(position, _)| position);
        for end in ends.chain([path.len()]) {
            match self.create_folder(&path[..end], mode) {
                Err(error) if error.kind == ErrorKind::AlreadyExists => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Lists a folder.
    pub fn list(&self, path: impl AsRef<[u8]>) -> Result<Listing> {
        let inner = self.0.list(path.as_ref())?;
        Ok(Listing {
            inner,
            page: Vec::new().into_iter(),
            ended: false,
        })
    }

    /// Attributes; does not follow a symbolic link in the last component.
    pub fn stat(&self, path: impl AsRef<[u8]>) -> Result<Stat> {
        self.0.stat(path.as_ref())
    }

    /// [`Folder::stat`] of each of `names` in the folder at `path`, in a call for many where there would be one for each; fails where the folder does.
    pub fn stat_names(&self, path: impl AsRef<[u8]>, names: &[Vec<u8>]) -> Result<Vec<Result<Stat>>> {
        let mut answers = Vec::with_capacity(names.len());
        while answers.len() < names.len() {
            answers.extend(answered(self.0.stat_names(path.as_ref(), &names[answers.len()..])?)?);
        }
        Ok(answers)
    }

    /// What is at `names` in the folder at `path`: at the first of them, one at least, as many as are read soon and have `max` bytes of content (at most
    /// 1 MiB) together. A larger file comes without its content.
    pub fn read_names(&self, path: impl AsRef<[u8]>, names: &[Vec<u8>], max: usize) -> Result<Vec<Result<Node>>> {
        answered(self.0.read_names(path.as_ref(), names, transfer(max))?)
    }

    /// The target of a symbolic link.
    pub fn read_link(&self, path: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        self.0.read_link(path.as_ref())
    }

    /// Creates a symbolic link; its target is stored as given and may point anywhere, but this interface never follows it out.
    pub fn create_symlink(&self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Result<()> {
        self.0.create_symlink(path.as_ref(), target.as_ref())
    }

    /// Gives an existing file another name; `AlreadyExists` where that is taken.
    pub fn create_hard_link(&self, existing: impl AsRef<[u8]>, path: impl AsRef<[u8]>) -> Result<()> {
        self.0.create_hard_link(existing.as_ref(), path.as_ref())
    }

    /// Renames; atomic, replaces a file that is there.
    pub fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<()> {
        self.0.rename(from.as_ref(), to.as_ref())
    }

    /// Removes a file or link.
    pub fn remove_file(&self, path: impl AsRef<[u8]>) -> Result<()> {
        self.0.remove_file(path.as_ref())
    }

    /// Removes an empty folder.
    pub fn remove_folder(&self, path: impl AsRef<[u8]>) -> Result<()> {
        self.0.remove_folder(path.as_ref())
    }

    /// Changes attributes; of a symbolic link its own.
    pub fn set_attributes(&self, path: impl AsRef<[u8]>, attributes: &Attributes) -> Result<()> {
        self.0.set_attributes(path.as_ref(), attributes)
    }

    /// All extended attributes that can be read; of a symbolic link its own.
    pub fn extended_attributes(&self, path: impl AsRef<[u8]>) -> Result<Vec<ExtendedAttribute>> {
        self.0.extended_attributes(path.as_ref())
    }

    /// Sets one extended attribute.
    pub fn set_extended_attribute(&self, path: impl AsRef<[u8]>, attribute: &ExtendedAttribute) -> Result<()> {
        self.0.set_extended_attribute(path.as_ref(), attribute)
    }

    /// Removes one extended attribute; `NotFound` where there is none of that name.
    pub fn remove_extended_attribute(&self, path: impl AsRef<[u8]>, name: impl AsRef<[u8]>) -> Result<()> {
        self.0.remove_extended_attribute(path.as_ref(), name.as_ref())
    }

    /// Makes a pipe or socket with permission bits `mode`, whatever the umask.
    pub fn create_special_file(&self, path: impl AsRef<[u8]>, node: SpecialFile, mode: u32) -> Result<()> {
        self.0.create_special_file(path.as_ref(), node, mode)
    }

    /// fsync of the folder at `path`: names made, renamed or removed in it are durable when it returns.
    pub fn sync(&self, path: impl AsRef<[u8]>) -> Result<()> {
        self.0.sync(path.as_ref())
    }

    /// Makes everything durable that was changed on the folder's file system: one call after many files, instead of a [`File::sync`] of each.
    pub fn sync_file_system(&self) -> Result<()> {
        self.0.sync_file_system()
    }

    /// Room in its file system.
    pub fn space(&self) -> Result<Space> {
        self.0.space()
    }
}

/// An answer for one name at least: whoever asks for the rest until there is none must not ask forever.
fn answered<T>(answers: Vec<T>) -> Result<Vec<T>> {
    match answers.is_empty() {
        true => Err(Error::new(ErrorKind::Internal, "the host left all names unanswered")),
        false => Ok(answers),
    }
}

/// The directories that were granted.
#[must_use]
pub fn grants() -> Vec<Grant> {
    host::with_host(|host| host.directory_grants())
}

/// Opens a granted folder.
///
/// # Errors
/// `NotGranted`, `NotFound`.
pub fn open(name: &str) -> Result<Folder> {
    host::with_host(|host| host.open_directory(name)).map(Folder)
}
