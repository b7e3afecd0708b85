//! `bulkhead run`

use std::time::Duration;

use bulkhead_config::{Config, Pipeline};
use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::{FailedRun, Operation, RunOptions, RunReport};
use clap::Args;

use crate::{
    commands::{print_findings, print_locks, short},
    error::CommandError,
    exit::Exit,
    output::{Mark, Output, ProgressDisplay, bytes, counted, duration, rate},
    session::{Session, selected_some},
};

/// Take a snapshot
///
/// A snapshot is committed only if the source proves what it sent, everything is stored, and it is what `expect` says. A run that fails leaves none.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead run shop\n  bulkhead run --all\n  bulkhead run shop --full            without building on the last snapshot\n  bulkhead run shop --json | jq .runs[0].snapshot"
)]
pub(crate) struct RunArguments {
    /// Pipelines to run, one after the other; a template's name runs all that it makes
    #[arg(value_name = "PIPELINE", required_unless_present = "all")]
    pipelines: Vec<String>,

    /// Run every pipeline of the configuration
    #[arg(long, conflicts_with = "pipelines")]
    all: bool,

    /// Let the source send everything, whatever the last snapshot has
    #[arg(long)]
    full: bool,

    /// Commit even if the snapshot is much smaller than the last one
    #[arg(long)]
    accept_small: bool,
}

pub(crate) async fn run(arguments: &RunArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let pipelines = selected_some(&config, &arguments.pipelines)?;
    let operation = session.operation(&config)?;
    let options = RunOptions {
        full: arguments.full,
        accept_small: arguments.accept_small,
        leave_locks: false,
    };
    let mut exit = Exit::Ok;
    let mut documents = Vec::new();
    for pipeline in pipelines {
        if session.cancellation.is_cancelled() {
            exit = exit.and(Exit::Cancelled);
            let error = CommandError::not_begun(&format!("`{}` was not run", pipeline.name));
            documents.push(failed_document(&error, pipeline, Vec::new(), false));
            if !session.output.is_json() {
                session.output.complain(&error);
            }
            continue;
        }
        match run_one(&operation.child(), pipeline, options, session).await {
            Ok(report) => {
                exit = exit.and(if report.is_everywhere() { Exit::Ok } else { Exit::Replica });
                exit = exit.and(if report.is_in_order() { Exit::Ok } else { Exit::Findings });
                documents.push(serde_json::to_value(&report).unwrap_or_default());
                if !session.output.is_json() {
                    print(&report, &config, pipeline, &session.output);
                }
            }
            Err(failed) => {
                let error = CommandError::operation(&failed, &config);
                exit = exit.and(error.exit());
                documents.push(failed_document(&error, pipeline, failed.committed.clone(), failed.unsure));
                if !session.output.is_json() {
                    session.output.complain(&error);
                    session.output.warn(&what_is_safe(&failed, &pipeline.name));
                }
            }
        }
    }
    if session.output.is_json() {
        session.output.document("run", &serde_json::json!({ "runs": documents }));
    }
    Ok(exit)
}

fn failed_document(error: &CommandError, pipeline: &Pipeline, committed: Vec<String>, unsure: bool) -> serde_json::Value {
    let mut document = error.to_json();
    document["pipeline"] = pipeline.name.clone().into();
    document["committed"] = committed.into();
    document["commit-unknown"] = unsure.into();
    document
}

/// What a failed run leaves in the vault.
fn what_is_safe(failed: &FailedRun, pipeline: &str) -> String {
    let committed: Vec<&str> = failed.committed.iter().map(|id| short(id)).collect();
    let before = match committed[..] {
        [] => String::new(),
        [one] => format!("; snapshot {one} was committed before"),
        _ => format!(
            "; {} snapshots were committed before, the last is {}",
            committed.len(),
            committed[committed.len() - 1]
        ),
    };
    if failed.unsure {
        format!("{pipeline} was cut off while it committed: `bulkhead snapshots {pipeline}` says whether the snapshot is there{before}")
    } else if committed.is_empty() {
        format!("{pipeline} failed: no snapshot was committed")
    } else {
        format!("{pipeline} failed{before}")
    }
}

async fn run_one(operation: &Operation, pipeline: &Pipeline, options: RunOptions, session: &Session) -> Result<RunReport, FailedRun> {
    let display = ProgressDisplay::start(&session.output, &pipeline.name, &operation.progress);
    let result = pipeline::run(operation, pipeline, options).await;
    drop(display);
    result
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn print(report: &RunReport, config: &Config, pipeline: &Pipeline, output: &Output) {
    let elapsed = Duration::from_secs_f64(report.seconds);
    let speed = rate(report.bytes as f64 / report.seconds.max(0.001));
    output.line(&format!(
        "{} {}  snapshot {}  {}, {}, {} new ({} stored), in {} ({speed})",
        output.mark(Mark::Good, "saved"),
        output.mark(Mark::Strong, &report.pipeline),
        short(&report.snapshot),
        counted(report.entries, "entry", "entries"),
        bytes(report.bytes),
        bytes(report.added_bytes),
        bytes(report.stored_bytes),
        duration(elapsed),
    ));
    for fact in &report.proof.facts {
        output.line(&output.mark(Mark::Faint, &format!("      {}: {}", fact.name, fact.value)));
    }
    print_findings(&report.findings, Some(&pipeline::pipeline_site(pipeline)), config, output);
    for replica in &report.replicas {
        match &replica.error {
            None => output.line(&format!(
                "      copied to {}: {}, {}",
                replica.sink,
                counted(replica.objects, "object", "objects"),
                bytes(replica.bytes)
            )),
            Some(error) => {
                let hint = replica.hint.as_ref().map(|hint| format!("\n  help: {hint}")).unwrap_or_default();
                output.warn(&format!("error: the sink {} is not up to date: {error}{hint}\n  the snapshot is safe on the first sink; the next run tries again", replica.sink));
            }
        }
    }
    print_locks(&report.locks, output);
}
