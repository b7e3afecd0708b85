//! What is known of when snapshots were verified, and adding to it.

use std::collections::BTreeSet;

use bulkhead_config as config;
use bulkhead_model::Timestamp;
use bulkhead_vault::{Depth, Hint as _, Mark, Marks, ObjectId, SnapshotInfo, Vault, Verification};
use serde::Serialize;

use crate::{
    access::{AccessError, vault_site},
    clock,
    failure::{Explain as _, Failure},
    operation::Operation,
    run::class_of_write,
};

/// That a snapshot was found whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedMark {
    /// How deeply it was looked at: `structure`, `data` or `plugin`.
    pub depth: &'static str,
    /// On which sink.
    pub sink: String,
    /// When, for the last time, RFC 3339.
    pub time: String,
    /// The same, in seconds since 1970.
    #[serde(skip)]
    pub seconds: i64,
}

impl From<Mark> for VerifiedMark {
    fn from(mark: Mark) -> Self {
        Self {
            depth: mark.depth.name(),
            sink: mark.sink,
            time: clock::rfc3339(mark.time),
            seconds: mark.time.seconds,
        }
    }
}

/// What the records of a vault say of its snapshots.
#[derive(Default)]
pub(crate) struct Known {
    marks: Marks,
    sinks: Vec<String>,
}

impl Known {
    /// Takes the records out of `files`, which the open vault of `config` has listed.
    pub(crate) fn take(files: &mut Vec<SnapshotInfo>, vault: &Vault, config: &config::Vault) -> Self {
        let records: Vec<SnapshotInfo> = files.extract_if(.., |file| file.is_record()).collect();
        Self {
            marks: Marks::of(&records, vault.id()),
            sinks: config.sinks.clone(),
        }
    }

    /// How a snapshot was verified, at most once for each depth; on a sink that the vault has no more counts for nothing.
    pub(crate) fn marks(&self, snapshot: &SnapshotInfo) -> Vec<VerifiedMark> {
        let marks = self.marks.of_tree(snapshot.tree, &self.sinks);
        marks.into_iter().map(VerifiedMark::from).collect()
    }

    /// At which depths a snapshot was verified, in the order of [`Depth::ALL`].
    pub(crate) fn depths(&self, snapshot: &SnapshotInfo) -> [bool; Depth::ALL.len()] {
        let marks = self.marks.of_tree(snapshot.tree, &self.sinks);
        Depth::ALL.map(|depth| marks.iter().any(|mark| mark.depth == depth))
    }

    /// Records that say nothing of `snapshots`, all that there are, that others don't say.
    pub(crate) fn superseded(&self, snapshots: &[SnapshotInfo]) -> Vec<ObjectId> {
        let trees: BTreeSet<ObjectId> = snapshots.iter().map(|snapshot| snapshot.tree).collect();
        self.marks.superseded(&trees)
    }
}

/// What was found of snapshots, by their roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdicts {
    pub(crate) depth: Depth,
    /// When looking began.
    pub(crate) began: Timestamp,
    pub(crate) sound: Vec<ObjectId>,
    pub(crate) damaged: Vec<ObjectId>,
}

/// Keeps what was found by reading the sink called `sink` in the vault of `config`, on its first sink; `read` is the vault on the one that was read. Returns why it could not be
/// kept, an interruption among the reasons: what was verified is as good as it was.
pub(crate) async fn record(
    operation: &Operation,
    config: &config::Vault,
    (sink, read): (&str, &Vault),
    found: Vec<Verdicts>,
) -> Option<String> {
    let recording = record_all(operation, config, (sink, read), found);
    match operation.until_interrupted(None, recording).await {
        Ok(recorded) => recorded.err().map(|failure| failure.to_string()),
        Err(interrupted) => Some(interrupted.to_string()),
    }
}

async fn record_all(
    operation: &Operation,
    config: &config::Vault,
    (sink, read): (&str, &Vault),
    found: Vec<Verdicts>,
) -> Result<(), Failure> {
    let explain = |error: AccessError| error.explain();
    let first = match config.sinks.first() {
        Some(first) if first == sink => read.clone(),
        _ => {
            let sinks = operation.sinks(config).await.map_err(|error| explain(error.into()))?;
            operation.open(config, &sinks).await.map_err(explain)?
        }
    };
    for verdicts in found {
        if verdicts.sound.is_empty() && verdicts.damaged.is_empty() {
            continue;
        }
        let verification = Verification {
            repository: first.id().to_owned(),
            sink: sink.to_owned(),
            depth: verdicts.depth,
            began: verdicts.began,
            sound: verdicts.sound,
            damaged: verdicts.damaged,
        };
        let recorded = first.record_verification(verification, &operation.host.name).await;
        recorded.map_err(|error| Failure::of_vault(class_of_write(&error), &error, error.hint()).at(&vault_site(config)))?;
    }
    Ok(())
}
