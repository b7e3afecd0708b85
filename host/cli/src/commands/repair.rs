//! `bulkhead repair`

use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::{IndexRepairReport, Loss, ObjectRepairOptions, ObjectRepairReport, SnapshotRepairReport};
use clap::{Args, Subcommand};

use crate::{
    commands::{Several, agreed, print_sinks, short, vaults_named},
    error::CommandError,
    exit::Exit,
    output::{Mark, Output, bytes, counted, local_time},
    session::Session,
};

/// Make the best of what damage has left
#[derive(Debug, Subcommand)]
pub(crate) enum RepairCommand {
    Objects(ObjectsArguments),
    Index(IndexArguments),
    Snapshots(SnapshotsArguments),
}

/// Give a sink what it has lost, from another sink of the vault
///
/// Objects that are missing or damaged on the sink are copied from one that has them whole. Without --read-data only names and sizes are compared, which finds
/// what is gone or cut short; with it, every byte of the sink is read. Nothing is removed.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead repair objects --dry-run\n  bulkhead repair objects databases --read-data --yes\n  bulkhead repair objects databases --sink offsite      the replica there"
)]
pub(crate) struct ObjectsArguments {
    /// Vaults whose objects to repair; all of them by default
    #[arg(value_name = "VAULT")]
    vaults: Vec<String>,

    /// The sink to repair, one of the vault's; the first one by default
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,

    /// Read every object of the sink, instead of comparing names and sizes
    #[arg(long)]
    read_data: bool,

    /// Bring back keys and snapshots, too, that the first sink lacks: they were lost there, or removed on purpose
    #[arg(long)]
    removed: bool,

    /// Show the plan and change nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,

    /// Carry the plan out without asking
    #[arg(short, long)]
    yes: bool,
}

/// Make the index name what is in the vault, all of it and nothing else
///
/// Packs that no index names are read and named again; packs that are gone are named no more, so that the next run stores anew what was in them; index
/// files that can't be read are replaced. Each replica of a vault is repaired for itself.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead repair index --dry-run\n  bulkhead repair index databases --yes\n  bulkhead repair index databases --sink offsite      the replica there"
)]
pub(crate) struct IndexArguments {
    /// Vaults whose index to repair; all of them by default
    #[arg(value_name = "VAULT")]
    vaults: Vec<String>,

    /// The sink, one of the vault's; the first one by default
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,

    /// Show the plan and change nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,

    /// Carry the plan out without asking
    #[arg(short, long)]
    yes: bool,
}

/// Make snapshots of what remains of damaged ones
///
/// A snapshot that has lost folders or content becomes another one with what is left, tagged `repaired`: files that have lost a part are called
/// `….repaired` in it, lost folders are left out. The damaged one stays until it is forgotten, here with --forget. Repair the index first; and where another
/// sink of the vault has the snapshot whole (`bulkhead verify --sink`), restore from there instead.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bulkhead repair snapshots --dry-run\n  bulkhead repair snapshots databases --forget --yes")]
pub(crate) struct SnapshotsArguments {
    /// Vaults whose snapshots to repair; all of them by default
    #[arg(value_name = "VAULT")]
    vaults: Vec<String>,

    /// Forget the damaged snapshots, those of which nothing is left as well
    #[arg(long)]
    forget: bool,

    /// Show the plan and change nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,

    /// Carry the plan out without asking
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn repair(command: &RepairCommand, session: &Session) -> Result<Exit, CommandError> {
    match command {
        RepairCommand::Objects(arguments) => objects(arguments, session).await,
        RepairCommand::Index(arguments) => index(arguments, session).await,
        RepairCommand::Snapshots(arguments) => snapshots(arguments, session).await,
    }
}

async fn objects(arguments: &ObjectsArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let vaults = vaults_named(&config, &arguments.vaults)?;
    let operation = session.reading(&config, arguments.sink.as_deref(), vaults.iter().map(String::as_str))?;
    let options = ObjectRepairOptions {
        read_data: arguments.read_data,
        removed: arguments.removed,
    };
    let mut several = Several::new(session, &config);
    for vault in &vaults {
        let Some(operation) = several.begin(&operation, vault) else {
            continue;
        };
        let planned = pipeline::plan_object_repair(&operation, vault, options);
        let Some(planned) = several.attempt(&operation, vault, planned).await else {
            continue;
        };
        print_objects(&planned, &session.output);
        let question = format!("Copy {} to the sink {}?", objects_of(planned.lost.len()), planned.sink);
        let is_wanted = !arguments.dry_run && !planned.lost.is_empty() && agreed(arguments.yes, &question, session).await?;
        if !is_wanted {
            several.done(&planned, planned.unusable.is_empty());
            continue;
        }
        let done = pipeline::repair_objects(&operation, planned);
        if let Some(report) = several.attempt(&operation, vault, done).await {
            print_copied(&report, &session.output);
            several.done(&report, report.unusable.is_empty());
            if report.is_incomplete() {
                several.exit = several.exit.and(Exit::Damaged);
            }
        }
    }
    Ok(several.end("repair-objects"))
}

fn objects_of(number: usize) -> String {
    counted(number as u64, "object", "objects")
}

fn print_objects(report: &ObjectRepairReport, output: &Output) {
    if output.is_json() {
        return;
    }
    output.line(&output.mark(Mark::Strong, &format!("vault {} on sink {}", report.vault, report.sink)));
    for object in report.lost.iter().take(20) {
        let loss = match object.loss {
            Loss::Missing => "missing",
            Loss::Damaged => "damaged",
        };
        output.line(&format!("  {loss}  {} ({})", object.object, bytes(object.bytes)));
    }
    if report.lost.len() > 20 {
        output.line(&format!("  … {} in all", objects_of(report.lost.len())));
    }
    if report.lost.is_empty() && report.unusable.is_empty() {
        let how = if report.bytes_read > 0 {
            format!("{} read", bytes(report.bytes_read))
        } else {
            "names and sizes compared".to_owned()
        };
        output.line(&format!("  nothing is lost: {}, {how}", objects_of(report.objects as usize)));
    }
    for (what, number) in [("keys", report.removed_keys), ("snapshots", report.removed_snapshots)] {
        if number > 0 {
            output.line(&format!(
                "  {number} {what} are on other sinks only: removed here, or lost; --removed brings them back"
            ));
        }
    }
    for (sink, reason) in &report.unusable {
        output.warn(&format!("warning: the sink {sink} cannot be asked: {reason}"));
    }
}

fn print_copied(report: &ObjectRepairReport, output: &Output) {
    if output.is_json() {
        return;
    }
    let copied = report.lost.iter().filter(|object| object.copied_from.is_some()).count();
    output.line(&format!("{} {}", output.mark(Mark::Good, "copied"), objects_of(copied)));
    for object in &report.lost {
        if let Some(error) = &object.error {
            output.warn(&format!("error: {} is whole nowhere: {error}", object.object));
        }
    }
    if report.is_incomplete() {
        output.warn("  help: `bulkhead repair index`, then `bulkhead repair snapshots` make the best of what is left");
    }
}

async fn index(arguments: &IndexArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let vaults = vaults_named(&config, &arguments.vaults)?;
    let operation = session.reading(&config, arguments.sink.as_deref(), vaults.iter().map(String::as_str))?;
    let mut several = Several::new(session, &config);
    for vault in &vaults {
        let Some(operation) = several.begin(&operation, vault) else {
            continue;
        };
        let planned = pipeline::plan_index_repair(&operation, vault);
        let Some(planned) = several.attempt(&operation, vault, planned).await else {
            continue;
        };
        print(&planned, &session.output);
        let question = format!("Repair the index of the vault {vault}?");
        let is_wanted = !arguments.dry_run && !planned.nothing_to_do && agreed(arguments.yes, &question, session).await?;
        if !is_wanted {
            several.done(&planned, true);
            continue;
        }
        let done = pipeline::repair_index(&operation, vault, Some(&planned));
        if let Some(report) = several.attempt(&operation, vault, done).await {
            if !session.output.is_json() {
                let output = &session.output;
                output.line(&format!(
                    "{} the index; `bulkhead verify` says what is still lost",
                    output.mark(Mark::Good, "repaired")
                ));
            }
            several.done(&report, true);
        }
    }
    Ok(several.end("repair-index"))
}

fn print(report: &IndexRepairReport, output: &Output) {
    if output.is_json() {
        return;
    }
    output.line(&output.mark(Mark::Strong, &format!("vault {} on sink {}", report.vault, report.sink)));
    let packs = |ids: &[String]| counted(ids.len() as u64, "pack", "packs");
    if !report.added.is_empty() {
        output.line(&format!("  add      {} that no index names", packs(&report.added)));
    }
    if !report.dropped.is_empty() {
        let names: Vec<&str> = report.dropped.iter().take(5).map(|id| short(id)).collect();
        let more = if report.dropped.len() > names.len() { ", …" } else { "" };
        output.line(&format!(
            "  drop     {} that are not what the index says: {}{more}",
            packs(&report.dropped),
            names.join(", ")
        ));
    }
    for file in &report.unreadable_index {
        output.line(&format!("  replace  {}: {}", file.object, file.reason));
    }
    for pack in &report.unreadable_packs {
        output.warn(&format!(
            "warning: {} is in no index and can't be read: {}",
            pack.object, pack.reason
        ));
    }
    if report.nothing_to_do {
        output.line("  the index is as it should be");
    }
}

async fn snapshots(arguments: &SnapshotsArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let operation = session.operation(&config)?;
    let mut several = Several::new(session, &config);
    for vault in vaults_named(&config, &arguments.vaults)? {
        let Some(operation) = several.begin(&operation, &vault) else {
            continue;
        };
        let planned = pipeline::plan_snapshot_repair(&operation, &vault, arguments.forget);
        let Some(planned) = several.attempt(&operation, &vault, planned).await else {
            continue;
        };
        print_snapshots(&planned, &session.output);
        let damaged = planned.snapshots.len() + planned.unreadable.len();
        let question = format!("Repair {} of the vault {vault}?", number_of(damaged));
        let is_wanted = !arguments.dry_run && !planned.is_idle() && agreed(arguments.yes, &question, session).await?;
        if !is_wanted {
            several.done(&planned, true);
            continue;
        }
        let done = pipeline::repair_snapshots(&operation, &planned);
        if let Some(report) = several.attempt(&operation, &vault, done).await {
            print_repaired(&report, &session.output);
            several.done(&report, pipeline::is_everywhere(&report.sinks));
        }
    }
    Ok(several.end("repair-snapshots"))
}

fn number_of(snapshots: usize) -> String {
    counted(snapshots as u64, "snapshot", "snapshots")
}

fn print_snapshots(report: &SnapshotRepairReport, output: &Output) {
    if output.is_json() {
        return;
    }
    output.line(&output.mark(
        Mark::Strong,
        &format!(
            "vault {}: {} not whole",
            report.vault,
            number_of(report.snapshots.len() + report.unreadable.len())
        ),
    ));
    for snapshot in &report.snapshots {
        let fate = match (snapshot.is_lost, report.forget) {
            (true, true) => "nothing of it is left; it is forgotten",
            (true, false) => "nothing of it is left",
            (false, true) => "what remains becomes a snapshot; it is forgotten",
            (false, false) => "what remains becomes a snapshot; it stays",
        };
        let pipeline = snapshot.pipeline.as_deref().unwrap_or("another tool");
        output.line(&format!(
            "  {} of {pipeline} ({}): {} damaged or lost; {fate}",
            short(&snapshot.id),
            local_time(&snapshot.time),
            counted(snapshot.damaged_count, "file or folder", "files and folders")
        ));
        for name in snapshot.damaged.iter().take(10) {
            output.line(&format!("    {name}"));
        }
        if snapshot.damaged_count > 10 {
            output.line("    …");
        }
    }
    for snapshot in &report.unreadable {
        let fate = if report.forget { "; it is forgotten" } else { "" };
        output.line(&format!(
            "  {}: nothing of it is left{fate}: {}",
            short(&snapshot.id),
            snapshot.error
        ));
    }
}

fn print_repaired(report: &SnapshotRepairReport, output: &Output) {
    if output.is_json() {
        return;
    }
    for snapshot in &report.snapshots {
        if let Some(repaired) = &snapshot.repaired {
            let was = short(&snapshot.id);
            output.line(&format!("{} {was} as {}", output.mark(Mark::Good, "repaired"), short(repaired)));
        }
    }
    print_sinks(&report.sinks, "repaired", "snapshot removed", "snapshots removed", output);
}
