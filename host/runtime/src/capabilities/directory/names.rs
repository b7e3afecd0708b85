//! Many names of a folder in one call: [`Folder::stat_names`] and [`Folder::read_names`]. A call to the blocking pool costs more than what it does for
//! one small file; here a hundred files share one.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use bulkhead_model::{EntryPath, ExtendedAttribute, Fault, FaultKind};
use rustix::fs::{AtFlags, Mode, OFlags};

use super::file::read_fully;
use super::folder::to_path;
use super::{FileType, Folder, Stat, attributes};
use crate::capabilities::transfer_size;

/// How long a call goes on with further names: cancellation and limits are seen between calls.
const TURN: Duration = Duration::from_millis(100);
/// Names that are answered in one call.
const MAX_NAMES: usize = 1024;

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

impl Node {
    /// Bytes that it takes to hand it over, besides what every node takes.
    fn bytes(&self) -> usize {
        let attributes = self.extended_attributes.iter();
        let attributes: usize = attributes.map(|attribute| attribute.name.len() + attribute.value.len()).sum();
        attributes + self.content.as_ref().map_or(0, Vec::len)
    }
}

impl Folder {
    /// Attributes of the first of `names` in the folder at `path`, of one at least.
    ///
    /// # Errors
    /// As [`Folder::list`]; `internal` where a name is none. Each name has an error of its own besides.
    pub async fn stat_names(&self, path: EntryPath, names: Vec<Vec<u8>>) -> Result<Vec<Result<Stat, Fault>>, Fault> {
        self.each("stat", path, names, |folder, name| stat(folder, name).map(Some)).await
    }

    /// What is at the first of `names` in the folder at `path`, one at least; a regular file's content where it has `max` bytes at most, which is also
    /// what all of them together have.
    ///
    /// # Errors
    /// As [`Folder::stat_names`].
    pub async fn read_names(&self, path: EntryPath, names: Vec<Vec<u8>>, max: u32) -> Result<Vec<Result<Node, Fault>>, Fault> {
        let max = transfer_size(max);
        let mut left = max;
        let next = move |folder: BorrowedFd<'_>, name: &OsStr| {
            let stat = stat(folder, name)?;
            let size = usize::try_from(stat.size).unwrap_or(usize::MAX);
            if stat.file_type == FileType::Regular && (left + 1..=max).contains(&size) {
                return Ok(None);
            }
            let node = read(folder, name, stat, left)?;
            left = left.saturating_sub(node.bytes());
            Ok(Some(node))
        };
        self.each("read", path, names, next).await
    }

    /// Asks `one` for each name until it says `None`, or the time of a call is over.
    async fn each<T: Send + 'static>(
        &self,
        action: &'static str,
        path: EntryPath,
        names: Vec<Vec<u8>>,
        mut one: impl FnMut(BorrowedFd<'_>, &OsStr) -> std::io::Result<Option<T>> + Send + 'static,
    ) -> Result<Vec<Result<T, Fault>>, Fault> {
        let paths = names.iter().take(MAX_NAMES).map(|name| below(&path, name));
        let paths = paths.collect::<Result<Vec<_>, _>>()?;
        self.call(action, path, move |inner, path| {
            let folder = inner.root.open_dir(to_path(path.as_bytes()))?;
            let begun = Instant::now();
            let mut answers = Vec::with_capacity(paths.len());
            for (name, path) in names.iter().zip(paths) {
                match one(folder.as_fd(), OsStr::from_bytes(name)).transpose() {
                    Some(answer) => answers.push(answer.map_err(|error| inner.fault(action, &path, &error))),
                    None => break,
                }
                if begun.elapsed() > TURN {
                    break;
                }
            }
            Ok(answers)
        })
        .await
    }
}

/// The path of a name, which must be one: nothing that leads elsewhere.
fn below(folder: &EntryPath, name: &[u8]) -> Result<EntryPath, Fault> {
    let path = match folder.as_bytes() {
        [] => name.to_vec(),
        folder => [folder, b"/", name].concat(),
    };
    let one_more = |path: &EntryPath| path.components().count() == folder.components().count() + 1;
    let path = EntryPath::new(path).ok().filter(one_more);
    path.ok_or_else(|| {
        Fault::new(
            FaultKind::Internal,
            format!("{:?} is no name in a folder", String::from_utf8_lossy(name)),
        )
    })
}

fn stat(folder: BorrowedFd<'_>, name: &OsStr) -> std::io::Result<Stat> {
    Ok(attributes::convert(&rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?))
}

/// Reads what `stat` found, a regular file's content up to `most` bytes.
fn read(folder: BorrowedFd<'_>, name: &OsStr, stat: Stat, most: usize) -> std::io::Result<Node> {
    let node = |extended_attributes, target| Node {
        stat,
        extended_attributes,
        target,
        content: None,
    };
    Ok(match stat.file_type {
        FileType::Regular => regular(folder, name, most)?,
        FileType::Directory => node(attributes::extended_attributes(folder, name)?, None),
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(folder, name, Vec::new())?;
            node(attributes::of_unopened(folder, name)?, Some(target.into_bytes()))
        }
        FileType::Fifo | FileType::Socket | FileType::CharacterDevice | FileType::BlockDevice => {
            node(attributes::of_unopened(folder, name)?, None)
        }
    })
}

/// A file that was a regular one a moment ago: nothing else is opened for longer than it takes to see what it is.
fn regular(folder: BorrowedFd<'_>, name: &OsStr, most: usize) -> std::io::Result<Node> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::openat(folder, name, flags, Mode::empty())?);
    let stat = attributes::convert(&rustix::fs::fstat(&file)?);
    let size = usize::try_from(stat.size).unwrap_or(usize::MAX);
    let mut content = None;
    if stat.file_type == FileType::Regular && size <= most {
        // One byte more than it has: what has grown meanwhile is seen.
        let data = read_fully(&file, 0, size + 1, Vec::new())?;
        let same = attributes::convert(&rustix::fs::fstat(&file)?) == stat && data.len() == size;
        content = same.then_some(data);
    }
    Ok(Node {
        stat,
        extended_attributes: attributes::of_open(file.as_fd())?,
        target: None,
        content,
    })
}
