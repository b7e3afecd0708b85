//! An open regular file.

use std::io::IoSliceMut;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bulkhead_model::{Fault, FaultKind};
use bytes::Bytes;
use rustix::io::ReadWriteFlags;
use tokio::sync::OwnedSemaphorePermit;

use super::lock::{self, LockChanges, LockKind};
use super::{Attributes, FileType, Stat, attributes, io_fault, shown};
use crate::WriteOut;
use crate::capabilities::{Budget, check_transfer, transfer_size};

/// An open regular file. Clones are the same open file.
#[derive(Debug, Clone)]
pub struct File(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: std::fs::File,
    writable: bool,
    grant: String,
    path: PathBuf,
    budget: Arc<Budget>,
    locks: LockChanges,
    written: Mutex<WriteOut>,
    _place: OwnedSemaphorePermit,
}

impl Inner {
    fn fault(&self, action: &str, error: &std::io::Error) -> Fault {
        io_fault(action, &shown(&self.grant, &self.path), error)
    }
}

impl File {
    pub(super) fn new(
        file: std::fs::File,
        writable: bool,
        grant: String,
        path: PathBuf,
        place: OwnedSemaphorePermit,
        budget: Arc<Budget>,
    ) -> Self {
        Self(Arc::new(Inner {
            file,
            writable,
            grant,
            path,
            budget,
            locks: LockChanges::default(),
            written: Mutex::default(),
            _place: place,
        }))
    }

    async fn call<T: Send + 'static>(&self, call: impl FnOnce(&Inner) -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
        let inner = self.0.clone();
        let called = self.0.budget.blocking(move || call(&inner));
        self.0.budget.within(called).await
    }

    async fn change<T: Send + 'static>(
        &self,
        action: &'static str,
        call: impl FnOnce(&std::fs::File) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        self.check_writable(action)?;
        self.call(move |inner| call(&inner.file).map_err(|error| inner.fault(action, &error)))
            .await
    }

    fn check_writable(&self, action: &str) -> Result<(), Fault> {
        if self.0.writable {
            return Ok(());
        }
        let path = shown(&self.0.grant, &self.0.path);
        let message = format!("cannot {action} `{path}`: it was opened for reading");
        Err(Fault::new(FaultKind::PermissionDenied, message))
    }

    /// Up to `max` bytes at `offset`; fewer only at the end, `None` beyond it.
    ///
    /// # Errors
    /// `io`.
    pub async fn read_at(&self, offset: u64, max: u32) -> Result<Option<Bytes>, Fault> {
        let max = transfer_size(max);
        let (mut data, is_all) = read_cached(&self.0.file, offset, max);
        if !is_all {
            let read = move |inner: &Inner| read_fully(&inner.file, offset, max, data).map_err(|error| inner.fault("read", &error));
            data = self.call(read).await?;
        }
        Ok((!data.is_empty()).then(|| data.into()))
    }

    /// Writes all of `data` at `offset`.
    ///
    /// # Errors
    /// `permission-denied`, `storage-full`, `limit`, `io`.
    pub async fn write_at(&self, offset: u64, data: Bytes) -> Result<(), Fault> {
        check_transfer(data.len())?;
        self.0.budget.write(data.len() as u64)?;
        self.check_writable("write")?;
        let write = move |inner: &Inner| {
            let written = inner.file.write_all_at(&data, offset);
            written.map_err(|error| inner.fault("write", &error))?;
            let mut write_out = inner.written.lock().unwrap_or_else(PoisonError::into_inner);
            write_out.wrote(&inner.file, offset, data.len() as u64);
            Ok(())
        };
        self.call(write).await
    }

    /// Cuts or extends it; what is added reads as zeros, and counts as written: not every file system has holes.
    ///
    /// # Errors
    /// As [`File::write_at`].
    pub async fn set_size(&self, size: u64) -> Result<(), Fault> {
        self.check_writable("resize")?;
        let resize = move |inner: &Inner| {
            let failed = |error: std::io::Error| inner.fault("resize", &error);
            let now = inner.file.metadata().map_err(failed)?.len();
            inner.budget.write(size.saturating_sub(now))?;
            inner.file.set_len(size).map_err(failed)
        };
        self.call(resize).await
    }

    /// Its attributes.
    ///
    /// # Errors
    /// `io`.
    pub async fn stat(&self) -> Result<Stat, Fault> {
        let stat = |inner: &Inner| rustix::fs::fstat(&inner.file).map_err(|error| inner.fault("stat", &error.into()));
        self.call(stat).await.map(|stat| attributes::convert(&stat))
    }

    /// Changes attributes.
    ///
    /// # Errors
    /// `permission-denied`.
    pub async fn set_attributes(&self, attributes: Attributes) -> Result<(), Fault> {
        attributes::refuse_set_id(attributes.mode, FileType::Regular)?;
        let change = move |file: &std::fs::File| attributes::change(file.as_fd(), &attributes).map_err(Into::into);
        self.change("change the attributes of", change).await
    }

    /// Locks a range for this open file without waiting; `false` where another lock is in the way. A `length` of 0 reaches to the end of any size.
    ///
    /// # Errors
    /// `permission-denied` for an exclusive lock on a file that was opened for reading, `limit` after 4,096 of them, `unsupported`.
    pub async fn lock_range(&self, offset: u64, length: u64, kind: LockKind) -> Result<bool, Fault> {
        self.check_lockable(kind)?;
        let lock = move |inner: &Inner| {
            inner.locks.count()?;
            let locked = lock::lock(&inner.file, offset, length, kind);
            if !matches!(locked, Ok(true)) {
                inner.locks.take_back();
            }
            locked.map_err(|error| inner.fault("lock", &error))
        };
        self.call(lock).await
    }

    /// Gives up what this open file holds of a range.
    ///
    /// # Errors
    /// `limit` after 4,096 of them.
    pub async fn unlock_range(&self, offset: u64, length: u64) -> Result<(), Fault> {
        let unlock = move |inner: &Inner| {
            inner.locks.count()?;
            lock::unlock(&inner.file, offset, length).map_err(|error| inner.fault("unlock", &error))
        };
        self.call(unlock).await
    }

    /// Whether a range could be locked now, by somebody who may write to the file if need be.
    ///
    /// # Errors
    /// `unsupported`, `io`.
    pub async fn test_range(&self, offset: u64, length: u64, kind: LockKind) -> Result<bool, Fault> {
        let test =
            move |inner: &Inner| lock::test(&inner.file, offset, length, kind).map_err(|error| inner.fault("test a lock of", &error));
        self.call(test).await
    }

    fn check_lockable(&self, kind: LockKind) -> Result<(), Fault> {
        match kind {
            LockKind::Shared => Ok(()),
            LockKind::Exclusive => self.check_writable("lock"),
        }
    }

    /// fsync.
    ///
    /// # Errors
    /// `io`, `storage-full`.
    pub async fn sync(&self) -> Result<(), Fault> {
        self.call(|inner| inner.file.sync_all().map_err(|error| inner.fault("sync", &error)))
            .await
    }
}

/// What can be read without waiting for a disk or a server, and whether that is all of it: a hop to another thread and back costs more than such a read.
fn read_cached(file: &std::fs::File, offset: u64, max: usize) -> (Vec<u8>, bool) {
    let mut data = vec![0; max];
    let mut filled = 0;
    let mut is_all = true;
    while filled < max {
        let into = &mut [IoSliceMut::new(&mut data[filled..])];
        match rustix::io::preadv2(file, into, offset.saturating_add(filled as u64), ReadWriteFlags::NOWAIT) {
            Ok(read @ 1..) => filled += read,
            // Not in memory (`EAGAIN`), not supported, or a failure that the read that may wait tells; so it does the end, which Linux 5.9 and 5.10 tell
            // where there is none (preadv2(2), "BUGS").
            Ok(0) | Err(_) => {
                is_all = false;
                break;
            }
        }
    }
    data.truncate(filled);
    (data, is_all)
}

/// Reads on behind `data` until `max` bytes are there or the file ends, into memory that is not zeroed first.
pub(super) fn read_fully(file: &std::fs::File, offset: u64, max: usize, mut data: Vec<u8>) -> std::io::Result<Vec<u8>> {
    data.reserve_exact(max - data.len());
    while data.len() < max {
        let at = offset.saturating_add(data.len() as u64);
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut data), at) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(data)
}
