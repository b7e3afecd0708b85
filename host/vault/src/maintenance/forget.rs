//! Removing snapshots: only their files go, at once; what they alone needed goes with the next prune.

use std::collections::HashSet;

use crate::{
    access,
    error::MaintenanceError,
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
    /// Removes these snapshots; one that isn't there is none's loss. Beside runs, which need blobs and not snapshot files; not beside one who works alone.
    pub async fn forget(&self, ids: &[ObjectId], host: &str, stop: &Stop) -> Forgotten {
        let mut removed = Vec::new();
        let error = match Lock::take(&self.core, host, Share::Others).await {
            Err(error) => Some(error.into()),
            Ok(lock) => {
                let result = self.forget_locked(ids, lock.held(), stop, &mut removed).await;
                lock.release().await;
                result.err()
            }
        };
        Forgotten { removed, error }
    }

    pub(super) async fn forget_locked(
        &self,
        ids: &[ObjectId],
        held: &Held,
        stop: &Stop,
        removed: &mut Vec<ObjectId>,
    ) -> Result<(), MaintenanceError> {
        let there: HashSet<ObjectId> = access::list_ids(&*self.core.store, "snapshots/").await?.into_iter().collect();
        for id in ids.iter().filter(|id| there.contains(id)) {
            stop.check()?;
            held.check_age()?;
            access::delete(&*self.core.store, &format!("snapshots/{id}")).await?;
            removed.push(*id);
        }
        Ok(())
    }
}
