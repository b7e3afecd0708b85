//! `bulkhead forget`: removing snapshots, by their ids or by a pipeline's `retention`.
//!
//! The plan is made over the snapshots of all sinks: one that was forgotten while a sink could not be reached is found there again. But those of the first
//! sink are judged by themselves, so that none of them goes for one that only a further sink has. It is carried out snapshot by snapshot, on the first sink
//! and then on the others.

use std::collections::{BTreeSet, HashMap, HashSet};

use bulkhead_config as config;
use bulkhead_config::{Pipeline, Retention};
use bulkhead_model::Timestamp;
use bulkhead_vault::{Basis, ObjectId, ResolveError, SnapshotInfo, Stop};
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::{
    access::vault_site,
    browse::{self, SnapshotError, UnreadableSnapshot},
    clock,
    failure::Explain as _,
    hold::{self, NamedHold},
    host::pipeline_site,
    log_needs::{self, PlannedLog},
    maintenance::{MaintainError, Replica, Replicas, SinkOutcome, failed, forget_on, is_one_of, replace_snapshots},
    operation::Operation,
    retention::{self, Circumstances, Reasons, Taken},
    verified::Known,
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
        /// Also one of the last of its pipeline that were verified.
        verified: bool,
    },
    /// Those that the `retention` of these pipelines doesn't keep. Never a pipeline's newest, and none that Bulkhead didn't take for it.
    Retention {
        /// The pipelines.
        pipelines: &'a [&'a Pipeline],
        /// Whether also those that the vault's own `retention` doesn't keep of pipelines that write to another vault: what was copied here.
        copies: bool,
        /// Also while a pipeline's newest snapshot is older than its RPO.
        overdue: bool,
        /// By the calendar alone: the longest pause between snapshots was one, and not a clock that jumped.
        clock_is_right: bool,
    },
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
    /// The rules that keep it: `last`, `hourly`, …, `within`, `pause`, `verified`, `newest`, `whole`, `future`, `clock`, `indefinite`, `overdue`, `held`; none of one that is forgotten.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<&'static str>,
    /// Who holds it, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<NamedHold>,
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
    /// Logs of which base backups or snapshots go, and what of them is needed then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<PlannedLog>,
    /// Pipelines of which nothing goes because their newest snapshot is older than their RPO.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overdue: Vec<String>,
    /// Snapshots that were named and go, although their files are damaged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<UnreadableSnapshot>,
    /// Other snapshots whose files are damaged: whose they are can't be told, and they stay.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableSnapshot>,
    /// Records of verifications that go, because later ones say all that they say.
    pub superseded_records: usize,
    /// Sinks that can't be looked at, or changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unusable: Vec<SinkOutcome>,
    #[serde(skip)]
    ids: Vec<ObjectId>,
    /// What was on the first sink: of the pipelines whose snapshots go what stays does so beside the others of them.
    #[serde(skip)]
    basis: Basis,
    /// Whether there are some of them whose successors, with other tags, the further sinks may lack.
    #[serde(skip)]
    has_replaced: bool,
    #[serde(skip)]
    records: Vec<ObjectId>,
}

/// The snapshots of a vault, oldest first.
struct Found {
    snapshots: Vec<SnapshotInfo>,
    on_first: HashSet<ObjectId>,
    /// Those of which no sink can say more than the id.
    damaged: Vec<(ObjectId, UnreadableSnapshot)>,
    known: Known,
}

impl Found {
    /// All of one pipeline, as the rules see them.
    fn taken(&self, snapshots: &[&SnapshotInfo]) -> Vec<Taken> {
        let times: HashMap<ObjectId, Timestamp> = self.snapshots.iter().map(|snapshot| (snapshot.id, snapshot.time)).collect();
        let parent = |snapshot: &SnapshotInfo| snapshot.parent.and_then(|parent| times.get(&parent).copied());
        let taken = |snapshot: &&SnapshotInfo| Taken::of(snapshot, parent(snapshot), self.known.depths(snapshot));
        snapshots.iter().map(taken).collect()
    }

    /// Whether only further sinks have a snapshot.
    fn is_stray(&self, snapshot: &SnapshotInfo) -> bool {
        !self.on_first.contains(&snapshot.id)
    }

    /// Whether the first sink has a stray with other tags, under another name.
    fn is_replaced(&self, stray: &SnapshotInfo) -> bool {
        is_one_of(stray, self.snapshots.iter().filter(|snapshot| !self.is_stray(snapshot)))
    }
}

/// Which snapshots of one pipeline stay.
struct Policy<'p> {
    pipeline: &'p str,
    rules: Retention,
    circumstances: Circumstances,
}

impl<'p> Policy<'p> {
    /// The pipeline's own.
    fn of(pipeline: &'p Pipeline, overdue: bool, clock_is_right: bool) -> Result<Self, MaintainError> {
        let rules = pipeline.retention.as_ref().ok_or_else(|| MaintainError::NoRetention {
            of: format!("pipeline `{}`", pipeline.name),
            site: pipeline_site(pipeline),
        })?;
        let rpo = pipeline.objectives.as_ref().and_then(|objectives| objectives.rpo.as_ref());
        Ok(Self {
            pipeline: &pipeline.name,
            rules: with_verified(rules),
            circumstances: Circumstances {
                zone: zone_of(pipeline)?,
                now: clock::now(),
                clock_is_right,
                rpo: rpo.filter(|_| !overdue).map(|rpo| rpo.0),
            },
        })
    }

    /// The vault's, for each pipeline that writes to another one. Without an RPO, which is the pipeline's promise and not that of how often it is copied.
    fn of_copies(
        operation: &'p Operation,
        vault: &'p config::Vault,
        found: &'p Found,
        clock_is_right: bool,
    ) -> Result<Vec<Self>, MaintainError> {
        let rules = vault.retention.as_ref().ok_or_else(|| MaintainError::NoRetention {
            of: format!("vault `{}`", vault.name),
            site: vault_site(vault),
        })?;
        let names: BTreeSet<&str> = found.snapshots.iter().filter_map(|snapshot| snapshot.pipeline.as_deref()).collect();
        let copied = names.into_iter().filter_map(|name| match operation.config.pipeline(name) {
            Some(pipeline) if pipeline.vault == vault.name => None,
            pipeline => Some((name, pipeline)),
        });
        let policy = |(name, pipeline): (&'p str, Option<&Pipeline>)| {
            Ok(Self {
                pipeline: name,
                rules: with_verified(rules),
                circumstances: Circumstances {
                    zone: pipeline.map_or(Ok(TimeZone::UTC), zone_of)?,
                    now: clock::now(),
                    clock_is_right,
                    rpo: None,
                },
            })
        };
        copied.map(policy).collect()
    }
}

/// The rules, and that of verified snapshots where they don't say it.
fn with_verified(rules: &Retention) -> Retention {
    Retention {
        verified: Some(rules.verified()),
        ..rules.clone()
    }
}

/// What was done.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ForgetReport {
    /// Each sink, the first one first.
    pub sinks: Vec<SinkOutcome>,
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
        logs: Vec::new(),
        overdue: Vec::new(),
        damaged: Vec::new(),
        unreadable: Vec::new(),
        superseded_records: 0,
        unusable: replicas.unusable.clone(),
        ids: Vec::new(),
        basis: Basis::default(),
        has_replaced: false,
        records: Vec::new(),
    };
    let found = all_snapshots(&vault, &replicas, &mut plan).await?;
    match by {
        ForgetBy::Ids { pipeline, ids, verified } => {
            plan.by_ids(&found, pipeline, ids)?;
            if !verified {
                plan.refuse_last_verified(operation, &vault, &found)?;
            }
        }
        ForgetBy::Retention {
            pipelines,
            copies,
            overdue,
            clock_is_right,
        } => {
            for pipeline in pipelines {
                plan.by_retention(&found, &Policy::of(pipeline, overdue, clock_is_right)?);
            }
            if copies {
                for policy in Policy::of_copies(operation, &vault, &found, clock_is_right)? {
                    plan.by_retention(&found, &policy);
                }
            }
        }
    }
    plan.basis = plan.basis(&found);
    let gone: Vec<String> = plan.ids.iter().map(ToString::to_string).collect();
    plan.logs = log_needs::plan(operation, name, &found.snapshots, &gone).await?;
    let unreadable = found.damaged.iter().filter(|(id, _)| !plan.ids.contains(id));
    plan.unreadable = unreadable.map(|(_, snapshot)| snapshot.clone()).collect();
    // What a damaged snapshot is of, and so which records are about it, can't be told.
    if found.damaged.is_empty() {
        plan.records = found.known.superseded(&found.snapshots);
        plan.superseded_records = plan.records.len();
    }
    plan.has_replaced = found
        .snapshots
        .iter()
        .any(|snapshot| found.is_stray(snapshot) && plan.ids.contains(&snapshot.id) && found.is_replaced(snapshot));
    Ok(Forgetting {
        operation: operation.clone(),
        vault,
        replicas,
        plan,
    })
}

/// The snapshots of all sinks.
async fn all_snapshots(config: &config::Vault, replicas: &Replicas, plan: &mut ForgetPlan) -> Result<Found, MaintainError> {
    let Replica { store, vault } = &replicas.first;
    let (mut snapshots, mut unreadable) = browse::snapshots_and_records(vault, store).await?;
    let on_first: HashSet<ObjectId> = snapshots.iter().map(|snapshot| snapshot.id).collect();
    let mut known = on_first.clone();
    for Replica { store, vault } in &replicas.further {
        match browse::snapshots_and_records(vault, store).await {
            Ok((infos, others)) => {
                snapshots.extend(infos.into_iter().filter(|info| known.insert(info.id)));
                unreadable.extend(others);
            }
            Err(error) => plan.unusable.push(SinkOutcome::failed(store.name(), 0, &error.explain())),
        }
    }
    let damaged = unreadable
        .into_iter()
        .filter(|(id, _)| known.insert(*id))
        .map(|(id, error)| (id, UnreadableSnapshot::new(id, &plan.vault, error)))
        .collect();
    snapshots.sort_by_key(SnapshotInfo::order);
    let known = Known::take(&mut snapshots, vault, config);
    Ok(Found {
        snapshots,
        on_first,
        damaged,
        known,
    })
}

impl ForgetPlan {
    fn by_ids(&mut self, found: &Found, pipeline: Option<&str>, ids: &[String]) -> Result<(), MaintainError> {
        let mut chosen = BTreeSet::new();
        for id in ids {
            chosen.insert(named(found, pipeline, id).map_err(|error| SnapshotError::Resolve(Box::new(error)))?);
        }
        for snapshot in found.snapshots.iter().filter(|snapshot| chosen.contains(&snapshot.id)) {
            // What is on the first sink under another name has its holds there.
            if snapshot.is_held() && !(found.is_stray(snapshot) && found.is_replaced(snapshot)) {
                return Err(MaintainError::Held {
                    vault: self.vault.clone(),
                    snapshot: snapshot.id.to_string(),
                    holds: hold::of(snapshot),
                });
            }
            self.add(snapshot, Vec::new());
        }
        for (id, snapshot) in found.damaged.iter().filter(|(id, _)| chosen.contains(id)) {
            self.ids.push(*id);
            self.damaged.push(snapshot.clone());
        }
        Ok(())
    }

    fn by_retention(&mut self, found: &Found, policy: &Policy<'_>) {
        let judge = |snapshots: &[&SnapshotInfo]| {
            let reasons = retention::apply(&policy.rules, &found.taken(snapshots), &policy.circumstances);
            reasons
                .into_iter()
                .zip(snapshots)
                .map(|(reasons, snapshot)| with_hold(reasons, snapshot))
                .collect()
        };
        let fates = fates(found, policy.pipeline, judge);
        if fates.iter().any(|(_, reasons)| reasons.contains(&retention::OVERDUE)) {
            self.overdue.push(policy.pipeline.to_owned());
        }
        for (snapshot, reasons) in fates {
            if reasons.is_empty() {
                self.add(snapshot, reasons);
            } else {
                self.kept.push(planned(snapshot, reasons));
            }
        }
    }

    /// Fails where one of those that are named is among the last of its pipeline that were verified.
    fn refuse_last_verified(&self, operation: &Operation, vault: &config::Vault, found: &Found) -> Result<(), MaintainError> {
        for snapshot in found.snapshots.iter().filter(|snapshot| self.ids.contains(&snapshot.id)) {
            let Some(name) = snapshot.pipeline.as_deref() else { continue };
            let pipeline = operation.config.pipeline(name).filter(|pipeline| pipeline.vault == vault.name);
            let rules = pipeline.map_or(vault.retention.as_ref(), |pipeline| pipeline.retention.as_ref());
            let rules = Retention {
                verified: Some(rules.map_or_else(|| Retention::default().verified(), Retention::verified)),
                ..Retention::default()
            };
            let circumstances = Circumstances {
                zone: TimeZone::UTC,
                now: clock::now(),
                clock_is_right: false,
                rpo: None,
            };
            let judge = |snapshots: &[&SnapshotInfo]| retention::apply(&rules, &found.taken(snapshots), &circumstances);
            let mut fates = fates(found, name, judge).into_iter();
            if fates.any(|(other, reasons)| other.id == snapshot.id && reasons.contains(&retention::VERIFIED)) {
                return Err(MaintainError::LastVerified {
                    snapshot: snapshot.id.to_string(),
                    pipeline: name.to_owned(),
                });
            }
        }
        Ok(())
    }

    fn basis(&self, found: &Found) -> Basis {
        let pipelines: HashSet<_> = self.forgotten.iter().map(|snapshot| snapshot.pipeline.as_deref()).collect();
        let of_them = |snapshot: &&SnapshotInfo| pipelines.contains(&snapshot.pipeline.as_deref()) && !found.is_stray(snapshot);
        let damaged = found.damaged.iter().map(|(id, _)| *id);
        Basis {
            snapshots: found.snapshots.iter().filter(of_them).map(|snapshot| snapshot.id).collect(),
            seen: found.on_first.iter().copied().chain(damaged).collect(),
        }
    }

    fn add(&mut self, snapshot: &SnapshotInfo, reasons: Vec<&'static str>) {
        self.ids.push(snapshot.id);
        self.forgotten.push(planned(snapshot, reasons));
    }
}

/// What becomes of the snapshots of `pipeline`, oldest first: those of the first sink by themselves; those that only further sinks have among all; and
/// those that only have other tags on the first sink go.
fn fates<'f>(found: &'f Found, pipeline: &str, judge: impl Fn(&[&SnapshotInfo]) -> Vec<Reasons>) -> Vec<(&'f SnapshotInfo, Reasons)> {
    let own = found
        .snapshots
        .iter()
        .filter(|snapshot| snapshot.pipeline.as_deref() == Some(pipeline));
    let (replaced, mut all): (Vec<_>, Vec<_>) = own.partition(|snapshot| found.is_stray(snapshot) && found.is_replaced(snapshot));
    let first: Vec<_> = all.iter().copied().filter(|snapshot| !found.is_stray(snapshot)).collect();
    // Of two of one time, the rules take the last for the newer: a whole one that nobody else has doesn't go for what was repaired of it.
    all.sort_by_key(|snapshot| (snapshot.time, found.is_stray(snapshot)));
    let strays = judge(&all).into_iter().zip(all).filter(|(_, snapshot)| found.is_stray(snapshot));
    let judged = judge(&first).into_iter().zip(first).chain(strays);
    let replaced = replaced.into_iter().map(|snapshot| (snapshot, Reasons::new()));
    let mut fates: Vec<_> = judged.map(|(reasons, snapshot)| (snapshot, reasons)).chain(replaced).collect();
    fates.sort_by_key(|(snapshot, _)| snapshot.order());
    fates
}

/// A held snapshot stays, whatever the rules say.
fn with_hold(mut reasons: Reasons, snapshot: &SnapshotInfo) -> Reasons {
    if snapshot.is_held() {
        reasons.push("held");
    }
    reasons
}

fn planned(snapshot: &SnapshotInfo, reasons: Vec<&'static str>) -> PlannedSnapshot {
    PlannedSnapshot {
        id: snapshot.id.to_string(),
        time: clock::rfc3339(snapshot.time),
        taken: snapshot.time,
        pipeline: snapshot.pipeline.clone(),
        host: snapshot.host.clone(),
        reasons,
        holds: hold::of(snapshot),
    }
}

/// The snapshot that `prefix` names, also a damaged one where it need not be of a pipeline. `latest` is none of the names: what it means changes while snapshots go.
fn named(found: &Found, pipeline: Option<&str>, prefix: &str) -> Result<ObjectId, ResolveError> {
    if prefix.is_empty() || !prefix.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(ResolveError::NotAnId(prefix.to_owned()));
    }
    let fits = |snapshot: &&SnapshotInfo| pipeline.is_none_or(|name| snapshot.pipeline.as_deref() == Some(name));
    let readable = found.snapshots.iter().filter(fits).map(|snapshot| snapshot.id);
    let damaged = found.damaged.iter().filter(|_| pipeline.is_none()).map(|(id, _)| *id);
    let found: Vec<ObjectId> = readable.chain(damaged).filter(|id| id.to_string().starts_with(prefix)).collect();
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
pub(crate) fn zone_of(pipeline: &Pipeline) -> Result<TimeZone, MaintainError> {
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
    /// See [`MaintainError`]: the first sink failed, and no other one was touched; also where a snapshot that the plan rests on is not there any more, or a verification was recorded since.
    pub async fn carry_out(self) -> Result<ForgetReport, MaintainError> {
        let operation = self.operation.clone();
        operation.until_interrupted(None, self.forget()).await?
    }

    async fn forget(self) -> Result<ForgetReport, MaintainError> {
        let stop = self.operation.stop();
        let (ids, host) = (&self.plan.ids, &self.operation.host.name);
        let vault = &self.replicas.first.vault;
        self.operation.progress.phase("forgetting snapshots", None);
        let first = vault.forget_planned(ids, &self.plan.basis, host, &stop.stop).await;
        if let Some(error) = first.error {
            let action = format!("forget snapshots ({} of {} are gone)", first.removed.len(), ids.len());
            return Err(failed(action, &self.vault, error));
        }
        let mut sinks = vec![SinkOutcome::done(self.replicas.first.name(), first.removed.len() as u64)];
        for replica in &self.replicas.further {
            sinks.push(if self.plan.has_replaced {
                replace_snapshots(&self.operation, &self.vault, &self.replicas.first, replica, ids).await
            } else {
                forget_on(&self.operation, &self.vault, replica, ids).await
            });
        }
        self.forget_records(&stop.stop).await;
        sinks.extend(self.plan.unusable);
        Ok(ForgetReport { sinks })
    }

    /// Removes the records that say nothing that others don't say. One that could not be removed goes with the next plan.
    async fn forget_records(&self, stop: &Stop) {
        let records = &self.plan.records;
        let replicas = [&self.replicas.first].into_iter().chain(&self.replicas.further);
        for replica in replicas.filter(|_| !records.is_empty()) {
            let forgotten = replica.vault.forget(records, &self.operation.host.name, stop).await;
            if let Some(error) = forgotten.error {
                tracing::warn!(sink = replica.name(), %error, "records of verifications stay for now");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(name: &str, seconds: i64, tree: &str) -> SnapshotInfo {
        SnapshotInfo {
            id: ObjectId::of(name.as_bytes()),
            time: Timestamp { seconds, nanoseconds: 0 },
            host: "here".to_owned(),
            pipeline: Some("shop".to_owned()),
            paths: Vec::new(),
            tags: Vec::new(),
            original: None,
            recorded: None,
            parent: None,
            tree: ObjectId::of(tree.as_bytes()),
        }
    }

    /// Which of `snapshots` go where the last `number` are kept; `on_first` are those of the first sink.
    fn forgotten(number: usize, snapshots: &[SnapshotInfo], on_first: &[&str]) -> Vec<ObjectId> {
        let found = Found {
            snapshots: snapshots.to_vec(),
            on_first: on_first.iter().map(|name| ObjectId::of(name.as_bytes())).collect(),
            damaged: Vec::new(),
            known: Known::default(),
        };
        let judge = |snapshots: &[&SnapshotInfo]| {
            let kept = |position: usize| position + number >= snapshots.len();
            let reasons = |position| if kept(position) { vec!["last"] } else { Vec::new() };
            (0..snapshots.len()).map(reasons).collect()
        };
        let fates = fates(&found, "shop", judge).into_iter();
        let gone = fates.filter(|(_, reasons)| reasons.is_empty());
        gone.map(|(snapshot, _)| snapshot.id).collect()
    }

    fn ids(names: &[&str]) -> Vec<ObjectId> {
        names.iter().map(|name| ObjectId::of(name.as_bytes())).collect()
    }

    #[test]
    fn no_snapshot_of_the_first_sink_goes_for_one_that_only_another_has() {
        // Whatever the order of their names.
        for (before, now) in [("a", "b"), ("b", "a")] {
            let tagged = [
                snapshot(before, 1, "tree"),
                snapshot(now, 1, "tree"),
                snapshot("newest", 2, "other"),
            ];
            assert_eq!(forgotten(2, &tagged, &[now, "newest"]), ids(&[before]));
            let repaired = [snapshot(before, 1, "whole"), snapshot(now, 1, "repaired")];
            assert_eq!(forgotten(1, &repaired, &[now]), []);
        }
        let missed = [snapshot("old", 1, "1"), snapshot("older", 2, "2"), snapshot("newest", 3, "3")];
        assert_eq!(forgotten(1, &missed, &["newest"]), ids(&["old", "older"]));
    }
}
