//! `bulkhead dump`

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Write as _},
    sync::Arc,
};

use bulkhead_model::EntryPath;
use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::{Explain, Operation, RenderOptions};
use clap::Args;

use crate::{
    commands::stored::{Found, Stored},
    error::CommandError,
    exit::Exit,
    session::Session,
};

/// Write the content of one entry to standard output, or a snapshot in another format
///
/// With `--format`, the pipeline's plugin writes the snapshot, or what is at and below PATH, as one stream; `bulkhead plugin inspect` lists the formats of a plugin.
/// It is whole only if the command ends with 0.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead dump shop backup_manifest | jq .\n  bulkhead dump shop base/5/1259 --snapshot 3f2a91c4 > 1259\n  bulkhead dump --vault databases --snapshot 91bb0c11 /etc/hosts   whatever wrote it\n  bulkhead dump books --format sql > books.sql                     for `psql --file`\n  bulkhead dump books --format sql databases/ledger | psql         one database of them (with `set -o pipefail`)"
)]
pub(crate) struct DumpArguments {
    #[command(flatten)]
    stored: Stored,

    /// The entry, as `bulkhead ls` prints it
    #[arg(value_name = "PATH", required_unless_present_any = ["format", "vault"])]
    path: Option<OsString>,

    /// Write the snapshot in this format
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

/// One read.
const READ_SIZE: usize = 1 << 20;

pub(crate) async fn dump(arguments: &DumpArguments, session: &Session) -> Result<Exit, CommandError> {
    if session.output.is_json() {
        return Err(CommandError::usage(
            "`dump` writes bytes, not JSON",
            "leave `--json` out; `bulkhead ls --json` describes entries",
        ));
    }
    let config = session.config()?;
    let found = arguments.stored.find(&config, &arguments.path)?;
    let operation = session.reading(&config, arguments.stored.sink.as_deref(), [found.place().vault])?;
    let stream = Stream {
        arguments,
        session,
        operation: &operation,
        found: &found,
        output: Arc::new(session.output.unlocked().map_err(|error| CommandError::output(&error))?),
    };
    match (&arguments.format, found.path()?) {
        (Some(format), path) => stream.rendering(format, path).await,
        (None, Some(path)) => stream.entry(path).await,
        (None, None) => Err(CommandError::usage(
            "`dump` writes one entry",
            "name it, as `bulkhead ls` prints it; without a pipeline, with a `/` before it",
        )),
    }
}

/// What is written, and where.
struct Stream<'a> {
    arguments: &'a DumpArguments,
    session: &'a Session,
    operation: &'a Operation,
    found: &'a Found<'a>,
    output: Arc<File>,
}

impl Stream<'_> {
    async fn entry(&self, path: &EntryPath) -> Result<Exit, CommandError> {
        let snapshot = pipeline::open_snapshot(self.operation, self.found.place(), self.arguments.stored.selector())
            .await
            .map_err(|error| self.failed(&error))?;
        let mut content = snapshot.content(path).await.map_err(|error| self.failed(&error))?;
        while let Some(data) = content.read(READ_SIZE).await.map_err(|error| self.failed(&error))? {
            if !self.is_written(data).await? {
                break;
            }
        }
        Ok(Exit::Ok)
    }

    async fn rendering(&self, format: &str, path: Option<&EntryPath>) -> Result<Exit, CommandError> {
        let options = RenderOptions {
            snapshot: self.arguments.stored.selector().to_owned(),
            format: format.to_owned(),
            paths: path.into_iter().cloned().collect(),
        };
        let pipeline = self.found.pipeline("--format")?;
        let mut rendering = pipeline::render(self.operation, pipeline, options)
            .await
            .map_err(|error| self.failed(&error))?;
        while let Some(data) = rendering.next().await.map_err(|error| self.failed(&error))? {
            if !self.is_written(data).await? {
                // What is whole only at its end is no success without it.
                return Err(CommandError::output(&io::ErrorKind::BrokenPipe.into()));
            }
        }
        Ok(Exit::Ok)
    }

    /// Writes to standard output; `false` where nobody reads on: `| head` has seen enough.
    async fn is_written(&self, data: impl AsRef<[u8]> + Send + 'static) -> Result<bool, CommandError> {
        let output = self.output.clone();
        // In a thread that is left behind: a reader may not read for hours, and an interruption does not wait for it.
        let writing = tokio::task::spawn_blocking(move || (&*output).write_all(data.as_ref()));
        let written = tokio::select! {
            written = writing => written.map_err(io::Error::other).flatten(),
            () = self.session.cancellation.cancelled() => return Err(CommandError::interrupted()),
        };
        match written {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(CommandError::output(&error)),
        }
    }

    fn failed(&self, error: &dyn Explain) -> CommandError {
        CommandError::operation(error, &self.operation.config)
    }
}
