//! `bulkhead browse`

use std::ffi::OsString;

use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::{BrowseError, BrowseOptions, BrowsedItem};
use clap::Args;

use crate::{
    commands::entry_path,
    error::CommandError,
    exit::Exit,
    output::{Mark, Output, ProgressDisplay, bytes, shown},
    session::{Session, pipeline_in},
};

/// List what is inside an entry
///
/// The keys of a database image, the tables of a dump: what the pipeline's plugin makes of the entry's content. Not every plugin looks inside.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead browse cache dump.rdb\n  bulkhead browse cache dump.rdb session/ --limit 100\n  bulkhead browse cache dump.rdb session/ --limit 100 --after session/8f2c    the next hundred"
)]
pub(crate) struct BrowseArguments {
    /// The pipeline
    #[arg(value_name = "PIPELINE")]
    pipeline: String,

    /// The entry, as `bulkhead ls` prints it
    #[arg(value_name = "ENTRY")]
    entry: OsString,

    /// List only names that begin like this
    #[arg(value_name = "PREFIX", default_value = "")]
    prefix: String,

    /// The beginning of a snapshot's id
    #[arg(long, value_name = "ID", default_value = "latest")]
    snapshot: String,

    /// Read from this sink, one of the vault's; the first one by default
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,

    /// Read the copy in this vault, which is fed from the pipeline's own
    #[arg(long, value_name = "VAULT")]
    vault: Option<String>,

    /// List only names after this one
    #[arg(long, value_name = "NAME")]
    after: Option<String>,

    /// List so many names at most
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

pub(crate) async fn browse(arguments: &BrowseArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let pipeline = &pipeline_in(&config, &arguments.pipeline, arguments.vault.as_deref())?;
    let options = BrowseOptions {
        snapshot: arguments.snapshot.clone(),
        entry: entry_path(&arguments.entry)?,
        prefix: arguments.prefix.clone(),
        after: arguments.after.clone(),
    };
    let operation = session.reading(&config, arguments.sink.as_deref(), [pipeline.vault.as_str()])?;
    let failed = |error: BrowseError| CommandError::operation(&error, &config);
    let display = ProgressDisplay::start(&session.output, &pipeline.name, &operation.progress);
    let mut browsing = pipeline::browse(&operation, pipeline, options).await.map_err(failed)?;
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    let mut items = Vec::new();
    let mut more = false;
    while let Some(mut page) = browsing.next_page().await.map_err(failed)? {
        if page.len() as u64 > left {
            page.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            more = true;
        }
        left -= page.len() as u64;
        if session.output.is_json() {
            items.extend(page);
        } else {
            page.iter().for_each(|item| session.output.line(&line(item, &session.output)));
        }
        if more {
            break;
        }
    }
    drop(display);
    if session.output.is_json() {
        let document = serde_json::json!({
            "snapshot": browsing.snapshot(), "pipeline": pipeline.name, "entry": arguments.entry.to_string_lossy(), "items": items, "more": more,
        });
        session.output.document("browse", &document);
    } else if more {
        session.output.note("there is more: `--after` with the last name goes on");
    }
    Ok(Exit::Ok)
}

fn line(item: &BrowsedItem, output: &Output) -> String {
    let size = item.size.map(bytes).unwrap_or_default();
    let facts: Vec<String> = item.facts.iter().map(|fact| format!("{}: {}", fact.name, fact.value)).collect();
    let facts = if facts.is_empty() {
        String::new()
    } else {
        output.mark(Mark::Faint, &format!("  ({})", facts.join(", ")))
    };
    format!("{size:>9}  {}{facts}", shown(&item.name))
}
