//! What can be reached from each base backup of a log: [`verify_log`].

use bulkhead_config::Pipeline;
use bulkhead_model::Severity;
use serde::Serialize;

use super::{Reach, RecoveryError, RecoveryOptions, RecoveryRange, RecoveryTarget, Stated, TargetAction, range, read_log};
use crate::{
    browse,
    failure::Explain as _,
    operation::Operation,
    verify::{SnapshotVerification, SnapshotVerifier},
};

/// The plugin's setting for reading every page of the log.
const SETTING: &str = "pages";

/// A log, and what it is good for.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LogVerification {
    /// What the plugin found in the newest snapshot.
    #[serde(flatten)]
    pub log: SnapshotVerification,
    /// The base backups of the pipelines that name it, oldest first in each; none where the log is damaged, and nothing can be promised.
    pub bases: Vec<BaseReach>,
}

/// What can be reached from a base backup.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BaseReach {
    /// The snapshot of the base backup.
    pub base: String,
    /// Its pipeline.
    pub pipeline: String,
    /// What can be reached; absent where the log does not bring it forward.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<RecoveryRange>,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Reads all of the log that `wal` stores, and says what can be reached with it.
///
/// # Errors
/// See [`RecoveryError`]: when it could not be looked at. What is wrong with it is in the report.
pub async fn verify_log(operation: &Operation, wal: &Pipeline) -> Result<LogVerification, RecoveryError> {
    let failed = |source| RecoveryError::Verify {
        wal: wal.name.clone(),
        source: Box::new(source),
    };
    let mut thorough = wal.clone();
    thorough.config.insert(SETTING.to_owned(), true.into());
    let mut verifier = SnapshotVerifier::open(operation, &thorough).await.map_err(failed)?;
    let log = verifier.verify(operation, "latest").await.map_err(failed)?;
    let is_whole = log.findings.iter().all(|finding| finding.severity != Severity::Error);
    let bases = if is_whole {
        reaches(operation, wal, &log.snapshot).await?
    } else {
        Vec::new()
    };
    Ok(LogVerification { log, bases })
}

async fn reaches(operation: &Operation, wal: &Pipeline, snapshot: &str) -> Result<Vec<BaseReach>, RecoveryError> {
    let log = read_log(operation, wal, snapshot).await?;
    let to_the_end = RecoveryOptions {
        target: RecoveryTarget::Latest,
        timeline: None,
        action: TargetAction::Promote,
        standby: None,
        program: String::new(),
    };
    let mut reaches = Vec::new();
    let naming = |pipeline: &&Pipeline| pipeline.wal.as_deref() == Some(&wal.name);
    for pipeline in operation.config.pipelines.iter().filter(naming) {
        let bases = browse::snapshots(operation, &pipeline.vault, std::slice::from_ref(&pipeline.name)).await?;
        for base in bases.snapshots {
            let stated = Stated::of_base(&base.id, base.proof.as_ref());
            let found = stated.and_then(|stated| Reach::find(&log, stated, &to_the_end));
            reaches.push(BaseReach {
                base: base.id,
                pipeline: pipeline.name.clone(),
                range: found.as_ref().ok().map(|reach| range(&log, reach)),
                error: found.err().map(|error| error.explain().to_string()),
            });
        }
    }
    Ok(reaches)
}
