//! `bulkhead check`

use bulkhead_model::Severity;
use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::CheckedPart;
use clap::Args;

use crate::{
    commands::print_findings,
    error::CommandError,
    exit::Exit,
    output::{Mark, ProgressDisplay, counted},
    session::{Session, selected_some},
};

/// Try everything that a run needs, without running
///
/// Connects, authenticates and reads a little: sinks, vaults and sources. Nothing is changed. What is found is shown at the line of the configuration to
/// change.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead check                every pipeline\n  bulkhead check shop\n  bulkhead check --json | jq '.parts[] | select(.findings != [])'"
)]
pub(crate) struct CheckArguments {
    /// Pipelines to check, with their vaults and sinks; all of them by default
    #[arg(value_name = "PIPELINE")]
    pipelines: Vec<String>,
}

pub(crate) async fn check(arguments: &CheckArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let pipelines = selected_some(&config, &arguments.pipelines)?;
    let operation = session.operation(&config)?;
    let display = ProgressDisplay::start(&session.output, "check", &operation.progress);
    let report = pipeline::check(&operation, &pipelines).await;
    drop(display);
    let Ok(report) = report else {
        return Err(CommandError::interrupted());
    };
    let exit = if report.has_errors() { Exit::Findings } else { Exit::Ok };
    if session.output.is_json() {
        session.output.document("check", &report);
        return Ok(exit);
    }
    for part in &report.parts {
        session.output.line(&summary(part, session));
        print_findings(&part.findings, Some(&part.site), &config, &session.output);
    }
    let (errors, warnings) = (report.count(Severity::Error), report.count(Severity::Warning));
    if errors + warnings > 0 {
        session.output.note(&format!(
            "{}, {}",
            counted(errors as u64, "error", "errors"),
            counted(warnings as u64, "warning", "warnings")
        ));
    }
    Ok(exit)
}

fn summary(part: &CheckedPart, session: &Session) -> String {
    let worst = part.findings.iter().map(|finding| finding.severity).max();
    let (mark, word) = match worst {
        None | Some(Severity::Info) => (Mark::Good, "ok   "),
        Some(Severity::Warning) => (Mark::Warning, "warn "),
        Some(Severity::Error) => (Mark::Bad, "fail "),
    };
    format!("{}  {}", session.output.mark(mark, word), part.table)
}
