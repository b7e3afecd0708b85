//! `bulkhead hold`

use bulkhead_config::Config;
use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::{HeldSnapshot, MaintainError, TagReport};
use clap::{Args, Subcommand};

use crate::{
    commands::{Several, chosen::Chosen, print_sinks, short, vaults_named},
    error::CommandError,
    exit::Exit,
    output::{Align, Mark, ProgressDisplay, Table, local_time},
    session::Session,
};

/// Snapshots that must stay, such as for a lawsuit: by whom and why
#[derive(Debug, Subcommand)]
pub(crate) enum HoldCommand {
    Add(AddArguments),
    List(ListArguments),
    Release(ReleaseArguments),
}

/// Hold snapshots: they are not forgotten until they are released
///
/// No `retention`, no `forget` and no `repair snapshots --forget` removes them, whoever asks. Who holds them, why and since when is in their tags, encrypted as they are, on all
/// sinks. A snapshot is named by what is said about it, so one that is held gets a new id. plain restic goes by its own rules: give its `forget` the option `--keep-tag held`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead hold add shop --name 'Jane Doe' --reason 'litigation 4711'                      the latest snapshot\n  bulkhead hold add --vault databases --snapshot 3f2a91c4 --name 'Jane Doe' --reason 'tax audit'"
)]
pub(crate) struct AddArguments {
    #[command(flatten)]
    chosen: Chosen,

    /// Who holds them
    #[arg(long, value_name = "NAME")]
    name: String,

    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// List the snapshots that are held
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bulkhead hold list\n  bulkhead hold list databases --json")]
pub(crate) struct ListArguments {
    /// Vaults to look into; all of them by default
    #[arg(value_name = "VAULT")]
    vaults: Vec<String>,
}

/// Release snapshots: they go when they are forgotten, as others do
///
/// Who held them and who released them stays in their tags.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bulkhead hold release --vault databases --snapshot 3f2a91c4 --name 'John Doe' --reason 'settled'")]
pub(crate) struct ReleaseArguments {
    #[command(flatten)]
    chosen: Chosen,

    /// The beginning of the hold's id, as `hold list` shows it; needed where there are several
    #[arg(long, value_name = "ID")]
    hold: Option<String>,

    /// Who releases them
    #[arg(long, value_name = "NAME")]
    name: String,

    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(crate) async fn hold(command: &HoldCommand, session: &Session) -> Result<Exit, CommandError> {
    match command {
        HoldCommand::Add(arguments) => add(arguments, session).await,
        HoldCommand::List(arguments) => list(arguments, session).await,
        HoldCommand::Release(arguments) => release(arguments, session).await,
    }
}

async fn add(arguments: &AddArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let (vault, pipeline) = arguments.chosen.place(&config)?;
    let operation = session.operation(&config)?;
    let display = ProgressDisplay::start(&session.output, vault, &operation.progress);
    let by = (arguments.name.as_str(), arguments.reason.as_str());
    let held = pipeline::hold(&operation, vault, pipeline, &arguments.chosen.snapshots, by).await;
    drop(display);
    told(held, "hold-add", "held", session, &config)
}

async fn release(arguments: &ReleaseArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let (vault, pipeline) = arguments.chosen.place(&config)?;
    let operation = session.operation(&config)?;
    let display = ProgressDisplay::start(&session.output, vault, &operation.progress);
    let which = (&arguments.chosen.snapshots[..], arguments.hold.as_deref());
    let by = (arguments.name.as_str(), arguments.reason.as_str());
    let released = pipeline::release(&operation, vault, pipeline, which, by).await;
    drop(display);
    told(released, "hold-release", "released", session, &config)
}

/// Prints a change.
fn told(
    report: Result<TagReport, MaintainError>,
    kind: &str,
    done: &str,
    session: &Session,
    config: &std::sync::Arc<Config>,
) -> Result<Exit, CommandError> {
    let report = report.map_err(|error| CommandError::operation(&error, config))?;
    let output = &session.output;
    if output.is_json() {
        output.document(kind, &report);
    } else {
        for snapshot in &report.snapshots {
            let mark = output.mark(Mark::Good, done);
            output.line(&format!(
                "{mark} snapshot {} (was {})",
                short(&snapshot.snapshot),
                short(&snapshot.before)
            ));
        }
        print_sinks(&report.sinks, done, "snapshot", "snapshots", output);
    }
    Ok(if pipeline::is_everywhere(&report.sinks) {
        Exit::Ok
    } else {
        Exit::Replica
    })
}

async fn list(arguments: &ListArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let operation = session.operation(&config)?;
    let mut several = Several::new(session, &config);
    let mut table = Table::new(&[
        ("SNAPSHOT", Align::Left),
        ("TIME (UTC)", Align::Left),
        ("PIPELINE", Align::Left),
        ("HOLD", Align::Left),
        ("SINCE (UTC)", Align::Left),
        ("BY", Align::Left),
        ("WHY", Align::Left),
    ]);
    for vault in vaults_named(&config, &arguments.vaults)? {
        let Some(operation) = several.begin(&operation, &vault) else {
            continue;
        };
        let display = ProgressDisplay::start(&session.output, &vault, &operation.progress);
        let found = pipeline::holds(&operation, &vault).await;
        drop(display);
        match found {
            Ok(list) => {
                list.snapshots.iter().flat_map(rows).for_each(|row| table.row(row));
                for snapshot in &list.unreadable {
                    let text = format!("error: the snapshot {} can't be read: {}", short(&snapshot.id), snapshot.error);
                    session.output.warn(&text);
                    several.exit = several.exit.and(Exit::Damaged);
                }
                several.done(&list, true);
            }
            Err(error) => several.explained(&error, &vault),
        }
    }
    if !session.output.is_json() {
        table.print(&session.output);
    }
    Ok(several.end("hold-list"))
}

/// A row for each hold, or one for a snapshot that only a tag says to be held.
fn rows(snapshot: &HeldSnapshot) -> Vec<[String; 7]> {
    let row = |hold: [String; 4]| {
        let [id, since, name, reason] = hold;
        let pipeline = snapshot.pipeline.clone().unwrap_or_else(|| "-".to_owned());
        [
            short(&snapshot.id).to_owned(),
            local_time(&snapshot.time),
            pipeline,
            id,
            since,
            name,
            reason,
        ]
    };
    if snapshot.holds.is_empty() {
        return vec![row(["-", "-", "-", "the tag `held`"].map(str::to_owned))];
    }
    let holds = snapshot.holds.iter();
    holds
        .map(|hold| row([hold.id.clone(), local_time(&hold.since), hold.name.clone(), hold.reason.clone()]))
        .collect()
}
