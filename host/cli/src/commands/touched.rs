//! The entries that a restore into a folder touches, told as they are decided on: [`Touched`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bulkhead_model::EntryPath;
use bulkhead_pipeline::{EntryChange, Tell};
use serde_json::{Map, Value, json};

use crate::{
    error::CommandError,
    exit::Exit,
    output::{DocumentStream, Mark, Output, counted, shown},
};

/// Entries that are named to a person; a document has all.
const NAMED: u64 = 1000;

/// Tells of entries, and ends the document that they are part of.
pub(crate) struct Touched(Arc<Mutex<Telling>>);

struct Telling {
    output: Output,
    document: Option<DocumentStream>,
    /// Whether nothing is written: then everything is news, otherwise only what had to give way.
    dry_run: bool,
    told: u64,
}

impl Touched {
    pub(crate) fn new(output: &Output, dry_run: bool) -> Self {
        Self(Arc::new(Mutex::new(Telling {
            output: output.clone(),
            document: Some(DocumentStream::new(output, "restore", "touched")),
            dry_run,
            told: 0,
        })))
    }

    /// What the restore tells of its entries.
    pub(crate) fn tell(&self) -> Tell {
        let telling = Arc::clone(&self.0);
        Box::new(move |path, change| locked(&telling).tell(path, change))
    }

    /// Says how many entries were not named.
    pub(crate) fn end_text(&self) {
        let telling = locked(&self.0);
        if let Some(further) = telling.told.checked_sub(NAMED).filter(|further| *further > 0) {
            let further = counted(further, "further entry", "further entries");
            telling.output.line(&format!("and {further}, which `--json` names"));
        }
    }

    /// Ends the document, with further fields.
    pub(crate) fn end(&self, fields: Map<String, Value>) {
        if let Some(document) = locked(&self.0).document.take() {
            document.end(fields);
        }
    }

    /// A restore that failed: told in the document, where that has begun.
    pub(crate) fn fail(&self, error: CommandError) -> Result<Exit, CommandError> {
        match locked(&self.0).document.take_if(|document| document.has_begun()) {
            Some(document) => {
                document.end(Map::from_iter([("error".to_owned(), error.to_json())]));
                Ok(error.exit())
            }
            None => Err(error),
        }
    }
}

impl Telling {
    fn tell(&mut self, path: &EntryPath, change: EntryChange) {
        if self.output.is_json() {
            if let Some(document) = &mut self.document {
                document.item(&json!({ "path": path.to_string(), "change": change }));
            }
        } else if self.dry_run || change == EntryChange::Replace {
            self.told += 1;
            if self.told <= NAMED {
                self.output.line(&line(path, change, &self.output));
            }
        }
    }
}

fn line(path: &EntryPath, change: EntryChange, output: &Output) -> String {
    let (word, mark) = match change {
        EntryChange::Create => ("create", Mark::Good),
        EntryChange::Update => ("update", Mark::Warning),
        EntryChange::Replace => ("replace", Mark::Warning),
    };
    format!("{} {}", output.mark(mark, word), shown(path.as_bytes()))
}

/// A thread that died while it told something has left nothing half-done.
fn locked(telling: &Mutex<Telling>) -> MutexGuard<'_, Telling> {
    telling.lock().unwrap_or_else(PoisonError::into_inner)
}
