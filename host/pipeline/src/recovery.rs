//! Recovery to a moment: which base backup, which log, and whether the one reaches the target with the other. [`plan_recovery`] decides it before anything
//! is written; [`fetch_log`] is what the recovering server's `restore_command` reads.
//!
//! The host knows nothing of PostgreSQL's files. It goes by facts that the plugin stated of its snapshots: `start-lsn`, `end-lsn`, `timeline`,
//! `system-identifier`; of a base backup `finished`, of a log `server-time`, both in seconds since 1970. Whether the log has gaps, the plugin's own
//! verification says.

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
    /// The log's last timeline.
    pub timeline: String,
}

/// A recovery that can be carried out.
#[derive(Debug, Clone)]
pub struct PlannedRecovery {
    /// What can be reached.
    pub range: RecoveryRange,
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
            Self::OutOfReach { .. } => {
                failure(FailureClass::NotFound).hint("choose a target within it, or `--to-latest`; an earlier base backup reaches earlier targets")
            }
            Self::NotALsn(_) => failure(FailureClass::Config).hint("write it as PostgreSQL does, such as 16/B374D848"),
        }
    }
}

/// What a snapshot states of its log.
struct Stated {
    id: String,
    start: u64,
    end: u64,
    start_text: String,
    end_text: String,
    timeline: String,
    system: String,
    /// Seconds since 1970.
    time: i64,
}

impl Stated {
    fn of(id: &str, proof: Option<&Proof>, time: &'static str) -> Result<Self, RecoveryError> {
        let fact = |name: &'static str| {
            let missing = || RecoveryError::Fact {
                snapshot: short(id),
                fact: name,
            };
            let found = proof.and_then(|proof| proof.facts.iter().find(|fact| fact.name == name));
            found.map(|fact| fact.value.clone()).ok_or_else(missing)
        };
        let (start_text, end_text) = (fact("start-lsn")?, fact("end-lsn")?);
        let seconds = fact(time)?.parse().map_err(|_| RecoveryError::Fact {
            snapshot: short(id),
            fact: time,
        })?;
        Ok(Self {
            id: id.to_owned(),
            start: lsn(&start_text)?,
            end: lsn(&end_text)?,
            start_text,
            end_text,
            timeline: fact("timeline")?,
            system: fact("system-identifier")?,
            time: seconds,
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

/// A position as a number.
fn lsn(text: &str) -> Result<u64, RecoveryError> {
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
    let wal = wal_of(operation, pipeline)?;
    operation.progress.phase("looking at the log", None);
    let log = stated_log(operation, wal).await?;
    let bases = browse::snapshots(operation, &pipeline.vault, std::slice::from_ref(&pipeline.name)).await?;
    let chosen = bases
        .snapshots
        .iter()
        .rev()
        .filter(|base| selector == "latest" || base.id.starts_with(selector));
    let mut refused = None;
    for base in chosen {
        let fits = Stated::of(&base.id, base.proof.as_ref(), "finished").and_then(|base| {
            covers(&log, &base)?;
            reaches(&log, &base, &options.target)?;
            Ok(base)
        });
        match fits {
            Ok(base) => {
                let command = restore_command(options, wal, &log.id, operation.read_from.as_deref());
                return Ok(planned(&log, &base, options, &command));
            }
            // The newest one's reason is the one that is told.
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    match refused {
        Some(error) => Err(error),
        // Says that there is no such snapshot, in the usual words.
        None => Err(open_snapshot(operation, pipeline, selector).await.err().map_or_else(
            || RecoveryError::Fact {
                snapshot: selector.to_owned(),
                fact: "end-lsn",
            },
            RecoveryError::Snapshot,
        )),
    }
}

fn wal_of<'o>(operation: &'o Operation, pipeline: &Pipeline) -> Result<&'o Pipeline, RecoveryError> {
    let wal = pipeline.wal.as_deref().and_then(|name| operation.config.pipeline(name));
    wal.ok_or_else(|| RecoveryError::NoLog {
        pipeline: pipeline.name.clone(),
        site: pipeline_site(pipeline),
    })
}

/// What the newest snapshot of a log has, if it is without gaps.
async fn stated_log(operation: &Operation, wal: &Pipeline) -> Result<Stated, RecoveryError> {
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
    let snapshot = open_snapshot(operation, wal, &verified.snapshot).await?;
    let record = snapshot.reader().record().await.map_err(SnapshotError::from)?;
    Stated::of(&verified.snapshot, record.as_ref().map(|record| &record.proof), "server-time")
}

/// Whether the log has what a base backup needs.
fn covers(log: &Stated, base: &Stated) -> Result<(), RecoveryError> {
    if log.system != base.system {
        return Err(RecoveryError::OtherCluster { base: short(&base.id) });
    }
    if log.start <= base.start && base.end <= log.end {
        return Ok(());
    }
    Err(RecoveryError::NotCovered {
        base: short(&base.id),
        from: log.start_text.clone(),
        to: log.end_text.clone(),
        start: base.start_text.clone(),
        end: base.end_text.clone(),
    })
}

/// Whether a target lies within what can be reached. Of a transaction or a restore point only the server knows where it is.
fn reaches(log: &Stated, base: &Stated, target: &RecoveryTarget) -> Result<(), RecoveryError> {
    let (within, text) = match target {
        RecoveryTarget::Latest | RecoveryTarget::Xid(_) | RecoveryTarget::Name(_) => return Ok(()),
        RecoveryTarget::Time(time) => ((base.time..=log.time).contains(&time.seconds), clock::rfc3339(*time)),
        // The server stops at the first record that begins there or later: at the log's end there is none.
        RecoveryTarget::Lsn(text) => ((base.end..log.end).contains(&lsn(text)?), text.clone()),
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
            base.end_text,
            log.time(),
            log.end_text
        ),
    })
}

fn planned(log: &Stated, base: &Stated, options: &RecoveryOptions, restore_command: &str) -> PlannedRecovery {
    let range = RecoveryRange {
        base: base.id.clone(),
        wal: log.id.clone(),
        from_lsn: base.end_text.clone(),
        from_time: base.time(),
        to_lsn: log.end_text.clone(),
        to_time: log.time(),
        timeline: log.timeline.clone(),
    };
    PlannedRecovery {
        option: json!({
            "standby": options.standby.is_some(),
            "settings": settings(options, restore_command),
        }),
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
fn settings(options: &RecoveryOptions, restore_command: &str) -> Vec<(&'static str, String)> {
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
    settings.push((
        "recovery_target_timeline",
        options.timeline.clone().unwrap_or_else(|| "latest".to_owned()),
    ));
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
pub(crate) fn range_finding(range: &RecoveryRange) -> Finding {
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

/// Where the plugin puts a file of that name; nowhere for what is no part of a log.
fn places(file: &str) -> Vec<String> {
    /// Digits of a segment's name that name its folder.
    const FOLDER_DIGITS: usize = 16;
    let is_hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if file.len() == 24 && is_hexadecimal(file) {
        return vec![format!("wal/{}/{file}", &file[..FOLDER_DIGITS]), format!("partial/{file}.partial")];
    }
    match file.strip_suffix(".history") {
        Some(digits) if digits.len() == 8 && is_hexadecimal(digits) => vec![format!("wal/{file}")],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stated(id: &str, start: u64, end: u64, time: i64) -> Stated {
        Stated {
            id: id.to_owned(),
            start,
            end,
            start_text: format!("0/{start:X}"),
            end_text: format!("0/{end:X}"),
            timeline: "1".to_owned(),
            system: "7".to_owned(),
            time,
        }
    }

    #[test]
    fn a_target_must_lie_between_base_and_end() {
        let (log, base) = (stated("log", 0x100, 0x900, 900), stated("base", 0x200, 0x300, 300));
        assert!(covers(&log, &base).is_ok());
        for (target, reached) in [
            (RecoveryTarget::Latest, true),
            (RecoveryTarget::Lsn("0/300".into()), true),
            (RecoveryTarget::Lsn("0/2FF".into()), false),
            (RecoveryTarget::Lsn("0/901".into()), false),
            (RecoveryTarget::Time(at(900)), true),
            (RecoveryTarget::Time(at(299)), false),
            (RecoveryTarget::Time(at(901)), false),
        ] {
            assert_eq!(reaches(&log, &base, &target).is_ok(), reached, "{target:?}");
        }
        assert!(reaches(&log, &base, &RecoveryTarget::Lsn("nowhere".into())).is_err());
        for (start, end) in [(0xFF, 0x300), (0x200, 0x901)] {
            assert!(covers(&log, &stated("base", start, end, 300)).is_err());
        }
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
        let settings = settings(&options, "x");
        let set: Vec<_> = settings.iter().filter(|(_, value)| !value.is_empty()).collect();
        assert_eq!(
            set,
            [
                &("restore_command", "x".to_owned()),
                &("recovery_target_time", "2023-11-14 22:13:20.250000+00".to_owned()),
                &("recovery_end_command", "rm -rf pg_wal/bulkhead-ahead".to_owned()),
                &("recovery_target_action", "pause".to_owned()),
                &("recovery_target_timeline", "latest".to_owned()),
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
        for other in ["", "../../etc/passwd", "000000010000000000000002.00000028.backup", "2.history"] {
            assert!(places(other).is_empty(), "{other}");
        }
    }
}
