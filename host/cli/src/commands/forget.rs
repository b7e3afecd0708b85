//! `bulkhead forget`

use std::collections::BTreeMap;

use bulkhead_config::{Config, Pipeline};
use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::{ForgetBy, ForgetPlan, Forgetting, Operation, PlannedLog};
use clap::Args;
use serde_json::json;

use crate::{
    commands::{Several, agreed, print_sinks, short},
    error::CommandError,
    exit::Exit,
    output::{Align, Mark, Output, ProgressDisplay, Table, bytes, counted, local_time},
    session::{Session, selected, unknown},
};

/// Forget snapshots: those that the `retention` of a pipeline or a vault does not keep, or those that are named
///
/// The plan is shown first: what is kept and by which rules, and what goes. A pipeline's newest snapshot goes only when it is named. On all sinks of the
/// vault. What forgotten snapshots alone needed stays in the vault until `bulkhead prune`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead forget shop --dry-run              what its retention keeps, and what goes\n  bulkhead forget --all --yes                 every pipeline and vault that has a retention; for a timer\n  bulkhead forget --vault cold --dry-run      what was copied into it, by the vault's own retention\n  bulkhead forget shop --snapshot 3f2a91c4    one snapshot, whatever the retention says\n  bulkhead forget --vault databases --snapshot 3f2a91c4     also what other tools wrote"
)]
pub(crate) struct ForgetArguments {
    /// Pipelines whose retention to apply, or whose snapshots are named
    #[arg(value_name = "PIPELINE", required_unless_present_any = ["all", "vault"])]
    pipelines: Vec<String>,

    /// Apply the retention of every pipeline and every vault that has one
    #[arg(long, conflicts_with_all = ["pipelines", "snapshots", "vault"])]
    all: bool,

    /// Forget this snapshot, by the beginning of its id; can be given several times
    #[arg(long = "snapshot", value_name = "ID")]
    snapshots: Vec<String>,

    /// The vault of the named snapshots, whatever wrote them; without `--snapshot`, the one whose own retention to apply to what was copied into it
    #[arg(long, value_name = "VAULT", conflicts_with = "pipelines")]
    vault: Option<String>,

    /// Also where a pipeline's newest snapshot is older than its `objectives.rpo`, while otherwise nothing of it goes
    #[arg(long, conflicts_with_all = ["snapshots", "vault"])]
    overdue: bool,

    /// By the calendar alone: the longest pause between snapshots was one, and not a clock that jumped forward, so that it makes them older, too
    #[arg(long, conflicts_with = "snapshots")]
    clock_is_right: bool,

    /// Also a named snapshot that is among the last of its pipeline that were verified, while otherwise these stay
    #[arg(long, requires = "snapshots")]
    verified: bool,

    /// Show the plan and change nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,

    /// Carry the plan out without asking
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn forget(arguments: &ForgetArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let chosen = chosen(arguments, &config)?;
    let operation = session.operation(&config)?;
    let mut several = Several::new(session, &config);
    for (vault, pipelines) in chosen {
        let Some(operation) = several.begin(&operation, vault) else {
            continue;
        };
        let by = match &arguments.snapshots[..] {
            [] => ForgetBy::Retention {
                pipelines: &pipelines,
                copies: pipelines.is_empty() || arguments.all && config.vault(vault).is_some_and(|vault| vault.retention.is_some()),
                overdue: arguments.overdue,
                clock_is_right: arguments.clock_is_right,
            },
            ids => ForgetBy::Ids {
                pipeline: pipelines.first().map(|pipeline| pipeline.name.as_str()),
                ids,
                verified: arguments.verified,
            },
        };
        match plan(&operation, vault, by, session).await {
            Ok(forgetting) => carry_out(forgetting, arguments, &operation, &mut several).await?,
            Err(error) => several.explained(&error, vault),
        }
    }
    Ok(several.end("forget"))
}

/// The vaults, and the pipelines in each; a vault without a pipeline is named itself.
fn chosen<'c>(arguments: &'c ForgetArguments, config: &'c Config) -> Result<BTreeMap<&'c str, Vec<&'c Pipeline>>, CommandError> {
    if let Some(vault) = &arguments.vault {
        return match config.vault(vault) {
            Some(vault) => Ok(BTreeMap::from([(vault.name.as_str(), Vec::new())])),
            None => Err(unknown("vault", vault, config.vaults.iter().map(|vault| vault.name.as_str()))),
        };
    }
    let mut pipelines = selected(config, &arguments.pipelines)?;
    let mut chosen: BTreeMap<&str, Vec<&Pipeline>> = BTreeMap::new();
    if arguments.all {
        pipelines.retain(|pipeline| pipeline.retention.is_some());
        let vaults = config.vaults.iter().filter(|vault| vault.retention.is_some());
        chosen.extend(vaults.map(|vault| (vault.name.as_str(), Vec::new())));
        if pipelines.is_empty() && chosen.is_empty() {
            return Err(CommandError::usage(
                "no pipeline or vault of the configuration has a `retention`",
                "say what to keep, `retention = { last = 7, weekly = 4 }`, or name snapshots with `--snapshot`",
            ));
        }
    }
    if !arguments.snapshots.is_empty() && pipelines.len() > 1 {
        return Err(CommandError::usage(
            "`--snapshot` names snapshots of one pipeline",
            "name that pipeline, or `--vault`",
        ));
    }
    for pipeline in pipelines {
        chosen.entry(pipeline.vault.as_str()).or_default().push(pipeline);
    }
    Ok(chosen)
}

async fn plan(
    operation: &Operation,
    vault: &str,
    by: ForgetBy<'_>,
    session: &Session,
) -> Result<Forgetting, bulkhead_pipeline::MaintainError> {
    let _display = ProgressDisplay::start(&session.output, vault, &operation.progress);
    pipeline::plan_forget(operation, vault, by).await
}

async fn carry_out(
    forgetting: Forgetting,
    arguments: &ForgetArguments,
    operation: &Operation,
    several: &mut Several<'_>,
) -> Result<(), CommandError> {
    let session = several.session;
    let plan = forgetting.plan.clone();
    if !session.output.is_json() {
        print_plan(&plan, &session.output);
    }
    let mut document = json!({ "plan": plan, "done": false });
    document["vault"] = plan.vault.clone().into();
    let going = plan.forgotten.len() + plan.damaged.len();
    let question = question(going, plan.superseded_records);
    for pipeline in &plan.overdue {
        session.output.warn(&format!(
            "warning: the newest snapshot of {pipeline} is older than its RPO, so that nothing of it goes\n  help: find out why `bulkhead run {pipeline}` gives no newer one, or \
             forget all the same with `--overdue`"
        ));
        several.exit = several.exit.and(Exit::Conflict);
    }
    if plan.kept.iter().any(|snapshot| snapshot.reasons.contains(&"pause")) {
        session
            .output
            .note("`pause` keeps what would go if the longest pause between snapshots was no jump of a clock; `--clock-is-right` says that it wasn't");
    }
    let is_wanted = !arguments.dry_run && going + plan.superseded_records > 0 && agreed(arguments.yes, &question, session).await?;
    if !is_wanted {
        print_sinks(&plan.unusable, "", "", "", &session.output);
        several.done(&document, plan.unusable.is_empty());
        return Ok(());
    }
    let display = ProgressDisplay::start(&session.output, &plan.vault, &operation.progress);
    let result = forgetting.carry_out().await;
    drop(display);
    match result {
        Ok(report) => {
            document["done"] = true.into();
            document["sinks"] = json!(report.sinks);
            if !session.output.is_json() {
                print_sinks(&report.sinks, "forgotten", "snapshot", "snapshots", &session.output);
                session.output.note("what they alone needed stays until `bulkhead prune`");
            }
            several.done(&document, pipeline::is_everywhere(&report.sinks));
        }
        Err(error) => several.explained(&error, &plan.vault),
    }
    Ok(())
}

/// What of a log is needed, and what becomes of the rest.
fn log_line(log: &PlannedLog) -> String {
    let name = &log.pipeline;
    let (Some(from), Some(by), Some(base)) = (&log.needed_from, &log.needed_by, &log.base_pipeline) else {
        return format!("log {name}: no base backup needs it; all of it stays, from {} on", log.from_lsn);
    };
    let needed = format!("log {name}: needed from {from} on, by the base backup {} of {base}", short(by));
    if log.unneeded_bytes == 0 {
        return format!("{needed}; all of it stays, and the newest begins at {}", log.from_lsn);
    }
    format!(
        "{needed}; {} before that, from {} on, are left out by the next run of {name}, and go with its earlier snapshots",
        bytes(log.unneeded_bytes),
        log.from_lsn
    )
}

fn question(going: usize, records: usize) -> String {
    match going {
        0 => format!("Remove {} that later ones replace?", self::records(records)),
        _ => format!("Forget {}?", snapshots(going)),
    }
}

fn records(number: usize) -> String {
    counted(number as u64, "record of a verification", "records of verifications")
}

fn snapshots(number: usize) -> String {
    counted(number as u64, "snapshot", "snapshots")
}

/// Who holds a snapshot, and why, where somebody does.
fn held_by(snapshot: &pipeline::PlannedSnapshot) -> String {
    let holds = snapshot.holds.iter().map(|hold| format!(" ({}: {})", hold.name, hold.reason));
    holds.collect()
}

fn print_plan(plan: &ForgetPlan, output: &Output) {
    let mut table = Table::new(&[
        ("SNAPSHOT", Align::Left),
        ("TIME (UTC)", Align::Left),
        ("PIPELINE", Align::Left),
        ("HOST", Align::Left),
        ("", Align::Left),
    ]);
    let mut rows: Vec<(&pipeline::PlannedSnapshot, String)> = Vec::new();
    rows.extend(
        plan.kept
            .iter()
            .map(|snapshot| (snapshot, format!("kept: {}{}", snapshot.reasons.join(", "), held_by(snapshot)))),
    );
    rows.extend(
        plan.forgotten
            .iter()
            .map(|snapshot| (snapshot, output.mark(Mark::Warning, "forgotten"))),
    );
    rows.sort_by(|(one, _), (other, _)| (&one.pipeline, one.taken, &one.id).cmp(&(&other.pipeline, other.taken, &other.id)));
    for (snapshot, fate) in rows {
        table.row([
            short(&snapshot.id).to_owned(),
            local_time(&snapshot.time),
            snapshot.pipeline.clone().unwrap_or_else(|| "-".to_owned()),
            snapshot.host.clone(),
            fate,
        ]);
    }
    table.print(output);
    if plan.superseded_records > 0 {
        output.line(&format!("{}: later ones say all that they say", records(plan.superseded_records)));
    }
    for log in &plan.logs {
        output.line(&log_line(log));
    }
    for snapshot in &plan.damaged {
        let fate = output.mark(Mark::Warning, "forgotten");
        output.line(&format!("{}  {fate}; it can't be read: {}", short(&snapshot.id), snapshot.error));
    }
    for snapshot in &plan.unreadable {
        let id = short(&snapshot.id);
        output.warn(&format!(
            "warning: the snapshot {id} can't be read, and stays: {}\n  help: `bulkhead forget --vault {} --snapshot {id}` removes it",
            snapshot.error, plan.vault
        ));
    }
    output.line(&format!(
        "vault {}: {} forgotten, {} kept",
        plan.vault,
        snapshots(plan.forgotten.len() + plan.damaged.len()),
        plan.kept.len()
    ));
}
