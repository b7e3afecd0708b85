//! What the operator has run around the reading of a source: [`Hooks`].
//!
//! For a source that must rest, or be frozen, while it is read: a snapshot of the file system that is made before and removed after. The commands are the operator's own, run as
//! the host runs, without a shell; the plugin knows nothing of them.

use std::{
    io,
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bulkhead_config::Pipeline;

use crate::{
    failure::{Explain, Failure, FailureClass, Site},
    host::pipeline_site,
    secrets::Complaint,
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

/// The commands around the reading of one source. The second is due from the moment that the first begins, whatever comes of it, until it has ended.
pub(crate) struct Hooks<'p> {
    pipeline: &'p Pipeline,
    is_due: AtomicBool,
}

impl<'p> Hooks<'p> {
    pub(crate) fn of(pipeline: &'p Pipeline) -> Self {
        let is_due = AtomicBool::new(false);
        Self { pipeline, is_due }
    }

    /// Runs the command that prepares the source, where there is one. Ends it when dropped.
    pub(crate) async fn before(&self) -> Result<(), HookError> {
        self.is_due.store(true, Ordering::Release);
        run("before", &self.pipeline.hooks.before, self.pipeline).await
    }

    /// Runs the command that puts things in order again, where there is one, and it is due.
    pub(crate) async fn after(&self) -> Result<(), HookError> {
        if !self.is_due.load(Ordering::Acquire) {
            return Ok(());
        }
        let words = &self.pipeline.hooks.after;
        let timed_out = |_| HookError {
            site: Box::new(pipeline_site(self.pipeline)),
            key: "after",
            reason: Reason::TimedOut {
                program: words.first().cloned().unwrap_or_default(),
            },
        };
        let ended = tokio::time::timeout(AFTER, run("after", words, self.pipeline))
            .await
            .map_err(timed_out);
        self.is_due.store(false, Ordering::Release);
        ended?
    }
}

async fn run(key: &'static str, words: &[String], pipeline: &Pipeline) -> Result<(), HookError> {
    let [program, arguments @ ..] = words else { return Ok(()) };
    tracing::info!(program, "running `hooks.{key}`");
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
    let told = child.stderr.take().map(Complaint::listen);
    let status = child.wait().await.map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    Err(Reason::Failed {
        program: program.to_owned(),
        status,
        complaint: match told {
            Some(told) => told.last_line().await,
            None => String::new(),
        },
    })
}
