//! `bulkhead extend-locks`

use bulkhead_pipeline as pipeline;
use clap::Args;

use crate::{
    commands::{Several, print_locks, vaults_named},
    error::CommandError,
    exit::Exit,
    session::Session,
};

/// Lock for longer what is on sinks with `lock`
///
/// Runs and copies do it too, when they succeed; this does it whatever becomes of them. Where locks end late enough, nothing is done.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead extend-locks                  all vaults; for a timer, once a day\n  bulkhead extend-locks databases"
)]
pub(crate) struct ExtendLocksArguments {
    /// Vaults whose sinks to look at; all of them by default
    #[arg(value_name = "VAULT")]
    vaults: Vec<String>,
}

pub(crate) async fn extend_locks(arguments: &ExtendLocksArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let operation = session.operation(&config)?;
    let mut several = Several::new(session, &config);
    for vault in vaults_named(&config, &arguments.vaults)? {
        let Some(operation) = several.begin(&operation, &vault) else {
            continue;
        };
        let work = pipeline::extend_locks(&operation, &vault);
        if let Some(report) = several.attempt(&operation, &vault, work).await {
            if !session.output.is_json() {
                print_locks(&report.locks, &session.output);
            }
            if !report.is_locked() {
                several.exit = several.exit.and(Exit::Findings);
            }
            several.done(&report, true);
        }
    }
    Ok(several.end("extend-locks"))
}
