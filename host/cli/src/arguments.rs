//! The command line: what every command shares. Each command's own arguments are in its file.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands;

/// Backup and restore with sandboxed plugins, and proof that it worked.
///
/// A pipeline takes snapshots of one source into a vault: an encrypted, deduplicating repository in restic's format, on one or more sinks. Pipelines,
/// vaults and sinks are tables of a TOML file, which also says everything that a plugin may touch.
#[derive(Debug, Parser)]
#[command(
    name = "bulkhead",
    version,
    max_term_width = 110,
    after_help = "Begin with:\n  bulkhead plan               what would be done, and what each plugin may touch\n  bulkhead init               make the vaults\n  bulkhead check              try everything that a run needs\n  bulkhead run PIPELINE       take a snapshot\n  bulkhead restore PIPELINE --into FOLDER\n\nExit codes are explained in docs/exit-codes.md, --json documents in docs/json.md."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: GlobalArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
pub(crate) struct GlobalArguments {
    /// The configuration [default: ./bulkhead.toml, then /etc/bulkhead/bulkhead.toml]
    #[arg(short, long, value_name = "FILE", global = true, env = "BULKHEAD_CONFIG", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,

    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Print results and errors only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    /// Log more: -v what is done, -vv how, -vvv everything
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,

    /// How log records look
    #[arg(long, value_name = "FORMAT", global = true, default_value = "text")]
    pub(crate) log_format: LogFormat,

    /// Folder for compiled plugins; it can be lost [default: $XDG_CACHE_HOME/bulkhead, /var/cache/bulkhead for root]
    #[arg(long, value_name = "FOLDER", global = true, env = "BULKHEAD_CACHE_DIR", hide_env_values = true)]
    pub(crate) cache_dir: Option<PathBuf>,
}

/// How log records look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(commands::init::InitArguments),
    Check(commands::check::CheckArguments),
    Plan(commands::plan::PlanArguments),
    Run(commands::run::RunArguments),
    Status(commands::status::StatusArguments),
    Snapshots(commands::snapshots::SnapshotsArguments),
    Ls(commands::ls::LsArguments),
    Find(commands::find::FindArguments),
    Diff(commands::diff::DiffArguments),
    Stats(commands::stats::StatsArguments),
    Browse(commands::browse::BrowseArguments),
    Dump(commands::dump::DumpArguments),
    Restore(commands::restore::RestoreArguments),
    WalFetch(commands::wal_fetch::WalFetchArguments),
    WalPush(commands::wal_push::WalPushArguments),
    WalVerify(commands::wal_verify::WalVerifyArguments),
    Mount(commands::mount::MountArguments),
    Verify(commands::verify::VerifyArguments),
    Copy(commands::copy::CopyArguments),
    Forget(commands::forget::ForgetArguments),
    Prune(commands::prune::PruneArguments),
    Tag(commands::tag::TagArguments),
    #[command(subcommand)]
    Hold(commands::hold::HoldCommand),
    #[command(subcommand)]
    Repair(commands::repair::RepairCommand),
    Unlock(commands::unlock::UnlockArguments),
    ExtendLocks(commands::extend_locks::ExtendLocksArguments),
    #[command(subcommand)]
    Key(commands::key::KeyCommand),
    #[command(subcommand)]
    Auth(commands::auth::AuthCommand),
    #[command(subcommand)]
    Plugin(commands::plugin::PluginCommand),
    Man(commands::man::ManArguments),
    Completions(commands::completions::CompletionsArguments),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn help_teaches() {
        let mut root = Arguments::command().term_width(100);
        root.build();
        let mut pages = vec![root.render_long_help().to_string()];
        for name in [
            "init",
            "check",
            "plan",
            "run",
            "snapshots",
            "ls",
            "find",
            "diff",
            "stats",
            "browse",
            "dump",
            "restore",
            "wal-fetch",
            "wal-push",
            "wal-verify",
            "mount",
            "verify",
            "copy",
            "forget",
            "prune",
            "tag",
            "hold",
            "repair",
            "unlock",
            "key",
            "auth",
            "plugin",
            "man",
            "completions",
        ] {
            let page = root.find_subcommand_mut(name).map(|command| command.render_long_help().to_string());
            pages.extend(page);
        }
        insta::assert_snapshot!(pages.join("\n────────\n"));
    }
}
