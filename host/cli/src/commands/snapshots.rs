//! `bulkhead snapshots`

use std::collections::BTreeSet;

use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::ListedSnapshot;
use clap::Args;

use crate::{
    commands::short,
    error::CommandError,
    exit::Exit,
    output::{Align, ProgressDisplay, Table, bytes, count, local_time},
    session::{Session, selected, unknown},
};

/// List snapshots, oldest first
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead snapshots\n  bulkhead snapshots shop\n  bulkhead snapshots --vault databases     everything in it, also what other tools wrote"
)]
pub(crate) struct SnapshotsArguments {
    /// Pipelines whose snapshots to list; all of them by default
    #[arg(value_name = "PIPELINE")]
    pipelines: Vec<String>,

    /// List everything in this vault
    #[arg(long, value_name = "VAULT", conflicts_with = "pipelines")]
    vault: Option<String>,
}

pub(crate) async fn snapshots(arguments: &SnapshotsArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let pipelines = selected(&config, &arguments.pipelines)?;
    let (vaults, names): (BTreeSet<&str>, Vec<String>) = match &arguments.vault {
        Some(vault) if config.vault(vault).is_none() => {
            return Err(unknown("vault", vault, config.vaults.iter().map(|vault| vault.name.as_str())));
        }
        Some(vault) => ([vault.as_str()].into(), Vec::new()),
        None => (
            pipelines.iter().map(|pipeline| pipeline.vault.as_str()).collect(),
            pipelines.iter().map(|pipeline| pipeline.name.clone()).collect(),
        ),
    };
    let operation = session.operation(&config)?;
    let mut listed = Vec::new();
    for vault in vaults {
        let operation = operation.child();
        let display = ProgressDisplay::start(&session.output, vault, &operation.progress);
        let found = pipeline::snapshots(&operation, vault, &names).await;
        drop(display);
        listed.extend(found.map_err(|error| CommandError::operation(&error, &config))?);
    }
    listed.sort_by_key(|snapshot| snapshot.seconds);
    if session.output.is_json() {
        session.output.document("snapshots", &serde_json::json!({ "snapshots": listed }));
    } else if listed.is_empty() {
        session.output.note("no snapshots yet: `bulkhead run` takes one");
    } else {
        table(&listed).print(&session.output);
    }
    Ok(Exit::Ok)
}

fn table(snapshots: &[ListedSnapshot]) -> Table {
    let mut table = Table::new(&[
        ("SNAPSHOT", Align::Left),
        ("TIME (UTC)", Align::Left),
        ("PIPELINE", Align::Left),
        ("ENTRIES", Align::Right),
        ("SIZE", Align::Right),
        ("VAULT", Align::Left),
        ("HOST", Align::Left),
    ]);
    for snapshot in snapshots {
        let proof = snapshot.proof.as_ref();
        table.row([
            short(&snapshot.id).to_owned(),
            local_time(&snapshot.time),
            snapshot.pipeline.clone().unwrap_or_else(|| "-".to_owned()),
            proof.map_or_else(|| "-".to_owned(), |proof| count(proof.entries)),
            proof.map_or_else(|| "-".to_owned(), |proof| bytes(proof.bytes)),
            snapshot.vault.clone(),
            snapshot.host.clone(),
        ]);
    }
    table
}
