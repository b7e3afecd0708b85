//! Taking a logical backup: [`backup`].

use std::collections::BTreeSet;

use bulkhead_patterns::Patterns;
use bulkhead_sdk::{
    Error, ErrorKind, Result,
    source::BackupResult,
    types::{Finding, Proof},
};

use super::{
    database::{self, Run},
    globals,
    index::IndexWriter,
    names,
    rows::Observer,
    selection::Selection,
    server::{DatabaseName, Server, databases},
    session::Sql,
};
use crate::settings::Settings;

/// Backs up roles, tablespaces and all databases that are configured.
pub(crate) fn backup<'a>(settings: &'a Settings, observer: Option<&'a mut dyn Observer>) -> Result<BackupResult> {
    let mut sql = Sql::open(settings, &settings.database)?;
    let server = Server::inspect(&mut sql)?;
    let databases = chosen(settings, databases(&mut sql)?)?;
    let selection = Selection::new(&settings.parts)?;
    names::refuse_unmatched(settings, &databases)?;
    let mut run = Run {
        settings,
        selection: &selection,
        server: &server,
        index: IndexWriter::create(settings, &server.version, server.major)?,
        proof: Proof::default(),
        findings: Vec::new(),
        tables: 0,
        rows: 0,
        objects: 0,
        filtered: BTreeSet::new(),
        observer: observer.map(|observer| observer as &mut dyn Observer),
    };
    if settings.globals {
        globals::dump(&mut run, &mut sql)?;
    }
    sql.close();
    for database in &databases {
        database::dump(&mut run, &database.name)?;
    }
    for table in settings.rows.keys().filter(|table| !run.filtered.contains(*table)) {
        let message = format!("`rows` has a condition for `{table}`, which no database has");
        run.findings.push(
            Finding::warning("rows-unused", message).with_hint("write the schema and the table without quotation marks: `public.events`"),
        );
    }
    let Run {
        index,
        mut proof,
        findings,
        tables,
        rows,
        objects,
        ..
    } = run;
    proof.count(&index.finish()?);
    proof.complete = true;
    proof.fact("server-version", &server.version);
    proof.fact("databases", databases.len());
    proof.fact("objects", objects);
    proof.fact("tables", tables);
    proof.fact("rows", rows);
    Ok(BackupResult {
        proof,
        findings,
        checkpoint: None,
    })
}

/// The databases that are to be read.
pub(crate) fn chosen(settings: &Settings, databases: Vec<DatabaseName>) -> Result<Vec<DatabaseName>> {
    let (wanted, unwanted) = (
        Patterns::new("databases", &settings.databases)?,
        Patterns::new("exclude-databases", &settings.exclude_databases)?,
    );
    let matches = |patterns: &Patterns, name: &str| patterns.matches(name.as_bytes());
    let chosen: Vec<DatabaseName> = databases
        .into_iter()
        .filter(|database| settings.databases.is_empty() || matches(&wanted, &database.name))
        .filter(|database| !matches(&unwanted, &database.name))
        .collect();
    if chosen.is_empty() {
        return Err(
            Error::config("databases", "none of the server's databases matches").with_hint("`SELECT datname FROM pg_database` lists them")
        );
    }
    if let Some(closed) = chosen.iter().find(|database| !database.connectable) {
        let message = format!("database `{}` allows no connections, so it cannot be read", closed.name);
        return Err(Error::new(ErrorKind::Conflict, message)
            .with_setting("exclude-databases")
            .with_hint("ALTER DATABASE … ALLOW_CONNECTIONS true, or name it in `exclude-databases`"));
    }
    Ok(chosen)
}
