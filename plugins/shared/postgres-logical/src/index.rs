//! The index of a snapshot: [`Record`]s, a line of JSON each, in the order of a restore.

use std::io::BufRead;

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    entries::{self, EntryWriter, Finished},
    metadata::Metadata,
    snapshot::{self, EntryReader},
};
use serde::{Deserialize, Serialize};

use crate::{layout::Layout, options::Content, settings::Settings};

/// The version of the index that this code writes and reads.
const FORMAT: u32 = 1;

/// The longest line that is read: a statement's name is short, a database's statements are a few.
const LONGEST_LINE: u64 = 16 << 20;

/// Bytes that are collected before they go to the host.
const PIECE: usize = 64 << 10;

/// A line of the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub(crate) enum Record {
    /// The first one.
    Header {
        /// Of the index.
        format: u32,
        server_version: String,
        major: u32,
        /// Whether statements say how the objects that they make are identified.
        #[serde(default)]
        identities: bool,
        /// What of the databases it has.
        #[serde(default)]
        content: Content,
    },
    /// What follows belongs to this database, up to the next of these.
    Database {
        name: String,
        /// Of the transaction that all of it was read in.
        snapshot: String,
        encoding: String,
        /// Statements before and after the database's name, which a restore may change. The first one makes it.
        statements: Vec<(String, String)>,
    },
    /// Statements about one object.
    Statement {
        entry: String,
        offset: u64,
        length: u64,
        kind: String,
        name: String,
        /// Where the object belongs: nowhere, in a schema, or also to a table, view or sequence.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schema: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        relation: Option<String>,
        /// What `pg_identify_object` calls an object that is made here, such as `table public.orders`: by it a target is searched for one that is in the way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        identity: Option<String>,
    },
    /// Rows of one table.
    Data {
        entry: String,
        /// With its schema, quoted.
        table: String,
        /// Without quotation marks.
        schema: String,
        relation: String,
        rows: u64,
        /// Whether it must come after those before it: something leads from it to them already.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        in_turn: bool,
    },
    /// Content of a database's large objects.
    LargeObjects { entry: String, objects: u64, bytes: u64 },
    /// The last one.
    End {
        /// Records before this one.
        records: u64,
    },
}

/// Writes the index.
pub(crate) struct IndexWriter {
    entry: EntryWriter,
    pending: Vec<u8>,
    records: u64,
}

impl IndexWriter {
    /// Begins with the header.
    pub(crate) fn create(settings: &Settings, server_version: &str, major: u32) -> Result<Self> {
        let mut writer = Self {
            entry: entries::create(settings.layout.index(), &Metadata::file())?,
            pending: Vec::new(),
            records: 0,
        };
        writer.add(&Record::Header {
            format: FORMAT,
            server_version: server_version.to_owned(),
            major,
            identities: true,
            content: settings.parts.content,
        })?;
        Ok(writer)
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, record: &Record) -> Result<()> {
        serde_json::to_writer(&mut self.pending, record).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        self.pending.push(b'\n');
        self.records += 1;
        if self.pending.len() >= PIECE {
            self.entry.write_bytes(&std::mem::take(&mut self.pending))?;
        }
        Ok(())
    }

    /// Ends it.
    pub(crate) fn finish(mut self) -> Result<Finished> {
        self.add(&Record::End { records: self.records })?;
        self.entry.write_bytes(&self.pending)?;
        self.entry.finish()
    }
}

/// Reads the index, and sees to it that it is whole.
pub(crate) struct IndexReader {
    path: String,
    entry: EntryReader,
    records: u64,
    ended: bool,
    /// The server's major version, from the header.
    pub(crate) major: u32,
    /// Whether objects are identified.
    pub(crate) identities: bool,
    /// What it has.
    pub(crate) content: Content,
}

impl IndexReader {
    /// Opens it and reads the header.
    pub(crate) fn open(layout: &Layout) -> Result<Self> {
        let path = layout.index();
        let entry = snapshot::open(&path).map_err(|error| {
            error
                .context("the snapshot has no dump")
                .with_hint("set the pipeline's config (of the plugin `postgres`, its `mode`) to what it was when the snapshot was taken")
        })?;
        let mut reader = Self {
            path,
            entry,
            records: 0,
            ended: false,
            major: 0,
            identities: false,
            content: Content::All,
        };
        match reader.next_record()? {
            Some(Record::Header {
                format: FORMAT,
                major,
                identities,
                content,
                ..
            }) => (reader.major, reader.identities, reader.content) = (major, identities, content),
            Some(Record::Header { format, .. }) => {
                return Err(Error::unsupported(format!("the snapshot's index has format {format}")).with_hint("use a newer Bulkhead"));
            }
            _ => return Err(reader.damaged("does not begin with a header")),
        }
        Ok(reader)
    }

    /// The next record; `None` after the last.
    pub(crate) fn next_record(&mut self) -> Result<Option<Record>> {
        let mut line = Vec::new();
        std::io::Read::take(&mut self.entry, LONGEST_LINE).read_until(b'\n', &mut line)?;
        if self.ended {
            return if line.is_empty() {
                Ok(None)
            } else {
                Err(self.damaged("goes on after its end"))
            };
        }
        if line.last() != Some(&b'\n') {
            return Err(self.damaged("is cut off"));
        }
        let record = serde_json::from_slice(&line).map_err(|error| self.damaged("has a line that is no record").with_cause(error))?;
        if let Record::End { records } = record {
            if records != self.records {
                return Err(self.damaged("lacks records"));
            }
            self.ended = true;
            return self.next_record();
        }
        self.records += 1;
        Ok(Some(record))
    }

    /// What is stored is not what was written.
    fn damaged(&self, what: &str) -> Error {
        Error::new(ErrorKind::Corrupt, format!("{} {what}", self.path)).with_hint("restore from another snapshot")
    }
}
