//! Recovery to a moment: which base backup, which log, and whether the one reaches the target with the other. [`plan_recovery`] decides it before anything
//! is written; [`fetch_log`] is what the recovering server's `restore_command` reads.
//!
//! The host goes by facts that the plugin stated of its snapshots: `start-lsn`, `end-lsn`, `timeline`, `system-identifier`; of a base backup `finished`, of a
//! log `server-time`, both in seconds since 1970 by the server's clock. Whether the log has gaps, the plugin's own verification says. Of the log's files it reads
//! one, the history of the last timeline ([`timelines`]): a base backup of a timeline that does not lead there is not brought forward by it.

mod ranges;
mod timelines;

use bulkhead_config::Pipeline;
use bulkhead_model::{EntryPath, Finding, Proof, Severity, Timestamp};
use serde::Serialize;
use serde_json::json;

use crate::{
    browse::{self, Content, OpenSnapshot, SnapshotError, open_snapshot},
    clock,
    failure::{Explain, Failure, FailureClass, Site},
    host::pipeline_site,
    operation::Operation,
    verify::{SnapshotVerifier, VerifyError},
};
pub use ranges::{BaseReach, LogVerification, verify_log};
use timelines::Lineage;

/// Where a recovery ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveryTarget {
    /// Where the log ends.
    Latest,
    /// At the last commit up to this time.
    Time(Timestamp),
    /// At this position of the log, as `16/B374D848`.
    Lsn(String),
    /// With the commit of this transaction.
    Xid(String),
    /// At the restore point of this name.
    Name(String),
}

/// A text that is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time with its distance from UTC")]
pub struct TargetTimeError(String);

impl RecoveryTarget {
    /// The last commit up to `text`: a date and a time with `Z` or an offset, such as `2026-11-21 08:00:00+01:00`.
    ///
    /// # Errors
    /// See [`TargetTimeError`]. A time without an offset would mean another moment on another machine.
    pub fn time(text: &str) -> Result<Self, TargetTimeError> {
        let parsed: jiff::Timestamp = text.trim().parse().map_err(|_| TargetTimeError(text.to_owned()))?;
        Ok(Self::Time(clock::timestamp(parsed)))
    }
}

/// What the server does when it has reached the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetAction {
    /// It ends the recovery and begins a new timeline.
    Promote,
    /// It waits, for reading only.
    Pause,
    /// It shuts down.
    Shutdown,
}

/// What a recovery is asked for.
#[derive(Debug, Clone)]
pub struct RecoveryOptions {
    /// Where it ends.
    pub target: RecoveryTarget,
    /// The timeline to follow: a number, `current` or `latest`; the server's default where `None`.
    pub timeline: Option<String>,
    /// What comes then.
    pub action: TargetAction,
    /// `Some` for a standby: how it connects to its primary, in libpq's words; may be empty.
    pub standby: Option<String>,
    /// How the server calls this program, quoted for a shell, up to and without the subcommand.
    pub program: String,
}

impl RecoveryOptions {
    /// Refuses what would end a line of the server's configuration.
    fn check(&self) -> Result<(), RecoveryError> {
        let target = match &self.target {
            RecoveryTarget::Lsn(text) | RecoveryTarget::Xid(text) | RecoveryTarget::Name(text) => Some(text),
            RecoveryTarget::Latest | RecoveryTarget::Time(_) => None,
        };
        let given = [
            ("the recovery's target", target),
            ("the connection to the primary", self.standby.as_ref()),
            ("the path of this program, or of its configuration,", Some(&self.program)),
        ];
        match given
            .iter()
            .find(|(_, text)| text.is_some_and(|text| text.contains(char::is_control)))
        {
            Some((what, _)) => Err(RecoveryError::ControlCharacter { what }),
            None => Ok(()),
        }
    }
}

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

/// Why a recovery can't be carried out. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// No log belongs to the pipeline.
    #[error("the pipeline `{pipeline}` has no log that could bring it forward")]
    NoLog {
        /// The pipeline.
        pipeline: String,
        /// Its table.
        site: Site,
    },
    /// A snapshot can't be found or read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The log could not be looked at.
    #[error("the log of `{wal}` could not be verified")]
    Verify {
        /// The log's pipeline.
        wal: String,
        /// Why.
        source: Box<VerifyError>,
    },
    /// The log is not whole.
    #[error("the log of `{wal}` is not whole: {finding}")]
    Gap {
        /// The log's pipeline.
        wal: String,
        /// What its plugin found.
        finding: String,
    },
    /// A snapshot doesn't say what it has to.
    #[error("the snapshot {snapshot} does not state its `{fact}`")]
    Fact {
        /// The snapshot.
        snapshot: String,
        /// What is missing.
        fact: &'static str,
    },
    /// Base backup and log are of different clusters.
    #[error("the base backup {base} and the log are of different clusters")]
    OtherCluster {
        /// The snapshot of the base backup.
        base: String,
    },
    /// The log does not go with the base backup.
    #[error("the log reaches from {from} to {to}, and the base backup {base} needs it from {start} to {end}")]
    NotCovered {
        /// The snapshot of the base backup.
        base: String,
        /// The log's beginning.
        from: String,
        /// Its end.
        to: String,
        /// Where the base backup begins.
        start: String,
        /// Where it ends.
        end: String,
    },
    /// The log does not lead from the base backup to the timeline.
    #[error(
        "timeline {target} cannot be reached from the base backup {base}, which ended at {end} of timeline {timeline}: the log reaches from {from} to {to} of \
         timeline {last}"
    )]
    OtherTimeline {
        /// The timeline that is asked for.
        target: u32,
        /// The snapshot of the base backup.
        base: String,
        /// Where it ended.
        end: String,
        /// Its timeline.
        timeline: u32,
        /// The log's beginning.
        from: String,
        /// Its end.
        to: String,
        /// Its last timeline.
        last: u32,
    },
    /// What was given cannot be written into the server's configuration.
    #[error("{what} has a control character")]
    ControlCharacter {
        /// What was given, in words.
        what: &'static str,
    },
    /// The target lies before or behind what can be reached.
    #[error("the target {target} cannot be reached: {reach}")]
    OutOfReach {
        /// As it was asked for.
        target: String,
        /// What can be reached, in words.
        reach: String,
    },
    /// What was given for a position is none.
    #[error("`{0}` is not a position of the log")]
    NotALsn(String),
}

impl Explain for RecoveryError {
    fn explain(&self) -> Failure {
        let failure = |class| Failure::new(class, self);
        match self {
            Self::NoLog { site, .. } => failure(FailureClass::Config)
                .at(site)
                .setting("wal")
                .hint("store it in a pipeline of the same plugin with `mode = \"wal\"`, and name that here: `wal = \"PIPELINE\"`"),
            Self::Snapshot(error) => error.explain(),
            Self::Verify { source, .. } => source.explain(),
            Self::Gap { wal, .. } => failure(FailureClass::Damaged)
                .hint(format!("`bulkhead snapshots {wal}` lists earlier ones, which may have it; `bulkhead restore` without a target brings the base backup back as it is")),
            Self::Fact { .. } => failure(FailureClass::Conflict).hint("it was taken by an older version or in another mode: choose another one with `--snapshot`"),
            Self::OtherCluster { .. } => failure(FailureClass::Config).hint("see that `wal` names the pipeline that follows the same server"),
            Self::NotCovered { .. } => failure(FailureClass::NotFound)
                .hint("let the log catch up with `bulkhead run`, or choose an earlier base backup with `--snapshot`"),
            Self::OtherTimeline { .. } => failure(FailureClass::NotFound).hint(
                "choose another base backup with `--snapshot`, or another `--target-timeline`; see that `wal` names the pipeline that follows this server's \
                 timelines",
            ),
            Self::ControlCharacter { .. } => failure(FailureClass::Config).hint("a setting of PostgreSQL is one line: leave it out"),
            Self::OutOfReach { .. } => {
                failure(FailureClass::NotFound).hint("choose a target within it, or `--to-latest`; an earlier base backup reaches earlier targets")
            }
            Self::NotALsn(_) => failure(FailureClass::Config).hint("write it as PostgreSQL does, such as 16/B374D848"),
        }
    }
}

/// What a snapshot states of its log.
#[derive(Debug)]
pub(crate) struct Stated {
    id: String,
    pub(crate) start: u64,
    pub(crate) end: u64,
    timeline: u32,
    system: String,
    /// Seconds since 1970.
    time: i64,
}

impl Stated {
    /// That of a base backup.
    pub(crate) fn of_base(id: &str, proof: Option<&Proof>) -> Result<Self, RecoveryError> {
        Self::of(id, proof, "finished")
    }

    /// That of a log.
    pub(crate) fn of_log(id: &str, proof: Option<&Proof>) -> Result<Self, RecoveryError> {
        Self::of(id, proof, "server-time")
    }

    fn of(id: &str, proof: Option<&Proof>, time: &'static str) -> Result<Self, RecoveryError> {
        let fact = |name: &'static str| {
            let missing = || RecoveryError::Fact {
                snapshot: short(id),
                fact: name,
            };
            let found = proof.and_then(|proof| proof.facts.iter().find(|fact| fact.name == name));
            found.map(|fact| fact.value.clone()).ok_or_else(missing)
        };
        let unusable = |name| RecoveryError::Fact {
            snapshot: short(id),
            fact: name,
        };
        Ok(Self {
            id: id.to_owned(),
            start: lsn(&fact("start-lsn")?)?,
            end: lsn(&fact("end-lsn")?)?,
            timeline: fact("timeline")?.parse().map_err(|_| unusable("timeline"))?,
            system: fact("system-identifier")?,
            time: fact(time)?.parse().map_err(|_| unusable(time))?,
        })
    }

    fn time(&self) -> String {
        clock::rfc3339(at(self.time))
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanoseconds: 0 }
}

/// The first digits of an id.
fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

/// A position as PostgreSQL writes it.
pub(crate) fn position(lsn: u64) -> String {
    format!("{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF)
}

/// A position as a number.
pub(crate) fn lsn(text: &str) -> Result<u64, RecoveryError> {
    let half = |text: &str| {
        let digits = (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u64::from_str_radix(text, 16).ok().filter(|_| digits)
    };
    let parsed = text.split_once('/').and_then(|(high, low)| Some(half(high)? << 32 | half(low)?));
    parsed.ok_or_else(|| RecoveryError::NotALsn(text.to_owned()))
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
                let command = restore_command(options, wal, &log.stated.id, operation.read_from.as_deref());
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
    let verifier = SnapshotVerifier::open(operation, wal).await.map_err(failed)?;
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

/// What a base backup reaches with the log.
#[derive(Debug)]
struct Reach {
    base: Stated,
    /// The timeline that the log is followed to.
    timeline: u32,
    /// Up to where.
    end: u64,
}

impl Reach {
    /// That of `base`, if what `options` ask for lies within it.
    fn find(log: &Log, base: Stated, options: &RecoveryOptions) -> Result<Self, RecoveryError> {
        let Log { stated, lineage } = log;
        if stated.system != base.system {
            return Err(RecoveryError::OtherCluster { base: short(&base.id) });
        }
        let timeline = match options.timeline.as_deref() {
            None | Some("latest") => stated.timeline,
            Some("current") => base.timeline,
            // What is no number is no timeline of the log's.
            Some(text) => text.parse().unwrap_or(0),
        };
        let Some(end) = lineage.reach(base.timeline, base.end, timeline) else {
            return Err(RecoveryError::OtherTimeline {
                target: timeline,
                base: short(&base.id),
                end: position(base.end),
                timeline: base.timeline,
                from: position(stated.start),
                to: position(stated.end),
                last: stated.timeline,
            });
        };
        if stated.start > base.start || base.end > stated.end {
            return Err(RecoveryError::NotCovered {
                base: short(&base.id),
                from: position(stated.start),
                to: position(stated.end),
                start: position(base.start),
                end: position(base.end),
            });
        }
        let end = end.min(stated.end);
        let reach = Self { base, timeline, end };
        reach.includes(stated, &options.target).map(|()| reach)
    }

    /// Whether a target lies within it. Of a transaction or a restore point only the server knows where it is.
    fn includes(&self, log: &Stated, target: &RecoveryTarget) -> Result<(), RecoveryError> {
        let base = &self.base;
        let (within, text) = match target {
            RecoveryTarget::Latest | RecoveryTarget::Xid(_) | RecoveryTarget::Name(_) => return Ok(()),
            RecoveryTarget::Time(time) => ((base.time..=log.time).contains(&time.seconds), clock::rfc3339(*time)),
            // The server stops at the first record that begins there or later: at the log's end there is none.
            RecoveryTarget::Lsn(text) => ((base.end..self.end).contains(&lsn(text)?), text.clone()),
        };
        if within {
            return Ok(());
        }
        Err(RecoveryError::OutOfReach {
            target: text,
            reach: format!(
                "from the base backup {} it is {} ({}) to {} ({})",
                short(&base.id),
                base.time(),
                position(base.end),
                log.time(),
                position(self.end)
            ),
        })
    }
}

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

/// What the server runs for each segment. A standby goes on with what comes; a recovery ends with the snapshot that it was planned with.
fn restore_command(options: &RecoveryOptions, wal: &Pipeline, snapshot: &str, sink: Option<&str>) -> String {
    let program = options.program.replace('%', "%%");
    let pinned = match options.standby {
        Some(_) => String::new(),
        None => format!(" --snapshot {snapshot}"),
    };
    // Names of sinks and pipelines need no quotation marks.
    let sink = sink.map(|sink| format!(" --sink {sink}")).unwrap_or_default();
    format!("{program} wal-fetch{pinned}{sink} {} %f %p", wal.name)
}

/// What can say where a recovery ends.
const TARGETS: [&str; 5] = [
    "recovery_target",
    "recovery_target_time",
    "recovery_target_lsn",
    "recovery_target_xid",
    "recovery_target_name",
];

/// Settings of the server, in order. Those of other targets are emptied, as the cluster may have some of an earlier recovery, and two targets are an error; and
/// that comes first, because a server counts one that is emptied later as a second one.
fn settings(options: &RecoveryOptions, timeline: u32, restore_command: &str) -> Vec<(&'static str, String)> {
    let mut settings = vec![("restore_command", restore_command.to_owned())];
    let target = match &options.target {
        RecoveryTarget::Latest => None,
        RecoveryTarget::Time(time) => Some(("recovery_target_time", with_fraction(*time))),
        RecoveryTarget::Lsn(text) => Some(("recovery_target_lsn", text.clone())),
        RecoveryTarget::Xid(text) => Some(("recovery_target_xid", text.clone())),
        RecoveryTarget::Name(text) => Some(("recovery_target_name", text.clone())),
    };
    let others = TARGETS
        .into_iter()
        .filter(|name| target.as_ref().is_none_or(|(chosen, _)| chosen != name));
    settings.extend(others.map(|name| (name, String::new())));
    settings.extend(target);
    let action = match options.action {
        TargetAction::Promote => "promote",
        TargetAction::Pause => "pause",
        TargetAction::Shutdown => "shutdown",
    };
    // What `wal-fetch` has fetched ahead and nobody asked for.
    settings.push(("recovery_end_command", "rm -rf pg_wal/bulkhead-ahead".to_owned()));
    settings.push(("recovery_target_action", action.to_owned()));
    // By its number: a server looks for the latest one after the other, and stops where a number was given to another cluster's. A standby goes on to those to come.
    let timeline = match (&options.standby, &options.timeline) {
        (Some(_), asked) => asked.clone().unwrap_or_else(|| "latest".to_owned()),
        (None, _) => timeline.to_string(),
    };
    settings.push(("recovery_target_timeline", timeline));
    if let Some(conninfo) = options.standby.as_ref().filter(|conninfo| !conninfo.is_empty()) {
        settings.push(("primary_conninfo", conninfo.clone()));
    }
    settings
}

/// A time as PostgreSQL reads it, in UTC, to the microsecond.
fn with_fraction(time: Timestamp) -> String {
    let whole = clock::rfc3339(Timestamp { nanoseconds: 0, ..time });
    let text = whole.trim_end_matches('Z').replace('T', " ");
    format!("{text}.{:06}+00", time.nanoseconds / 1000)
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

/// Whether a segment of which only the beginning is stored will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogPart {
    /// It will: it is padded to its size, and where nothing follows it is the end of the log.
    Partial,
    /// It won't.
    Whole,
}

/// A file of the log, as a recovering server asks for it by name.
///
/// # Errors
/// See [`SnapshotError`]; a file that the log doesn't have is `None`.
pub async fn fetch_log(snapshot: &OpenSnapshot, file: &str, part: LogPart) -> Result<Option<Content>, SnapshotError> {
    let places = places(file);
    let count = if part == LogPart::Whole { 1 } else { places.len() };
    for path in places.into_iter().take(count) {
        let Ok(path) = EntryPath::new(path.as_bytes()) else { continue };
        match snapshot.content(&path).await {
            Ok(content) => return Ok(Some(content)),
            Err(SnapshotError::Read(error)) if matches!(*error, bulkhead_vault::ReadError::NoSuchEntry { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Whether PostgreSQL gives such a name to a file of its log: a segment or the beginning of one, a timeline's history, a base backup's label.
#[must_use]
pub fn is_log_file(file: &str) -> bool {
    !places(file).is_empty()
}

/// Where the plugin puts a file of that name; nowhere for what is no part of a log.
fn places(file: &str) -> Vec<String> {
    /// Digits of a segment's name that name its folder.
    const FOLDER_DIGITS: usize = 16;
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let beside_segments = || format!("wal/{}/{file}", &file[..FOLDER_DIGITS]);
    match file.split_once('.') {
        None if digits(file, 24) => vec![beside_segments(), format!("partial/{file}.partial")],
        Some((segment, "partial")) if digits(segment, 24) => vec![format!("partial/{file}")],
        Some((timeline, "history")) if digits(timeline, 8) => vec![format!("wal/{file}")],
        Some((segment, label)) if digits(segment, 24) && label.strip_suffix(".backup").is_some_and(|offset| digits(offset, 8)) => {
            vec![beside_segments()]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;

    fn stated(id: &str, start: u64, end: u64, time: i64) -> Stated {
        Stated {
            id: id.to_owned(),
            start,
            end,
            timeline: 1,
            system: "7".to_owned(),
            time,
        }
    }

    /// A log from 0/100 to 0/900 that ends on `timeline`.
    fn log(timeline: u32, history: &str) -> Log {
        Log {
            stated: Stated {
                timeline,
                ..stated("log", 0x100, 0x900, 900)
            },
            lineage: Lineage::parse(timeline, history).expect("a history"),
        }
    }

    fn options(target: RecoveryTarget) -> RecoveryOptions {
        RecoveryOptions {
            target,
            timeline: None,
            action: TargetAction::Promote,
            standby: None,
            program: "bulkhead".into(),
        }
    }

    #[test]
    fn a_target_must_lie_between_base_and_end() {
        let log = log(1, "");
        let base = |start, end| stated("base", start, end, 300);
        for (target, reached) in [
            (RecoveryTarget::Latest, true),
            (RecoveryTarget::Lsn("0/300".into()), true),
            (RecoveryTarget::Lsn("0/2FF".into()), false),
            (RecoveryTarget::Lsn("0/901".into()), false),
            (RecoveryTarget::Time(at(900)), true),
            (RecoveryTarget::Time(at(299)), false),
            (RecoveryTarget::Time(at(901)), false),
        ] {
            let found = Reach::find(&log, base(0x200, 0x300), &options(target.clone()));
            assert_eq!(found.is_ok(), reached, "{target:?}");
        }
        let nowhere = options(RecoveryTarget::Lsn("nowhere".into()));
        assert!(Reach::find(&log, base(0x200, 0x300), &nowhere).is_err());
        for (start, end) in [(0xFF, 0x300), (0x200, 0x901)] {
            let found = Reach::find(&log, base(start, end), &options(RecoveryTarget::Latest));
            assert!(matches!(found, Err(RecoveryError::NotCovered { .. })), "{found:?}");
        }
    }

    #[test]
    fn a_base_backup_needs_a_log_that_goes_on_from_its_timeline() {
        let of = |timeline, end| Stated {
            timeline,
            ..stated("base", 0x200, end, 300)
        };
        let latest = options(RecoveryTarget::Latest);
        let found = Reach::find(&log(1, ""), of(2, 0x300), &latest);
        assert!(matches!(found, Err(RecoveryError::OtherTimeline { last: 1, .. })), "{found:?}");

        let promoted = log(2, "1\t0/500\tno recovery target specified\n");
        let reached = |base, timeline: &str| {
            let mut options = options(RecoveryTarget::Latest);
            options.timeline = Some(timeline.to_owned());
            Reach::find(&promoted, base, &options).map(|reach| (reach.timeline, reach.end))
        };
        assert!(matches!(reached(of(1, 0x300), "latest"), Ok((2, 0x900))));
        assert!(
            matches!(reached(of(1, 0x300), "current"), Ok((1, 0x500))),
            "up to where it was left"
        );
        assert!(matches!(reached(of(1, 0x300), "1"), Ok((1, 0x500))));
        assert!(matches!(reached(of(2, 0x600), "current"), Ok((2, 0x900))));
        for (base, timeline) in [(of(1, 0x501), "latest"), (of(2, 0x600), "1"), (of(1, 0x300), "3")] {
            let found = reached(base, timeline);
            assert!(matches!(found, Err(RecoveryError::OtherTimeline { .. })), "{timeline}: {found:?}");
        }
    }

    #[test]
    fn nothing_ends_a_line_of_the_servers_configuration() {
        assert!(options(RecoveryTarget::Name("before the move".into())).check().is_ok());
        assert!(options(RecoveryTarget::Name("a\nrestore_command = 'x'".into())).check().is_err());
        let mut standby = options(RecoveryTarget::Latest);
        standby.standby = Some("host=a\rport=1".into());
        assert!(standby.check().is_err());
    }

    #[test]
    fn times_have_an_offset() {
        let moment = RecoveryTarget::Time(at(1_700_000_000));
        for text in ["2023-11-14T22:13:20Z", "2023-11-14 23:13:20+01:00", "2023-11-14 22:13:20+00"] {
            assert_eq!(RecoveryTarget::time(text).as_ref(), Ok(&moment), "{text}");
        }
        for text in ["", "2023-11-14 22:13:20", "yesterday", "2023-11-14"] {
            assert!(RecoveryTarget::time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_one_target_is_set() {
        let options = RecoveryOptions {
            target: RecoveryTarget::Time(Timestamp {
                seconds: 1_700_000_000,
                nanoseconds: 250_000_999,
            }),
            timeline: None,
            action: TargetAction::Pause,
            standby: None,
            program: "'/opt/50%/bulkhead'".into(),
        };
        let settings = settings(&options, 3, "x");
        let set: Vec<_> = settings.iter().filter(|(_, value)| !value.is_empty()).collect();
        assert_eq!(
            set,
            [
                &("restore_command", "x".to_owned()),
                &("recovery_target_time", "2023-11-14 22:13:20.250000+00".to_owned()),
                &("recovery_end_command", "rm -rf pg_wal/bulkhead-ahead".to_owned()),
                &("recovery_target_action", "pause".to_owned()),
                &("recovery_target_timeline", "3".to_owned()),
            ]
        );
        assert_eq!(settings.iter().filter(|(name, _)| name.starts_with("recovery_target")).count(), 7);
    }

    #[test]
    fn files_of_a_log_have_their_places() {
        assert_eq!(
            places("0000000100000000000000A3"),
            [
                "wal/0000000100000000/0000000100000000000000A3",
                "partial/0000000100000000000000A3.partial"
            ]
        );
        assert_eq!(places("00000002.history"), ["wal/00000002.history"]);
        assert_eq!(
            places("0000000100000000000000A3.partial"),
            ["partial/0000000100000000000000A3.partial"]
        );
        let label = "000000010000000000000002.00000028.backup";
        assert_eq!(places(label), [format!("wal/0000000100000000/{label}")]);
        for other in [
            "",
            "../../etc/passwd",
            "000000010000000000000002.x.backup",
            "2.history",
            "00000001000000000000000G",
        ] {
            assert!(places(other).is_empty(), "{other}");
        }
    }
}
