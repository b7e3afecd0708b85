//! Buckets that keep versions: removing an object for good.

use bulkhead_sdk::{info, prelude::*, services::Store};

use crate::{dialect::Amazon, lock::Locks};

/// Removes all versions of an object that was removed. Those that are locked stay, behind the mark that it was.
pub(crate) fn remove(store: &Store<Amazon>, locks: &Locks, key: &str) -> Result<()> {
    // Content before marks: without its mark, what is left of an object would be there again.
    let (marks, contents): (Vec<_>, Vec<_>) = store.versions(key)?.into_iter().partition(|version| version.is_removal);
    let mut locked = 0_usize;
    for version in contents {
        match store.delete_version(key, &version.id) {
            Ok(()) => {}
            Err(error) if error.kind == ErrorKind::PermissionDenied && is_locked(locks.until(store, key, Some(&version.id))?) => {
                locked += 1
            }
            Err(error) => return Err(error),
        }
    }
    if locked > 0 {
        info!(versions = locked; "{key} is removed; what is locked of it stays behind the mark that it was");
        return Ok(());
    }
    marks.iter().try_for_each(|mark| store.delete_version(key, &mark.id))
}

fn is_locked(until: Option<Timestamp>) -> bool {
    until.is_some_and(|until| until.seconds >= Timestamp::now().seconds)
}
