//! Removing snapshots: only their files go, at once; what they alone needed goes with the next prune.

use std::collections::HashSet;

use crate::{
    access,
    error::{MaintenanceError, StoreError},
    id::ObjectId,
    lock::{Held, Lock, Share},
    maintenance::Stop,
    vault::Vault,
};

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
        self.forget_planned(ids, &[], host, stop).await
    }

    /// The same by a plan that was made while all of `basis` were there: where one of them is not there any more, nothing is removed, and the error is
    /// [`MaintenanceError::Changed`]. One that was held meanwhile has another name, and so is not there either.
    pub async fn forget_planned(&self, ids: &[ObjectId], basis: &[ObjectId], host: &str, stop: &Stop) -> Forgotten {
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

    async fn refuse_changed(&self, basis: &[ObjectId]) -> Result<(), MaintenanceError> {
        let there = self.snapshot_ids().await?;
        if basis.iter().all(|id| there.contains(id)) {
            return Ok(());
        }
        Err(MaintenanceError::Changed)
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
