//! The locks by which SQLite's programs leave room for each other, as its `unix` file system has them: [`Attempt`], [`share`], [`share_log`].
//!
//! Source: SQLite, "File Locking And Concurrency" and "WAL-mode File Format" (section 2.3); the bytes are those of `os.h`, `os_unix.c` and `wal.c`. The host's locks
//! exclude those of other programs, and end with the file that they are on.

use bulkhead_sdk::{
    Result,
    directory::{File, LockKind},
};

/// Whoever wants to be alone locks it first, so that no new readers come in. `RESERVED` and the readers' range follow it.
const PENDING: u64 = 0x4000_0000;
const RESERVED: u64 = PENDING + 1;
const SHARED: u64 = PENDING + 2;
const SHARED_LENGTH: u64 = 510;

/// Held exclusively while the log is written back into the database.
const CHECKPOINT: u64 = 121;
/// The last of five marks of readers: while it is held, the log is not begun anew.
const LAST_READER: u64 = 127;
/// Held shared by each program that has the index open.
const ALIVE: u64 = 128;

/// What came of asking for locks.
#[derive(Debug)]
pub(crate) enum Attempt<T> {
    Held(T),
    /// Somebody else has them: what they do.
    Busy(&'static str),
}

/// Becomes a reader of a database: nobody writes into it, changes its mode or removes its log.
pub(crate) fn share(database: &File) -> Result<Attempt<()>> {
    if !database.lock_range(PENDING, 1, LockKind::Shared)? {
        return Ok(Attempt::Busy("a writer waits to commit"));
    }
    let shared = database.lock_range(SHARED, SHARED_LENGTH, LockKind::Shared)?;
    database.unlock_range(PENDING, 1)?;
    Ok(match shared {
        true => Attempt::Held(()),
        false => Attempt::Busy("a program has it to itself (it commits, or its locking mode is exclusive)"),
    })
}

/// Whether a writer has a transaction open: its journal is its own then.
pub(crate) fn is_reserved(database: &File) -> Result<bool> {
    database.test_range(RESERVED, 1, LockKind::Shared).map(|free| !free)
}

/// Takes a database for oneself, for replacing it.
pub(crate) fn take(database: &File) -> Result<Attempt<()>> {
    let length = SHARED + SHARED_LENGTH - PENDING;
    Ok(match database.lock_range(PENDING, length, LockKind::Exclusive)? {
        true => Attempt::Held(()),
        false => Attempt::Busy("a program has it open"),
    })
}

/// Keeps a log as it is, though writers may go on adding to it: nothing is written back into the database, and nothing overwritten. Says whether other programs have
/// it open: if so, what its index says can be relied upon.
pub(crate) fn share_log(index: &File) -> Result<Attempt<bool>> {
    if !index.lock_range(CHECKPOINT, 1, LockKind::Shared)? {
        return Ok(Attempt::Busy("a checkpoint is at work"));
    }
    if !index.lock_range(LAST_READER, 1, LockKind::Shared)? {
        return Ok(Attempt::Busy("its log is begun anew"));
    }
    // Only now: whoever comes from here on has to wait for these locks before it may use an index that nobody else has open.
    let alive = !index.test_range(ALIVE, 1, LockKind::Exclusive)?;
    // Not where nobody else does: who comes next would take an index that a crash left for one that is in use.
    if alive && !index.lock_range(ALIVE, 1, LockKind::Shared)? {
        return Ok(Attempt::Busy("its index is being made"));
    }
    Ok(Attempt::Held(alive))
}
