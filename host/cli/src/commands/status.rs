//! `bulkhead status`

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bulkhead_config::{Config, Pipeline};
use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::{CopyStatus, Operation, PipelineStatus, SnapshotError, Standing, VaultFigures, VaultStatus, VerifiedSnapshot};
use clap::Args;

use crate::{
    commands::short,
    error::CommandError,
    exit::Exit,
    output::{Align, Mark, Output, ProgressDisplay, Table, counted, duration, local_time, metrics},
    session::{Session, selected_some},
};

/// Show how old the last snapshot of each pipeline is, whether all sinks have it, and what vaults that are fed from others lack
///
/// Ends with 14 where a pipeline has no snapshot, or none as young as its `objectives.rpo` promises; with 15 where a further sink lacks snapshots or can't be asked; with 10 where a snapshot is damaged.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead status\n  bulkhead status --quiet --metrics /var/lib/prometheus/node-exporter/bulkhead.prom\n  bulkhead status shop --json | jq '.pipelines[].last.\"age-seconds\"'"
)]
pub(crate) struct StatusArguments {
    /// Pipelines to look at; all of them by default
    #[arg(value_name = "PIPELINE")]
    pipelines: Vec<String>,

    /// Write figures for Prometheus to this file, too, whole and at once: beside all this what the last snapshots remarked and how old keys are, which takes reading the vault's index
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
}

/// A vault that is fed from another, and how far it is behind, or why that can't be told.
pub(crate) struct AskedCopy<'c> {
    /// The vault that is fed.
    pub(crate) vault: &'c str,
    /// The vault that it is fed from.
    pub(crate) from: &'c str,
    /// What it came to.
    pub(crate) status: Result<CopyStatus, CommandError>,
}

pub(crate) async fn status(arguments: &StatusArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let pipelines = selected_some(&config, &arguments.pipelines)?;
    let vaults: BTreeSet<&str> = pipelines.iter().map(|pipeline| pipeline.vault.as_str()).collect();
    let operation = session.operation(&config)?;
    let (mut found, mut unreadable, mut figures, mut errors, mut exit) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Exit::Ok);
    let mut readable = Vec::new();
    for vault in vaults {
        let own: Vec<&Pipeline> = pipelines.iter().copied().filter(|pipeline| pipeline.vault == vault).collect();
        let operation = operation.child();
        let display = ProgressDisplay::start(&session.output, vault, &operation.progress);
        let status = look(&operation, vault, &own, arguments.metrics.is_some(), &mut figures).await;
        drop(display);
        readable.push((vault, status.is_ok()));
        match status {
            Ok(status) => {
                found.extend(status.pipelines);
                unreadable.extend(status.unreadable);
            }
            Err(error) => {
                let error = CommandError::operation(&error, &config);
                exit = exit.and(error.exit());
                errors.push((vault, error));
            }
        }
    }
    let copies = copies(&operation, &config, &readable, &session.output).await;
    if let Some(file) = &arguments.metrics {
        write_metrics(file, &figures, &copies, &readable)?;
    }
    let (copies, untold_copies): (Vec<_>, Vec<_>) = copies.into_iter().partition(|copy| copy.status.is_ok());
    let copies: Vec<CopyStatus> = copies.into_iter().filter_map(|copy| copy.status.ok()).collect();
    for (vault, error) in untold_copies.into_iter().filter_map(|copy| Some((copy.vault, copy.status.err()?))) {
        exit = exit.and(error.exit());
        errors.push((vault, error));
    }
    let untold: Vec<&String> = figures.iter().flat_map(|figures| &figures.untold).collect();
    for untold in &untold {
        exit = exit.and(Exit::Damaged);
        session.output.warn(&format!("error: cannot tell {untold}"));
    }
    let place = |status: &PipelineStatus| pipelines.iter().position(|pipeline| pipeline.name == status.pipeline);
    found.sort_by_key(place);
    if !unreadable.is_empty() {
        exit = exit.and(Exit::Damaged);
    }
    let exit = found.iter().fold(exit, |exit, status| exit.and(exit_of(status)));
    if session.output.is_json() {
        let errors: Vec<_> = errors.iter().map(|(vault, error)| error.to_json_of(vault)).collect();
        let document =
            serde_json::json!({ "pipelines": found, "copies": copies, "unreadable": unreadable, "untold": untold, "errors": errors });
        session.output.document("status", &document);
        return Ok(exit);
    }
    if !found.is_empty() {
        table(&found).print(&session.output);
        print_troubles(&found, &session.output);
    }
    if !copies.is_empty() {
        session.output.line("");
        table_of_copies(&copies).print(&session.output);
    }
    for snapshot in &unreadable {
        let text = format!(
            "{} in vault {}, which may be the last of one of these: {}",
            short(&snapshot.id),
            snapshot.vault,
            snapshot.error
        );
        warn(&session.output, Mark::Bad, "damaged", &text);
    }
    for (_, error) in &errors {
        session.output.complain(error);
    }
    Ok(exit)
}

/// How far the vaults are behind that are fed from those that were read.
async fn copies<'c>(operation: &Operation, config: &'c Arc<Config>, readable: &[(&str, bool)], output: &Output) -> Vec<AskedCopy<'c>> {
    let is_read = |from: &str| readable.iter().any(|(vault, is_readable)| *is_readable && *vault == from);
    let fed = config.vaults.iter().filter_map(|vault| Some((vault, &vault.copy.as_ref()?.from)));
    let mut copies = Vec::new();
    for (vault, from) in fed.filter(|(_, from)| is_read(from)) {
        let operation = operation.child();
        let display = ProgressDisplay::start(output, &vault.name, &operation.progress);
        let status = pipeline::copy_status(&operation, &vault.name).await;
        drop(display);
        copies.push(AskedCopy {
            vault: &vault.name,
            from,
            status: status.map_err(|error| CommandError::operation(&error, config)),
        });
    }
    copies
}

/// How pipelines stand; with figures, where they are wanted.
async fn look(
    operation: &Operation,
    vault: &str,
    pipelines: &[&Pipeline],
    with_figures: bool,
    figures: &mut Vec<VaultFigures>,
) -> Result<VaultStatus, SnapshotError> {
    if !with_figures {
        return pipeline::status(operation, vault, pipelines).await;
    }
    let found = pipeline::figures(operation, vault, pipelines).await?;
    let status = found.status.clone();
    figures.push(found);
    Ok(status)
}

/// Writes metrics beside the file and moves them into its place, so that nobody reads half of them. Others may read them: whoever collects them is somebody else.
fn write_metrics(file: &Path, figures: &[VaultFigures], copies: &[AskedCopy<'_>], readable: &[(&str, bool)]) -> Result<(), CommandError> {
    let failed = |error: std::io::Error| CommandError::system(&format!("write metrics to {}", file.display()), &error);
    let text = metrics(figures, copies, readable).map_err(|error| failed(std::io::Error::other(error)))?;
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, text).and_then(|()| fs::rename(&beside, file)).map_err(failed)
}

fn exit_of(status: &PipelineStatus) -> Exit {
    match status.standing {
        Standing::None | Standing::Overdue => Exit::Findings,
        Standing::Good if status.is_behind() => Exit::Replica,
        Standing::Good => Exit::Ok,
    }
}

fn table(found: &[PipelineStatus]) -> Table {
    let mut table = Table::new(&[
        ("PIPELINE", Align::Left),
        ("LAST (UTC)", Align::Left),
        ("AGE", Align::Right),
        ("RPO", Align::Right),
        ("SNAPSHOTS", Align::Right),
        ("LAST VERIFIED", Align::Left),
        ("VAULT", Align::Left),
        ("REPLICAS", Align::Left),
        ("SNAPSHOT", Align::Left),
    ]);
    let none = || "-".to_owned();
    for status in found {
        let last = status.last.as_ref();
        table.row([
            status.pipeline.clone(),
            last.map_or_else(none, |last| local_time(&last.time)),
            last.map_or_else(none, |last| age(last.age_seconds)),
            status.rpo_seconds.map_or_else(none, age),
            status.snapshots.to_string(),
            status.last_verified.as_ref().map_or_else(none, verified),
            status.vault.clone(),
            replicas(status),
            last.map_or_else(none, |last| short(&last.id).to_owned()),
        ]);
    }
    table
}

fn table_of_copies(copies: &[CopyStatus]) -> Table {
    let mut table = Table::new(&[
        ("COPY", Align::Left),
        ("OF", Align::Left),
        ("LACKS", Align::Right),
        ("OLDEST (UTC)", Align::Left),
        ("AGE", Align::Right),
    ]);
    for copy in copies {
        let oldest = copy.oldest.as_ref();
        table.row([
            copy.vault.clone(),
            copy.from.clone(),
            copy.behind.to_string(),
            oldest.map_or_else(|| "-".to_owned(), |oldest| local_time(&oldest.time)),
            oldest.map_or_else(|| "-".to_owned(), |oldest| age(oldest.age_seconds)),
        ]);
    }
    table
}

/// How old the snapshot is, and how it was verified.
fn verified(last: &VerifiedSnapshot) -> String {
    let depths: Vec<&str> = last.verified.iter().map(|mark| mark.depth).collect();
    format!("{} old: {}", age(last.snapshot.age_seconds), depths.join(", "))
}

fn age(seconds: u64) -> String {
    match seconds / 86_400 {
        0..2 => duration(Duration::from_secs(seconds)),
        days => format!("{days}d"),
    }
}

fn replicas(status: &PipelineStatus) -> String {
    let shown = status.replicas.iter().map(|replica| match (&replica.error, replica.behind) {
        (Some(_), _) => format!("{} ?", replica.sink),
        (None, 0) => format!("{} ok", replica.sink),
        (None, behind) => format!("{} -{behind}", replica.sink),
    });
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() { "-".to_owned() } else { shown.join(", ") }
}

fn print_troubles(found: &[PipelineStatus], output: &Output) {
    for status in found {
        let name = &status.pipeline;
        match status.standing {
            Standing::None => warn(
                output,
                Mark::Bad,
                "none",
                &format!("{name} has no snapshot: `bulkhead run {name}` takes one"),
            ),
            Standing::Overdue => warn(
                output,
                Mark::Bad,
                "overdue",
                &format!("{name}: its last snapshot is older than its RPO: `bulkhead run {name}`"),
            ),
            Standing::Good => {}
        }
        for replica in &status.replicas {
            match &replica.error {
                Some(error) => warn(
                    output,
                    Mark::Warning,
                    "unknown",
                    &format!("{name} on sink {}: {error}", replica.sink),
                ),
                None if replica.behind > 0 => {
                    let lacks = counted(replica.behind, "snapshot", "snapshots");
                    let text = format!("{name}: the sink {} lacks {lacks}; the next run brings it up to date", replica.sink);
                    warn(output, Mark::Warning, "behind", &text);
                }
                None => {}
            }
        }
    }
}

fn warn(output: &Output, mark: Mark, word: &str, text: &str) {
    output.warn(&format!("{} {text}", output.mark(mark, word)));
}
