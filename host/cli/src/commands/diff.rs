//! `bulkhead diff`

use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::{
    Compared, Diff, DiffData, DiffRequest, DiffTotals, DifferenceKind, EntryDifference, EntryTotals, SnapshotError, StoredAmount,
    UnreadableFolder,
};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::{
    commands::short,
    error::CommandError,
    exit::Exit,
    output::{DocumentStream, Mark, Output, ProgressDisplay, bytes, counted, local_time, shown},
    session::{Session, one_pipeline},
};

/// Show what differs between two snapshots
///
/// `+` was added, `-` removed, `M` has other content, `T` is of another type, `U` differs in metadata only (with --metadata). Folders that are the same in both are
/// not read; only the totals of stored data, which --no-data leaves out, need every folder. Damaged folders are told, and the rest is compared.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead diff shop                       the latest snapshot with the one before it\n  bulkhead diff shop latest~7 latest\n  bulkhead diff shop 3f2a91c4 91bb0c11 --metadata\n  bulkhead diff shop --exit-code --quiet   exits with 16 where anything differs"
)]
pub(crate) struct DiffArguments {
    /// The pipeline
    #[arg(value_name = "PIPELINE")]
    pipeline: String,

    /// The snapshot before: `latest`, `latest~1` for the one before it, or the beginning of the id of any in the pipeline's vault
    #[arg(value_name = "BEFORE", default_value = "latest~1")]
    before: String,

    /// The snapshot after
    #[arg(value_name = "AFTER", default_value = "latest")]
    after: String,

    /// Read from this sink, one of the vault's; the first one by default
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,

    /// Show also entries that differ only in mode, owner, times, links or extended attributes
    #[arg(long)]
    metadata: bool,

    /// Leave the totals of stored data out
    #[arg(long)]
    no_data: bool,

    /// Exit with 16 where anything differs
    #[arg(long)]
    exit_code: bool,
}

pub(crate) async fn diff(arguments: &DiffArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let pipeline = one_pipeline(&config, &arguments.pipeline)?;
    let operation = session.reading(&config, arguments.sink.as_deref(), [pipeline.vault.as_str()])?;
    let request = DiffRequest {
        before: arguments.before.clone(),
        after: arguments.after.clone(),
        metadata: arguments.metadata,
    };
    let failed = |error: SnapshotError| CommandError::operation(&error, &config);
    let display = ProgressDisplay::start(&session.output, &pipeline.name, &operation.progress);
    let mut diff = pipeline::diff(&operation, pipeline, &request).await.map_err(failed)?;
    let mut telling = Telling::new(&session.output);
    let told = telling.tell(&mut diff, !arguments.no_data).await;
    drop(display);
    match told {
        Ok(data) => telling.end(&diff, data.as_ref(), arguments),
        Err(error) => telling.fail(&diff, failed(error)),
    }
}

/// Tells differences as they are found.
struct Telling {
    output: Output,
    document: DocumentStream,
    unreadable: Vec<Value>,
}

impl Telling {
    fn new(output: &Output) -> Self {
        Self {
            output: output.clone(),
            document: DocumentStream::new(output, "diff", "differences"),
            unreadable: Vec::new(),
        }
    }

    async fn tell(&mut self, diff: &mut Diff, with_data: bool) -> Result<Option<DiffData>, SnapshotError> {
        while let Some(compared) = diff.next().await? {
            match compared {
                Compared::Entry(difference) if self.output.is_json() => self.document.item(&difference),
                Compared::Entry(difference) => self.output.line(&line(&difference, &self.output)),
                Compared::Unreadable(folder) => self.unreadable(&folder),
            }
        }
        Ok(if with_data { Some(diff.data().await?) } else { None })
    }

    fn unreadable(&mut self, folder: &UnreadableFolder) {
        let path = if folder.path.is_empty() { "/" } else { &folder.path };
        let snapshots: Vec<&str> = folder.snapshots.iter().map(|id| short(id)).collect();
        self.output.warn(&format!(
            "error: the folder {} was not compared, snapshot {} can't be read there: {}",
            shown(path),
            snapshots.join(", "),
            folder.error
        ));
        self.unreadable.push(json!(folder));
    }

    fn end(self, diff: &Diff, data: Option<&DiffData>, arguments: &DiffArguments) -> Result<Exit, CommandError> {
        let totals = diff.totals();
        let is_whole = self.unreadable.is_empty() && data.is_none_or(|data| data.unreadable_folders == 0 && data.missing_blobs == 0);
        if self.output.is_json() {
            self.document.end(fields(diff, data, self.unreadable));
        } else {
            print_totals(diff, &totals, data, arguments, &self.output);
        }
        Ok(match is_whole {
            false => Exit::Damaged,
            true if arguments.exit_code && totals.differs(arguments.metadata) => Exit::Differs,
            true => Exit::Ok,
        })
    }

    /// What went wrong half-way is told in the document that was begun.
    fn fail(self, diff: &Diff, error: CommandError) -> Result<Exit, CommandError> {
        if !self.document.has_begun() {
            return Err(error);
        }
        let mut fields = fields(diff, None, self.unreadable);
        fields.insert("error".to_owned(), error.to_json());
        self.document.end(fields);
        Ok(error.exit())
    }
}

fn fields(diff: &Diff, data: Option<&DiffData>, unreadable: Vec<Value>) -> Map<String, Value> {
    Map::from_iter([
        ("before".to_owned(), json!(diff.before())),
        ("after".to_owned(), json!(diff.after())),
        ("totals".to_owned(), json!(diff.totals())),
        ("data".to_owned(), json!(data)),
        ("unreadable".to_owned(), unreadable.into()),
    ])
}

fn line(difference: &EntryDifference, output: &Output) -> String {
    let (sign, mark) = match difference.change {
        DifferenceKind::Added => ("+", Mark::Good),
        DifferenceKind::Removed => ("-", Mark::Bad),
        DifferenceKind::Modified => ("M", Mark::Warning),
        DifferenceKind::Retyped => ("T", Mark::Warning),
        DifferenceKind::Metadata => ("U", Mark::Faint),
    };
    let (before, after) = (&difference.before, &difference.after);
    let kind = after.as_ref().or(before.as_ref()).map_or("", |entry| entry.r#type);
    let slash = if kind == "directory" { "/" } else { "" };
    let types = match (before, after) {
        (Some(before), Some(after)) if before.r#type != after.r#type => format!("  ({} -> {})", before.r#type, after.r#type),
        _ => String::new(),
    };
    format!("{} {}{slash}{types}", output.mark(mark, sign), shown(&difference.path))
}

fn print_totals(diff: &Diff, totals: &DiffTotals, data: Option<&DiffData>, arguments: &DiffArguments, output: &Output) {
    let (before, after) = (diff.before(), diff.after());
    output.note(&format!(
        "{} {} -> {} {}",
        short(&before.id),
        local_time(&before.time),
        short(&after.id),
        local_time(&after.time)
    ));
    output.note(&format!("added     {}", entries(&totals.added)));
    output.note(&format!("removed   {}", entries(&totals.removed)));
    let hint = if totals.metadata > 0 && !arguments.metadata {
        " (--metadata shows them)"
    } else {
        ""
    };
    output.note(&format!(
        "changed   {} in content, {} in type, {} in metadata only{hint}",
        counted(totals.modified, "entry", "entries"),
        totals.retyped,
        totals.metadata
    ));
    let Some(data) = data else { return };
    let amount = |amount: &StoredAmount| format!("{} stored, {} of content", bytes(amount.stored_bytes), bytes(amount.bytes));
    output.note(&format!("new data  {}", amount(&data.added)));
    output.note(&format!("gone      {}", amount(&data.removed)));
    output.note(&format!("shared    {}", amount(&data.shared)));
    if data.unreadable_folders + data.missing_blobs > 0 {
        output.warn(&format!(
            "error: data was not counted whole: {} can't be read, {} in no index",
            counted(data.unreadable_folders, "folder", "folders"),
            counted(data.missing_blobs, "blob is", "blobs are")
        ));
    }
}

fn entries(totals: &EntryTotals) -> String {
    format!(
        "{}, {}, {} others, {}",
        counted(totals.files, "file", "files"),
        counted(totals.folders, "folder", "folders"),
        totals.others,
        bytes(totals.bytes)
    )
}
