//! `bulkhead restore`

use std::{
    ffi::OsString,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::{
    Attendant, Changes, Confirm, ExistingFiles, FolderOptions, IdMapping, Owners, Patterns, RecoveryOptions, RecoveryTarget, RestoreError,
    RestoreOptions, RestoreReport, Retrieval, SurplusItem, TargetAction, TargetDelta,
};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use crate::{
    commands::{agreed, print_findings, short, stored::Stored, touched::Touched},
    error::CommandError,
    exit::Exit,
    output::{Mark, Output, ProgressDisplay, bytes, count, counted, duration, rate, shown},
    session::{Session, unknown},
};

/// Bring a snapshot back
///
/// Into a folder, the entries come back as they are stored. Into a target, the pipeline's plugin brings them back; a target is a table
/// [pipeline.NAME.target.TARGET] of the configuration, with grants of its own.
///
/// Patterns are compared with whole paths, as `bulkhead ls` prints them: `*` and `?` stay within a folder, `**` crosses folders, `{a,b}` and `[0-9]`
/// are choices. One that matches a folder takes all below it, and one that takes nothing is an error. What is excluded stays excluded.
///
/// To a moment, where the pipeline's `wal` names one that stores the log: the newest base backup before it is chosen, and the server that is started on what is
/// restored fetches the log by itself. Nothing is written where the moment can't be reached, or the log has a gap.
///
/// --dry-run writes nothing, and names what would be created, updated, replaced (because something else is in its place) and removed.
///
/// With --delta, the folder may have something in it: what is there as it should be (size and time, or --checksum: every byte) is left alone, of a file that differs
/// only those parts are read from the vault and written that do. It also finishes a restore that was cut off.
///
/// Into a target, --delta brings the PostgreSQL cluster that is there, stopped, up to the snapshot: files are compared by size and checksum, and what the
/// snapshot does not have is removed. --dry-run names it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead restore shop --into /tmp/shop\n  bulkhead restore shop --into /tmp/shop base/5 global      a part of it\n  bulkhead restore shop --target scratch --snapshot 3f2a91c4\n  bulkhead restore shop --target scratch --to-time '2026-11-21 08:00:00+01:00'\n  bulkhead restore shop --target live --delta --dry-run      what would be changed in the cluster that is there\n  bulkhead restore shop --into /tmp/shop --sink offsite      from the replica there\n  bulkhead restore shop --into /tmp/shop --vault archive     from the copy in that vault\n  bulkhead restore --vault databases --snapshot 91bb0c11 --into /tmp/etc /etc   whatever wrote it\n  bulkhead restore web --into /tmp/etc --include 'etc/**/*.conf' --exclude etc/ssl\n  bulkhead restore web --into / --delta --dry-run            what would be changed\n  bulkhead restore web --into /srv/www --delta --delete      exactly as it was"
)]
pub(crate) struct RestoreArguments {
    #[command(flatten)]
    stored: Stored,

    /// Restore only what is at and below these paths
    #[arg(value_name = "PATH", conflicts_with = "moment")]
    paths: Vec<OsString>,

    /// Folder to restore into: empty or not there yet, unless with --delta
    #[arg(long, value_name = "FOLDER", required_unless_present = "target", conflicts_with = "moment")]
    into: Option<PathBuf>,

    /// Target to restore into, by the pipeline's plugin
    #[arg(long, value_name = "TARGET", conflicts_with_all = ["into", "include", "exclude", "delete", "checksum", "map_user", "map_group", "no_owner", "devices"])]
    target: Option<String>,

    #[command(flatten)]
    recovery: RecoveryArguments,

    #[command(flatten)]
    folder: FolderArguments,
}

/// To which moment a base backup is brought, by the log of the pipeline that its `wal` names.
#[derive(Debug, Args)]
#[command(next_help_heading = "To a moment (into a target)")]
struct RecoveryArguments {
    /// To where the log ends
    #[arg(long, group = "moment", requires = "target")]
    to_latest: bool,

    /// To the last commit up to this time, with its distance from UTC: '2026-11-21 08:00:00+01:00'
    #[arg(long, value_name = "TIME", group = "moment", requires = "target")]
    to_time: Option<String>,

    /// To this position of the log: 16/B374D848
    #[arg(long, value_name = "LSN", group = "moment", requires = "target")]
    to_lsn: Option<String>,

    /// To the commit of this transaction
    #[arg(long, value_name = "XID", group = "moment", requires = "target")]
    to_xid: Option<u64>,

    /// To the restore point of this name
    #[arg(long, value_name = "NAME", group = "moment", requires = "target")]
    to_name: Option<String>,

    /// Follow this timeline: a number, `current` (that of the base backup) or `latest`
    #[arg(long, value_name = "TIMELINE", requires = "moment", value_parser = timeline)]
    target_timeline: Option<String>,

    /// What the server does there
    #[arg(long, value_name = "ACTION", default_value = "promote", requires = "moment")]
    target_action: Action,

    /// As a standby that stays one; it connects to its primary with this (libpq's words, may be empty; a password belongs into a passfile)
    #[arg(long, value_name = "CONNINFO", requires = "to_latest", conflicts_with_all = ["to_time", "to_lsn", "to_xid", "to_name"])]
    standby: Option<String>,
}

/// What a server does when it has reached the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Action {
    /// Open for writing, on a new timeline
    Promote,
    /// Wait, for reading only
    Pause,
    /// Shut down
    Shutdown,
}

fn timeline(text: &str) -> Result<String, String> {
    let known = matches!(text, "current" | "latest") || text.parse::<u32>().is_ok_and(|number| number > 0);
    known
        .then(|| text.to_owned())
        .ok_or_else(|| "write a number, `current` or `latest`".to_owned())
}

impl RecoveryArguments {
    /// What is asked for; `None` where the base backup is to be brought back as it is.
    fn options(&self, session: &Session) -> Result<Option<RecoveryOptions>, CommandError> {
        let target = match self {
            Self { to_time: Some(text), .. } => RecoveryTarget::time(text).map_err(|error| {
                CommandError::usage(
                    error.to_string(),
                    "write it as in '2026-11-21 08:00:00Z' or '2026-11-21 08:00:00+01:00'",
                )
            })?,
            Self { to_lsn: Some(text), .. } => RecoveryTarget::Lsn(text.clone()),
            Self { to_xid: Some(number), .. } => RecoveryTarget::Xid(number.to_string()),
            Self { to_name: Some(name), .. } => RecoveryTarget::Name(name.clone()),
            Self { to_latest: true, .. } => RecoveryTarget::Latest,
            _ => return Ok(None),
        };
        Ok(Some(RecoveryOptions {
            target,
            timeline: self.target_timeline.clone(),
            action: match self.target_action {
                Action::Promote => TargetAction::Promote,
                Action::Pause => TargetAction::Pause,
                Action::Shutdown => TargetAction::Shutdown,
            },
            standby: self.standby.clone(),
            program: session.program()?,
        }))
    }
}

/// How entries come into a folder.
#[derive(Debug, Args)]
#[command(next_help_heading = "Into a folder, or over what a target has")]
struct FolderArguments {
    /// Restore only what matches one of these patterns
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,

    /// Leave out what matches one of these patterns
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,

    /// Write only what differs from what is there
    #[arg(long)]
    delta: bool,

    /// Compare also files whose size and time are the same
    #[arg(long, requires = "delta")]
    checksum: bool,

    /// Remove what the snapshot does not have, of what is restored
    #[arg(long, requires = "delta")]
    delete: bool,

    /// Do not ask before something is removed
    #[arg(long, requires = "delta")]
    yes: bool,

    /// Name what would be created, updated, replaced and removed, and write nothing
    #[arg(long)]
    dry_run: bool,

    /// Give what belongs to a user to another one, by their numbers; `*` is everybody else
    #[arg(long, value_name = "OLD:NEW")]
    map_user: Vec<IdMapping>,

    /// Give what belongs to a group to another one, by their numbers; `*` is every other
    #[arg(long, value_name = "OLD:NEW")]
    map_group: Vec<IdMapping>,

    /// Leave everything to who restores it
    #[arg(long, conflicts_with_all = ["map_user", "map_group"])]
    no_owner: bool,

    /// Make device nodes, too: whoever may open one has the device
    #[arg(long)]
    devices: bool,
}

pub(crate) async fn restore(arguments: &RestoreArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let found = arguments.stored.find(&config, &arguments.paths)?;
    let place = found.place();
    let options = RestoreOptions {
        snapshot: arguments.stored.selector().to_owned(),
        paths: found.paths.clone(),
        recovery: arguments.recovery.options(session)?,
        delta: target_delta(arguments),
    };
    let target = match &arguments.target {
        None => None,
        Some(name) => {
            let pipeline = found.pipeline("--target")?;
            let target = pipeline.targets.iter().find(|target| target.name == *name);
            let target = target.ok_or_else(|| unknown("target", name, pipeline.targets.iter().map(|target| target.name.as_str())))?;
            Some((pipeline, target))
        }
    };
    if let Some((_, target)) = target
        && !may_write_over(arguments, &target.name, session).await?
    {
        return Err(CommandError::operation(&RestoreError::Declined, &config));
    }
    let operation = session.reading(&config, arguments.stored.sink.as_deref(), [place.vault])?;
    let retrieval = pipeline::retrieval(&operation, place.vault);
    tell_of_retrieval(retrieval.as_ref(), &session.output);
    let name = place.pipeline.unwrap_or(place.vault);
    let touched = Touched::new(&session.output, arguments.folder.dry_run);
    let display = ProgressDisplay::start(&session.output, name, &operation.progress);
    let result = match (&arguments.into, target) {
        (_, Some((pipeline, target))) => pipeline::restore_to_target(&operation, pipeline, &options, target).await,
        (Some(folder), None) => {
            let folder = folder_options(&arguments.folder, folder, session)?;
            let attendant = Attendant {
                confirm: confirmation(&arguments.folder, &session.output),
                tell: touched.tell(),
            };
            pipeline::restore_to_folder(&operation, place, &options, &folder, attendant).await
        }
        (None, None) => {
            return Err(CommandError::usage(
                "a restore needs a place",
                "`--into FOLDER` or `--target TARGET`",
            ));
        }
    };
    drop(display);
    let report = match result {
        Ok(report) => report,
        Err(error) => return touched.fail(CommandError::operation(&error, &config)),
    };
    let exit = if report.is_good() { Exit::Ok } else { Exit::Damaged };
    if session.output.is_json() {
        touched.end(fields(&report, retrieval.as_ref()));
        return Ok(exit);
    }
    touched.end_text();
    print(&report, name, session);
    print_findings(
        &report.findings,
        target.map(|(pipeline, target)| pipeline::target_site(pipeline, target)).as_ref(),
        &config,
        &session.output,
    );
    Ok(exit)
}

fn fields(report: &RestoreReport, retrieval: Option<&Retrieval>) -> Map<String, Value> {
    let mut document = json!(report);
    document["good"] = report.is_good().into();
    if let Some(retrieval) = retrieval {
        document["retrieval"] = json!(retrieval);
    }
    match document {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// What is to be done before a restore can read, and how long it takes.
fn tell_of_retrieval(retrieval: Option<&Retrieval>, output: &Output) {
    if let Some(Retrieval { sink, time }) = retrieval {
        output.warn(&format!(
            "warning: what is on the sink {sink} must be brought back by its store before it can be read, which takes {time}: where that was not done, the restore ends at the first object that it needs"
        ));
    }
}

/// How what the target has is brought up to the snapshot, if it is.
fn target_delta(arguments: &RestoreArguments) -> Option<TargetDelta> {
    let FolderArguments { delta, dry_run, .. } = arguments.folder;
    (delta && arguments.target.is_some()).then_some(TargetDelta { dry_run })
}

/// Whether what a target has may be removed; where nothing is to be, nobody is asked.
async fn may_write_over(arguments: &RestoreArguments, target: &str, session: &Session) -> Result<bool, CommandError> {
    let FolderArguments { delta, dry_run, yes, .. } = arguments.folder;
    if dry_run && !delta {
        return Err(CommandError::usage(
            "`--dry-run` into a target needs `--delta`",
            "without it, a restore into a target finds it empty or refuses",
        ));
    }
    let question = format!("write over what the target {target} has, and remove what the snapshot does not have?");
    agreed(!delta || dry_run || yes, &question, session).await
}

fn folder_options(arguments: &FolderArguments, folder: &Path, session: &Session) -> Result<FolderOptions, CommandError> {
    let patterns = Patterns::new(&arguments.include, &arguments.exclude)
        .map_err(|error| CommandError::usage(error.to_string(), "`bulkhead restore --help` explains patterns"))?;
    if arguments.delete && !arguments.yes && !arguments.dry_run && !session.output.can_ask() {
        return Err(CommandError::usage(
            "`--delete` removes files, and there is nobody to ask",
            "look at what `--dry-run` says, then add `--yes`",
        ));
    }
    Ok(FolderOptions {
        folder: folder.to_owned(),
        patterns,
        existing: if arguments.delta {
            ExistingFiles::Delta {
                checksum: arguments.checksum,
                delete: arguments.delete,
            }
        } else {
            ExistingFiles::Refuse
        },
        dry_run: arguments.dry_run,
        owners: Owners {
            skip: arguments.no_owner,
            users: arguments.map_user.clone(),
            groups: arguments.map_group.clone(),
        },
        devices: arguments.devices,
    })
}

/// Prints what will be removed, and asks.
fn confirmation(arguments: &FolderArguments, output: &Output) -> Confirm {
    let (output, asks) = (output.clone(), !arguments.yes);
    Box::new(move |surplus| {
        if output.is_json() {
            return true;
        }
        print_surplus(&surplus.items, &output);
        let question = format!("remove {}?", counted(surplus.entries(), "file or folder", "files and folders"));
        !asks || output.ask(&question)
    })
}

fn print_surplus(items: &[SurplusItem], output: &Output) {
    for item in items {
        let inside = if item.entries > 1 {
            format!("/  with {}", counted(item.entries - 1, "file or folder", "files and folders"))
        } else {
            String::new()
        };
        let path = shown(item.path.as_os_str().as_bytes());
        output.line(&format!("{} {path}{inside}", output.mark(Mark::Warning, "remove")));
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn print(report: &RestoreReport, name: &str, session: &Session) {
    let output = &session.output;
    if report.dry_run {
        print_surplus(&report.surplus, output);
    }
    output.line(&format!(
        "{} {}  snapshot {}  {}, {}, into {} in {}{}",
        match (report.is_good(), report.dry_run) {
            (true, false) => output.mark(Mark::Good, "restored"),
            (true, true) => output.mark(Mark::Good, "would restore"),
            (false, _) => output.mark(Mark::Bad, "damaged"),
        },
        output.mark(Mark::Strong, name),
        short(&report.snapshot),
        restored(report),
        bytes(report.bytes),
        report.target,
        duration(Duration::from_secs_f64(report.seconds)),
        if report.dry_run {
            String::new()
        } else {
            format!(" ({})", rate(report.bytes as f64 / report.seconds.max(0.001)))
        },
    ));
    if let Some(changes) = report
        .changes
        .as_ref()
        .filter(|changes| report.dry_run || changes.created != report.entries)
    {
        output.line(&output.mark(Mark::Faint, &format!("      {}", told(changes))));
    }
    for fact in &report.facts {
        output.line(&output.mark(Mark::Faint, &format!("      {}: {}", fact.name, fact.value)));
    }
}

/// How much came back. Into a folder, folders and links are counted, too; a plugin counts its entries.
fn restored(report: &RestoreReport) -> String {
    match report.changes {
        Some(_) => counted(report.entries, "file or folder", "files and folders"),
        None => counted(report.entries, "entry", "entries"),
    }
}

fn told(changes: &Changes) -> String {
    format!(
        "{} created, {} updated, {} unchanged, {} removed; {} compared, {} written",
        count(changes.created),
        count(changes.updated),
        count(changes.unchanged),
        count(changes.deleted),
        bytes(changes.bytes_compared),
        bytes(changes.bytes_written),
    )
}
