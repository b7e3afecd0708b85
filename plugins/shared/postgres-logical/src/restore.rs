//! Into a live server: [`restore`] replays the records of the index, in their order, and stops at the first that fails.
//!
//! Before anything is written, the whole index is read, and the target is looked at: a database that is not empty, or a role that is there already, ends the restore, unless it is to be
//! dropped (`clean.rs`).

use std::{borrow::Cow, collections::BTreeSet};

use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt, endpoint, progress, snapshot,
    source::{RestoreRequest, RestoreResult},
    types::{Fact, Finding},
};

use super::{
    index::{IndexReader, Record},
    large_objects,
    parallel::{self, Work},
    plan::{Existing, Plan},
    replay::{Rows, Scripts, Statement, Task, fill, of_object, session},
    script::PREAMBLE,
    server::Server,
    session::{Sql, quoted},
    together::Together,
};
use crate::{
    options::{Content, LiveOptions},
    settings::{Login, Settings},
};

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
        scripts: Scripts::default(),
        together: Together::default(),
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
    scripts: Scripts,
    together: Together,
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
                schema,
                relation,
                ..
            } => {
                let statement = Statement {
                    entry,
                    offset,
                    length,
                    kind,
                    name,
                };
                if statement.entry == self.settings.layout.globals() {
                    return self.global(&statement);
                }
                self.statement(statement, schema, relation)
            }
            Record::Data {
                entry,
                table,
                schema,
                relation,
                rows,
                in_turn,
            } if self.plan.selection.rows(&schema, &relation) => self.rows((schema, relation), Rows { entry, table, rows }, in_turn),
            Record::LargeObjects { entry, objects, bytes } if self.plan.selection.large_objects() => {
                self.large_objects(&entry, objects, bytes)
            }
            Record::Data { .. } | Record::LargeObjects { .. } => Ok(()),
            Record::Header { .. } | Record::End { .. } => Ok(()),
        }
    }

    fn global(&mut self, statement: &Statement) -> Result<()> {
        if !self.plan.globals {
            return Ok(());
        }
        let Statement { kind, name, .. } = statement;
        let text = self.read(statement)?;
        match self.plan.without_grantor(self.major, kind, &text) {
            Some(text) => self.common(kind, name, text),
            None => self.common(kind, name, &text),
        }
    }

    /// A statement about an object of a database, now or together with others.
    fn statement(&mut self, statement: Statement, schema: Option<String>, relation: Option<String>) -> Result<()> {
        let Statement { kind, name, .. } = &statement;
        let takes = |current: &Current| current.takes(self.plan, kind, name, schema.as_deref(), relation.as_deref());
        if !self.database.as_ref().is_some_and(takes) {
            return Ok(());
        }
        self.statements += 1;
        if let (true, Some(schema), Some(relation)) = (self.plan.jobs > 1 && Together::takes(kind), schema, relation) {
            if !self.together.is_ready_for_statements() {
                self.carry_out()?;
            }
            self.together.add_statement((schema, relation), statement);
            return Ok(());
        }
        self.carry_out()?;
        let text = self.read(&statement)?;
        let Some(current) = &mut self.database else { return Ok(()) };
        match current.beside(self.plan, kind, name, &text) {
            Some(text) => current.sql.run(&text).context(|| of_object(kind, name, &current.name)),
            None => Ok(()),
        }
    }

    /// Rows of a table, likewise.
    fn rows(&mut self, of: (String, String), rows: Rows, in_turn: bool) -> Result<()> {
        if self.database.is_none() {
            return Ok(());
        }
        let size = snapshot::stat(&rows.entry)?.size;
        self.count(size);
        self.rows += rows.rows;
        if self.plan.jobs == 1 || in_turn {
            self.carry_out()?;
            let Some(current) = &mut self.database else { return Ok(()) };
            return fill(&mut current.sql, &current.name, &rows);
        }
        if !self.together.is_ready_for_rows() {
            self.carry_out()?;
        }
        self.together.add_rows(of, size, rows);
        Ok(())
    }

    /// Carries out what was collected: in further instances, and here. Waits until all of it is done.
    fn carry_out(&mut self) -> Result<()> {
        let Some(current) = &mut self.database else { return Ok(()) };
        let task = || Task {
            user: self.settings.login.user.clone(),
            database: current.name.clone(),
            without_triggers: self.plan.selection.content == Content::Data,
            ..Task::default()
        };
        let mut tasks = self.together.share(self.plan.jobs, task);
        let own = tasks.pop();
        let mut parts = Vec::new();
        for task in tasks {
            parts.push(parallel::start(&Work::Replay(task))?);
        }
        if let Some(task) = own {
            task.on(&mut current.sql, &mut Scripts::default())?;
        }
        for part in parts {
            part.wait()?;
        }
        Ok(())
    }

    fn read(&mut self, statement: &Statement) -> Result<String> {
        if !self.scripts.is_open(&statement.entry) {
            self.count(snapshot::stat(&statement.entry)?.size);
        }
        self.scripts.read(statement)
    }

    fn count(&mut self, size: u64) {
        self.result.entries += 1;
        self.result.bytes += size;
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

    /// Ends the database that is being restored.
    fn leave(&mut self) -> Result<()> {
        self.carry_out()?;
        self.together.forget();
        if let Some(last) = self.database.take() {
            last.sql.close();
        }
        Ok(())
    }

    /// Makes a database where it is to be, and connects to it.
    fn enter(&mut self, name: &str, statements: &[(String, String)]) -> Result<()> {
        self.leave()?;
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
        // Where only rows come, foreign keys and triggers are there before them.
        let mut sql = session(self.settings, target, self.plan.selection.content == Content::Data)?;
        if let Some(dropping) = self.existing.dropping.get(target) {
            let plan = self.plan;
            self.dropped += dropping.carry_out(&mut sql, target, |sql| plan.dropping(sql, name, target))?;
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

    fn large_objects(&mut self, path: &str, objects: u64, bytes: u64) -> Result<()> {
        if self.database.is_none() {
            return Ok(());
        }
        self.carry_out()?;
        self.count(snapshot::stat(path)?.size);
        let Some(current) = &mut self.database else { return Ok(()) };
        large_objects::read(path, objects, bytes, |statement| {
            current
                .sql
                .run(statement)
                .context(|| format!("restoring the content of large objects in database `{}` failed", current.name))
        })
    }

    fn finish(mut self) -> Result<RestoreResult> {
        self.leave()?;
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
