//! `bulkhead copy`

use bulkhead_config::Config;
use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::{CopiedSnapshot, CopyReport};
use clap::Args;

use crate::{
    commands::{Several, print_locks, short, vaults_named},
    error::CommandError,
    exit::Exit,
    output::{Align, Mark, Output, ProgressDisplay, Table, bytes, counted, local_time},
    session::Session,
};

/// Feed vaults from others, as their `copy` says
///
/// Copies the snapshots that `copy.select` chooses and that are not there yet, encrypted with the other vault's own key; what it has already of their
/// content is not copied. Removes nothing. A copy that was cut off goes on from where it was. Runs may be at work in both vaults meanwhile.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead copy                     every vault that has a `copy`; for a timer\n  bulkhead copy cold --dry-run      what it lacks\n  bulkhead forget --vault cold      what the vault's own `retention` doesn't keep"
)]
pub(crate) struct CopyArguments {
    /// Vaults to feed; by default all that are fed from others
    #[arg(value_name = "VAULT")]
    vaults: Vec<String>,

    /// Show what would be copied and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn copy(arguments: &CopyArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let vaults = chosen(arguments, &config)?;
    let operation = session.operation(&config)?;
    let mut several = Several::new(session, &config);
    for vault in &vaults {
        let Some(operation) = several.begin(&operation, vault) else {
            continue;
        };
        let display = ProgressDisplay::start(&session.output, vault, &operation.progress);
        let copied = pipeline::copy(&operation, vault, arguments.dry_run).await;
        drop(display);
        match copied {
            Ok(report) => {
                print(&report, &session.output);
                if !report.is_complete() {
                    several.exit = several.exit.and(Exit::Damaged);
                }
                if !report.is_locked() {
                    several.exit = several.exit.and(Exit::Findings);
                }
                several.done(&report, report.replicas.iter().all(|replica| replica.error.is_none()));
            }
            Err(error) => several.explained(&error, vault),
        }
    }
    Ok(several.end("copy"))
}

/// The vaults to feed, each behind the one that it is fed from where that is fed, too.
fn chosen(arguments: &CopyArguments, config: &Config) -> Result<Vec<String>, CommandError> {
    let mut vaults = vaults_named(config, &arguments.vaults)?;
    if arguments.vaults.is_empty() {
        vaults.retain(|vault| !config.feeders(vault).is_empty());
        if vaults.is_empty() {
            return Err(CommandError::usage(
                "no vault of the configuration is fed from another one",
                "say what a vault gets: `copy = { from = \"VAULT\" }`",
            ));
        }
    }
    vaults.sort_by_key(|vault| config.feeders(vault).len());
    Ok(vaults)
}

fn print(report: &CopyReport, output: &Output) {
    if output.is_json() {
        return;
    }
    let mut table = Table::new(&[
        ("SNAPSHOT", Align::Left),
        ("TIME (UTC)", Align::Left),
        ("PIPELINE", Align::Left),
        ("COPY", Align::Left),
    ]);
    for snapshot in &report.snapshots {
        table.row([
            short(&snapshot.id).to_owned(),
            local_time(&snapshot.time),
            snapshot.pipeline.clone().unwrap_or_else(|| "-".to_owned()),
            fate(snapshot, output),
        ]);
    }
    if !report.snapshots.is_empty() {
        table.print(output);
    }
    for snapshot in &report.snapshots {
        if let Some(error) = &snapshot.error {
            warn(&snapshot.id, error, snapshot.hint.as_deref(), output);
        }
    }
    for snapshot in &report.unreadable {
        warn(&snapshot.id, &snapshot.error, None, output);
    }
    let copied = report.snapshots.iter().filter(|snapshot| snapshot.copy.is_some()).count() as u64;
    let rest = format!("{} there already, {} not chosen", report.present, report.left_out);
    if report.done {
        output.line(&format!(
            "{} {} from vault {} to {}, {} ({} stored); {rest}",
            output.mark(Mark::Good, "copied"),
            counted(copied, "snapshot", "snapshots"),
            report.from,
            report.vault,
            bytes(report.bytes),
            bytes(report.stored_bytes)
        ));
    } else {
        let missing = counted(report.snapshots.len() as u64, "snapshot", "snapshots");
        output.line(&format!("vault {}: {missing} to copy from {}; {rest}", report.vault, report.from));
    }
    for replica in &report.replicas {
        if let Some(error) = &replica.error {
            let hint = replica.hint.as_ref().map(|hint| format!("\n  help: {hint}")).unwrap_or_default();
            output.warn(&format!("error: the sink {} is not up to date: {error}{hint}", replica.sink));
        }
    }
    print_locks(&report.locks, output);
}

fn fate(snapshot: &CopiedSnapshot, output: &Output) -> String {
    match (&snapshot.copy, &snapshot.error) {
        (Some(copy), _) => short(copy).to_owned(),
        (None, Some(_)) => output.mark(Mark::Bad, "not copied"),
        (None, None) => "to be copied".to_owned(),
    }
}

fn warn(id: &str, error: &str, hint: Option<&str>, output: &Output) {
    let hint = hint.map(|hint| format!("\n  help: {hint}")).unwrap_or_default();
    output.warn(&format!("error: the snapshot {} was not copied: {error}{hint}", short(id)));
}
