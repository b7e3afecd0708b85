//! Why a recovery can't be carried out: [`RecoveryError`].

use crate::{
    browse::SnapshotError,
    failure::{Explain, Failure, FailureClass, Site},
    verify::VerifyError,
};

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
    /// The snapshot that a recovery reads was forgotten, and the newest one does not stand in for it.
    #[error(
        "the snapshot {snapshot} of the log was forgotten, and the newest, {newest}, does not have all from {from} to {to} that the recovery needs"
    )]
    Forgotten {
        /// The snapshot.
        snapshot: String,
        /// The newest, with what it has.
        newest: String,
        /// Where the recovery begins.
        from: String,
        /// Where its log ended.
        to: String,
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
            Self::Forgotten { .. } => {
                failure(FailureClass::NotFound).hint("restore again with `--delta`: what can be reached now is said before anything is written")
            }
            Self::ControlCharacter { .. } => failure(FailureClass::Config).hint("a setting of PostgreSQL is one line: leave it out"),
            Self::OutOfReach { .. } => {
                failure(FailureClass::NotFound).hint("choose a target within it, or `--to-latest`; an earlier base backup reaches earlier targets")
            }
            Self::NotALsn(_) => failure(FailureClass::Config).hint("write it as PostgreSQL does, such as 16/B374D848"),
        }
    }
}
