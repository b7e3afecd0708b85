//! Removing snapshots: only their files go, at once; what they alone needed goes with the next prune.

use std::collections::HashSet;

use crate::{
    access,
    error::{MaintenanceError, StoreError},
    id::ObjectId,
    lock::{Held, Lock, Share},
    maintenance::Stop,
    snapshots::SnapshotInfo,
    vault::Vault,
};

/// What a plan to forget was made of.
#[derive(Debug, Clone, Default)]
pub struct Basis {
    /// Snapshots that must still be there.
    pub snapshots: Vec<ObjectId>,
    /// All files of snapshots that there were, those that are records of verifications among them: one more of these may say of one that goes
    /// that it alone is whole. One more snapshot is no obstacle.
    pub seen: HashSet<ObjectId>,
}

/// What became of snapshots that were to be forgotten.
#[derive(Debug)]
pub struct Forgotten {
    /// Those that were there and are gone.
    pub removed: Vec<ObjectId>,
    /// Why the others are still there.
    pub error: Option<MaintenanceError>,
}

impl Vault {
    /// Removes these snapshots; one that isn't there is none's loss. Beside runs, which need blobs and not snapshot files; not beside one who works alone, or
    /// who changes snapshots, too.
    pub async fn forget(&self, ids: &[ObjectId], host: &str, stop: &Stop) -> Forgotten {
        self.forget_if(ids, None, host, stop).await
    }

    /// The same by a plan that was made of `basis`: where a snapshot of it is not there any more, or a verification was recorded since, nothing is removed, and the error is
    /// [`MaintenanceError::Changed`]. A snapshot that was held meanwhile has another name, and so is not there either.
    pub async fn forget_planned(&self, ids: &[ObjectId], basis: &Basis, host: &str, stop: &Stop) -> Forgotten {
        self.forget_if(ids, Some(basis), host, stop).await
    }

    async fn forget_if(&self, ids: &[ObjectId], basis: Option<&Basis>, host: &str, stop: &Stop) -> Forgotten {
        let mut removed = Vec::new();
        let error = match Lock::take(&self.core, host, Share::Adders).await {
            Err(error) => Some(error.into()),
            Ok(lock) => {
                let result = match self.refuse_changed(basis).await {
                    Ok(()) => self.forget_locked(ids, lock.held(), stop, &mut removed).await,
                    Err(error) => Err(error),
                };
                lock.release().await;
                result.err()
            }
        };
        Forgotten { removed, error }
    }

    async fn refuse_changed(&self, basis: Option<&Basis>) -> Result<(), MaintenanceError> {
        let Some(basis) = basis else { return Ok(()) };
        let there = self.snapshot_ids().await?;
        let new = there.difference(&basis.seen).copied().collect();
        let is_as_it_was = basis.snapshots.iter().all(|id| there.contains(id))
            && !self.core.load_snapshots(new, true).await?.iter().any(SnapshotInfo::is_record);
        if is_as_it_was { Ok(()) } else { Err(MaintenanceError::Changed) }
    }

    async fn snapshot_ids(&self) -> Result<HashSet<ObjectId>, StoreError> {
        Ok(access::list_ids(&*self.core.store, "snapshots/").await?.into_iter().collect())
    }

    pub(super) async fn forget_locked(
        &self,
        ids: &[ObjectId],
        held: &Held,
        stop: &Stop,
        removed: &mut Vec<ObjectId>,
    ) -> Result<(), MaintenanceError> {
        let there = self.snapshot_ids().await?;
        for id in ids.iter().filter(|id| there.contains(id)) {
            stop.check()?;
            held.check_age()?;
            access::delete(&*self.core.store, &format!("snapshots/{id}")).await?;
            removed.push(*id);
        }
        Ok(())
    }
}
