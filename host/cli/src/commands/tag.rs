//! `bulkhead tag`

use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::TagChange;
use clap::Args;

use crate::{
    commands::{chosen::Chosen, print_sinks, short},
    error::CommandError,
    exit::Exit,
    output::{Mark, ProgressDisplay},
    session::Session,
};

/// Add, remove or set the tags of snapshots
///
/// A snapshot is named by what is said about it, so one whose tags change gets a new id. The tags that say what it is and whose
/// (`bulkhead`, `bulkhead-verified`, `pipeline:…`) can be neither given nor taken away.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead tag shop --add before-upgrade                      the latest snapshot\n  bulkhead tag shop --snapshot 3f2a91c4 --remove before-upgrade\n  bulkhead tag --vault databases --snapshot 3f2a91c4 --set audit --set 2026"
)]
pub(crate) struct TagArguments {
    #[command(flatten)]
    chosen: Chosen,

    /// A tag to add
    #[arg(long, value_name = "TAG", required_unless_present_any = ["remove", "set"])]
    add: Vec<String>,

    /// A tag to remove
    #[arg(long, value_name = "TAG")]
    remove: Vec<String>,

    /// A tag to have instead of all others
    #[arg(long, value_name = "TAG", conflicts_with_all = ["add", "remove"])]
    set: Vec<String>,
}

pub(crate) async fn tag(arguments: &TagArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let (vault, pipeline) = arguments.chosen.place(&config)?;
    let change = if arguments.set.is_empty() {
        TagChange::Change {
            add: arguments.add.clone(),
            remove: arguments.remove.clone(),
        }
    } else {
        TagChange::Set(arguments.set.clone())
    };
    let operation = session.operation(&config)?;
    let display = ProgressDisplay::start(&session.output, vault, &operation.progress);
    let report = pipeline::tag(&operation, vault, pipeline, &arguments.chosen.snapshots, &change).await;
    drop(display);
    let report = report.map_err(|error| CommandError::operation(&error, &config))?;
    if session.output.is_json() {
        session.output.document("tag", &report);
    } else {
        for snapshot in &report.snapshots {
            let renamed = if snapshot.before == snapshot.snapshot {
                String::new()
            } else {
                format!(" (was {})", short(&snapshot.before))
            };
            session.output.line(&format!(
                "{} snapshot {}{renamed}: {}",
                session.output.mark(Mark::Good, "tagged"),
                short(&snapshot.snapshot),
                snapshot.tags.join(", ")
            ));
        }
        print_sinks(&report.sinks, "tagged", "snapshot", "snapshots", &session.output);
    }
    Ok(if pipeline::is_everywhere(&report.sinks) {
        Exit::Ok
    } else {
        Exit::Replica
    })
}
