//! Bringing a replica to where the first store is: what was pruned there goes here, too.

use std::{collections::HashSet, time::Duration};

use crate::{
    access,
    error::{MaintenanceError, StoreError},
    lock::Lock,
    maintenance::Stop,
    vault::Vault,
};

/// What a replica had too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mirrored {
    /// Objects that were removed.
    pub objects: u64,
    /// Bytes in them.
    pub bytes: u64,
}

impl Vault {
    /// Removes the index files and packs that `first`, of which this is a replica, has no more. Both are locked against everybody else meanwhile, for which it waits as
    /// long as `patience`.
    ///
    /// # Errors
    /// [`MaintenanceError::Behind`] where the replica lacks something that the first has: it has to catch up before anything is removed.
    /// [`MaintenanceError::Strays`] where it has snapshots that the first has not: what they need cannot be told from what nobody needs.
    pub async fn mirror(&self, first: &Self, patience: Duration, host: &str, stop: &Stop) -> Result<Mirrored, MaintenanceError> {
        let outer = Lock::take_alone(&first.core, host, patience, stop).await?;
        let result = match Lock::take_alone(&self.core, host, patience, stop).await {
            Ok(inner) => {
                let result = self.mirror_locked(first, stop, &[&outer, &inner]).await;
                inner.release().await;
                result
            }
            Err(error) => Err(error),
        };
        outer.release().await;
        result
    }

    async fn mirror_locked(&self, first: &Self, stop: &Stop, locks: &[&Lock]) -> Result<Mirrored, MaintenanceError> {
        let mut surplus = Vec::new();
        for prefix in ["snapshots/", "index/", "data/"] {
            let (extra, lacking) = self.surplus(first, prefix).await?;
            if lacking > 0 {
                return Err(MaintenanceError::Behind(lacking));
            }
            if prefix == "snapshots/" && !extra.is_empty() {
                return Err(MaintenanceError::Strays(extra.len() as u64));
            }
            surplus.extend(extra);
        }
        let mut removed = Mirrored::default();
        // Index files first: none may name a pack that has gone.
        for (key, size) in surplus {
            stop.check()?;
            locks.iter().try_for_each(|lock| lock.held().check_age())?;
            access::delete(&*self.core.store, &key).await?;
            removed.objects += 1;
            removed.bytes += size;
        }
        Ok(removed)
    }

    /// What is here and not there, and how much is there and not here.
    async fn surplus(&self, first: &Self, prefix: &str) -> Result<(Vec<(String, u64)>, u64), StoreError> {
        let here = access::list(&*self.core.store, prefix).await?;
        let there: HashSet<String> = access::list(&*first.core.store, prefix)
            .await?
            .into_iter()
            .map(|object| object.key)
            .collect();
        let common = here.iter().filter(|object| there.contains(&object.key)).count();
        let extra = here
            .into_iter()
            .filter(|object| !there.contains(&object.key))
            .map(|object| (object.key, object.size));
        Ok((extra.collect(), (there.len() - common) as u64))
    }
}
