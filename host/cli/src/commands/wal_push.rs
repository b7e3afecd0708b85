//! `bulkhead wal-push`

use std::{path::PathBuf, sync::Arc};

use bulkhead_config::Config;
use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::PushReport;
use clap::Args;

use crate::{
    commands::{print_findings, short},
    error::CommandError,
    exit::Exit,
    session::{Session, one_pipeline},
};

/// Store a file of the write-ahead log, as PostgreSQL hands it over
///
/// This is an `archive_command`, where a server's log is not to be streamed. It ends with 0 when the file is durable on the vault's first sink, or was there before; it refuses another
/// file of the same name. Other files that are ready go into the same snapshot. Whatever fails ends it with a code from 1 to 125: PostgreSQL keeps the file, and
/// tries again.
///
/// The pipeline is one of mode `wal`, whose `directory.log` grants the server's pg_wal. The server's user must be able to read the configuration and the vault's key, and to
/// write to its sinks. Nobody else may follow the same log into that pipeline.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead wal-push shop-wal pg_wal/0000000100000000000000A3\n\nIn postgresql.conf:\n  archive_mode = on\n  archive_command = 'bulkhead -c /etc/bulkhead/bulkhead.toml wal-push shop-wal %p'"
)]
pub(crate) struct WalPushArguments {
    /// The pipeline that stores the log
    #[arg(value_name = "PIPELINE")]
    pipeline: String,

    /// The file: `%p`
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

pub(crate) async fn wal_push(arguments: &WalPushArguments, session: &Session) -> Result<Exit, CommandError> {
    match push(arguments, session).await {
        Ok((report, config)) => {
            print(&report, session);
            if !session.output.is_json() {
                print_findings(&report.findings, None, &config, &session.output);
            }
            Ok(Exit::Ok)
        }
        Err(error) => {
            session.output.complain(&error);
            Ok(for_the_archiver(error.exit()))
        }
    }
}

/// Codes above 125 are to PostgreSQL what a signal is: its archiver ends and is started anew, instead of trying again.
fn for_the_archiver(exit: Exit) -> Exit {
    match exit {
        Exit::Cancelled | Exit::Undecided => Exit::Internal,
        other => other,
    }
}

async fn push(arguments: &WalPushArguments, session: &Session) -> Result<(PushReport, Arc<Config>), CommandError> {
    let config = session.config()?;
    let pipeline = one_pipeline(&config, &arguments.pipeline)?;
    let operation = session.operation(&config)?;
    let pushed = pipeline::push_log(&operation, pipeline, &arguments.path).await;
    match pushed {
        Ok(report) => Ok((report, config)),
        Err(error) => Err(CommandError::operation(&error, &config)),
    }
}

fn print(report: &PushReport, session: &Session) {
    let output = &session.output;
    if report.everywhere == Some(false) {
        output.warn("warning: not all sinks of the vault have it; the next run fills them");
    }
    if output.is_json() {
        return output.document("wal-push", &serde_json::to_value(report).unwrap_or_default());
    }
    let (file, snapshot) = (&report.file, short(&report.snapshot));
    output.line(&match report.stored.len() {
        0 => format!("{file} was stored before; snapshot {snapshot} has it"),
        1 => format!("stored {file}  snapshot {snapshot}"),
        number => format!("stored {file} and {} more  snapshot {snapshot}", number - 1),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archiver_hears_no_signals() {
        assert_eq!(for_the_archiver(Exit::Cancelled), Exit::Internal);
        assert_eq!(for_the_archiver(Exit::Unreachable), Exit::Unreachable);
    }
}
