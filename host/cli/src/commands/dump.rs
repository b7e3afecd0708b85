//! `bulkhead dump`

use std::{ffi::OsString, io};

use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::SnapshotError;
use clap::Args;

use crate::{
    commands::entry_path,
    error::CommandError,
    exit::Exit,
    session::{Session, one_pipeline},
};

/// Write the content of one entry to standard output
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead dump shop backup_manifest | jq .\n  bulkhead dump shop base/5/1259 --snapshot 3f2a91c4 > 1259"
)]
pub(crate) struct DumpArguments {
    /// The pipeline
    #[arg(value_name = "PIPELINE")]
    pipeline: String,

    /// The entry, as `bulkhead ls` prints it
    #[arg(value_name = "PATH")]
    path: OsString,

    /// The beginning of a snapshot's id
    #[arg(long, value_name = "ID", default_value = "latest")]
    snapshot: String,

    /// Read from this sink, one of the vault's; the first one by default
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
}

/// One read.
const READ_SIZE: usize = 1 << 20;

pub(crate) async fn dump(arguments: &DumpArguments, session: &Session) -> Result<Exit, CommandError> {
    if session.output.is_json() {
        return Err(CommandError::usage(
            "`dump` writes the bytes of an entry, not JSON",
            "leave `--json` out; `bulkhead ls --json` describes entries",
        ));
    }
    let config = session.config()?;
    let pipeline = one_pipeline(&config, &arguments.pipeline)?;
    let path = entry_path(&arguments.path)?;
    let operation = session.reading(&config, arguments.sink.as_deref(), [pipeline.vault.as_str()])?;
    let failed = |error: SnapshotError| CommandError::operation(&error, &config);
    let snapshot = pipeline::open_snapshot(&operation, pipeline, &arguments.snapshot)
        .await
        .map_err(failed)?;
    let mut content = snapshot.content(&path).await.map_err(failed)?;
    while let Some(data) = content.read(READ_SIZE).await.map_err(failed)? {
        match session.output.raw(&data) {
            Ok(()) => {}
            // `| head` has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Exit::Ok),
            Err(error) => return Err(CommandError::output(&error)),
        }
    }
    Ok(Exit::Ok)
}
