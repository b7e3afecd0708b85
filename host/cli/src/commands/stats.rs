//! `bulkhead stats`

use std::collections::BTreeSet;

use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::VaultStats;
use clap::Args;
use serde_json::{Value, json};

use crate::{
    commands::short,
    error::CommandError,
    exit::Exit,
    output::{Align, Mark, Output, ProgressDisplay, Table, bytes, count, counted, local_time},
    session::{Session, selected, unknown},
};

/// Show what vaults hold, and what each pipeline and snapshot costs
///
/// Deduplication, compression and what nothing needs, of each vault; of each pipeline its newest snapshot's size and what would be freed without the pipeline;
/// with --growth what each snapshot added to what the vault had before it. Reads every distinct folder once, no content. Memory: 4 bytes for each blob of the
/// vault beside the index, and about 50 for each distinct folder.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead stats\n  bulkhead stats shop --growth\n  bulkhead stats --vault databases --json | jq '.vaults[].\"unused-bytes\"'"
)]
pub(crate) struct StatsArguments {
    /// Show only these pipelines, and their vaults; all by default, also what other tools wrote
    #[arg(value_name = "PIPELINE")]
    pipelines: Vec<String>,

    /// Show only this vault
    #[arg(long, value_name = "VAULT", conflicts_with = "pipelines")]
    vault: Option<String>,

    /// Read from this sink, one of the vault's; the first one by default
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,

    /// Show what each snapshot added
    #[arg(long)]
    growth: bool,
}

pub(crate) async fn stats(arguments: &StatsArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let all = config.vaults.iter().map(|vault| vault.name.as_str());
    if let Some(name) = arguments.vault.as_ref().filter(|name| config.vault(name).is_none()) {
        return Err(unknown("vault", name, all));
    }
    let chosen = selected(&config, &arguments.pipelines)?;
    let names: BTreeSet<&str> = chosen.iter().map(|pipeline| pipeline.name.as_str()).collect();
    let is_chosen = |vault: &str| match &arguments.vault {
        Some(name) => name == vault,
        None => arguments.pipelines.is_empty() || chosen.iter().any(|pipeline| pipeline.vault == vault),
    };
    let vaults: Vec<&str> = all.filter(|vault| is_chosen(vault)).collect();
    let operation = session.reading(&config, arguments.sink.as_deref(), vaults.iter().copied())?;
    let shows = |pipeline: &Option<String>| arguments.pipelines.is_empty() || pipeline.as_deref().is_some_and(|name| names.contains(name));
    let (mut exit, mut documents) = (Exit::Ok, Vec::new());
    for vault in vaults {
        let operation = operation.child();
        let display = ProgressDisplay::start(&session.output, vault, &operation.progress);
        let counted = pipeline::stats(&operation, vault).await;
        drop(display);
        match counted {
            Ok(mut stats) => {
                stats.pipelines.retain(|stats| shows(&stats.pipeline));
                stats.growth.retain(|snapshot| shows(&snapshot.pipeline));
                if !stats.is_whole() {
                    exit = exit.or_worse(Exit::Damaged);
                }
                if !session.output.is_json() {
                    print(&stats, arguments.growth, &session.output);
                }
                documents.push(json!(stats));
            }
            Err(error) => {
                let error = CommandError::operation(&error, &config);
                exit = exit.or_worse(error.exit());
                documents.push(failed(&error, vault, &session.output));
            }
        }
    }
    if session.output.is_json() {
        session.output.document("stats", &json!({ "vaults": documents }));
    }
    Ok(exit)
}

/// One vault that can't be opened says nothing about the next.
fn failed(error: &CommandError, vault: &str, output: &Output) -> Value {
    if !output.is_json() {
        output.complain(error);
    }
    error.to_json_of(vault)
}

fn print(stats: &VaultStats, with_growth: bool, output: &Output) {
    let title = format!("vault {} on sink {}", stats.vault, stats.sink);
    output.line(&output.mark(Mark::Strong, &title));
    let stored = stats.packs.bytes + stats.index.bytes + stats.snapshot_files.bytes;
    let objects = |name: &str, objects: &pipeline::StoredObjects| format!("{name} {} in {}", bytes(objects.bytes), count(objects.count));
    let fact = |name: &str, value: &str, remark: &str| output.line(format!("  {name:<15} {value:>9}  {remark}").trim_end());
    fact("snapshots", &count(stats.snapshots), "");
    let parts = [
        objects("packs", &stats.packs),
        objects("index", &stats.index),
        objects("snapshots", &stats.snapshot_files),
    ];
    fact("stored", &bytes(stored), &parts.join(", "));
    fact(
        "content",
        &bytes(stats.data.bytes),
        &format!(
            "distinct, in {}; {} in all snapshots together",
            counted(stats.data.blobs, "blob", "blobs"),
            bytes(stats.restore_bytes)
        ),
    );
    fact("deduplication", &ratio(stats.deduplication_ratio), "");
    fact("compression", &ratio(stats.compression_ratio), "");
    fact("unused", &bytes(stats.unused_bytes), "needed by no snapshot");
    if !stats.pipelines.is_empty() {
        output.line("");
        pipelines(stats).print(output);
    }
    if with_growth && !stats.growth.is_empty() {
        output.line("");
        growth(stats).print(output);
    }
    print_damage(stats, output);
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2} x"))
}

fn pipelines(stats: &VaultStats) -> Table {
    let mut table = Table::new(&[
        ("PIPELINE", Align::Left),
        ("SNAPSHOTS", Align::Right),
        ("FIRST (UTC)", Align::Left),
        ("LAST (UTC)", Align::Left),
        ("FILES+FOLDERS", Align::Right),
        ("SIZE", Align::Right),
        ("ITS OWN", Align::Right),
    ]);
    for pipeline in &stats.pipelines {
        table.row([
            pipeline.pipeline.clone().unwrap_or_else(|| "-".to_owned()),
            count(pipeline.snapshots),
            local_time(&pipeline.first.time),
            local_time(&pipeline.last.time),
            count(pipeline.entries),
            bytes(pipeline.bytes),
            bytes(pipeline.exclusive.stored_bytes),
        ]);
    }
    table
}

fn growth(stats: &VaultStats) -> Table {
    let mut table = Table::new(&[
        ("SNAPSHOT", Align::Left),
        ("TIME (UTC)", Align::Left),
        ("PIPELINE", Align::Left),
        ("FILES+FOLDERS", Align::Right),
        ("SIZE", Align::Right),
        ("ADDED", Align::Right),
        ("STORED", Align::Right),
    ]);
    for snapshot in &stats.growth {
        table.row([
            short(&snapshot.snapshot).to_owned(),
            local_time(&snapshot.time),
            snapshot.pipeline.clone().unwrap_or_else(|| "-".to_owned()),
            count(snapshot.entries),
            bytes(snapshot.bytes),
            bytes(snapshot.added.bytes),
            bytes(snapshot.added.stored_bytes),
        ]);
    }
    table
}

fn print_damage(stats: &VaultStats, output: &Output) {
    for snapshot in &stats.unreadable {
        output.warn(&format!(
            "error: the snapshot {} in vault {} was not counted, it can't be read: {}",
            short(&snapshot.id),
            snapshot.vault,
            snapshot.error
        ));
    }
    for error in &stats.damage {
        output.warn(&format!("error: a folder was not counted, it can't be read: {error}"));
    }
    if stats.further_damage > 0 {
        output.warn(&format!("  and {} more folders", count(stats.further_damage)));
    }
    if stats.missing_blobs > 0 {
        output.warn(&format!(
            "error: {} in no index: what they hold was not counted",
            counted(stats.missing_blobs, "blob that is needed is", "blobs that are needed are")
        ));
    }
    if !stats.is_whole() {
        output.warn("  help: the figures are those of what can be read; `bulkhead verify` says what is damaged");
    }
}
