//! `bulkhead find`

use std::sync::Arc;

use bulkhead_config::Config;
use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::{
    BlobSelector, Discovery, EntryFilter, Explain as _, FailureClass, FindRequest, FoundEntry, Sought, UnreadableFolder,
};
use clap::{Args, builder::PossibleValuesParser};
use serde_json::{Map, Value, json};

use crate::{
    commands::{ls, short},
    error::CommandError,
    exit::Exit,
    output::{DocumentStream, Mark, Output, count, local_time, shown},
    session::{Session, unknown},
};

/// Find entries in all snapshots, or what stored blobs belong to
///
/// Each entry is told once with the first and the last snapshot that has it, and their number: entries of one path are the same where type, content, mode and
/// owner are. A pattern without `/` is compared with names, one that begins with `/` with whole paths, any other with the ends of paths; `*` stays within a folder,
/// `**` does not. With --pack, --blob and --tree: the files and folders that damage of these would reach. Damaged folders are told, and the rest is searched.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead find '*.conf'\n  bulkhead find orders.db --pipeline shop --long\n  bulkhead find '/etc/**/passwd' --newer '7 d' --ignore-case\n  bulkhead find --snapshot latest --pipeline shop --type symlink\n  bulkhead find --pack 5c1f09                   what was in the pack that `verify` names"
)]
pub(crate) struct FindArguments {
    /// Names or paths; every entry where there is none
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,

    /// Search only snapshots of this pipeline; can be repeated
    #[arg(short, long = "pipeline", value_name = "NAME")]
    pipelines: Vec<String>,

    /// Search only this vault; all of them by default
    #[arg(long, value_name = "VAULT", conflicts_with = "pipelines")]
    vault: Option<String>,

    /// Search only this snapshot: `latest`, `latest~1` for the one before, or the beginning of its id; can be repeated
    #[arg(long = "snapshot", value_name = "ID")]
    snapshots: Vec<String>,

    /// Read from this sink, one of the vault's; the first one by default
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,

    /// Entries that were changed at or after this time: 2026-11-01, 2026-11-01T12:30:00Z, or how long ago: '7 d'
    #[arg(long, value_name = "TIME")]
    newer: Option<String>,

    /// Entries that were changed at or before this time
    #[arg(long, value_name = "TIME")]
    older: Option<String>,

    /// Entries of this type; can be repeated
    #[arg(long = "type", value_name = "TYPE", value_parser = PossibleValuesParser::new(TYPES))]
    types: Vec<String>,

    /// Upper and lower case are the same
    #[arg(short, long)]
    ignore_case: bool,

    /// Show permissions, owner, size and time as in the last snapshot
    #[arg(short, long)]
    long: bool,

    /// Entries with content in this pack (beginning of its id); can be repeated
    #[arg(long = "pack", value_name = "ID", conflicts_with_all = ENTRY_ARGUMENTS)]
    packs: Vec<String>,

    /// Files that this blob is part of (beginning of its id); can be repeated
    #[arg(long = "blob", value_name = "ID", conflicts_with_all = ENTRY_ARGUMENTS)]
    blobs: Vec<String>,

    /// Folders that are stored as this tree (beginning of its id); can be repeated
    #[arg(long = "tree", value_name = "ID", conflicts_with_all = ENTRY_ARGUMENTS)]
    trees: Vec<String>,
}

const TYPES: [&str; 7] = ["file", "directory", "symlink", "fifo", "socket", "character-device", "block-device"];
/// What makes no sense when blobs are looked for.
const ENTRY_ARGUMENTS: [&str; 5] = ["patterns", "newer", "older", "types", "ignore_case"];

pub(crate) async fn find(arguments: &FindArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let request = FindRequest {
        sought: sought(arguments)?,
        pipelines: arguments.pipelines.clone(),
        snapshots: arguments.snapshots.clone(),
    };
    let vaults = vaults(&config, arguments)?;
    let operation = session.reading(&config, arguments.sink.as_deref(), vaults.iter().copied())?;
    let mut telling = Telling::new(&session.output, arguments.long);
    let mut missing = Vec::new();
    for vault in &vaults {
        match search(&operation.child(), vault, &request, &mut telling, &config).await {
            Ok(()) => {}
            // A snapshot or a pack is in one of the vaults.
            Err((FailureClass::NotFound, error)) if vaults.len() > 1 => missing.push(error),
            Err((_, error)) => return telling.fail(error),
        }
    }
    match missing.pop() {
        Some(error) if missing.len() + 1 == vaults.len() => telling.fail(error),
        _ => Ok(telling.end()),
    }
}

fn sought(arguments: &FindArguments) -> Result<Sought, CommandError> {
    let packs = arguments.packs.iter().cloned().map(BlobSelector::Pack);
    let blobs = arguments.blobs.iter().cloned().map(BlobSelector::Data);
    let trees = arguments.trees.iter().cloned().map(BlobSelector::Tree);
    let selectors: Vec<BlobSelector> = packs.chain(blobs).chain(trees).collect();
    if !selectors.is_empty() {
        return Ok(Sought::Blobs(selectors));
    }
    EntryFilter::default()
        .types(&arguments.types)
        .names(&arguments.patterns, arguments.ignore_case)
        .and_then(|filter| filter.changed(arguments.newer.as_deref(), arguments.older.as_deref()))
        .map(Sought::Entries)
        .map_err(|error| CommandError::usage(error.to_string(), "`bulkhead find --help` shows how patterns and times are written"))
}

/// The vaults to search, in the order of the file.
fn vaults<'c>(config: &'c Config, arguments: &FindArguments) -> Result<Vec<&'c str>, CommandError> {
    for name in &arguments.pipelines {
        if !config.pipelines.iter().any(|pipeline| pipeline.name == *name) {
            let known = config.pipelines.iter().map(|pipeline| pipeline.name.as_str());
            return Err(unknown("pipeline", name, known));
        }
    }
    let all = config.vaults.iter().map(|vault| vault.name.as_str());
    if let Some(name) = arguments.vault.as_ref().filter(|name| config.vault(name).is_none()) {
        return Err(unknown("vault", name, all));
    }
    let is_of_a_pipeline = |vault: &str| {
        let mut pipelines = config
            .pipelines
            .iter()
            .filter(|pipeline| arguments.pipelines.contains(&pipeline.name));
        arguments.pipelines.is_empty() || pipelines.any(|pipeline| pipeline.vault == vault)
    };
    let is_named = |vault: &str| arguments.vault.as_ref().is_none_or(|name| name == vault);
    Ok(all.filter(|vault| is_named(vault) && is_of_a_pipeline(vault)).collect())
}

async fn search(
    operation: &pipeline::Operation,
    vault: &str,
    request: &FindRequest,
    telling: &mut Telling,
    config: &Arc<Config>,
) -> Result<(), (FailureClass, CommandError)> {
    let failed = |error: pipeline::FindError| (error.explain().class, CommandError::operation(&error, config));
    let mut search = pipeline::find(operation, vault, request).await.map_err(failed)?;
    for snapshot in search.unreadable() {
        telling.unreadable_snapshot(snapshot);
    }
    while let Some(discovery) = search.next().await.map_err(failed)? {
        match discovery {
            Discovery::Entry(entry) => telling.entry(&entry),
            Discovery::Unreadable(folder) => telling.unreadable_folder(&folder),
        }
    }
    telling.snapshots += search.snapshots();
    Ok(())
}

/// Tells what is found as it is found.
struct Telling {
    output: Output,
    document: DocumentStream,
    long: bool,
    entries: u64,
    snapshots: usize,
    /// Damaged folders and snapshots, for the document.
    unreadable: Vec<Value>,
    exit: Exit,
}

impl Telling {
    fn new(output: &Output, long: bool) -> Self {
        Self {
            output: output.clone(),
            document: DocumentStream::new(output, "find", "entries"),
            long,
            entries: 0,
            snapshots: 0,
            unreadable: Vec::new(),
            exit: Exit::Ok,
        }
    }

    fn entry(&mut self, found: &FoundEntry) {
        if self.output.is_json() {
            self.document.item(found);
        } else {
            if self.entries == 0 {
                let head = "FIRST                         LAST                          SNAPSHOTS  ENTRY";
                self.output.line(&self.output.mark(Mark::Strong, head));
            }
            self.output.line(&line(found, self.long));
        }
        self.entries += 1;
    }

    fn unreadable_folder(&mut self, folder: &UnreadableFolder) {
        let path = if folder.path.is_empty() { "/" } else { &folder.path };
        let snapshots: Vec<&str> = folder.snapshots.iter().map(|id| short(id)).collect();
        self.output.warn(&format!(
            "error: the folder {} in vault {} was not searched, it can't be read: {}\n  affected snapshots: {}",
            shown(path),
            folder.vault,
            folder.error,
            snapshots.join(", ")
        ));
        self.damaged(json!(folder));
    }

    fn unreadable_snapshot(&mut self, snapshot: &pipeline::UnreadableSnapshot) {
        self.output.warn(&format!(
            "error: the snapshot {} in vault {} was not searched, it can't be read: {}",
            short(&snapshot.id),
            snapshot.vault,
            snapshot.error
        ));
        self.damaged(json!(snapshot));
    }

    fn damaged(&mut self, document: Value) {
        self.unreadable.push(document);
        self.exit = Exit::Damaged;
    }

    fn end(self) -> Exit {
        if self.output.is_json() {
            self.document.end(fields(self.snapshots, self.unreadable));
        } else if self.entries == 0 {
            self.output
                .note(&format!("nothing found in {} snapshots", count(self.snapshots as u64)));
        }
        self.exit
    }

    /// What went wrong half-way is told in the document that was begun.
    fn fail(self, error: CommandError) -> Result<Exit, CommandError> {
        if !self.document.has_begun() {
            return Err(error);
        }
        let mut fields = fields(self.snapshots, self.unreadable);
        fields.insert("error".to_owned(), error.to_json());
        self.document.end(fields);
        Ok(error.exit())
    }
}

fn fields(snapshots: usize, unreadable: Vec<Value>) -> Map<String, Value> {
    Map::from_iter([
        ("snapshots".to_owned(), snapshots.into()),
        ("unreadable".to_owned(), unreadable.into()),
    ])
}

fn line(found: &FoundEntry, long: bool) -> String {
    let appearance = |appearance: &pipeline::Appearance| format!("{} {}", short(&appearance.id), local_time(&appearance.time));
    let path = if found.entry.path.is_empty() { "/" } else { &found.entry.path };
    let of = found.pipeline.as_deref().unwrap_or("-");
    let entry = if long { ls::line(&found.entry, true) } else { shown(path) };
    let blobs: Vec<String> = found
        .blobs
        .iter()
        .map(|blob| format!("{} {}", blob.r#type, short(&blob.id)))
        .collect();
    let blobs = if blobs.is_empty() {
        String::new()
    } else {
        format!("  ({})", blobs.join(", "))
    };
    format!(
        "{}  {}  {:>9}  {of}: {entry}{blobs}",
        appearance(&found.first),
        appearance(&found.last),
        count(found.snapshots.len() as u64),
    )
}
