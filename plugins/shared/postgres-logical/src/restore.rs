//! Into a live server: [`restore`] replays the records of the index, in their order, and stops at the first that fails.
//!
//! Before anything is written, the whole index is read, and the target is looked at: a database that is not empty, or a role that is there already, ends the restore, unless it is to be
//! dropped (`clean.rs`).

use std::{
    borrow::Cow,
    collections::BTreeSet,
    io::{BufRead, Read},
};

use bulkhead_postgres_client::CopyEvent;
use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt, endpoint,
    host::BEST_TRANSFER,
    progress,
    snapshot::{self, EntryReader},
    source::{RestoreRequest, RestoreResult},
    types::{Fact, Finding},
};

use super::{
    data,
    index::{IndexReader, Record},
    large_objects,
    plan::{Existing, Plan},
    script::PREAMBLE,
    server::Server,
    session::{Sql, quoted},
};
use crate::{
    options::{Content, LiveOptions},
    settings::{Login, Settings},
};

/// The longest statement that is read, in bytes.
const LONGEST_STATEMENT: u64 = 32 << 20;

/// The longest of the two lines before a table's rows, in bytes: 1,600 columns with the longest names.
const LONGEST_LINE: u64 = 1 << 20;

/// Restores what the request and the target's config select.
pub(crate) fn restore(settings: &Settings, request: &RestoreRequest, options: &LiveOptions) -> Result<RestoreResult> {
    let Login { endpoint, secret, .. } = settings.login;
    endpoint::settings(endpoint).map_err(|_| {
        Error::new(ErrorKind::NotGranted, "the restore target grants no server").with_hint(format!(
            "a dump goes into a server that runs: add `endpoint.{endpoint} = {{ address = \"…\" }}` (and `secret.{secret}`) to the target; \
             or `bulkhead restore … --into FOLDER` writes scripts for psql"
        ))
    })?;
    let mut settings = settings.clone();
    settings.login.user = options.user.clone().unwrap_or(settings.login.user);
    settings.database = options.database.clone().unwrap_or(settings.database);
    let plan = Plan::make(&settings.layout, request, options)?;
    let mut sql = Sql::open(&settings, &settings.database)?;
    let server = Server::inspect(&mut sql)?;
    if server.major < plan.major {
        let message = format!("the snapshot is of PostgreSQL {}, the target is {}", plan.major, server.version);
        return Err(Error::unsupported(message).with_hint("restore into a server of the same major version or a newer one"));
    }
    let existing = plan.refuse_occupied(&settings, &mut sql, &server)?;
    sql.run(PREAMBLE).context(|| "preparing the session failed")?;
    let mut writer = Writer {
        settings: &settings,
        plan: &plan,
        role: server.role.clone(),
        major: server.major,
        existing,
        common: sql,
        database: None,
        script: None,
        result: RestoreResult::default(),
        statements: 0,
        rows: 0,
        dropped: 0,
    };
    let mut index = IndexReader::open(&settings.layout)?;
    while let Some(record) = index.next_record()? {
        writer.replay(record)?;
    }
    writer.finish()
}

/// A script that is being read, up to a place.
struct Reading {
    path: String,
    entry: EntryReader,
    position: u64,
}

/// A database that is being restored.
struct Current {
    /// In the snapshot.
    original: String,
    /// In the target.
    name: String,
    sql: Sql,
    /// Schemas that it had before.
    schemas: BTreeSet<String>,
}

impl Current {
    /// Whether these statements are run.
    fn takes(&self, plan: &Plan, kind: &str, name: &str, schema: Option<&str>, relation: Option<&str>) -> bool {
        if kind != "SCHEMA" || !plan.selection.is_partial() {
            return plan.selection.statement(kind, name, schema, relation);
        }
        let chosen = plan.selection.statement(kind, name, schema, relation);
        let needed = plan.selection.content != Content::Data && plan.needs_schema(&self.original, name);
        (chosen || needed) && (!self.schemas.contains(name) || (chosen && plan.clean))
    }

    /// Statements about an object, as they are run where `clean` has left a schema because of what else is in it; `None` where nothing is to be run.
    fn beside<'a>(&self, plan: &Plan, kind: &str, name: &str, text: &'a str) -> Option<Cow<'a, str>> {
        match text
            .strip_prefix("CREATE SCHEMA ")
            .filter(|_| kind == "SCHEMA" && self.schemas.contains(name))
        {
            Some(rest) => Some(Cow::Owned(format!("CREATE SCHEMA IF NOT EXISTS {rest}"))),
            None if plan.clean && kind == "SCHEMA" && text.starts_with("DROP SCHEMA ") => None,
            None => Some(Cow::Borrowed(text)),
        }
    }
}

/// Carries records out.
struct Writer<'a> {
    settings: &'a Settings,
    plan: &'a Plan,
    role: String,
    /// The target's major version.
    major: u32,
    existing: Existing,
    /// The session for roles, tablespaces and the databases themselves.
    common: Sql,
    /// `None` before the first database, and while one is passed over that is not to be restored.
    database: Option<Current>,
    script: Option<Reading>,
    result: RestoreResult,
    statements: u64,
    rows: u64,
    dropped: u64,
}

impl Writer<'_> {
    fn replay(&mut self, record: Record) -> Result<()> {
        match record {
            Record::Database { name, statements, .. } => self.enter(&name, &statements),
            Record::Statement {
                entry,
                offset,
                length,
                kind,
                name,
                ..
            } if entry == self.settings.layout.globals() => {
                if !self.plan.globals {
                    return Ok(());
                }
                let text = self.read(&entry, offset, length)?;
                match self.plan.without_grantor(self.major, &kind, &text) {
                    Some(text) => self.common(&kind, &name, text),
                    None => self.common(&kind, &name, &text),
                }
            }
            Record::Statement {
                entry,
                offset,
                length,
                kind,
                name,
                schema,
                relation,
                ..
            } => {
                let takes = |current: &Current| current.takes(self.plan, &kind, &name, schema.as_deref(), relation.as_deref());
                if !self.database.as_ref().is_some_and(takes) {
                    return Ok(());
                }
                let text = self.read(&entry, offset, length)?;
                let Some(current) = &mut self.database else { return Ok(()) };
                let Some(text) = current.beside(self.plan, &kind, &name, &text) else {
                    return Ok(());
                };
                self.statements += 1;
                current
                    .sql
                    .run(&text)
                    .context(|| format!("restoring {kind} {name} in database `{}` failed", current.name))
            }
            Record::Data {
                entry,
                table,
                schema,
                relation,
                rows,
            } if self.plan.selection.rows(&schema, &relation) => self.rows(&entry, &table, rows),
            Record::LargeObjects { entry, .. } if self.plan.selection.large_objects() => self.large_objects(&entry),
            Record::Data { .. } | Record::LargeObjects { .. } => Ok(()),
            Record::Header { .. } | Record::End { .. } => Ok(()),
        }
    }

    /// A statement about a role or tablespace.
    fn common(&mut self, kind: &str, name: &str, text: &str) -> Result<()> {
        if kind == "ROLE" && name == self.role {
            // Otherwise its next login would need the password of the snapshot.
            let message = format!("role `{name}`, which this restore logs in as, was left as it is");
            self.result.findings.push(Finding::info("role-kept", message));
            return Ok(());
        }
        if kind == "TABLESPACE" && text.starts_with("CREATE ") && self.existing.tablespaces.contains(name) {
            return Ok(());
        }
        // `clean` gives a role that is there what it had: it may own something, so that it cannot be dropped.
        let made = format!("CREATE ROLE {};\n", quoted(name));
        let text = match text.strip_prefix(&made) {
            Some(rest) if kind == "ROLE" && self.existing.roles.contains(name) => rest,
            _ => text,
        };
        if kind == "ROLE" && !self.existing.roles.contains(name) && !text.starts_with("CREATE ROLE") {
            self.common
                .run(&format!("CREATE ROLE {}", quoted(name)))
                .context(|| format!("making role {name} failed"))?;
        }
        self.statements += 1;
        self.common.run(text).context(|| format!("restoring {kind} {name} failed"))
    }

    /// Makes a database where it is to be, and connects to it.
    fn enter(&mut self, name: &str, statements: &[(String, String)]) -> Result<()> {
        if let Some(last) = self.database.take() {
            last.sql.close();
        }
        let Some(target) = self.plan.databases.get(name) else {
            return Ok(());
        };
        progress::report(&format!("restoring {target}"), self.result.bytes, None);
        let there = usize::from(self.existing.databases.contains(target));
        for (place, (before, after)) in statements.iter().enumerate().skip(there) {
            self.statements += 1;
            let provider = if place == 0 { self.plan.provider(self.major) } else { "" };
            self.common
                .run(&format!("{before}{}{after}{provider}", quoted(target)))
                .context(|| format!("restoring database `{target}` failed"))?;
        }
        let mut sql = Sql::open(self.settings, target)?;
        sql.run(PREAMBLE)
            .context(|| format!("preparing the session in database `{target}` failed"))?;
        if let Some(dropping) = self.existing.dropping.get(target) {
            self.dropped += dropping.carry_out(&mut sql, target)?;
        }
        if self.plan.selection.content == Content::Data {
            // Foreign keys and triggers are there before the rows.
            sql.run("SET session_replication_role = replica")
                .context(|| "turning triggers off needs a superuser")?;
        }
        let schemas = sql
            .rows("SELECT nspname FROM pg_namespace")?
            .into_iter()
            .flatten()
            .flatten()
            .collect();
        self.database = Some(Current {
            original: name.to_owned(),
            name: target.clone(),
            sql,
            schemas,
        });
        Ok(())
    }

    /// A part of a script. Parts come in order, so what is between them is read over.
    fn read(&mut self, path: &str, offset: u64, length: u64) -> Result<String> {
        if self.script.as_ref().is_none_or(|script| script.path != path) {
            let entry = snapshot::open(path)?;
            self.count(&entry);
            self.script = Some(Reading {
                path: path.to_owned(),
                entry,
                position: 0,
            });
        }
        let Some(script) = &mut self.script else { return Ok(String::new()) };
        let truncated = || damaged(path, "is shorter than the index says");
        let ahead = offset.checked_sub(script.position).ok_or_else(truncated)?;
        if std::io::copy(&mut (&mut script.entry).take(ahead), &mut std::io::sink())? != ahead {
            return Err(truncated());
        }
        if length > LONGEST_STATEMENT {
            return Err(Error::new(
                ErrorKind::Limit,
                format!("a statement in {path} has {length} bytes; the limit is {LONGEST_STATEMENT}"),
            ));
        }
        let mut text = String::new();
        (&mut script.entry)
            .take(length)
            .read_to_string(&mut text)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::InvalidData => damaged(path, "is no text"),
                _ => error.into(),
            })?;
        if text.len() as u64 != length || !text.ends_with(";\n") {
            return Err(truncated());
        }
        script.position = offset + length;
        Ok(text)
    }

    fn count(&mut self, entry: &EntryReader) {
        self.result.entries += 1;
        self.result.bytes += entry.size();
    }

    fn rows(&mut self, path: &str, table: &str, expected: u64) -> Result<()> {
        if self.database.is_none() {
            return Ok(());
        }
        let mut entry = snapshot::open(path)?;
        self.count(&entry);
        let Some(current) = &mut self.database else { return Ok(()) };
        progress::report(&format!("restoring {} {table}", current.name), self.result.bytes, None);
        let copied = copy(&mut current.sql, path, &mut entry)
            .context(|| format!("restoring the rows of {table} in database `{}` failed", current.name))?;
        if copied != expected {
            let message = format!(
                "{table} of database `{}` got {copied} rows, of {expected} in the snapshot",
                current.name
            );
            return Err(Error::new(ErrorKind::Corrupt, message).with_hint("restore from another snapshot"));
        }
        self.rows += copied;
        Ok(())
    }

    fn large_objects(&mut self, path: &str) -> Result<()> {
        if self.database.is_none() {
            return Ok(());
        }
        let mut entry = snapshot::open(path)?;
        self.count(&entry);
        let Some(current) = &mut self.database else { return Ok(()) };
        ends_with(&entry, path, large_objects::END.as_bytes())?;
        let mut line = String::new();
        loop {
            line.clear();
            if entry.by_ref().take(LONGEST_LINE).read_line(&mut line)? == 0 || line == large_objects::END {
                return Ok(());
            }
            current
                .sql
                .run(&line)
                .context(|| format!("restoring the content of large objects in database `{}` failed", current.name))?;
        }
    }

    fn finish(mut self) -> Result<RestoreResult> {
        if let Some(last) = self.database.take() {
            last.sql.close();
        }
        self.common.close();
        let facts = [
            ("databases", self.plan.databases.len() as u64),
            ("statements", self.statements),
            ("rows", self.rows),
        ];
        self.result.facts.extend(facts.map(|(name, value)| Fact::new(name, value)));
        if self.plan.clean {
            self.result.facts.push(Fact::new("dropped", self.dropped));
        }
        Ok(self.result)
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

/// What is stored is not what was written.
fn damaged(path: &str, what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{path} {what}")).with_hint("restore from another snapshot")
}
