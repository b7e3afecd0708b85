//! `bulkhead key`

use std::{
    io,
    path::{Path, PathBuf},
};

use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::{KeyReport, KitError, SinkOutcome, VaultKey};
use clap::{Args, Subcommand};

use crate::{
    commands::{Several, agreed, short, vaults_named},
    error::CommandError,
    exit::Exit,
    output::{Align, Mark, Output, ProgressDisplay, Table, local_time},
    session::{Session, unknown},
};

/// The passwords that open a vault: one for each person, machine or safe
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    List(ListArguments),
    Generate(GenerateArguments),
    Add(AddArguments),
    Remove(RemoveArguments),
    Kit(KitArguments),
}

/// List the keys of vaults
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bulkhead key list\n  bulkhead key list databases --sink offsite      as the replica there has them")]
pub(crate) struct ListArguments {
    /// Vaults whose keys to list; all of them by default
    #[arg(value_name = "VAULT")]
    vaults: Vec<String>,

    /// Read from this sink, one of the vault's; the first one by default
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
}

/// Make a file with a new password that nobody can guess
///
/// 256 random bits in base64, readable by you only. A file that is there already stays as it is. Keep a copy where it survives this machine: without a
/// password nobody reads the vault, and nobody can help.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead key generate /etc/bulkhead/keys/databases      before `bulkhead init`\n  bulkhead key generate recovery.key                      to be added, printed and locked away"
)]
pub(crate) struct GenerateArguments {
    /// The file to make
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Let a further password open a vault
///
/// The vault is opened with it before this succeeds. The keys that there are go on opening it. plain restic takes it, too.
#[derive(Debug, Args)]
#[command(
    after_help = "To change the vault's password:\n  bulkhead key generate /etc/bulkhead/keys/databases-2027\n  bulkhead key add databases --password-file /etc/bulkhead/keys/databases-2027\n  (let `key` of [vault.databases] name the new file, and see it work: bulkhead check)\n  bulkhead key remove databases ID       the old one, as `key list` shows it"
)]
pub(crate) struct AddArguments {
    /// The vault
    #[arg(value_name = "VAULT")]
    vault: String,

    /// The new password; a newline at its end is not part of it. /dev/stdin reads it from there
    #[arg(long, value_name = "FILE")]
    password_file: PathBuf,
}

/// Make a page for the safe: a password of its own, and how plain restic opens the vault
///
/// All that is needed when this machine and its configuration are gone: a new password that people can type, also as a QR code; where the vault is, without
/// the credentials for that; and restic's commands. The password is shown on the page and nowhere else, and has a key of its own, by `recovery-kit` in
/// `key list`. Its last two characters check the others.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead key kit databases                          on the terminal, to be written down\n  bulkhead key kit databases --file kit.txt           to be printed, in a font of fixed width; then delete it: shred -u kit.txt"
)]
pub(crate) struct KitArguments {
    /// The vault
    #[arg(value_name = "VAULT")]
    vault: String,

    /// Write the page into this new file, which only you can read. Without it, the page is for a terminal
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Let a password open a vault no more
///
/// The key that the configuration names can't be removed. Who has opened the vault with a password may have kept what it unlocks: after a leak, also back up
/// into a new vault.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bulkhead key list databases\n  bulkhead key remove databases 3f2a91c4")]
pub(crate) struct RemoveArguments {
    /// The vault
    #[arg(value_name = "VAULT")]
    vault: String,

    /// The beginning of the key's id
    #[arg(value_name = "ID")]
    id: String,

    /// Don't ask
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn key(command: &KeyCommand, session: &Session) -> Result<Exit, CommandError> {
    match command {
        KeyCommand::List(arguments) => list(arguments, session).await,
        KeyCommand::Generate(arguments) => generate(arguments, session),
        KeyCommand::Add(arguments) => add(arguments, session).await,
        KeyCommand::Remove(arguments) => remove(arguments, session).await,
        KeyCommand::Kit(arguments) => kit(arguments, session).await,
    }
}

async fn list(arguments: &ListArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let vaults = vaults_named(&config, &arguments.vaults)?;
    let operation = session.reading(&config, arguments.sink.as_deref(), vaults.iter().map(String::as_str))?;
    let mut several = Several::new(session, &config);
    let mut table = Table::new(&[
        ("VAULT", Align::Left),
        ("KEY", Align::Left),
        ("MADE (UTC)", Align::Left),
        ("BY", Align::Left),
        ("", Align::Left),
    ]);
    for vault in &vaults {
        let Some(operation) = several.begin(&operation, vault) else {
            continue;
        };
        let work = pipeline::keys(&operation, vault);
        if let Some(report) = several.attempt(&operation, vault, work).await {
            report.keys.iter().for_each(|key| table.row(row(vault, key)));
            several.done(&report, true);
        }
    }
    if !session.output.is_json() {
        table.print(&session.output);
    }
    Ok(several.end("key-list"))
}

fn row(vault: &str, key: &VaultKey) -> [String; 5] {
    let made_by = [key.user.as_deref(), key.host.as_deref()];
    [
        vault.to_owned(),
        short(&key.id).to_owned(),
        key.created.as_deref().map(local_time).unwrap_or_default(),
        made_by.into_iter().flatten().collect::<Vec<_>>().join("@"),
        if key.current { "the configuration's" } else { "" }.to_owned(),
    ]
}

fn generate(arguments: &GenerateArguments, session: &Session) -> Result<Exit, CommandError> {
    let file = arguments.file.display();
    pipeline::generate_password(&arguments.file).map_err(|error| not_made(&arguments.file, &error))?;
    if session.output.is_json() {
        session
            .output
            .document("key-generate", &serde_json::json!({ "file": arguments.file }));
    } else {
        let done = session.output.mark(Mark::Good, "made");
        session
            .output
            .line(&format!("{done} {file}: keep a copy of it away from this machine"));
    }
    Ok(Exit::Ok)
}

fn not_made(file: &Path, error: &io::Error) -> CommandError {
    CommandError::usage(
        format!("cannot make the file {}: {error}", file.display()),
        "name a file that isn't there yet, in a folder that you may write to",
    )
}

async fn add(arguments: &AddArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let vault = one_vault(&config, &arguments.vault)?;
    let operation = session.operation(&config)?;
    let display = ProgressDisplay::start(&session.output, vault, &operation.progress);
    let added = pipeline::add_key(&operation, vault, &arguments.password_file).await;
    drop(display);
    let report = added.map_err(|error| CommandError::operation(&error, &config))?;
    Ok(told(&report, "key-add", "added", &session.output))
}

async fn remove(arguments: &RemoveArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let vault = one_vault(&config, &arguments.vault)?;
    let operation = session.operation(&config)?;
    let question = format!(
        "Remove the key {} of the vault {vault}? Its password opens the vault no more.",
        arguments.id
    );
    if !agreed(arguments.yes, &question, session).await? {
        return Ok(Exit::Ok);
    }
    let display = ProgressDisplay::start(&session.output, vault, &operation.progress);
    let removed = pipeline::remove_key(&operation, vault, &arguments.id).await;
    drop(display);
    let report = removed.map_err(|error| CommandError::operation(&error, &config))?;
    Ok(told(&report, "key-remove", "removed", &session.output))
}

async fn kit(arguments: &KitArguments, session: &Session) -> Result<Exit, CommandError> {
    if arguments.file.is_none() && !session.output.shows_secrets() {
        return Err(CommandError::usage(
            "a recovery kit is not written where others may read it: standard output is no terminal",
            "name a new file for it: --file FILE",
        ));
    }
    let config = session.config()?;
    let vault = one_vault(&config, &arguments.vault)?;
    let operation = session.operation(&config)?;
    let display = ProgressDisplay::start(&session.output, vault, &operation.progress);
    let made = pipeline::recovery_kit(&operation, vault, arguments.file.as_deref()).await;
    drop(display);
    let kit = made.map_err(|error| match &error {
        KitError::File { path, source } => not_made(path, source),
        error => CommandError::operation(error, &config),
    })?;
    let (report, output) = (&kit.report, &session.output);
    if output.is_json() {
        output.document("key-kit", report);
    } else if let Some(page) = &kit.page {
        output.line(page);
    } else if let Some(file) = &report.file {
        let (done, key) = (output.mark(Mark::Good, "made"), short(&report.key));
        output.line(&format!(
            "{done} {}, with the key {key} of the vault {vault}: print it, then delete it",
            file.display()
        ));
    }
    Ok(after_sinks(&report.sinks, output))
}

fn one_vault<'c>(config: &'c bulkhead_config::Config, name: &str) -> Result<&'c str, CommandError> {
    match config.vault(name) {
        Some(vault) => Ok(&vault.name),
        None => Err(unknown("vault", name, config.vaults.iter().map(|vault| vault.name.as_str()))),
    }
}

/// Prints a change.
fn told(report: &KeyReport, kind: &str, done: &str, output: &Output) -> Exit {
    if output.is_json() {
        output.document(kind, report);
    } else {
        for key in &report.keys {
            let mark = output.mark(Mark::Good, done);
            output.line(&format!("{mark} key {} of the vault {}", short(&key.id), report.vault));
        }
    }
    after_sinks(&report.sinks, output)
}

/// Tells of further sinks that are not where the first one is.
fn after_sinks(sinks: &[SinkOutcome], output: &Output) -> Exit {
    if !output.is_json() {
        super::print_failed_sinks(sinks, output);
    }
    if pipeline::is_everywhere(sinks) { Exit::Ok } else { Exit::Replica }
}
