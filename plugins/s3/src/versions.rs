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
            Err(error) if error.kind == ErrorKind::PermissionDenied && locks.until(store, key, Some(&version.id))?.is_some() => locked += 1,
            Err(error) => return Err(error),
        }
    }
    if locked > 0 {
        info!(versions = locked; "{key} is removed; what is locked of it stays until its lock ends");
        return Ok(());
    }
    marks.iter().try_for_each(|mark| store.delete_version(key, &mark.id))
}
