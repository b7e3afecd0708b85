//! `bulkhead unlock`

use bulkhead_pipeline as pipeline;
use clap::Args;

use crate::{
    commands::{Several, agreed, print_sinks, vaults_named},
    error::CommandError,
    exit::Exit,
    session::Session,
};

/// Remove locks that nobody holds any more
///
/// A run or a prune that was killed leaves its lock behind. It is taken for dead when its process is gone from this host, or when it has not refreshed its
/// lock for half an hour. With --force it asks first.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead unlock\n  bulkhead unlock databases --force           every lock, also of those who are at work: they fail\n  bulkhead unlock databases --force --yes     where nobody can be asked"
)]
pub(crate) struct UnlockArguments {
    /// Vaults to unlock; all of them by default
    #[arg(value_name = "VAULT")]
    vaults: Vec<String>,

    /// Remove every lock: those who hold them fail
    #[arg(long)]
    force: bool,

    /// With --force: don't ask
    #[arg(short, long, requires = "force")]
    yes: bool,
}

pub(crate) async fn unlock(arguments: &UnlockArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let operation = session.operation(&config)?;
    let mut several = Several::new(session, &config);
    for vault in vaults_named(&config, &arguments.vaults)? {
        let Some(operation) = several.begin(&operation, &vault) else {
            continue;
        };
        let question = format!("Remove every lock of the vault {vault}? Whoever is at work in it fails.");
        if arguments.force && !agreed(arguments.yes, &question, session).await? {
            continue;
        }
        let work = pipeline::unlock(&operation, &vault, arguments.force);
        if let Some(report) = several.attempt(&operation, &vault, work).await {
            if !session.output.is_json() {
                let done = format!("vault {} unlocked", report.vault);
                print_sinks(&report.sinks, &done, "lock removed", "locks removed", &session.output);
            }
            several.done(&report, pipeline::is_everywhere(&report.sinks));
        }
    }
    Ok(several.end("unlock"))
}
