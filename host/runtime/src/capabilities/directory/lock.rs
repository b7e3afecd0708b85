//! Advisory locks on ranges of an open file: those of its open file description, which Linux keeps apart from all others and from POSIX record locks.
//!
//! POSIX's own locks would not do: they belong to the process, so that two operations of one host would not exclude each other, and closing any handle of
//! the file would give them up.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};

use bulkhead_model::{Fault, FaultKind};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Locks and unlocks of one open file that succeed. Each may leave one more lock in the kernel's list, which has no bound of its own.
const MAX_CHANGES: u32 = 4096;

/// How a range is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// Others may lock it shared too.
    Shared,
    /// Nobody else may lock it.
    Exclusive,
}

impl LockKind {
    fn raw(self) -> libc::c_int {
        match self {
            Self::Shared => libc::F_RDLCK,
            Self::Exclusive => libc::F_WRLCK,
        }
    }
}

/// Counts what may grow the kernel's list.
#[derive(Debug, Default)]
pub(super) struct LockChanges(AtomicU32);

impl LockChanges {
    pub(super) fn count(&self) -> Result<(), Fault> {
        let next = |changes: u32| Some(changes + 1).filter(|next| *next <= MAX_CHANGES);
        let full = |_| {
            let message = format!("an open file takes at most {MAX_CHANGES} locks and unlocks");
            Fault::new(FaultKind::Limit, message).hint("the plugin has to open the file anew")
        };
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .map(drop)
            .map_err(full)
    }

    /// It did not happen.
    pub(super) fn take_back(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn range(kind: libc::c_int, offset: u64, length: u64) -> std::io::Result<libc::flock> {
    let beyond = |_| std::io::Error::from(std::io::ErrorKind::InvalidInput);
    Ok(libc::flock {
        l_type: libc::c_short::try_from(kind).map_err(beyond)?,
        l_whence: libc::c_short::try_from(libc::SEEK_SET).map_err(beyond)?,
        l_start: offset.try_into().map_err(beyond)?,
        l_len: length.try_into().map_err(beyond)?,
        l_pid: 0,
    })
}

/// Whether it was locked; `false` where another lock is in the way.
pub(super) fn lock(file: impl AsFd, offset: u64, length: u64, kind: LockKind) -> std::io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&range(kind.raw(), offset, length)?)) {
        Ok(_) => Ok(true),
        Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn unlock(file: impl AsFd, offset: u64, length: u64) -> std::io::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&range(libc::F_UNLCK, offset, length)?))?;
    Ok(())
}

/// Whether it could be locked now.
pub(super) fn test(file: impl AsFd, offset: u64, length: u64, kind: LockKind) -> std::io::Result<bool> {
    let mut asked = range(kind.raw(), offset, length)?;
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut asked))?;
    Ok(libc::c_int::from(asked.l_type) == libc::F_UNLCK)
}
