//! What the kernel asks, answered from a vault: [`VaultFilesystem`]. Every answer is made by a task, so that none waits for another's.

use std::{
    ffi::OsStr,
    future::Future,
    os::unix::ffi::OsStrExt as _,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bulkhead_model::{NodeType, Timestamp};
use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenAccMode, OpenFlags, ReplyAttr,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyXattr, Request,
};
use tokio::runtime::Handle;

use crate::mount::{
    files::{Files, ReadRequest},
    names::{Item, NameError, Names, inode},
};

/// How long the kernel may believe an answer: what is in a snapshot never changes.
const TIME_TO_LIVE: Duration = Duration::from_secs(3600);

/// A vault as a file system.
pub(crate) struct VaultFilesystem {
    runtime: Handle,
    names: Arc<Names>,
    files: Arc<Files>,
}

impl VaultFilesystem {
    /// Of `names`, answering on `runtime`.
    pub(crate) fn new(names: Names, runtime: Handle) -> Self {
        Self {
            runtime,
            names: Arc::new(names),
            files: Arc::new(Files::new()),
        }
    }

    fn answer<F: Future<Output = ()> + Send + 'static>(&self, answer: impl FnOnce(Arc<Names>) -> F) {
        self.runtime.spawn(answer(Arc::clone(&self.names)));
    }
}

impl Filesystem for VaultFilesystem {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.as_bytes().to_vec();
        self.answer(|names| async move {
            match names.lookup(parent.0, &name).await {
                Ok((number, item)) => reply.entry(&TIME_TO_LIVE, &attributes(number, &item), Generation(0)),
                Err(error) => reply.error(code(&error)),
            }
        });
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.answer(|names| async move {
            match names.item(number.0).await {
                Ok(item) => reply.attr(&TIME_TO_LIVE, &attributes(number.0, &item)),
                Err(error) => reply.error(code(&error)),
            }
        });
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        self.answer(|names| async move {
            match names.item(number.0).await.map(|item| item.metadata.node_type) {
                Ok(NodeType::Symlink(target)) => reply.data(&target),
                Ok(_) => reply.error(Errno::EINVAL),
                Err(error) => reply.error(code(&error)),
            }
        });
    }

    fn open(&self, _: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.acc_mode() != OpenAccMode::O_RDONLY {
            return reply.error(Errno::EROFS);
        }
        let files = Arc::clone(&self.files);
        self.answer(|names| async move {
            match names.open(number.0).await {
                Ok(reader) => reply.opened(FileHandle(files.add(reader)), FopenFlags::FOPEN_KEEP_CACHE),
                Err(error) => reply.error(code(&error)),
            }
        });
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(requests) = self.files.requests(handle.0) else {
            return reply.error(Errno::EBADF);
        };
        let request = ReadRequest {
            offset,
            size: size as usize,
            reply,
        };
        // In this thread, so that they stay in order; there is room for all that the kernel sends at once.
        if let Err(refused) = requests.try_send(request) {
            refused.into_inner().reply.error(Errno::EAGAIN);
        }
    }

    fn release(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, _: Option<LockOwner>, _: bool, reply: ReplyEmpty) {
        self.files.remove(handle.0);
        reply.ok();
    }

    fn readdir(&self, _: &Request, number: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        self.answer(|names| async move {
            let (folder, items) = match names.list(number.0).await {
                Ok(found) => found,
                Err(error) => return reply.error(code(&error)),
            };
            let dots = [(number.0, "."), (names.parent(folder), "..")];
            for (at, (inode, name)) in dots.into_iter().enumerate().skip(offset as usize) {
                if reply.add(INodeNo(inode), at as u64 + 1, FileType::Directory, name) {
                    return reply.ok();
                }
            }
            for (at, item) in items.iter().enumerate().skip((offset as usize).saturating_sub(dots.len())) {
                let next = (at + dots.len()) as u64 + 1;
                let name = OsStr::from_bytes(&item.name);
                if reply.add(INodeNo(inode(folder, at)), next, kind(&item.metadata.node_type), name) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn getxattr(&self, _: &Request, number: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let name = name.as_bytes().to_vec();
        self.answer(|names| async move {
            let found = names.item(number.0).await;
            let attributes = found.map(|item| item.metadata.extended_attributes);
            match attributes.map(|attributes| attributes.into_iter().find(|attribute| attribute.name == name)) {
                Ok(Some(attribute)) => reply_sized(&attribute.value, size, reply),
                Ok(None) => reply.error(Errno::ENODATA),
                Err(error) => reply.error(code(&error)),
            }
        });
    }

    fn listxattr(&self, _: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        self.answer(|names| async move {
            match names.item(number.0).await {
                Ok(item) => {
                    let names = item.metadata.extended_attributes.iter();
                    let list: Vec<u8> = names.flat_map(|attribute| [&attribute.name[..], b"\0"].concat()).collect();
                    reply_sized(&list, size, reply);
                }
                Err(error) => reply.error(code(&error)),
            }
        });
    }
}

/// What is asked for with a size of 0 is how much there is.
fn reply_sized(data: &[u8], size: u32, reply: ReplyXattr) {
    match u32::try_from(data.len()) {
        Ok(length) if size == 0 => reply.size(length),
        Ok(length) if length <= size => reply.data(data),
        _ => reply.error(Errno::ERANGE),
    }
}

fn code(error: &NameError) -> Errno {
    match error {
        NameError::Missing => Errno::ENOENT,
        NameError::NotAFolder => Errno::ENOTDIR,
        NameError::Read(error) => {
            tracing::warn!(%error, "a mounted entry cannot be read");
            Errno::EIO
        }
    }
}

fn attributes(number: u64, item: &Item) -> FileAttr {
    let metadata = &item.metadata;
    let modified = metadata.modified.map_or(UNIX_EPOCH, system_time);
    let (size, device) = match &metadata.node_type {
        NodeType::Symlink(target) => (target.len() as u64, 0),
        NodeType::CharacterDevice(device) | NodeType::BlockDevice(device) => (0, *device),
        _ => (item.size, 0),
    };
    FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: modified,
        mtime: modified,
        ctime: metadata.changed.map_or(modified, system_time),
        crtime: modified,
        kind: kind(&metadata.node_type),
        perm: (metadata.mode & 0o7777) as u16,
        // Of a folder, 1 says that it does not count the folders in it.
        nlink: if metadata.node_type == NodeType::Directory {
            1
        } else {
            u32::try_from(metadata.links.max(1)).unwrap_or(u32::MAX)
        },
        uid: metadata.uid,
        gid: metadata.gid,
        rdev: kernel_device(device),
        blksize: 128 << 10,
        flags: 0,
    }
}

/// A device's number as the kernel's protocol has it: 12 bits of the major number between the low 8 and the high 12 of the minor.
fn kernel_device(device: u64) -> u32 {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xfff00) << 12
}

fn kind(node_type: &NodeType) -> FileType {
    match node_type {
        NodeType::File => FileType::RegularFile,
        NodeType::Directory => FileType::Directory,
        NodeType::Symlink(_) => FileType::Symlink,
        NodeType::Fifo => FileType::NamedPipe,
        NodeType::Socket => FileType::Socket,
        NodeType::CharacterDevice(_) => FileType::CharDevice,
        NodeType::BlockDevice(_) => FileType::BlockDevice,
    }
}

pub(crate) fn system_time(time: Timestamp) -> SystemTime {
    let seconds = Duration::from_secs(time.seconds.unsigned_abs());
    let whole = if time.seconds < 0 {
        UNIX_EPOCH.checked_sub(seconds)
    } else {
        UNIX_EPOCH.checked_add(seconds)
    };
    whole
        .and_then(|whole| whole.checked_add(Duration::from_nanos(time.nanoseconds.into())))
        .unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_count_their_nanoseconds_forward() {
        let time = system_time(Timestamp {
            seconds: -5,
            nanoseconds: 999_999_999,
        });
        assert_eq!(
            UNIX_EPOCH.duration_since(time).map(|before| before.as_nanos()).ok(),
            Some(4_000_000_001)
        );
    }

    #[test]
    fn devices_have_the_kernels_numbers() {
        assert_eq!(kernel_device(rustix::fs::makedev(1, 3)), 259);
        assert_eq!(kernel_device(rustix::fs::makedev(259, 0x12345)), 0x1231_0345);
    }
}
