//! `bulkhead wal-push`: a file of the log that a server hands over is in the vault before the server hears that it is ([`push_log`]).
//!
//! PostgreSQL asks about one file after the other, and goes on with the next when it hears that one is archived. So whatever else is ready (`archive_status` says
//! it) goes into the same snapshot, and is found there when it is asked about. It may ask twice, after a crash: the same content is archived already, and another one
//! of the same name is another server's.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use bulkhead_config::Pipeline;
use bulkhead_model::Finding;
use bulkhead_vault::ResolveError;
use serde::Serialize;

use crate::{
    access::Opened,
    browse::{Content, OpenSnapshot, SnapshotError, snapshot_in},
    clock,
    failure::{Explain, Failure, FailureClass, Site},
    host::pipeline_site,
    operation::Operation,
    recovery::{LogPart, fetch_log, is_log_file},
    run::{FailedRun, RunOptions, run_in},
};

/// The grant for the server's `pg_wal`.
const GRANT: &str = "log";

/// The plugin's setting for the files that it is to store.
const SETTING: &str = "push";

/// Files in one snapshot: a GiB of segments by default. What is behind that waits for its turn.
const MOST: usize = 64;

/// One read.
const READ_SIZE: usize = 1 << 20;

/// A file that is archived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PushReport {
    /// The pipeline that stores the log.
    pub pipeline: String,
    /// The file.
    pub file: String,
    /// The snapshot that has it: a new one, unless it was stored before.
    pub snapshot: String,
    /// What was stored now, the file among it; nothing where it was stored before.
    pub stored: Vec<String>,
    /// Whether all sinks of the vault have it; absent where it was stored before, and they were not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub everywhere: Option<bool>,
    /// What went right, but not without remark.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// Why a file is not archived.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// It has no name that PostgreSQL gives.
    #[error("`{0}` is no file of a write-ahead log")]
    NotALog(String),
    /// It lies elsewhere than the pipeline may read.
    #[error("{} is not in the folder that `directory.log` grants", path.display())]
    Elsewhere {
        /// The file.
        path: PathBuf,
        /// The pipeline's table.
        site: Site,
    },
    /// It can't be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is another one of the same name.
    #[error("the snapshot {snapshot} has another `{name}`")]
    Different {
        /// The file's name.
        name: String,
        /// The snapshot.
        snapshot: String,
    },
    /// The last snapshot is of a later time: one that is taken now would not be the newest, and the one after it would not have what it has.
    #[error("the snapshot {snapshot} was taken at {time}, which is still to come by this host's clock")]
    Clock {
        /// The snapshot.
        snapshot: String,
        /// Its time, RFC 3339.
        time: String,
    },
    /// The last snapshot has no log that could go on.
    #[error("the snapshot {snapshot} of `{pipeline}` has no log that could be carried forward")]
    NoLog {
        /// The snapshot.
        snapshot: String,
        /// The pipeline.
        pipeline: String,
        /// Its table.
        site: Site,
    },
    /// What is stored can't be looked at.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// It could not be stored.
    #[error(transparent)]
    Run(Box<FailedRun>),
}

impl Explain for PushError {
    fn explain(&self) -> Failure {
        let failure = |class| Failure::new(class, self);
        match self {
            Self::NotALog(_) => failure(FailureClass::Config).hint("archive_command has the path: `bulkhead wal-push PIPELINE %p`"),
            Self::Elsewhere { site, .. } => failure(FailureClass::Config)
                .at(site)
                .setting("directory.log")
                .hint("grant the server's own folder: `directory.log = { path = \"/var/lib/postgresql/15/main/pg_wal\", access = \"read-only\" }`"),
            Self::Read { .. } => failure(FailureClass::NotFound).hint("it runs as the server's user, in its data directory"),
            Self::Different { .. } => {
                failure(FailureClass::Conflict).hint("two servers archive into one pipeline: give each its own; nothing was overwritten")
            }
            Self::Clock { .. } => failure(FailureClass::Conflict)
                .hint("set the clock right; the server asks again, and nothing is lost meanwhile"),
            Self::NoLog { pipeline, site, snapshot } => failure(FailureClass::Damaged).at(site).hint(format!(
                "`bulkhead verify {pipeline}` tells; where nothing else helps, `bulkhead forget {pipeline} --snapshot {snapshot}` lets the one before it be the last"
            )),
            Self::Snapshot(error) => error.explain(),
            Self::Run(error) => error.explain(),
        }
    }
}

/// Stores the file at `path`, as `archive_command` has it, in the log of `pipeline`. When this returns it is durable on the vault's first sink.
///
/// # Errors
/// See [`PushError`]: the file is not archived, or nobody knows.
pub async fn push_log(operation: &Operation, pipeline: &Pipeline, path: &Path) -> Result<PushReport, PushError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !is_log_file(&name) {
        return Err(PushError::NotALog(name));
    }
    let folder = granted(pipeline, path)?;
    let open = open_with_last(operation, pipeline);
    let (opened, last) = operation.until_interrupted(None, open).await.map_err(SnapshotError::from)??;
    if let Some(last) = &last {
        carries_on(pipeline, last).await?;
        if let Some(stored) = fetch_log(last, &name, LogPart::Whole).await? {
            return stored_before(pipeline, path, name, last, stored).await;
        }
    }
    let files = with_others(&folder, name.clone(), last.as_ref()).await?;
    match store(operation, pipeline, &opened, &name, files.clone()).await {
        // One of the others may be what can't be stored, and must not keep this one back.
        Err(error) if files.len() > 1 && !matches!(error.explain().class, FailureClass::Cancelled) => {
            tracing::warn!(
                "storing {name} with others that are ready failed, it is stored alone: {}",
                error.explain()
            );
            store(operation, pipeline, &opened, &name, vec![name.clone()]).await
        }
        stored => stored,
    }
}

/// The vault, and the pipeline's last snapshot. Of the first sink only: what another one has is not durable there.
async fn open_with_last(operation: &Operation, pipeline: &Pipeline) -> Result<(Opened, Option<OpenSnapshot>), SnapshotError> {
    let opened = operation.open_with_sinks(operation.vault_named(&pipeline.vault)?).await?;
    match snapshot_in(operation, &opened.vault, Some(&pipeline.name), "latest").await {
        Ok(last) => Ok((opened, Some(last))),
        Err(error) if is_none_yet(&error) => Ok((opened, None)),
        Err(error) => Err(error),
    }
}

async fn store(
    operation: &Operation,
    pipeline: &Pipeline,
    opened: &Opened,
    name: &str,
    files: Vec<String>,
) -> Result<PushReport, PushError> {
    let mut handed = pipeline.clone();
    handed.config.insert(SETTING.to_owned(), files.clone().into());
    let options = RunOptions {
        leave_locks: true,
        ..RunOptions::default()
    };
    let report = run_in(operation, &handed, options, Some(opened.clone()))
        .await
        .map_err(|error| PushError::Run(Box::new(error)))?;
    Ok(PushReport {
        pipeline: pipeline.name.clone(),
        file: name.to_owned(),
        everywhere: Some(report.is_everywhere()),
        snapshot: report.snapshot,
        stored: files,
        findings: report.findings,
    })
}

/// Whether there is no such snapshot. That snapshots can't be read is another thing.
pub(crate) fn is_none_yet(error: &SnapshotError) -> bool {
    matches!(error, SnapshotError::Resolve(error) if matches!(**error, ResolveError::Empty { .. } | ResolveError::NotFound { .. }))
}

/// Sees that the next snapshot will have all that `last` has: it is the newest by this host's clock, and its record can be read.
async fn carries_on(pipeline: &Pipeline, last: &OpenSnapshot) -> Result<(), PushError> {
    let info = last.reader().info();
    if info.time > clock::now() {
        return Err(PushError::Clock {
            snapshot: last.id(),
            time: clock::rfc3339(info.time),
        });
    }
    match last.reader().record().await.map_err(SnapshotError::from)? {
        Some(record) if record.checkpoint.is_some() => Ok(()),
        _ => Err(PushError::NoLog {
            snapshot: last.id(),
            pipeline: pipeline.name.clone(),
            site: pipeline_site(pipeline),
        }),
    }
}

/// The folder of the file, which must be the one that the pipeline may read.
fn granted(pipeline: &Pipeline, path: &Path) -> Result<PathBuf, PushError> {
    let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let folder = fs::canonicalize(parent).map_err(|source| PushError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut grants = pipeline.grants.directories.iter().filter(|directory| directory.name == GRANT);
    let is_granted = grants.any(|directory| fs::canonicalize(&directory.path).is_ok_and(|granted| granted == folder));
    if is_granted {
        return Ok(folder);
    }
    Err(PushError::Elsewhere {
        path: path.to_owned(),
        site: pipeline_site(pipeline),
    })
}

async fn stored_before(
    pipeline: &Pipeline,
    path: &Path,
    name: String,
    last: &OpenSnapshot,
    stored: Content,
) -> Result<PushReport, PushError> {
    let snapshot = last.id();
    if !is_same(stored, path).await? {
        return Err(PushError::Different { name, snapshot });
    }
    Ok(PushReport {
        pipeline: pipeline.name.clone(),
        file: name,
        snapshot,
        stored: Vec::new(),
        everywhere: None,
        findings: Vec::new(),
    })
}

async fn is_same(mut stored: Content, path: &Path) -> Result<bool, PushError> {
    let unreadable = |source| PushError::Read {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.len() != stored.size() {
        return Ok(false);
    }
    while let Some(part) = stored.read(READ_SIZE).await? {
        let mut own = vec![0; part.len()];
        file.read_exact(&mut own).map_err(unreadable)?;
        if own != part {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The file called `name`, and others that are ready and not stored yet, in their order.
async fn with_others(folder: &Path, name: String, last: Option<&OpenSnapshot>) -> Result<Vec<String>, PushError> {
    let mut files = BTreeSet::from([name]);
    for ready in ready(folder) {
        if files.len() == MOST {
            break;
        }
        let is_stored = match last {
            Some(last) => fetch_log(last, &ready, LogPart::Whole).await?.is_some(),
            None => false,
        };
        if !is_stored && folder.join(&ready).is_file() {
            files.insert(ready);
        }
    }
    Ok(files.into_iter().collect())
}

/// What the server wants to have archived; where that can't be told, it will ask.
fn ready(folder: &Path) -> BTreeSet<String> {
    let listed = fs::read_dir(folder.join("archive_status")).into_iter().flatten().flatten();
    listed
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".ready").map(str::to_owned))
        .filter(|name| is_log_file(name))
        .collect()
}
