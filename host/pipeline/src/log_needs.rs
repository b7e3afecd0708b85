//! What base backups need of the log that brings them forward.
//!
//! The host knows both: the snapshots of the pipelines that name a log with `wal`, and what each states of its beginning. The oldest of these positions is handed
//! to the log's next run ([`Handed`]), which carries forward what lies behind it, in whole folders. That alone removes nothing, as the log's earlier snapshots have
//! all of it: they go by a plan of `forget`, as anything does, and what they alone have by `prune`. The plan that forgets base backups, or snapshots of a log, says what of the
//! log is needed no more ([`PlannedLog`]), and is refused where a base backup that stays would lose its log.
//!
//! What can't be told is needed: a base backup that can't be read, or states no position, needs everything, and a log without base backups stays as it is. A base
//! backup that is under way begins behind those that are committed, so it loses nothing either.

use std::borrow::Cow;

use bulkhead_config::Pipeline;
use bulkhead_model::Proof;
use bulkhead_vault::SnapshotInfo;
use serde::Serialize;

use crate::{
    access::{AccessError, Opened},
    browse::{self, OpenSnapshot, SnapshotError, open_snapshot},
    maintenance::MaintainError,
    operation::Operation,
    push::is_none_yet,
    recovery::{Stated, lsn, position},
};

/// The plugin's setting for where its log may begin.
const SETTING: &str = "expire-before";

/// The plugin lays out its log in folders of so many bytes, and leaves out whole ones.
const FOLDER: u64 = 1 << 32;

/// A base backup that needs a log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Base {
    id: String,
    pipeline: String,
    /// Where it begins; 0 where it doesn't say.
    start: u64,
    /// Where it ends; beyond any log where it doesn't say.
    end: u64,
}

impl Base {
    fn of(id: &str, pipeline: &Pipeline, proof: Option<&Proof>) -> Self {
        let stated = Stated::of_base(id, proof);
        Self {
            id: id.to_owned(),
            pipeline: pipeline.name.clone(),
            start: stated.as_ref().map_or(0, |stated| stated.start),
            end: stated.map_or(u64::MAX, |stated| stated.end),
        }
    }

    fn is_within(&self, log: &Stated) -> bool {
        log.start <= self.start && self.end <= log.end
    }
}

/// The base backups that need the log called `log`, but for those whose ids are in `without`. `opened` is a vault that needn't be opened for that.
async fn bases(operation: &Operation, log: &str, without: &[String], opened: Option<&Opened>) -> Result<Vec<Base>, SnapshotError> {
    let mut bases = Vec::new();
    for pipeline in operation.config.pipelines.iter().filter(|pipeline| needs(pipeline, log)) {
        let name = std::slice::from_ref(&pipeline.name);
        let config = operation.vault_named(&pipeline.vault).map_err(AccessError::from)?;
        let listed = match opened.filter(|opened| opened.name == pipeline.vault) {
            Some(Opened { vault, sinks, .. }) => browse::snapshots_in(vault, &sinks.first, config, name).await?,
            None => browse::snapshots(operation, &pipeline.vault, name).await?,
        };
        let readable = listed.snapshots.iter().map(|snapshot| (&snapshot.id, snapshot.proof.as_ref()));
        let unreadable = listed.unreadable.iter().map(|snapshot| (&snapshot.id, None));
        bases.extend(readable.chain(unreadable).map(|(id, proof)| Base::of(id, pipeline, proof)));
    }
    bases.retain(|base| !without.contains(&base.id));
    Ok(bases)
}

fn needs(pipeline: &Pipeline, log: &str) -> bool {
    pipeline.wal.as_deref() == Some(log)
}

fn oldest(bases: &[Base]) -> Option<&Base> {
    bases.iter().min_by_key(|base| base.start)
}

/// A pipeline as its run is to have it.
pub(crate) struct Handed<'p> {
    /// With the position before which its log may be left out.
    pub(crate) pipeline: Cow<'p, Pipeline>,
    limit: Option<u64>,
}

impl<'p> Handed<'p> {
    /// `pipeline`, and where others name it as their log, what the oldest base backup needs of it; where that can't be found out, nothing is left out. `opened` is a
    /// vault that is open already.
    pub(crate) async fn to_run(operation: &Operation, pipeline: &'p Pipeline, opened: Option<&Opened>) -> Self {
        let named = operation.config.pipelines.iter().any(|other| needs(other, &pipeline.name));
        let found = if named {
            bases(operation, &pipeline.name, &[], opened).await
        } else {
            Ok(Vec::new())
        };
        match found {
            Ok(bases) => Self::with_limit(pipeline, oldest(&bases).map(|base| base.start)),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "what base backups need of the log is not known: all of it stays"
                );
                Self::with_limit(pipeline, named.then_some(0))
            }
        }
    }

    /// The operator's own setting, which is for base backups that are taken elsewhere, may leave out less, but not more.
    fn with_limit(pipeline: &'p Pipeline, limit: Option<u64>) -> Self {
        let own = pipeline.config.get(SETTING).and_then(|value| value.as_str());
        let own = own.and_then(|text| lsn(text).ok());
        let limit = limit.map(|limit| own.map_or(limit, |own| own.min(limit)));
        let pipeline = match limit {
            None => Cow::Borrowed(pipeline),
            Some(limit) => {
                let mut handed = pipeline.clone();
                handed.config.insert(SETTING.to_owned(), position(limit).into());
                Cow::Owned(handed)
            }
        };
        Self { pipeline, limit }
    }

    /// Whether a log whose last snapshot states this becomes smaller by it.
    pub(crate) fn leaves_out(&self, last: &Proof) -> bool {
        let start = last.facts.iter().find(|fact| fact.name == "start-lsn");
        let start = start.and_then(|fact| lsn(&fact.value).ok());
        matches!((start, self.limit), (Some(start), Some(limit)) if unneeded(start, limit) > 0)
    }
}

/// Bytes of a log from `start` on that are left out where it is needed from `limit` on.
fn unneeded(start: u64, limit: u64) -> u64 {
    (limit / FOLDER * FOLDER).saturating_sub(start)
}

/// A log, and what base backups need of it once a plan is carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedLog {
    /// The pipeline that stores it.
    pub pipeline: String,
    /// Where it begins.
    pub from_lsn: String,
    /// Where the part begins that is needed; absent where no base backup needs any, and all of it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed_from: Option<String>,
    /// The snapshot of the base backup that needs it from there on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed_by: Option<String>,
    /// That one's pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_pipeline: Option<String>,
    /// Bytes of log that the next run of the pipeline leaves out.
    pub unneeded_bytes: u64,
}

/// What becomes of the logs that a plan for the vault called `vault` concerns: one that goes `without` these of its snapshots.
///
/// # Errors
/// [`MaintainError::LogNeeded`] where a base backup that stays would lose its log.
pub(crate) async fn plan(
    operation: &Operation,
    vault: &str,
    snapshots: &[SnapshotInfo],
    without: &[String],
) -> Result<Vec<PlannedLog>, MaintainError> {
    let mut planned = Vec::new();
    for log in &operation.config.pipelines {
        let concerned = |info: &SnapshotInfo| {
            let name = info.pipeline.as_deref();
            let base = name.and_then(|name| operation.config.pipeline(name));
            without.contains(&info.id.to_string()) && (name == Some(&log.name) || base.is_some_and(|base| needs(base, &log.name)))
        };
        if snapshots.iter().any(concerned) {
            let here: &[SnapshotInfo] = if log.vault == vault { snapshots } else { &[] };
            planned.extend(plan_log(operation, log, here, without).await?);
        }
    }
    Ok(planned)
}

/// `snapshots` are those of the log's vault, if it is that which is planned for; oldest first.
async fn plan_log(
    operation: &Operation,
    log: &Pipeline,
    snapshots: &[SnapshotInfo],
    without: &[String],
) -> Result<Option<PlannedLog>, MaintainError> {
    let ids: Vec<String> = snapshots
        .iter()
        .rev()
        .filter(|info| info.pipeline.as_deref() == Some(&log.name))
        .map(|info| info.id.to_string())
        .collect();
    let bases = bases(operation, &log.name, without, None).await?;
    let after = match (ids.iter().find(|id| !without.contains(id)), ids.is_empty()) {
        (Some(stays), _) => stated(operation, log, stays).await?,
        (None, false) => None,
        (None, true) => stated(operation, log, "latest").await?,
    };
    let keeps = |base: &&Base| after.as_ref().is_some_and(|after| base.is_within(after));
    let left: Vec<&Base> = bases.iter().filter(|base| !keeps(base)).collect();
    refuse_loss(operation, log, &ids, without, left).await?;
    Ok(after.map(|after| {
        let oldest = oldest(&bases);
        PlannedLog {
            pipeline: log.name.clone(),
            from_lsn: position(after.start),
            needed_from: oldest.map(|base| position(base.start)),
            needed_by: oldest.map(|base| base.id.clone()),
            base_pipeline: oldest.map(|base| base.pipeline.clone()),
            unneeded_bytes: oldest.map_or(0, |base| unneeded(after.start, base.start)),
        }
    }))
}

/// Refuses a plan by which one of `bases`, none of which the newest log that stays brings forward, would lose the last snapshot that does. `ids` are those of the
/// log's snapshots, the newest first.
async fn refuse_loss(
    operation: &Operation,
    log: &Pipeline,
    ids: &[String],
    without: &[String],
    mut bases: Vec<&Base>,
) -> Result<(), MaintainError> {
    // Those that stay first: where none of them goes, there is nothing to lose.
    let (gone, stay): (Vec<&String>, Vec<&String>) = ids.iter().partition(|id| without.contains(id));
    if gone.is_empty() {
        return Ok(());
    }
    for id in stay {
        if bases.is_empty() {
            return Ok(());
        }
        if let Some(stated) = stated(operation, log, id).await? {
            bases.retain(|base| !base.is_within(&stated));
        }
    }
    for id in gone {
        if bases.is_empty() {
            return Ok(());
        }
        let Some(stated) = stated(operation, log, id).await? else {
            continue;
        };
        if let Some(base) = bases.iter().find(|base| base.is_within(&stated)) {
            return Err(MaintainError::LogNeeded {
                log: log.name.clone(),
                snapshot: id.clone(),
                base: base.id.clone(),
                pipeline: base.pipeline.clone(),
            });
        }
    }
    Ok(())
}

/// What a snapshot of a log says that it has; `None` where it says nothing, or there is none.
async fn stated(operation: &Operation, log: &Pipeline, selector: &str) -> Result<Option<Stated>, SnapshotError> {
    let snapshot: OpenSnapshot = match open_snapshot(operation, log, selector).await {
        Ok(snapshot) => snapshot,
        Err(error) if is_none_yet(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let record = snapshot.reader().record().await?;
    Ok(Stated::of_log(&snapshot.id(), record.as_ref().map(|record| &record.proof)).ok())
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    #[test]
    fn whole_folders_are_left_out() {
        assert_eq!(unneeded(0x100, FOLDER - 1), 0);
        assert_eq!(unneeded(0x100, FOLDER), FOLDER - 0x100);
        assert_eq!(unneeded(FOLDER + 5, 3 * FOLDER + 7), 2 * FOLDER - 5);
        assert_eq!(unneeded(3 * FOLDER, FOLDER), 0, "a base backup that is older than the log");
    }

    /// Histories of a log and of base backups, each of which is forgotten at some time: what the others need is in the log's newest snapshot, whatever its runs leave out.
    #[test]
    fn no_base_backup_that_stays_loses_its_log() {
        let mut left_out = 0;
        for seed in 0..2000 {
            let mut random = StdRng::seed_from_u64(seed);
            let (mut log, mut bases) = ((0, 0), Vec::<Base>::new());
            for number in 0..random.random_range(1..60) {
                log.1 += random.random_range(0..2 * FOLDER);
                match random.random_range(0..4) {
                    0 => {
                        let start = random.random_range(log.0..=log.1);
                        bases.push(Base {
                            id: number.to_string(),
                            pipeline: "bank".to_owned(),
                            start,
                            end: random.random_range(start..=log.1),
                        });
                    }
                    1 if !bases.is_empty() => drop(bases.swap_remove(random.random_range(0..bases.len()))),
                    _ => {
                        let less = oldest(&bases).map_or(0, |base| unneeded(log.0, base.start));
                        left_out += u64::from(less > 0);
                        log.0 += less;
                    }
                }
                let stated = Stated::example("log", log.0, log.1, 0);
                assert!(
                    bases.iter().all(|base| base.is_within(&stated)),
                    "seed {seed}: {bases:?} and a log of {log:?}"
                );
            }
        }
        assert!(left_out > 1000, "{left_out} times only");
    }

    #[test]
    fn the_oldest_base_backup_counts() {
        let base = |start, end| Base {
            id: format!("{start}"),
            pipeline: "bank".to_owned(),
            start,
            end,
        };
        assert_eq!(oldest(&[]), None);
        let unknown = base(0, u64::MAX);
        assert_eq!(
            oldest(&[base(5, 6), unknown.clone(), base(3, 4)]),
            Some(&unknown),
            "what says nothing needs all"
        );
    }
}
