//! `bulkhead init`

use std::os::unix::ffi::OsStrExt as _;

use bulkhead_pipeline as pipeline;
use clap::Args;

use crate::{
    commands::short,
    error::CommandError,
    exit::Exit,
    output::{Mark, ProgressDisplay, shown},
    session::{Session, unknown},
};

/// Make vaults on their sinks
///
/// Each vault gets a repository of restic's format, encrypted with a key of its own that its password opens. A sink's folder is made where the one above it is there.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bulkhead init                 all vaults of the configuration\n  bulkhead init databases")]
pub(crate) struct InitArguments {
    /// Vaults to make; all of them by default
    #[arg(value_name = "VAULT")]
    vaults: Vec<String>,
}

pub(crate) async fn init(arguments: &InitArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let names = if arguments.vaults.is_empty() {
        config.vaults.iter().map(|vault| vault.name.clone()).collect()
    } else {
        arguments.vaults.clone()
    };
    if let Some(name) = names.iter().find(|name| config.vault(name).is_none()) {
        return Err(unknown("vault", name, config.vaults.iter().map(|vault| vault.name.as_str())));
    }
    let operation = session.operation(&config)?;
    let mut exit = Exit::Ok;
    let mut documents = Vec::new();
    for name in &names {
        if session.cancellation.is_cancelled() {
            let error = CommandError::not_begun(&format!("the vault `{name}` was not made"));
            exit = exit.and(error.exit());
            documents.push(failed(&error, name, session));
            continue;
        }
        let operation = operation.child();
        let display = ProgressDisplay::start(&session.output, name, &operation.progress);
        let result = pipeline::init(&operation, name).await;
        drop(display);
        match result {
            Ok(report) => {
                if report.replicas.iter().any(|replica| replica.error.is_some()) {
                    exit = exit.and(Exit::Replica);
                }
                print(&report, session);
                documents.push(serde_json::to_value(&report).unwrap_or_default());
            }
            Err(error) => {
                let error = CommandError::operation(&error, &config);
                exit = exit.and(error.exit());
                documents.push(failed(&error, name, session));
            }
        }
    }
    if session.output.is_json() {
        session.output.document("init", &serde_json::json!({ "vaults": documents }));
    }
    Ok(exit)
}

/// Tells of a vault that was not made; the document is for the list.
fn failed(error: &CommandError, vault: &str, session: &Session) -> serde_json::Value {
    if !session.output.is_json() {
        session.output.complain(error);
    }
    error.to_json_of(vault)
}

fn print(report: &pipeline::InitReport, session: &Session) {
    let output = &session.output;
    if output.is_json() {
        return;
    }
    for folder in &report.folders {
        let path = shown(folder.as_os_str().as_bytes());
        output.line(&format!(
            "{} the folder {path}, for this user alone",
            output.mark(Mark::Good, "made")
        ));
    }
    output.line(&format!(
        "{} vault {} on sink {} (repository {})",
        output.mark(Mark::Good, "made"),
        report.vault,
        report.sink,
        short(&report.id)
    ));
    for replica in &report.replicas {
        match &replica.error {
            None => output.line(&format!("     and on sink {}", replica.sink)),
            Some(error) => output.warn(&format!("warning: sink {} is not ready: {error}", replica.sink)),
        }
    }
    output.note("     keep its password in a second place: without it nobody can read what is in it");
}
