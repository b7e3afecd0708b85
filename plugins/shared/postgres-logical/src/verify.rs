//! Whether a stored dump is whole: [`verify`] reads the index, every script's length and every table's rows.

use bulkhead_sdk::{Error, ErrorKind, Result, host::BEST_TRANSFER, progress, snapshot, types::Finding};

use super::{
    data,
    index::{IndexReader, Record},
    large_objects,
    layout::Layout,
    replay::{ends_with, head},
};

const HINT: &str = "restore from another snapshot";

/// Compares all entries with the index.
pub(crate) fn verify(layout: &Layout) -> Result<Vec<Finding>> {
    let mut state = Counts::default();
    match state.walk(layout) {
        Ok(()) => {}
        // Damage is what a verification is there to find; anything else keeps it from being made.
        Err(error) if matches!(error.kind, ErrorKind::Corrupt | ErrorKind::NotFound) => {
            state
                .findings
                .push(Finding::error("dump-damaged", error.to_string()).with_hint(HINT));
        }
        Err(error) => return Err(error),
    }
    if state.findings.is_empty() {
        let message = format!(
            "the index is whole; {} databases, {} statements, {} tables with {} rows, {} large objects are as it says",
            state.databases, state.statements, state.tables, state.rows, state.large_objects
        );
        state.findings.push(Finding::info("dump-verified", message));
    }
    Ok(state.findings)
}

#[derive(Debug, Default)]
struct Counts {
    databases: u64,
    statements: u64,
    tables: u64,
    rows: u64,
    large_objects: u64,
    bytes: u64,
    /// The script of the last statement, and its size.
    script: (String, u64),
    findings: Vec<Finding>,
}

impl Counts {
    fn walk(&mut self, layout: &Layout) -> Result<()> {
        let mut index = IndexReader::open(layout)?;
        while let Some(record) = index.next_record()? {
            match record {
                Record::Database { .. } => self.databases += 1,
                Record::Statement { entry, offset, length, .. } => self.statement(entry, offset.saturating_add(length))?,
                Record::Data { entry, rows, .. } => self.data(&entry, rows)?,
                Record::LargeObjects { entry, objects, bytes } => self.large_objects(&entry, objects, bytes)?,
                Record::Header { .. } | Record::End { .. } => {}
            }
        }
        Ok(())
    }

    fn large_objects(&mut self, path: &str, objects: u64, bytes: u64) -> Result<()> {
        self.large_objects += objects;
        large_objects::read(path, objects, bytes, |piece| {
            self.bytes += piece.len() as u64;
            progress::report("counting large objects", self.bytes, None);
            Ok(())
        })
    }

    fn statement(&mut self, entry: String, end: u64) -> Result<()> {
        if self.script.0 != entry {
            let size = snapshot::stat(&entry)?.size;
            self.script = (entry, size);
        }
        self.statements += 1;
        if end > self.script.1 {
            let message = format!("{} is shorter than the index says", self.script.0);
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        Ok(())
    }

    /// A row is a line: whatever ends a line within one is escaped.
    fn data(&mut self, path: &str, expected: u64) -> Result<()> {
        let mut entry = snapshot::open(path)?;
        ends_with(&entry, path, data::END)?;
        head(path, &mut entry)?;
        let mut lines = 0;
        while let Some(piece) = entry.read_bytes(BEST_TRANSFER)? {
            lines += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
            self.bytes += piece.len() as u64;
            progress::report("counting rows", self.bytes, None);
        }
        // The end mark is a line too.
        let rows = lines.saturating_sub(1);
        if rows != expected {
            let message = format!("{path} has {rows} rows, the index says {expected}");
            self.findings.push(Finding::error("rows-differ", message).with_hint(HINT));
        }
        self.tables += 1;
        self.rows += rows;
        Ok(())
    }
}
