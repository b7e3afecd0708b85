//! The commands: one file each, with its arguments, what it does and what it prints.

pub(crate) mod auth;
pub(crate) mod browse;
pub(crate) mod check;
mod chosen;
pub(crate) mod completions;
pub(crate) mod copy;
pub(crate) mod diff;
pub(crate) mod dump;
pub(crate) mod extend_locks;
pub(crate) mod find;
pub(crate) mod forget;
pub(crate) mod hold;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod mount;
pub(crate) mod plan;
pub(crate) mod plugin;
pub(crate) mod prune;
pub(crate) mod repair;
pub(crate) mod restore;
pub(crate) mod run;
pub(crate) mod snapshots;
pub(crate) mod stats;
pub(crate) mod status;
mod stored;
pub(crate) mod tag;
mod touched;
pub(crate) mod unlock;
pub(crate) mod verify;
pub(crate) mod wal_fetch;
pub(crate) mod wal_push;
pub(crate) mod wal_verify;

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, sync::Arc};

use bulkhead_config::{Config, DiagnosticLevel};
use bulkhead_model::{EntryPath, Finding, Severity};
use bulkhead_pipeline::{Explain, Failure, FailureClass, LockReport, Operation, SinkOutcome, Site, VerifiedMark};

use crate::{
    arguments::Command,
    error::{CommandError, render_failure},
    exit::Exit,
    output::{Output, ProgressDisplay, counted, local_time},
    session::{Session, unknown},
};

/// Carries out `command`.
pub(crate) async fn dispatch(command: Command, session: &Session) -> Result<Exit, CommandError> {
    match command {
        Command::Init(arguments) => init::init(&arguments, session).await,
        Command::Check(arguments) => check::check(&arguments, session).await,
        Command::Plan(arguments) => plan::plan(&arguments, session),
        Command::Run(arguments) => run::run(&arguments, session).await,
        Command::Status(arguments) => status::status(&arguments, session).await,
        Command::Snapshots(arguments) => snapshots::snapshots(&arguments, session).await,
        Command::Find(arguments) => find::find(&arguments, session).await,
        Command::Diff(arguments) => diff::diff(&arguments, session).await,
        Command::Stats(arguments) => stats::stats(&arguments, session).await,
        Command::Ls(arguments) => ls::ls(&arguments, session).await,
        Command::Browse(arguments) => browse::browse(&arguments, session).await,
        Command::Dump(arguments) => dump::dump(&arguments, session).await,
        Command::Restore(arguments) => restore::restore(&arguments, session).await,
        Command::WalFetch(arguments) => wal_fetch::wal_fetch(&arguments, session).await,
        Command::WalPush(arguments) => wal_push::wal_push(&arguments, session).await,
        Command::WalVerify(arguments) => wal_verify::wal_verify(&arguments, session).await,
        Command::Mount(arguments) => mount::mount(&arguments, session).await,
        Command::Verify(arguments) => verify::verify(&arguments, session).await,
        Command::Copy(arguments) => copy::copy(&arguments, session).await,
        Command::Forget(arguments) => forget::forget(&arguments, session).await,
        Command::Prune(arguments) => prune::prune(&arguments, session).await,
        Command::Tag(arguments) => tag::tag(&arguments, session).await,
        Command::Hold(command) => hold::hold(&command, session).await,
        Command::Repair(command) => repair::repair(&command, session).await,
        Command::ExtendLocks(arguments) => extend_locks::extend_locks(&arguments, session).await,
        Command::Unlock(arguments) => unlock::unlock(&arguments, session).await,
        Command::Key(command) => key::key(&command, session).await,
        Command::Auth(command) => auth::auth(&command, session).await,
        Command::Plugin(command) => plugin::plugin(&command, session).await,
        Command::Man(arguments) => man::man(&arguments, session),
        Command::Completions(arguments) => Ok(completions::completions(&arguments, session)),
    }
}

/// A path of an entry as it was typed; a leading `/` is what `ls` in a shell would have.
fn entry_path(typed: &OsStr) -> Result<EntryPath, CommandError> {
    let bytes = typed.as_bytes();
    let bytes = bytes.strip_prefix(b"/").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"/").unwrap_or(bytes);
    EntryPath::new(bytes).map_err(|error| CommandError::usage(error.to_string(), "paths are those that `bulkhead ls` prints"))
}

/// When a snapshot was last verified, and how deeply.
fn last_verified(marks: &[VerifiedMark]) -> String {
    // Of those of one time the deepest.
    let last = marks.iter().max_by_key(|mark| mark.seconds);
    last.map_or_else(|| "-".to_owned(), |mark| format!("{} {}", local_time(&mark.time), mark.depth))
}

/// The first digits of an id: enough for people.
fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// Whether a plan that was shown is to be carried out: said beforehand, or asked for now. Fails where nobody can be asked.
async fn agreed(yes: bool, question: &str, session: &Session) -> Result<bool, CommandError> {
    if yes {
        return Ok(true);
    }
    if !session.output.can_ask() {
        return Err(CommandError::usage(
            "this needs a yes, and there is nobody to ask",
            "`--yes` says it beforehand; where there is a plan, `--dry-run` only shows it",
        ));
    }
    let (output, question) = (session.output.clone(), question.to_owned());
    let answer = tokio::task::spawn_blocking(move || output.ask(&question));
    tokio::select! {
        biased;
        () = session.cancellation.cancelled() => Err(CommandError::interrupted()),
        answer = answer => Ok(answer.unwrap_or(false)),
    }
}

/// The vaults called `names`, all of the configuration's where there is no name.
fn vaults_named(config: &Config, names: &[String]) -> Result<Vec<String>, CommandError> {
    let known = config.vaults.iter().map(|vault| vault.name.as_str());
    if names.is_empty() {
        return Ok(known.map(str::to_owned).collect());
    }
    match names.iter().find(|name| config.vault(name).is_none()) {
        Some(name) => Err(unknown("vault", name, known)),
        None => Ok(names.to_vec()),
    }
}

/// What became of several vaults, one after the other.
struct Several<'s> {
    session: &'s Session,
    config: &'s Arc<Config>,
    exit: Exit,
    documents: Vec<serde_json::Value>,
}

impl<'s> Several<'s> {
    fn new(session: &'s Session, config: &'s Arc<Config>) -> Self {
        Self {
            session,
            config,
            exit: Exit::Ok,
            documents: Vec::new(),
        }
    }

    /// Begins with `vault`: the operation for it. `None` where an interruption keeps it from being begun with; that is told.
    fn begin(&mut self, operation: &Operation, vault: &str) -> Option<Operation> {
        if self.session.cancellation.is_cancelled() {
            let error = CommandError::not_begun(&format!("nothing was done with the vault `{vault}`"));
            self.failed(&error, vault);
            return None;
        }
        Some(operation.child())
    }

    /// The result of `work` on `vault`, shown while it goes on. `None` where it fails; that is told.
    async fn attempt<T, E: Explain>(&mut self, operation: &Operation, vault: &str, work: impl Future<Output = Result<T, E>>) -> Option<T> {
        let display = ProgressDisplay::start(&self.session.output, vault, &operation.progress);
        let ended = work.await;
        drop(display);
        ended.map_err(|error| self.explained(&error, vault)).ok()
    }

    /// Tells of a failure, and goes on.
    fn failed(&mut self, error: &CommandError, vault: &str) {
        self.exit = self.exit.and(error.exit());
        if !self.session.output.is_json() {
            self.session.output.complain(error);
        }
        self.documents.push(error.to_json_of(vault));
    }

    fn explained(&mut self, error: &dyn Explain, vault: &str) {
        self.failed(&CommandError::operation(error, self.config), vault);
    }

    /// A result for the document, and whether it holds on all sinks.
    fn done(&mut self, report: &impl serde::Serialize, is_everywhere: bool) {
        self.documents.push(serde_json::to_value(report).unwrap_or_default());
        if !is_everywhere {
            self.exit = self.exit.and(Exit::Replica);
        }
    }

    /// Prints the document.
    fn end(self, kind: &str) -> Exit {
        if self.session.output.is_json() {
            self.session.output.document(kind, &serde_json::json!({ "vaults": self.documents }));
        }
        self.exit
    }
}

/// Prints what became of sinks.
fn print_sinks(sinks: &[SinkOutcome], done: &str, one: &str, many: &str, output: &Output) {
    for sink in sinks.iter().filter(|sink| sink.error.is_none()) {
        output.line(&format!("{done} on sink {}: {}", sink.sink, counted(sink.removed, one, many)));
    }
    print_failed_sinks(sinks, output);
}

/// Prints which sinks are not where the first one is.
fn print_failed_sinks(sinks: &[SinkOutcome], output: &Output) {
    for sink in sinks {
        if let Some(error) = &sink.error {
            let hint = sink.hint.as_ref().map(|hint| format!("\n  help: {hint}")).unwrap_or_default();
            output.warn(&format!(
                "error: the sink {} is not where the first one is: {error}{hint}",
                sink.sink
            ));
        }
    }
}

/// Prints what became of locks: nothing where there was nothing to be done.
fn print_locks(locks: &[LockReport], output: &Output) {
    for lock in locks {
        match &lock.error {
            None if lock.objects == 0 => {}
            None => output.line(&format!(
                "      {} on {} locked until {} at least",
                counted(lock.objects, "object", "objects"),
                lock.sink,
                local_time(&lock.until)
            )),
            Some(error) => {
                let hint = lock.hint.as_ref().map(|hint| format!("\n  help: {hint}")).unwrap_or_default();
                output.warn(&format!("error: not all of what is on the sink {} is locked for as long as it should be: {error}{hint}\n  the next run tries again", lock.sink));
            }
        }
    }
}

/// Prints findings to stderr (errors even with `--quiet`), each with the line of the TOML that it is about.
fn print_findings(findings: &[Finding], site: Option<&Site>, config: &Config, output: &Output) {
    for finding in findings {
        let failure = Failure {
            class: FailureClass::Findings,
            message: finding.message.clone(),
            causes: Vec::new(),
            hint: finding.hint.clone(),
            site: site.cloned(),
            setting: finding.setting.clone(),
            retryable: false,
        };
        let level = match finding.severity {
            Severity::Info => DiagnosticLevel::Info,
            Severity::Warning => DiagnosticLevel::Warning,
            Severity::Error => DiagnosticLevel::Error,
        };
        let text = if failure.site.is_some() {
            render_failure(&failure, Some(config), level, output.error_style(), output.width())
        } else {
            let hint = finding.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("{}: {}{hint}", severity_word(finding.severity), finding.message)
        };
        match finding.severity {
            Severity::Error => output.warn(&text),
            Severity::Warning | Severity::Info => output.note(&text),
        }
    }
}

pub(crate) fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}
