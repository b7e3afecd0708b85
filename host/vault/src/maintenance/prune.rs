//! Removing what no snapshot needs, in two phases: packs are marked first, in index files, and deleted by a later prune when the grace time has passed, as
//! far as snapshots bear witness to that ([`pause`]).
//!
//! `rustic_core` plans and does it, under our exclusive lock. A marked pack can still be read, so that a restore that is under way ends well; a run stores
//! what it needs of one anew ([`Index::has`](crate::index::Index::has)); and a prune takes the mark away again from a pack that has turned out to be needed.

use std::{collections::HashSet, sync::Arc, time::Duration};

use rustic_core::{LimitOption, PruneOptions as RusticOptions, PrunePlan as RusticPlan, RusticError};
use serde::Serialize;
use tokio::{runtime::Handle, task::JoinError};

use crate::{
    access,
    error::MaintenanceError,
    format::{
        document,
        index_file::{IndexFile, IndexPack},
        time,
    },
    id::ObjectId,
    lock::Lock,
    maintenance::Stop,
    pause,
    rustic::{self, Guard},
    store::{ObjectBody, ObjectInfo},
    sync::read,
    vault::{Core, Vault},
};

/// How much may go unused, or be rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneLimit {
    /// Bytes.
    Bytes(u64),
    /// Percent of what the vault holds: below 100.
    Percent(u8),
    /// Any amount.
    Unlimited,
}

/// How to prune.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneOptions {
    /// How long marked packs stay before they are deleted; zero deletes at once, without marking, which breaks restores that are under way.
    pub grace: Duration,
    /// Whether the longest pause between snapshots is known to have been one, and counts as part of the grace time; else it may have been a clock that jumped.
    pub clock_is_right: bool,
    /// How long to wait for others who are at work. Who follows a log makes room between two of its snapshots.
    pub patience: Duration,
    /// Unused bytes that may stay in packs whose other content is needed.
    pub max_unused: PruneLimit,
    /// Bytes that may be rewritten at most.
    pub max_repack: PruneLimit,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(23 * 60 * 60),
            clock_is_right: false,
            patience: Duration::ZERO,
            max_unused: PruneLimit::Percent(5),
            max_repack: PruneLimit::Percent(10),
        }
    }
}

/// What a prune does, or has done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PrunePlan {
    /// Packs without anything that is needed: they are marked, and deleted by a prune after the grace time; or at once, where there is none.
    pub unused_packs: u64,
    /// Bytes in them.
    pub unused_bytes: u64,
    /// The same of packs that are in no index, which runs have left that did not finish.
    pub unindexed_packs: u64,
    /// Bytes in them.
    pub unindexed_bytes: u64,
    /// Packs whose needed part is written into new ones; the old ones are then treated like unused ones.
    pub repacked_packs: u64,
    /// Bytes that are written anew.
    pub rewritten_bytes: u64,
    /// Bytes that this frees, in the end.
    pub repack_freed_bytes: u64,
    /// Marked packs whose grace time has passed: they are deleted now.
    pub deleted_packs: u64,
    /// Bytes in them.
    pub deleted_bytes: u64,
    /// Marked packs whose grace time has not.
    pub waiting_packs: u64,
    /// Bytes in them.
    pub waiting_bytes: u64,
    /// Marked packs that are needed after all: they lose their mark.
    pub recovered_packs: u64,
    /// Bytes of content that snapshots need.
    pub needed_bytes: u64,
    /// Unused bytes that stay in packs that are kept.
    pub remaining_unused_bytes: u64,
    /// Index files that are rewritten.
    #[serde(skip)]
    pub index_files: u64,
}

impl PrunePlan {
    /// Whether there is nothing to do.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.index_files == 0 && self.unindexed_packs == 0
    }

    /// Whether it removes and rewrites the same as `other`, whatever has been added since.
    #[must_use]
    pub fn removes_the_same(&self, other: &Self) -> bool {
        let removal = |plan: &Self| Self {
            waiting_packs: 0,
            waiting_bytes: 0,
            needed_bytes: 0,
            remaining_unused_bytes: 0,
            index_files: 0,
            ..plan.clone()
        };
        removal(self) == removal(other)
    }
}

/// Longer ago than anything was marked: a century.
const NEVER: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// Whether a plan is to be carried out.
type Agrees = Box<dyn FnOnce(&PrunePlan) -> bool + Send>;

impl Vault {
    /// What [`Vault::prune`] would do. Nobody else may be at work in the vault: who is storing something looks like one who has left it behind.
    ///
    /// # Errors
    /// [`MaintenanceError`]; also where something is missing that a snapshot needs.
    pub async fn plan_prune(&self, options: PruneOptions, host: &str, stop: &Stop) -> Result<PrunePlan, MaintenanceError> {
        self.prune_if(options, host, stop, None).await
    }

    /// Removes what no snapshot needs. `agrees` is asked with the plan before anything is removed: the place to tell it, or to compare it with one that
    /// was agreed to.
    ///
    /// # Errors
    /// [`MaintenanceError::Changed`]: `agrees` did not. Otherwise as [`Vault::plan_prune`]; a prune that was cut off leaves nothing
    /// behind that the next one doesn't finish.
    pub async fn prune(
        &self,
        options: PruneOptions,
        agrees: impl FnOnce(&PrunePlan) -> bool + Send + 'static,
        host: &str,
        stop: &Stop,
    ) -> Result<PrunePlan, MaintenanceError> {
        self.prune_if(options, host, stop, Some(Box::new(agrees))).await
    }

    /// In a task of its own: if nobody waits any more, it stops, and gives back the lock when rustic's threads have.
    async fn prune_if(
        &self,
        options: PruneOptions,
        host: &str,
        stop: &Stop,
        agrees: Option<Agrees>,
    ) -> Result<PrunePlan, MaintenanceError> {
        let lock = Lock::take_alone(&self.core, host, options.patience, stop).await?;
        let guard = Arc::new(Guard::new(Arc::clone(lock.held()), stop.clone()));
        let lost = Arc::downgrade(&guard);
        lock.held().on_loss(move |error| {
            if let Some(guard) = lost.upgrade() {
                guard.fail(error.into());
            }
        });
        let vault = self.clone();
        let watched = Arc::clone(&guard);
        let task = tokio::spawn(async move {
            let result = vault.prune_locked(options, agrees, &watched).await;
            lock.release().await;
            result
        });
        let _stopped_when_dropped = StopOnDrop(Arc::clone(&guard));
        match task.await {
            Ok(result) => result.map_err(|error| guard.first_error().unwrap_or(error)),
            Err(error) => Err(did_not_end(&error)),
        }
    }

    async fn prune_locked(&self, options: PruneOptions, agrees: Option<Agrees>, guard: &Arc<Guard>) -> Result<PrunePlan, MaintenanceError> {
        let runtime = Handle::current();
        let options = PruneOptions {
            grace: self.age_of_deleted(options).await?,
            ..options
        };
        let (vault, owned) = (self.clone(), Arc::clone(guard));
        let acts = agrees.is_some();
        let work = tokio::task::spawn_blocking(move || work(&vault, options, agrees, runtime, &owned));
        let plan = work.await.map_err(|error| did_not_end(&error))??;
        // rustic finds packs that are in no index, but forgets its marks for them where no index file has to be rewritten.
        if acts && plan.unindexed_packs > 0 && plan.index_files == 0 && !options.grace.is_zero() {
            guard.check()?;
            self.mark_unindexed().await?;
        }
        Ok(plan)
    }

    /// How long ago packs must have been marked that are deleted now.
    async fn age_of_deleted(&self, options: PruneOptions) -> Result<Duration, MaintenanceError> {
        if options.grace.is_zero() || options.clock_is_right {
            return Ok(options.grace);
        }
        let taken = self.snapshots().await?.iter().map(|snapshot| snapshot.time).collect();
        Ok(pause::age_after(options.grace, taken, time::now()).unwrap_or(NEVER))
    }

    async fn mark_unindexed(&self) -> Result<(), MaintenanceError> {
        let core = &self.core;
        core.refresh_index().await?;
        let indexed: HashSet<ObjectId> = read(&core.index).packs().collect();
        let marked = |object: &ObjectInfo| {
            Some(IndexPack {
                id: access::id_of(&object.key).filter(|id| !indexed.contains(id))?,
                time: Some(time::format(time::now())),
                size: u32::try_from(object.size).ok(),
                blobs: Vec::new(),
            })
        };
        let packs_to_delete: Vec<IndexPack> = access::list(&*core.store, "data/").await?.iter().filter_map(marked).collect();
        let file = IndexFile {
            packs: Vec::new(),
            packs_to_delete,
        };
        put_index(core, &file).await?;
        Ok(())
    }
}

/// Stores an index file.
pub(super) async fn put_index(core: &Core, file: &IndexFile) -> Result<ObjectId, MaintenanceError> {
    let body = ObjectBody::new(document::encode(&core.key, file).map_err(MaintenanceError::Internal)?);
    let name = ObjectId::from(body.sha256);
    access::put(&*core.store, &format!("index/{name}"), body).await?;
    Ok(name)
}

fn did_not_end(error: &JoinError) -> MaintenanceError {
    MaintenanceError::Internal(format!("pruning did not end: {error}"))
}

struct StopOnDrop(Arc<Guard>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.fail(MaintenanceError::Stopped);
    }
}

fn work(
    vault: &Vault,
    options: PruneOptions,
    agrees: Option<Agrees>,
    runtime: Handle,
    guard: &Arc<Guard>,
) -> Result<PrunePlan, MaintenanceError> {
    let core = &vault.core;
    let repository = rustic::open(Arc::clone(&core.store), runtime, &core.key, guard)?;
    let options = rustic_options(options)?;
    let failed = |error: Box<RusticError>| MaintenanceError::Repository(rustic::told(&error));
    let rustic_plan = repository.prune_plan(&options).map_err(failed)?;
    let plan = summary(&rustic_plan);
    let Some(agrees) = agrees else { return Ok(plan) };
    if !agrees(&plan) {
        return Err(MaintenanceError::Changed);
    }
    repository.prune(&options, rustic_plan).map_err(failed)?;
    Ok(plan)
}

fn rustic_options(options: PruneOptions) -> Result<RusticOptions, MaintenanceError> {
    let absurd = |error: jiff::Error| MaintenanceError::Internal(format!("the grace time is too long: {error}"));
    let grace = jiff::Span::try_from(options.grace).map_err(absurd)?;
    Ok(RusticOptions::default()
        .keep_delete(grace)
        .instant_delete(options.grace.is_zero())
        .max_unused(limit(options.max_unused))
        .max_repack(limit(options.max_repack)))
}

fn limit(limit: PruneLimit) -> LimitOption {
    match limit {
        // By way of text: the type of sizes is not rustic's own.
        PruneLimit::Bytes(bytes) => format!("{bytes}B").parse().unwrap_or(LimitOption::Percentage(0)),
        PruneLimit::Percent(percent) => LimitOption::Percentage(u64::from(percent.min(99))),
        PruneLimit::Unlimited => LimitOption::Unlimited,
    }
}

fn summary(plan: &RusticPlan) -> PrunePlan {
    let stats = &plan.stats;
    let size = stats.size_sum();
    // What rustic decides about a pack has a type that it does not export, but a name.
    let stays = |todo: &dyn std::fmt::Debug| matches!(format!("{todo:?}").as_str(), "Keep" | "Recover");
    let remaining = stats.debug.0.iter().filter(|(key, _)| stays(&key.todo));
    PrunePlan {
        // All of them: none is too young without an age that packs must have.
        unused_packs: stats.packs.unused,
        unused_bytes: size.remove,
        unindexed_packs: stats.packs_unref,
        unindexed_bytes: stats.size_unref,
        repacked_packs: stats.packs.repack,
        rewritten_bytes: size.repack - size.repackrm,
        repack_freed_bytes: size.repackrm,
        deleted_packs: stats.packs_to_delete.remove,
        deleted_bytes: stats.size_to_delete.remove,
        waiting_packs: stats.packs_to_delete.keep,
        waiting_bytes: stats.size_to_delete.keep,
        recovered_packs: stats.packs_to_delete.recover,
        needed_bytes: size.used,
        remaining_unused_bytes: remaining.map(|(_, details)| details.unused_size).sum(),
        index_files: stats.index_files_rebuild,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_the_one_that_was_agreed_to_as_long_as_it_removes_the_same() {
        let agreed = PrunePlan {
            unused_packs: 2,
            unused_bytes: 100,
            needed_bytes: 1000,
            ..PrunePlan::default()
        };
        let after_a_run = PrunePlan {
            needed_bytes: 2000,
            remaining_unused_bytes: 3,
            index_files: 4,
            ..agreed.clone()
        };
        assert!(after_a_run.removes_the_same(&agreed));
        let more = PrunePlan {
            unused_packs: 3,
            ..agreed.clone()
        };
        assert!(!more.removes_the_same(&agreed));
    }
}
