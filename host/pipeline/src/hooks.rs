//! What the operator has run around a pipeline: [`before`] and [`after`].
//!
//! For a source that must rest, or be frozen, while it is read: a snapshot of the file system that is made before and removed after. The commands are the operator's own, run as
//! the host runs, without a shell; the plugin knows nothing of them.

use std::{
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use bulkhead_config::Pipeline;

use crate::{
    failure::{Explain, Failure, FailureClass, Site},
    host::pipeline_site,
    secrets::{complaint, last_line},
};

/// How long the command after a run may take: it must not keep the next run from beginning.
const AFTER: Duration = Duration::from_secs(10 * 60);

/// Why a command did not do what it is for.
#[derive(Debug, thiserror::Error)]
#[error("the command `hooks.{key}` failed: {reason}")]
pub struct HookError {
    site: Box<Site>,
    key: &'static str,
    reason: Reason,
}

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error("{program} cannot be started: {source}")]
    Start { program: String, source: io::Error },
    #[error("{program} ended with {status}{}", told(.complaint))]
    Failed {
        program: String,
        status: ExitStatus,
        complaint: String,
    },
    #[error("{program} took longer than {} min, and was ended", AFTER.as_secs() / 60)]
    TimedOut { program: String },
}

fn told(complaint: &str) -> String {
    if complaint.is_empty() {
        String::new()
    } else {
        format!(": {complaint}")
    }
}

impl Explain for HookError {
    fn explain(&self) -> Failure {
        Failure::new(FailureClass::Plugin, self)
            .at(&self.site)
            .setting(format!("hooks.{}", self.key))
            .hint("run the command by hand, as the user that Bulkhead runs as")
    }
}

/// Runs the command that prepares the source, where there is one. Ends it when dropped.
pub(crate) async fn before(pipeline: &Pipeline) -> Result<(), HookError> {
    run("before", &pipeline.hooks.before, pipeline).await
}

/// Runs the command that puts things in order again, where there is one.
pub(crate) async fn after(pipeline: &Pipeline) -> Result<(), HookError> {
    let words = &pipeline.hooks.after;
    let timed_out = |_| HookError {
        site: Box::new(pipeline_site(pipeline)),
        key: "after",
        reason: Reason::TimedOut {
            program: words.first().cloned().unwrap_or_default(),
        },
    };
    tokio::time::timeout(AFTER, run("after", words, pipeline))
        .await
        .map_err(timed_out)?
}

async fn run(key: &'static str, words: &[String], pipeline: &Pipeline) -> Result<(), HookError> {
    let [program, arguments @ ..] = words else { return Ok(()) };
    tracing::info!(command = words.join(" "), "running `hooks.{key}`");
    carry_out(program, arguments, &pipeline.name).await.map_err(|reason| HookError {
        site: Box::new(pipeline_site(pipeline)),
        key,
        reason,
    })
}

async fn carry_out(program: &str, arguments: &[String], pipeline: &str) -> Result<(), Reason> {
    let failed = |source| Reason::Start {
        program: program.to_owned(),
        source,
    };
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .env("BULKHEAD_PIPELINE", pipeline)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let complaint = match child.stderr.take() {
        Some(stderr) => complaint(stderr).await.map_err(failed)?,
        None => Vec::new(),
    };
    let status = child.wait().await.map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    Err(Reason::Failed {
        program: program.to_owned(),
        status,
        complaint: last_line(&complaint),
    })
}
