//! `bulkhead wal-verify`

use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::BaseReach;
use clap::Args;

use crate::{
    commands::{print_findings, short},
    error::CommandError,
    exit::Exit,
    output::{Mark, Output, ProgressDisplay},
    session::{Session, one_pipeline},
};

/// Read a write-ahead log, and say what can be reached with it
///
/// Of the newest snapshot: that no segment and no history is missing, and that every page of every segment is of this cluster, and where it says. Then, for each base backup of the
/// pipelines whose `wal` names this one, from when to when it can be recovered. It ends with 10 where the log is damaged.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bulkhead wal-verify shop-wal\n  bulkhead wal-verify shop-wal --json | jq .bases")]
pub(crate) struct WalVerifyArguments {
    /// The pipeline that stores the log
    #[arg(value_name = "PIPELINE")]
    pipeline: String,

    /// Read from this sink, one of the vault's; the first one by default
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
}

pub(crate) async fn wal_verify(arguments: &WalVerifyArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let wal = one_pipeline(&config, &arguments.pipeline)?;
    let operation = session.reading(&config, arguments.sink.as_deref(), [wal.vault.as_str()])?;
    let output = &session.output;
    let display = ProgressDisplay::start(output, &wal.name, &operation.progress);
    let verified = pipeline::verify_log(&operation, wal).await;
    drop(display);
    let verified = verified.map_err(|error| CommandError::operation(&error, &config))?;
    let good = verified.log.is_good();
    let exit = if good { Exit::Ok } else { Exit::Damaged };
    if output.is_json() {
        let mut document = serde_json::to_value(&verified).unwrap_or_default();
        document["good"] = good.into();
        output.document("wal-verify", &document);
        return Ok(exit);
    }
    let mark = if good {
        output.mark(Mark::Good, "good")
    } else {
        output.mark(Mark::Bad, "damaged")
    };
    output.line(&format!("{mark} {}  snapshot {}", wal.name, short(&verified.log.snapshot)));
    print_findings(&verified.log.findings, Some(&pipeline::pipeline_site(wal)), &config, output);
    for base in &verified.bases {
        print_base(base, output);
    }
    Ok(exit)
}

fn print_base(base: &BaseReach, output: &Output) {
    let name = format!("base backup {} of {}", short(&base.base), base.pipeline);
    match (&base.range, &base.error) {
        (Some(range), _) => output.line(&format!(
            "{name}: from {} ({}) to {} ({}) of timeline {}",
            range.from_time, range.from_lsn, range.to_time, range.to_lsn, range.timeline
        )),
        (None, error) => {
            let why = error.as_deref().unwrap_or_default();
            output.line(&format!(
                "{} {name} is not brought forward: {why}",
                output.mark(Mark::Warning, "warning")
            ));
        }
    }
}
