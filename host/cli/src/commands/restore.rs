//! `bulkhead restore`

use std::{ffi::OsString, path::PathBuf, time::Duration};

use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::{RestoreOptions, RestoreReport};
use clap::Args;

use crate::{
    commands::{entry_path, print_findings, short},
    error::CommandError,
    exit::Exit,
    output::{Mark, ProgressDisplay, bytes, counted, duration, rate},
    session::{Session, one_pipeline, unknown},
};

/// Bring a snapshot back
///
/// Into a folder, the entries come back as they are stored. Into a target, the pipeline's plugin brings them back; a target is a table
/// [pipeline.NAME.target.TARGET] of the configuration, with grants of its own.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead restore shop --into /tmp/shop\n  bulkhead restore shop --into /tmp/shop base/5 global      a part of it\n  bulkhead restore shop --target scratch --snapshot 3f2a91c4\n  bulkhead restore shop --into /tmp/shop --sink offsite      from the replica there"
)]
pub(crate) struct RestoreArguments {
    /// The pipeline
    #[arg(value_name = "PIPELINE")]
    pipeline: String,

    /// Restore only what is at and below these paths
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,

    /// Folder to restore into: empty, or not there yet
    #[arg(long, value_name = "FOLDER", required_unless_present = "target")]
    into: Option<PathBuf>,

    /// Target to restore into, by the pipeline's plugin
    #[arg(long, value_name = "TARGET", conflicts_with = "into")]
    target: Option<String>,

    /// The beginning of a snapshot's id
    #[arg(long, value_name = "ID", default_value = "latest")]
    snapshot: String,

    /// Read from this sink, one of the vault's; the first one by default
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
}

pub(crate) async fn restore(arguments: &RestoreArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let pipeline = one_pipeline(&config, &arguments.pipeline)?;
    let paths = arguments.paths.iter().map(|path| entry_path(path)).collect::<Result<_, _>>()?;
    let options = RestoreOptions {
        snapshot: arguments.snapshot.clone(),
        paths,
    };
    let target = match &arguments.target {
        None => None,
        Some(name) => {
            let target = pipeline.targets.iter().find(|target| target.name == *name);
            Some(target.ok_or_else(|| unknown("target", name, pipeline.targets.iter().map(|target| target.name.as_str())))?)
        }
    };
    let operation = session.reading(&config, arguments.sink.as_deref(), [pipeline.vault.as_str()])?;
    let display = ProgressDisplay::start(&session.output, &pipeline.name, &operation.progress);
    let result = match (&arguments.into, target) {
        (_, Some(target)) => pipeline::restore_to_target(&operation, pipeline, &options, target).await,
        (Some(folder), None) => pipeline::restore_to_folder(&operation, pipeline, &options, folder).await,
        (None, None) => {
            return Err(CommandError::usage(
                "a restore needs a place",
                "`--into FOLDER` or `--target TARGET`",
            ));
        }
    };
    drop(display);
    let report = result.map_err(|error| CommandError::operation(&error, &config))?;
    let exit = if report.is_good() { Exit::Ok } else { Exit::Damaged };
    if session.output.is_json() {
        let mut document = serde_json::to_value(&report).unwrap_or_default();
        document["good"] = report.is_good().into();
        session.output.document("restore", &document);
        return Ok(exit);
    }
    print(&report, session);
    print_findings(
        &report.findings,
        target.map(|target| pipeline::target_site(pipeline, target)).as_ref(),
        &config,
        &session.output,
    );
    Ok(exit)
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn print(report: &RestoreReport, session: &Session) {
    let output = &session.output;
    output.line(&format!(
        "{} {}  snapshot {}  {}, {}, into {} in {} ({})",
        if report.is_good() {
            output.mark(Mark::Good, "restored")
        } else {
            output.mark(Mark::Bad, "damaged")
        },
        output.mark(Mark::Strong, &report.pipeline),
        short(&report.snapshot),
        counted(report.entries, "entry", "entries"),
        bytes(report.bytes),
        report.target,
        duration(Duration::from_secs_f64(report.seconds)),
        rate(report.bytes as f64 / report.seconds.max(0.001)),
    ));
    for fact in &report.facts {
        output.line(&output.mark(Mark::Faint, &format!("      {}: {}", fact.name, fact.value)));
    }
}
