//! Carrying out single records of a dump over a connection: [`fill`] a table, [`Scripts`] to read statements from, and [`Task`], many of them for another instance.

use std::io::{BufRead, Read};

use bulkhead_postgres_client::{ClientError, CopyEvent};
use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt,
    host::BEST_TRANSFER,
    progress,
    snapshot::{self, EntryReader},
};
use serde::{Deserialize, Serialize};

use super::{data, script::PREAMBLE, session::Sql};
use crate::settings::Settings;

/// The longest statement that is read, in bytes.
const LONGEST_STATEMENT: u64 = 32 << 20;

/// The longest of the two lines before a table's rows, in bytes: 1,600 columns with the longest names.
pub(crate) const LONGEST_LINE: u64 = 1 << 20;

/// How often a statement is run that loses against another one, before that is an error.
const ATTEMPTS: u32 = 5;

/// What a session sets where rows go into tables that have their triggers and foreign keys.
pub(crate) const WITHOUT_TRIGGERS: &str = "SET session_replication_role = replica";

/// Rows of a table, in the snapshot.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Rows {
    pub(crate) entry: String,
    /// With its schema, quoted.
    pub(crate) table: String,
    pub(crate) rows: u64,
}

/// Statements about an object, in the snapshot.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Statement {
    pub(crate) entry: String,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) kind: String,
    pub(crate) name: String,
}

/// What may be done at the same time as other tasks.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Task {
    /// The role to log in as.
    pub(crate) user: String,
    /// As the target has it.
    pub(crate) database: String,
    /// Whether rows go into tables that have their triggers and foreign keys.
    pub(crate) without_triggers: bool,
    pub(crate) rows: Vec<Rows>,
    pub(crate) statements: Vec<Statement>,
}

/// Connects to a database that is restored.
pub(crate) fn session(settings: &Settings, database: &str, without_triggers: bool) -> Result<Sql> {
    let mut sql = Sql::open(settings, database)?;
    sql.run(PREAMBLE)
        .context(|| format!("preparing the session in database `{database}` failed"))?;
    if without_triggers {
        sql.run(WITHOUT_TRIGGERS).context(|| "turning triggers off needs a superuser")?;
    }
    Ok(sql)
}

/// Does all of a task, with a connection of its own.
pub(crate) fn carry_out(settings: &Settings, task: &Task) -> Result<()> {
    let mut settings = settings.clone();
    settings.login.user.clone_from(&task.user);
    let mut sql = session(&settings, &task.database, task.without_triggers)?;
    task.on(&mut sql, &mut Scripts::default())?;
    sql.close();
    Ok(())
}

impl Task {
    /// Does all of it over this connection.
    pub(crate) fn on(&self, sql: &mut Sql, scripts: &mut Scripts) -> Result<()> {
        for rows in &self.rows {
            fill(sql, &self.database, rows)?;
        }
        // Scripts are read forwards only.
        let mut statements: Vec<&Statement> = self.statements.iter().collect();
        statements.sort_by_key(|statement| statement.offset);
        for statement in statements {
            let text = scripts.read(statement)?;
            run(sql, &text).context(|| of_object(&statement.kind, &statement.name, &self.database))?;
        }
        Ok(())
    }
}

/// What an error is about.
pub(crate) fn of_object(kind: &str, name: &str, database: &str) -> String {
    format!("restoring {kind} {name} in database `{database}` failed")
}

/// Runs a statement again that was ended because it and another one waited for each other: nothing of it was done.
fn run(sql: &mut Sql, text: &str) -> Result<(), ClientError> {
    let mut attempt = 1;
    loop {
        match sql.run(text) {
            Err(ClientError::Server(report)) if report.code == "40P01" && attempt < ATTEMPTS => attempt += 1,
            outcome => return outcome,
        }
        sql.connection().recover()?;
    }
}

/// Puts rows into their table.
pub(crate) fn fill(sql: &mut Sql, database: &str, rows: &Rows) -> Result<()> {
    let Rows {
        entry: path,
        table,
        rows: expected,
    } = rows;
    let mut entry = snapshot::open(path)?;
    progress::report(&format!("restoring {database} {table}"), 0, None);
    let copied = copy(sql, path, &mut entry).context(|| format!("restoring the rows of {table} in database `{database}` failed"))?;
    if copied != *expected {
        let message = format!("{table} of database `{database}` got {copied} rows, of {expected} in the snapshot");
        return Err(Error::new(ErrorKind::Corrupt, message).with_hint("restore from another snapshot"));
    }
    Ok(())
}

/// A script that is being read, up to a place.
struct Reading {
    path: String,
    entry: EntryReader,
    position: u64,
}

/// Reads statements from scripts, each from its beginning to its end.
#[derive(Default)]
pub(crate) struct Scripts(Option<Reading>);

impl Scripts {
    /// Whether this script is the one that is being read.
    pub(crate) fn is_open(&self, path: &str) -> bool {
        self.0.as_ref().is_some_and(|script| script.path == path)
    }

    /// The text of a statement. They come in order, so what is between them is read over.
    pub(crate) fn read(&mut self, statement: &Statement) -> Result<String> {
        let Statement {
            entry: path,
            offset,
            length,
            ..
        } = statement;
        if !self.is_open(path) {
            self.0 = Some(Reading {
                path: path.clone(),
                entry: snapshot::open(path)?,
                position: 0,
            });
        }
        let Some(script) = &mut self.0 else { return Ok(String::new()) };
        let truncated = || damaged(path, "is shorter than the index says");
        let ahead = offset.checked_sub(script.position).ok_or_else(truncated)?;
        if std::io::copy(&mut (&mut script.entry).take(ahead), &mut std::io::sink())? != ahead {
            return Err(truncated());
        }
        if *length > LONGEST_STATEMENT {
            return Err(Error::new(
                ErrorKind::Limit,
                format!("a statement in {path} has {length} bytes; the limit is {LONGEST_STATEMENT}"),
            ));
        }
        let mut text = String::new();
        (&mut script.entry)
            .take(*length)
            .read_to_string(&mut text)
            .map_err(|error| unread(path, error))?;
        if text.len() as u64 != *length || !text.ends_with(";\n") {
            return Err(truncated());
        }
        script.position = offset + length;
        Ok(text)
    }
}

/// Sends the rows of an entry; returns how many the server took.
fn copy(sql: &mut Sql, path: &str, entry: &mut EntryReader) -> Result<u64> {
    ends_with(entry, path, data::END)?;
    let size = entry.size();
    let statement = head(path, entry)?;
    let mut left = size - (data::HEAD.len() + statement.len() + data::END.len()) as u64;
    let connection = sql.connection();
    connection.start(statement.trim_end())?;
    while !matches!(connection.next_event()?, CopyEvent::CopyIn) {}
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(BEST_TRANSFER);
        let piece = entry.read_bytes(most)?.ok_or_else(|| damaged(path, "is truncated"))?;
        left -= piece.len() as u64;
        connection.copy_data(&piece)?;
    }
    connection.copy_done()?;
    let mut rows = 0;
    loop {
        match connection.next_event()? {
            CopyEvent::CommandComplete(tag) => rows = tag.strip_prefix("COPY ").and_then(|rows| rows.parse().ok()).unwrap_or(0),
            CopyEvent::Ready => break,
            _ => {}
        }
    }
    Ok(rows)
}

/// Reads the two lines before a table's rows, and returns the second: the statement that takes them.
pub(crate) fn head(path: &str, entry: &mut EntryReader) -> Result<String> {
    let mut line = || -> Result<String> {
        let mut line = String::new();
        entry.by_ref().take(LONGEST_LINE).read_line(&mut line)?;
        Ok(line)
    };
    let (encoding, statement) = (line()?, line()?);
    if encoding != data::HEAD || !statement.starts_with("COPY ") || !statement.ends_with(");\n") {
        return Err(damaged(path, "does not begin as rows do"));
    }
    Ok(statement)
}

/// Makes sure that an entry is there to its end, before anything of it is used.
pub(crate) fn ends_with(entry: &EntryReader, path: &str, end: &[u8]) -> Result<()> {
    let start = entry
        .size()
        .checked_sub(end.len() as u64)
        .ok_or_else(|| damaged(path, "is truncated"))?;
    match entry.read_at(start, end.len())? {
        Some(bytes) if bytes == end => Ok(()),
        _ => Err(damaged(path, "is truncated: its end mark is missing")),
    }
}

/// Why text of an entry was not read.
pub(crate) fn unread(path: &str, error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::InvalidData => damaged(path, "is no text"),
        _ => error.into(),
    }
}

/// What is stored is not what was written.
pub(crate) fn damaged(path: &str, what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{path} {what}")).with_hint("restore from another snapshot")
}
