//! Repairing the index: packs that no index file names get into one, what is gone is named no more, and index files that cannot be read go.
//!
//! Our own: `rustic_core`'s repair tells what it would do to a log only, and stops at the first index file that it cannot read.

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt, stream};

use crate::{
    access,
    error::{MaintenanceError, StoreError},
    format::{
        document,
        index_file::{IndexFile, IndexPack},
        pack,
    },
    id::ObjectId,
    lock::{Held, Lock, Share},
    maintenance::{Stop, headers, prune::put_index},
    vault::{Core, Vault},
};

/// Blobs in one index file.
const INDEX_BLOBS: usize = 40_000;

/// An object that cannot be read, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableObject {
    /// Its key.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What the repair of an index does, or has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexRepair {
    /// Packs that no index file names, and whose content gets into the index.
    pub added: Vec<ObjectId>,
    /// Packs that index files name, and that are gone or have another size than they should: they are named no more.
    pub dropped: Vec<ObjectId>,
    /// Index files that cannot be read, and go; what they named is read from the packs themselves.
    pub unreadable_index: Vec<UnreadableObject>,
    /// Packs that no index file names rightly, and that cannot be read either. They stay where they are.
    pub unreadable_packs: Vec<UnreadableObject>,
}

impl IndexRepair {
    /// Whether the index is as it should be.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty() && self.dropped.is_empty() && self.unreadable_index.is_empty()
    }
}

/// What to do: the repair, and the index files that stand for it.
#[derive(Default)]
struct Plan {
    repair: IndexRepair,
    /// Files that take the place of `old`.
    new: Vec<IndexFile>,
    old: Vec<ObjectId>,
}

impl Vault {
    /// What [`Vault::repair_index`] would do.
    ///
    /// # Errors
    /// [`MaintenanceError`].
    pub async fn plan_index_repair(&self, host: &str, stop: &Stop) -> Result<IndexRepair, MaintenanceError> {
        let lock = Lock::take(&self.core, host, Share::Nobody).await?;
        let planned = plan(&self.core, stop).await;
        lock.release().await;
        Ok(planned?.repair)
    }

    /// Makes the index name what is there, all of it and nothing else; `expected` is the plan that was agreed to, where there is one. New index files are
    /// stored before old ones go.
    ///
    /// # Errors
    /// [`MaintenanceError`].
    pub async fn repair_index(&self, expected: Option<&IndexRepair>, host: &str, stop: &Stop) -> Result<IndexRepair, MaintenanceError> {
        let lock = Lock::take(&self.core, host, Share::Nobody).await?;
        let result = match plan(&self.core, stop).await {
            Ok(plan) if expected.is_some_and(|expected| *expected != plan.repair) => Err(MaintenanceError::Changed),
            Ok(plan) => carry_out(&self.core, plan, lock.held(), stop).await,
            Err(error) => Err(error),
        };
        lock.release().await;
        result
    }
}

async fn carry_out(core: &Core, plan: Plan, held: &Held, stop: &Stop) -> Result<IndexRepair, MaintenanceError> {
    let mut stored = HashSet::new();
    for file in &plan.new {
        stop.check()?;
        stored.insert(put_index(core, file).await?);
    }
    held.check().await?;
    for name in plan.old.iter().filter(|name| !stored.contains(name)) {
        held.check_age()?;
        access::delete(&*core.store, &format!("index/{name}")).await?;
    }
    Ok(plan.repair)
}

async fn plan(core: &Core, stop: &Stop) -> Result<Plan, MaintenanceError> {
    let mut plan = Plan::default();
    let mut sizes = sizes(core).await?;
    for name in access::list_ids(&*core.store, "index/").await? {
        stop.check()?;
        let key = format!("index/{name}");
        let content = access::get(&*core.store, &key, None).await?;
        let decoded = document::check_name(name, &content).and_then(|()| document::decode(&core.key, content.to_vec()));
        match decoded {
            Ok(file) => plan.look_at(name, file, &mut sizes),
            Err(reason) => {
                plan.repair.unreadable_index.push(UnreadableObject { key, reason });
                plan.old.push(name);
            }
        }
    }
    let unnamed = sizes.into_iter().filter(|(_, pack)| !pack.named).map(|(id, pack)| (id, pack.size));
    plan.read_packs(core, unnamed.collect(), stop).await?;
    Ok(plan)
}

/// A pack that is in the store.
struct StoredPack {
    size: u64,
    named: bool,
}

async fn sizes(core: &Core) -> Result<HashMap<ObjectId, StoredPack>, StoreError> {
    let listed = access::list(&*core.store, "data/").await?;
    let packs = listed.iter().filter_map(|object| {
        let pack = StoredPack {
            size: object.size,
            named: false,
        };
        Some((access::id_of(&object.key)?, pack))
    });
    Ok(packs.collect())
}

fn size_of(pack: &IndexPack) -> u64 {
    let blobs = pack.blobs.iter().map(|blob| u64::from(blob.length)).sum::<u64>() + pack::header_size(&pack.blobs) as u64;
    pack.size.map_or(blobs, u64::from)
}

impl Plan {
    /// Sorts out what an index file names.
    fn look_at(&mut self, name: ObjectId, file: IndexFile, sizes: &mut HashMap<ObjectId, StoredPack>) {
        let before = file.packs.len() + file.packs_to_delete.len();
        let mut is_right = |pack: &IndexPack| match sizes.get_mut(&pack.id) {
            Some(stored) if stored.size == size_of(pack) => {
                stored.named = true;
                true
            }
            _ => {
                self.repair.dropped.push(pack.id);
                false
            }
        };
        let kept = IndexFile {
            packs: file.packs.into_iter().filter(&mut is_right).collect(),
            packs_to_delete: file.packs_to_delete.into_iter().filter(&mut is_right).collect(),
        };
        let after = kept.packs.len() + kept.packs_to_delete.len();
        if after < before {
            self.old.push(name);
            if after > 0 {
                self.new.push(kept);
            }
        }
    }

    /// Reads what packs that are in no index say of themselves.
    async fn read_packs(&mut self, core: &Core, mut unnamed: Vec<(ObjectId, u64)>, stop: &Stop) -> Result<(), MaintenanceError> {
        unnamed.sort_unstable();
        let mut read = stream::iter(unnamed)
            .map(|(id, size)| async move { (id, headers::read(core, id, size).await) })
            .buffered(core.concurrency());
        let mut file = IndexFile::default();
        let mut blobs_in_file = 0;
        while let Some((id, blobs)) = read.next().await {
            stop.check()?;
            match blobs? {
                Ok(blobs) => {
                    self.repair.added.push(id);
                    blobs_in_file += blobs.len();
                    file.packs.push(IndexPack {
                        id,
                        time: None,
                        size: None,
                        blobs,
                    });
                }
                Err(reason) => self.repair.unreadable_packs.push(UnreadableObject {
                    key: access::pack_key(&id),
                    reason,
                }),
            }
            if blobs_in_file >= INDEX_BLOBS {
                self.new.push(std::mem::take(&mut file));
                blobs_in_file = 0;
            }
        }
        if !file.packs.is_empty() {
            self.new.push(file);
        }
        Ok(())
    }
}
