//! The commands: one file each, with its arguments, what it does and what it prints.

pub(crate) mod browse;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod diff;
pub(crate) mod dump;
pub(crate) mod find;
pub(crate) mod init;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod plan;
pub(crate) mod plugin;
pub(crate) mod restore;
pub(crate) mod run;
pub(crate) mod snapshots;
pub(crate) mod stats;
pub(crate) mod verify;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use bulkhead_config::{Config, DiagnosticLevel};
use bulkhead_model::{EntryPath, Finding, Severity};
use bulkhead_pipeline::{Failure, FailureClass, Site};

use crate::{
    arguments::Command,
    error::{CommandError, render_failure},
    exit::Exit,
    output::Output,
    session::Session,
};

/// Carries out `command`.
pub(crate) async fn dispatch(command: Command, session: &Session) -> Result<Exit, CommandError> {
    match command {
        Command::Init(arguments) => init::init(&arguments, session).await,
        Command::Check(arguments) => check::check(&arguments, session).await,
        Command::Plan(arguments) => plan::plan(&arguments, session),
        Command::Run(arguments) => run::run(&arguments, session).await,
        Command::Snapshots(arguments) => snapshots::snapshots(&arguments, session).await,
        Command::Find(arguments) => find::find(&arguments, session).await,
        Command::Diff(arguments) => diff::diff(&arguments, session).await,
        Command::Stats(arguments) => stats::stats(&arguments, session).await,
        Command::Ls(arguments) => ls::ls(&arguments, session).await,
        Command::Browse(arguments) => browse::browse(&arguments, session).await,
        Command::Dump(arguments) => dump::dump(&arguments, session).await,
        Command::Restore(arguments) => restore::restore(&arguments, session).await,
        Command::Verify(arguments) => verify::verify(&arguments, session).await,
        Command::Plugin(command) => plugin::plugin(&command, session).await,
        Command::Man(arguments) => man::man(&arguments, session),
        Command::Completions(arguments) => completions::completions(&arguments, session),
    }
}

/// A path of an entry as it was typed; a leading `/` is what `ls` in a shell would have.
fn entry_path(typed: &OsStr) -> Result<EntryPath, CommandError> {
    let bytes = typed.as_bytes();
    let bytes = bytes.strip_prefix(b"/").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"/").unwrap_or(bytes);
    EntryPath::new(bytes).map_err(|error| CommandError::usage(error.to_string(), "paths are those that `bulkhead ls` prints"))
}

/// The first digits of an id: enough for people.
fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
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

fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}
