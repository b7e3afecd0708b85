//! Recovery to a moment: which base backup, which log, and whether the one reaches the target with the other. [`plan_recovery`] decides it before anything
//! is written; [`fetch_log`] is what the recovering server's `restore_command` reads.
//!
//! The host goes by facts that the plugin stated of its snapshots: `start-lsn`, `end-lsn`, `timeline`, `system-identifier`; of a base backup `finished`, of a
//! log `server-time`, both in seconds since 1970 by the server's clock. Whether the log has gaps, the plugin's own verification says. Of the log's files it reads
//! one, the history of the last timeline ([`timelines`]): a base backup of a timeline that does not lead there is not brought forward by it.

mod error;
mod fetch;
mod options;
mod ranges;
mod reach;
mod settings;
mod stated;
mod timelines;

use bulkhead_config::Pipeline;
use bulkhead_model::{Finding, Severity};
use serde::Serialize;
use serde_json::json;

use crate::{
    browse::{self, OpenSnapshot, SnapshotError, open_snapshot},
    clock,
    host::pipeline_site,
    operation::Operation,
    verify::SnapshotVerifier,
};
pub use error::RecoveryError;
pub use fetch::{LogPart, RecoverySpan, fetch_log, is_log_file, open_log};
pub use options::{RecoveryOptions, RecoveryTarget, TargetAction, TargetTimeError};
pub use ranges::{BaseReach, LogVerification, verify_log};
use reach::Reach;
use settings::{restore_command, settings};
use stated::short;
pub(crate) use stated::{Stated, lsn, position};
use timelines::Lineage;

/// What can be reached from a base backup, with the log that is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RecoveryRange {
    /// The snapshot of the base backup.
    pub base: String,
    /// The snapshot of the log.
    pub wal: String,
    /// The earliest position: the end of the base backup.
    pub from_lsn: String,
    /// Its time, RFC 3339.
    pub from_time: String,
    /// The latest position: the end of the log.
    pub to_lsn: String,
    /// The server's clock there, RFC 3339.
    pub to_time: String,
    /// The timeline that the log is followed to.
    pub timeline: String,
}

/// A recovery that can be carried out.
#[derive(Debug, Clone)]
pub struct PlannedRecovery {
    /// What can be reached.
    pub range: RecoveryRange,
    /// What is known of it in advance.
    pub(crate) findings: Vec<Finding>,
    /// What the plugin has to write beside the base backup: an option of its restore.
    pub(crate) option: serde_json::Value,
}

/// Chooses the base backup (`selector`: the beginning of an id, or `latest` for the newest that goes with the target), and says what can be reached from it.
///
/// # Errors
/// See [`RecoveryError`]: whatever would end in a recovery that fails.
pub async fn plan_recovery(
    operation: &Operation,
    pipeline: &Pipeline,
    selector: &str,
    options: &RecoveryOptions,
) -> Result<PlannedRecovery, RecoveryError> {
    options.check()?;
    let wal = wal_of(operation, pipeline)?;
    // Says in the usual words that there is no such snapshot, or several.
    let named = open_snapshot(operation, pipeline, selector).await?.id();
    operation.progress.phase("looking at the log", None);
    let log = stated_log(operation, wal).await?;
    let bases = browse::snapshots(operation, &pipeline.vault, std::slice::from_ref(&pipeline.name)).await?;
    let chosen = bases.snapshots.iter().rev().filter(|base| selector == "latest" || base.id == named);
    let mut refused = None;
    for base in chosen {
        match Stated::of_base(&base.id, base.proof.as_ref()).and_then(|base| Reach::find(&log, base, options)) {
            Ok(reach) => {
                let command = restore_command(options, wal, &log.stated, &reach.base, operation.read_from.as_deref());
                return Ok(planned(&log, &reach, options, &command));
            }
            // The newest one's reason is the one that is told.
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(refused.unwrap_or(RecoveryError::Fact {
        snapshot: short(&named),
        fact: "end-lsn",
    }))
}

fn wal_of<'o>(operation: &'o Operation, pipeline: &Pipeline) -> Result<&'o Pipeline, RecoveryError> {
    let wal = pipeline.wal.as_deref().and_then(|name| operation.config.pipeline(name));
    wal.ok_or_else(|| RecoveryError::NoLog {
        pipeline: pipeline.name.clone(),
        site: pipeline_site(pipeline),
    })
}

/// The newest snapshot of a log.
struct Log {
    stated: Stated,
    lineage: Lineage,
}

/// What the newest snapshot of a log has, if it is without gaps.
async fn stated_log(operation: &Operation, wal: &Pipeline) -> Result<Log, RecoveryError> {
    let failed = |source| RecoveryError::Verify {
        wal: wal.name.clone(),
        source: Box::new(source),
    };
    let mut verifier = SnapshotVerifier::open(operation, wal).await.map_err(failed)?;
    let verified = verifier.verify(operation, "latest").await.map_err(failed)?;
    if let Some(finding) = verified.findings.iter().find(|finding| finding.severity == Severity::Error) {
        return Err(RecoveryError::Gap {
            wal: wal.name.clone(),
            finding: finding.message.clone(),
        });
    }
    read_log(operation, wal, &verified.snapshot).await
}

/// What a snapshot of a log says that it has.
async fn read_log(operation: &Operation, wal: &Pipeline, id: &str) -> Result<Log, RecoveryError> {
    let snapshot = open_snapshot(operation, wal, id).await?;
    let record = snapshot.reader().record().await.map_err(SnapshotError::from)?;
    let stated = Stated::of_log(id, record.as_ref().map(|record| &record.proof))?;
    let lineage = lineage(&snapshot, stated.timeline).await?.ok_or_else(|| RecoveryError::Gap {
        wal: wal.name.clone(),
        finding: format!("the history of timeline {} cannot be read", stated.timeline),
    })?;
    Ok(Log { stated, lineage })
}

/// Which timelines led to `timeline`; `None` where its history is missing or is none.
async fn lineage(snapshot: &OpenSnapshot, timeline: u32) -> Result<Option<Lineage>, SnapshotError> {
    if timeline == Lineage::FIRST {
        return Ok(Lineage::parse(timeline, ""));
    }
    let Some(mut content) = fetch_log(snapshot, &format!("{timeline:08X}.history"), LogPart::Whole).await? else {
        return Ok(None);
    };
    let mut history = Vec::new();
    while let Some(part) = content.read(LONGEST_HISTORY).await? {
        history.extend_from_slice(&part);
        if history.len() > LONGEST_HISTORY {
            return Ok(None);
        }
    }
    Ok(Lineage::parse(timeline, &String::from_utf8_lossy(&history)))
}

/// Bytes; a history is a line for each promotion.
const LONGEST_HISTORY: usize = 1 << 20;

fn range(log: &Log, reach: &Reach) -> RecoveryRange {
    RecoveryRange {
        base: reach.base.id.clone(),
        wal: log.stated.id.clone(),
        from_lsn: position(reach.base.end),
        from_time: reach.base.time(),
        to_lsn: position(reach.end),
        to_time: log.stated.time(),
        timeline: reach.timeline.to_string(),
    }
}

fn planned(log: &Log, reach: &Reach, options: &RecoveryOptions, restore_command: &str) -> PlannedRecovery {
    let range = range(log, reach);
    PlannedRecovery {
        option: json!({
            "standby": options.standby.is_some(),
            "settings": settings(options, reach.timeline, restore_command),
        }),
        findings: [range_finding(&range)]
            .into_iter()
            .chain(time_finding(&range, &options.target))
            .collect(),
        range,
    }
}

/// What can be reached, as a finding for the report.
fn range_finding(range: &RecoveryRange) -> Finding {
    Finding {
        severity: Severity::Info,
        code: "recovery-range".to_owned(),
        message: format!(
            "from this base backup {} ({}) to {} ({}) of timeline {} can be reached",
            range.from_time, range.from_lsn, range.to_time, range.to_lsn, range.timeline
        ),
        hint: None,
        setting: None,
    }
}

/// What a time as the target comes down to: no snapshot states when the last transaction ended, only up to when the log has whatever ended.
fn time_finding(range: &RecoveryRange, target: &RecoveryTarget) -> Option<Finding> {
    let RecoveryTarget::Time(time) = target else { return None };
    let message = format!(
        "the log has what the server wrote until {} by its clock; whether a transaction ended between {} and then is not known, and where none did, the server \
         stops with `recovery ended before configured recovery target was reached`",
        range.to_time,
        clock::rfc3339(*time)
    );
    Some(Finding {
        severity: Severity::Info,
        code: "recovery-target-time".to_owned(),
        message,
        hint: Some("`--to-latest` brings back the same then: everything up to the target".to_owned()),
        setting: None,
    })
}
