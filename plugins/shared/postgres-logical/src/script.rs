//! Scripts that psql replays: [`Script`], which writes one and tells the index where each statement is.

use bulkhead_sdk::{
    Result,
    entries::{self, EntryWriter, Finished},
    metadata::Metadata,
};

use super::{
    catalog::Place,
    index::{IndexWriter, Record},
    session::every_session,
};

/// What a session sets before it replays anything.
pub(crate) const PREAMBLE: &str = concat!(
    every_session!(),
    "SET check_function_bodies = off;\nSET xmloption = content;\nSET client_min_messages = warning;\nSET default_tablespace = '';\n\
     SET default_table_access_method = heap;\n"
);

/// Bytes that are collected before they go to the host.
const PIECE: usize = 256 << 10;

/// What statements are about.
#[derive(Debug)]
pub(crate) struct Title<'a> {
    kind: &'a str,
    name: &'a str,
    place: Place,
    identity: Option<&'a str>,
}

impl<'a> Title<'a> {
    /// Of an object that belongs to no schema.
    pub(crate) fn new(kind: &'a str, name: &'a str) -> Self {
        Self {
            kind,
            name,
            place: Place::default(),
            identity: None,
        }
    }

    /// Of one that does.
    pub(crate) fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }

    /// The same, of an object that a server identifies by this.
    pub(crate) fn identified(self, identity: Option<&'a str>) -> Self {
        Self { identity, ..self }
    }
}

/// A script that is being written.
pub(crate) struct Script {
    path: String,
    entry: EntryWriter,
    pending: Vec<u8>,
    written: u64,
}

impl Script {
    /// Begins the script at `path` with the preamble.
    pub(crate) fn create(path: String) -> Result<Self> {
        let entry = entries::create(&path, &Metadata::file())?;
        let mut script = Self {
            path,
            entry,
            pending: Vec::new(),
            written: 0,
        };
        script.write(PREAMBLE)?;
        Ok(script)
    }

    fn write(&mut self, text: &str) -> Result<()> {
        self.pending.extend_from_slice(text.as_bytes());
        if self.pending.len() >= PIECE {
            self.pass_on()?;
        }
        Ok(())
    }

    fn pass_on(&mut self) -> Result<()> {
        self.entry.write_bytes(&self.pending)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Adds what is to be run but not to be found: a database's own statements, whose place is the index.
    pub(crate) fn add_unlisted(&mut self, statement: &str) -> Result<()> {
        self.write(&format!("\n{};\n", terminated(statement)))
    }

    /// Adds statements about one object, without their last semicolon.
    pub(crate) fn add(&mut self, index: &mut IndexWriter, title: &Title<'_>, statements: &str) -> Result<()> {
        self.write(&comment(title.kind, title.name))?;
        let offset = self.written + self.pending.len() as u64;
        let text = format!("{};\n", terminated(statements));
        self.write(&text)?;
        index.add(&Record::Statement {
            entry: self.path.clone(),
            offset,
            length: text.len() as u64,
            kind: title.kind.to_owned(),
            name: title.name.to_owned(),
            schema: title.place.schema.clone(),
            relation: title.place.relation.clone(),
            identity: title.identity.map(str::to_owned),
        })
    }

    /// Ends it.
    pub(crate) fn finish(mut self) -> Result<Finished> {
        self.pass_on()?;
        self.entry.finish()
    }
}

/// What stands before the statements about an object.
pub(crate) fn comment(kind: &str, name: &str) -> String {
    // A name may have line breaks, which would end the comment.
    let name: String = name
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    format!("\n-- {kind} {name}\n")
}

/// Without white space and semicolons at the end.
fn terminated(statement: &str) -> &str {
    statement.trim_end().trim_end_matches(';')
}
