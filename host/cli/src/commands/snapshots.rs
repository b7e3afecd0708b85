//! `bulkhead snapshots`

use std::collections::BTreeSet;

use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::{ListedSnapshot, SnapshotList};
use clap::Args;

use crate::{
    commands::{last_verified, short},
    error::CommandError,
    exit::Exit,
    output::{Align, Output, ProgressDisplay, Table, bytes, count, counted, local_time},
    session::{Session, selected_some, unknown},
};

/// List snapshots, oldest first
///
/// What can't be read, be it a damaged snapshot or a whole vault, is told, and does not keep the rest from being listed.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead snapshots\n  bulkhead snapshots shop\n  bulkhead snapshots --vault databases     everything in it, also what other tools wrote\n  bulkhead snapshots --sink offsite        as the replica there has them"
)]
pub(crate) struct SnapshotsArguments {
    /// Pipelines whose snapshots to list; all of them by default
    #[arg(value_name = "PIPELINE")]
    pipelines: Vec<String>,

    /// List everything in this vault
    #[arg(long, value_name = "VAULT", conflicts_with = "pipelines")]
    vault: Option<String>,

    /// Read from this sink, one of the vault's; the first one by default
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
}

pub(crate) async fn snapshots(arguments: &SnapshotsArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let (vaults, names): (BTreeSet<&str>, Vec<String>) = match &arguments.vault {
        Some(vault) if config.vault(vault).is_none() => {
            return Err(unknown("vault", vault, config.vaults.iter().map(|vault| vault.name.as_str())));
        }
        Some(vault) => ([vault.as_str()].into(), Vec::new()),
        None => {
            let pipelines = selected_some(&config, &arguments.pipelines)?;
            (
                pipelines.iter().map(|pipeline| pipeline.vault.as_str()).collect(),
                pipelines.iter().map(|pipeline| pipeline.name.clone()).collect(),
            )
        }
    };
    let operation = session.reading(&config, arguments.sink.as_deref(), vaults.iter().copied())?;
    let mut list = SnapshotList::default();
    let mut others = Vec::new();
    let is_only_one = vaults.len() == 1;
    let (mut exit, mut unopened) = (Exit::Ok, Vec::new());
    for vault in vaults {
        let operation = operation.child();
        let display = ProgressDisplay::start(&session.output, vault, &operation.progress);
        let found = pipeline::snapshots(&operation, vault, &names).await;
        drop(display);
        match found {
            Ok(found) => {
                list.snapshots.extend(found.snapshots);
                list.unreadable.extend(found.unreadable);
                // Who names pipelines wants to hear of these.
                others.extend((found.others > 0 && arguments.pipelines.is_empty()).then_some((vault, found.others)));
            }
            Err(error) => {
                let error = CommandError::operation(&error, &config);
                if is_only_one || error.exit() == Exit::Cancelled {
                    return Err(error);
                }
                exit = exit.or_worse(error.exit());
                unopened.push((vault, error));
            }
        }
    }
    list.snapshots.sort_by_key(|snapshot| snapshot.seconds);
    if !list.unreadable.is_empty() || list.snapshots.iter().any(|snapshot| snapshot.error.is_some()) {
        exit = exit.or_worse(Exit::Damaged);
    }
    if session.output.is_json() {
        let document = serde_json::json!({ "snapshots": list.snapshots, "unreadable": list.unreadable, "others": others_documents(&others), "errors": errors(&unopened) });
        session.output.document("snapshots", &document);
        return Ok(exit);
    }
    if !list.snapshots.is_empty() {
        table(&list.snapshots).print(&session.output);
    } else if exit == Exit::Ok {
        session.output.note("no snapshots yet: `bulkhead run` takes one");
    }
    for (vault, number) in others {
        session.output.note(&format!(
            "and {} that no pipeline of the configuration took: `bulkhead snapshots --vault {vault}` lists all",
            counted(number as u64, "snapshot", "snapshots")
        ));
    }
    print_damage(&list, &session.output);
    for (_, error) in &unopened {
        session.output.complain(error);
    }
    Ok(exit)
}

fn others_documents(others: &[(&str, usize)]) -> Vec<serde_json::Value> {
    let document = |(vault, number): &(&str, usize)| serde_json::json!({ "vault": vault, "snapshots": number });
    others.iter().map(document).collect()
}

/// Why vaults could not be listed, each with its name.
fn errors(unopened: &[(&str, CommandError)]) -> Vec<serde_json::Value> {
    unopened.iter().map(|(vault, error)| error.to_json_of(vault)).collect()
}

fn print_damage(list: &SnapshotList, output: &Output) {
    let listed = list
        .snapshots
        .iter()
        .filter_map(|snapshot| Some((&snapshot.id, &snapshot.vault, snapshot.error.as_ref()?)));
    let unreadable = list
        .unreadable
        .iter()
        .map(|snapshot| (&snapshot.id, &snapshot.vault, &snapshot.error));
    let mut is_whole = true;
    for (id, vault, error) in listed.chain(unreadable) {
        output.warn(&format!(
            "error: the snapshot {} in vault {vault} can't be read: {error}",
            short(id)
        ));
        is_whole = false;
    }
    if !is_whole {
        output.warn("  help: `bulkhead verify --all-snapshots` says which are whole; `--sink` reads another replica");
    }
}

fn table(snapshots: &[ListedSnapshot]) -> Table {
    let mut table = Table::new(&[
        ("SNAPSHOT", Align::Left),
        ("TIME (UTC)", Align::Left),
        ("PIPELINE", Align::Left),
        ("ENTRIES", Align::Right),
        ("SIZE", Align::Right),
        ("VERIFIED (UTC)", Align::Left),
        ("VAULT", Align::Left),
        ("HOST", Align::Left),
    ]);
    for snapshot in snapshots {
        let proof = snapshot.proof.as_ref();
        table.row([
            short(&snapshot.id).to_owned(),
            local_time(&snapshot.time),
            snapshot.pipeline.clone().unwrap_or_else(|| "-".to_owned()),
            match proof {
                Some(proof) => count(proof.entries),
                None if snapshot.error.is_some() => "damaged".to_owned(),
                None => "-".to_owned(),
            },
            proof.map_or_else(|| "-".to_owned(), |proof| bytes(proof.bytes)),
            last_verified(&snapshot.verified),
            snapshot.vault.clone(),
            snapshot.host.clone(),
        ]);
    }
    table
}
