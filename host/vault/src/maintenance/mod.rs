//! Maintenance: what changes or removes what is stored, each under a lock of its own.
//!
//! Snapshots are forgotten and tagged, packs that nobody needs are pruned, indexes that lost their way are repaired. Whoever removes what others may rely
//! on works alone in the vault ([`Share::Nobody`](crate::lock::Share)); each order of steps leaves a repository that is whole, wherever it is cut off.

mod forget;
mod headers;
mod mirror;
mod prune;
mod repair_index;
mod repair_snapshots;
mod tag;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

pub use forget::{Basis, Forgotten};
pub use mirror::Mirrored;
pub use prune::{PruneLimit, PruneOptions, PrunePlan};
pub use repair_index::{IndexRepair, UnreadableObject};
pub use repair_snapshots::SnapshotRepair;
pub use tag::{TagChange, Tagged};

use crate::{error::MaintenanceError, id::ObjectId, lock, vault::Vault};

/// Stops maintenance from outside: it ends at the next call to the store, and gives its lock back. Clones stop the same.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Stops it.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Fails once stopped.
    pub(crate) fn check(&self) -> Result<(), MaintenanceError> {
        if self.0.load(Ordering::Acquire) {
            return Err(MaintenanceError::Stopped);
        }
        Ok(())
    }
}

impl Vault {
    /// Removes the locks whose holders have died, seen from `host`: those of its processes that are gone, and those of others that were not refreshed for half
    /// an hour. With `all`, every lock: a run that is at work loses its own and fails, rather than rely on what may go. Returns what it removed.
    ///
    /// # Errors
    /// [`MaintenanceError::Store`].
    pub async fn unlock(&self, host: &str, all: bool) -> Result<Vec<ObjectId>, MaintenanceError> {
        Ok(lock::unlock(&self.core, host, all).await?)
    }
}
