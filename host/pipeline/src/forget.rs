//! `bulkhead forget`: removing snapshots, by their ids or by a pipeline's `retention`.
//!
//! The plan is made over the snapshots of all sinks: one that was forgotten while a sink could not be reached is found there again. It is carried out
//! snapshot by snapshot, on the first sink and then on the others.

use std::collections::{BTreeSet, HashSet};

use bulkhead_config as config;
use bulkhead_config::Pipeline;
use bulkhead_model::Timestamp;
use bulkhead_vault::{ObjectId, ResolveError, SnapshotInfo};
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::{
    browse::{self, SnapshotError, UnreadableSnapshot},
    clock,
    failure::Explain as _,
    host::pipeline_site,
    maintenance::{MaintainError, Replica, Replicas, SinkOutcome, failed},
    operation::Operation,
    retention,
};

/// Which snapshots of a vault to forget.
#[derive(Debug, Clone)]
pub enum ForgetBy<'a> {
    /// Those that these beginnings of ids name, of a pipeline where one is given; even a pipeline's last.
    Ids {
        /// The pipeline.
        pipeline: Option<&'a str>,
        /// The ids.
        ids: &'a [String],
    },
    /// Those that the `retention` of these pipelines doesn't keep. Never a pipeline's newest, and none that Bulkhead didn't take for it.
    Retention(&'a [&'a Pipeline]),
}

/// A snapshot in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedSnapshot {
    /// Its id, in full.
    pub id: String,
    /// When it was taken, RFC 3339.
    pub time: String,
    /// When it was taken, to the nanosecond: what orders snapshots of one second.
    #[serde(skip)]
    pub taken: Timestamp,
    /// The pipeline; `None` where another tool made it.
    pub pipeline: Option<String>,
    /// The host that it was taken on.
    pub host: String,
    /// The rules that keep it: `last`, `hourly`, …, `within`, `newest`, `future`; none of one that is forgotten.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<&'static str>,
}

/// What is forgotten, and what is kept.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ForgetPlan {
    /// The vault.
    pub vault: String,
    /// Snapshots that a rule keeps, oldest first; empty where ids were given.
    pub kept: Vec<PlannedSnapshot>,
    /// Snapshots that go, oldest first.
    pub forgotten: Vec<PlannedSnapshot>,
    /// Snapshots whose files are damaged: whose they are can't be told, and they stay.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableSnapshot>,
    /// Sinks that can't be looked at, or changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unusable: Vec<SinkOutcome>,
    #[serde(skip)]
    ids: Vec<ObjectId>,
}

/// What was done.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ForgetReport {
    /// Each sink, the first one first.
    pub sinks: Vec<SinkOutcome>,
}

impl ForgetReport {
    /// Whether it was done on all sinks.
    #[must_use]
    pub fn is_everywhere(&self) -> bool {
        self.sinks.iter().all(|sink| sink.error.is_none())
    }
}

/// A plan, and the open vault to carry it out on.
pub struct Forgetting {
    operation: Operation,
    vault: config::Vault,
    replicas: Replicas,
    /// What is to be done.
    pub plan: ForgetPlan,
}

/// Plans what to forget in the vault called `name`. Changes nothing.
///
/// # Errors
/// See [`MaintainError`].
pub async fn plan_forget(operation: &Operation, name: &str, by: ForgetBy<'_>) -> Result<Forgetting, MaintainError> {
    operation.until_interrupted(None, make_plan(operation, name, by)).await?
}

#[tracing::instrument(name = "forget", skip(operation, by))]
async fn make_plan(operation: &Operation, name: &str, by: ForgetBy<'_>) -> Result<Forgetting, MaintainError> {
    let vault = operation.vault_named(name)?.clone();
    operation.progress.phase("reading snapshots", None);
    let replicas = operation.open_replicas(&vault).await?;
    let mut plan = ForgetPlan {
        vault: name.to_owned(),
        kept: Vec::new(),
        forgotten: Vec::new(),
        unreadable: Vec::new(),
        unusable: replicas.unusable.clone(),
        ids: Vec::new(),
    };
    let snapshots = all_snapshots(&replicas, &mut plan).await?;
    match by {
        ForgetBy::Ids { pipeline, ids } => plan.by_ids(&snapshots, pipeline, ids)?,
        ForgetBy::Retention(pipelines) => {
            for pipeline in pipelines {
                plan.by_retention(&snapshots, pipeline)?;
            }
        }
    }
    Ok(Forgetting {
        operation: operation.clone(),
        vault,
        replicas,
        plan,
    })
}

/// The snapshots of all sinks, oldest first.
async fn all_snapshots(replicas: &Replicas, plan: &mut ForgetPlan) -> Result<Vec<SnapshotInfo>, MaintainError> {
    let Replica { store, vault } = &replicas.first;
    let (mut snapshots, unreadable) = browse::snapshot_files(vault, store).await?;
    for (id, error) in unreadable {
        plan.unreadable.push(UnreadableSnapshot {
            id: id.to_string(),
            vault: plan.vault.clone(),
            error: SnapshotError::from(error).explain().to_string(),
        });
    }
    let mut known: HashSet<ObjectId> = snapshots.iter().map(|snapshot| snapshot.id).collect();
    for Replica { store, vault } in &replicas.further {
        match browse::snapshot_files(vault, store).await {
            Ok((infos, _)) => snapshots.extend(infos.into_iter().filter(|info| known.insert(info.id))),
            Err(error) => plan.unusable.push(SinkOutcome::failed(store.name(), 0, &error.explain())),
        }
    }
    snapshots.sort_by_key(|snapshot| (snapshot.time, snapshot.id));
    Ok(snapshots)
}

impl ForgetPlan {
    fn by_ids(&mut self, snapshots: &[SnapshotInfo], pipeline: Option<&str>, ids: &[String]) -> Result<(), SnapshotError> {
        let mut chosen = BTreeSet::new();
        for id in ids {
            chosen.insert(named(snapshots, pipeline, id).map_err(|error| SnapshotError::Resolve(Box::new(error)))?);
        }
        for snapshot in snapshots.iter().filter(|snapshot| chosen.contains(&snapshot.id)) {
            self.add(snapshot, Vec::new());
        }
        Ok(())
    }

    fn by_retention(&mut self, snapshots: &[SnapshotInfo], pipeline: &Pipeline) -> Result<(), MaintainError> {
        let rules = pipeline.retention.as_ref().ok_or_else(|| MaintainError::NoRetention {
            pipeline: pipeline.name.clone(),
            site: pipeline_site(pipeline),
        })?;
        let zone = zone_of(pipeline)?;
        let own: Vec<&SnapshotInfo> = snapshots
            .iter()
            .filter(|snapshot| snapshot.pipeline.as_ref() == Some(&pipeline.name))
            .collect();
        let times: Vec<_> = own.iter().map(|snapshot| snapshot.time).collect();
        let reasons = retention::apply(rules, &times, &zone, clock::now());
        for (snapshot, reasons) in own.into_iter().zip(reasons) {
            if reasons.is_empty() {
                self.add(snapshot, reasons);
            } else {
                self.kept.push(planned(snapshot, reasons));
            }
        }
        Ok(())
    }

    fn add(&mut self, snapshot: &SnapshotInfo, reasons: Vec<&'static str>) {
        self.ids.push(snapshot.id);
        self.forgotten.push(planned(snapshot, reasons));
    }
}

fn planned(snapshot: &SnapshotInfo, reasons: Vec<&'static str>) -> PlannedSnapshot {
    PlannedSnapshot {
        id: snapshot.id.to_string(),
        time: clock::rfc3339(snapshot.time),
        taken: snapshot.time,
        pipeline: snapshot.pipeline.clone(),
        host: snapshot.host.clone(),
        reasons,
    }
}

/// The snapshot that `prefix` names. `latest` is none of the names: what it means changes while snapshots go.
fn named(snapshots: &[SnapshotInfo], pipeline: Option<&str>, prefix: &str) -> Result<ObjectId, ResolveError> {
    if prefix.is_empty() || !prefix.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(ResolveError::Malformed(prefix.to_owned()));
    }
    let fits = |snapshot: &&SnapshotInfo| {
        pipeline.is_none_or(|name| snapshot.pipeline.as_deref() == Some(name)) && snapshot.id.to_string().starts_with(prefix)
    };
    let found: Vec<ObjectId> = snapshots.iter().filter(fits).map(|snapshot| snapshot.id).collect();
    match found[..] {
        [one] => Ok(one),
        [] => Err(ResolveError::NotFound {
            prefix: prefix.to_owned(),
            pipeline: pipeline.map(str::to_owned),
        }),
        _ => Err(ResolveError::Ambiguous {
            prefix: prefix.to_owned(),
            candidates: found,
        }),
    }
}

/// The zone in which days begin: that of the schedule, where there is one.
fn zone_of(pipeline: &Pipeline) -> Result<TimeZone, MaintainError> {
    let name = pipeline.schedule.as_ref().map_or("UTC", |schedule| schedule.timezone.as_str());
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(name).map_err(|_| MaintainError::NoTimeZone {
        zone: name.to_owned(),
        site: pipeline_site(pipeline),
    })
}

impl Forgetting {
    /// Carries the plan out. What it couldn't do on a further sink is in the report.
    ///
    /// # Errors
    /// See [`MaintainError`]: the first sink failed, and no other one was touched.
    pub async fn carry_out(self) -> Result<ForgetReport, MaintainError> {
        let operation = self.operation.clone();
        operation.until_interrupted(None, self.forget()).await?
    }

    async fn forget(self) -> Result<ForgetReport, MaintainError> {
        let stop = self.operation.stop();
        let (ids, host) = (&self.plan.ids, &self.operation.host.name);
        self.operation.progress.phase("forgetting snapshots", None);
        let first = self.replicas.first.vault.forget(ids, host, &stop.stop).await;
        if let Some(error) = first.error {
            let action = format!("forget snapshots ({} of {} are gone)", first.removed.len(), ids.len());
            return Err(failed(action, &self.vault, error));
        }
        let mut sinks = vec![SinkOutcome::done(self.replicas.first.name(), first.removed.len() as u64)];
        for replica in &self.replicas.further {
            let done = replica.vault.forget(ids, host, &stop.stop).await;
            let removed = done.removed.len() as u64;
            sinks.push(match done.error {
                None => SinkOutcome::done(replica.name(), removed),
                Some(error) => {
                    let failure = failed("forget snapshots", &self.vault, error).explain();
                    SinkOutcome::failed(replica.name(), removed, &failure)
                }
            });
        }
        sinks.extend(self.plan.unusable);
        Ok(ForgetReport { sinks })
    }
}
