//! One database into entries: [`dump`].

use std::{collections::BTreeSet, time::Duration};

use bulkhead_postgres_client::ClientError;
use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt, progress,
    types::{Finding, Proof},
};

use super::{
    catalog::Catalog,
    data::{self, Source},
    globals,
    index::{IndexWriter, Record},
    large_objects,
    rows::Observer,
    script::{Script, Title},
    selection::Selection,
    server::Server,
    session::{Sql, text},
};
use crate::settings::Settings;

/// Tables that are locked with one message.
const LOCKED_AT_ONCE: usize = 500;

/// The tables whose definition must not change. Of those that come with an extension, only some have rows of the user's.
const TABLES: &str = "SELECT n.nspname, c.relname, c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                      WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384 AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' \
                        AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid WHERE d.classid = c.tableoid AND d.objid = c.oid AND d.deptype = 'e' \
                                        AND d.refclassid = e.tableoid AND c.oid <> ALL (coalesce(e.extconfig, '{}'))) ORDER BY c.oid";

/// What a run has so far.
pub(crate) struct Run<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) selection: &'a Selection,
    pub(crate) server: &'a Server,
    pub(crate) index: IndexWriter,
    pub(crate) proof: Proof,
    pub(crate) findings: Vec<Finding>,
    pub(crate) tables: u64,
    pub(crate) rows: u64,
    pub(crate) objects: u64,
    /// Tables of which only some rows are wanted, and that were there.
    pub(crate) filtered: BTreeSet<String>,
    /// Who is told of every row.
    pub(crate) observer: Option<&'a mut dyn Observer>,
}

/// Reads the database `name` in one snapshot.
pub(crate) fn dump(run: &mut Run<'_>, name: &str) -> Result<()> {
    let mut guard = Sql::open(run.settings, name)?;
    let timeout = run.settings.lock_timeout;
    guard.run("BEGIN").context(|| "beginning a transaction failed")?;
    lock(&mut guard, run.selection, timeout, name)?;
    let mut sql = Sql::open(run.settings, name)?;
    sql.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY DEFERRABLE")
        .context(|| "beginning the transaction with the snapshot failed")?;
    let snapshot = sql
        .value("SELECT pg_catalog.pg_export_snapshot()")
        .context(|| "exporting the snapshot failed")?;
    // From here on the transaction with the snapshot holds the locks by itself.
    lock(&mut sql, run.selection, timeout, name)?;
    guard.close();

    progress::report(&format!("reading the catalogs of {name}"), run.proof.bytes, None);
    let encoding = sql.value("SELECT current_setting('server_encoding')")?;
    let statements = globals::database(&mut sql, run.server.major)?;
    database_script(run, name, &statements)?;
    run.index.add(&Record::Database {
        name: name.to_owned(),
        snapshot: snapshot.clone(),
        encoding: encoding.clone(),
        statements,
    })?;
    let catalog =
        Catalog::read(&mut sql, run.server.major, run.selection).context(|| format!("reading the catalogs of database `{name}` failed"))?;
    not_carried(run, name, &catalog);
    run.findings.extend(catalog.left.findings(name));
    script(run, run.settings.layout.script(name, "pre-data"), &catalog.before)?;
    let rows_before = run.rows;
    let source = Source {
        database: name,
        encoding: &encoding,
        snapshot: &snapshot,
    };
    let tables = data::dump(run, &mut sql, source, &catalog)?;
    large_objects::dump(run, &mut sql, name, &catalog.large_objects)?;
    script(run, run.settings.layout.script(name, "post-data"), &catalog.after)?;
    sql.run("COMMIT").context(|| "ending the transaction with the snapshot failed")?;
    sql.close();
    let rows = run.rows - rows_before;
    run.proof
        .fact("database", format!("{name}: snapshot {snapshot}, {tables} tables, {rows} rows"));
    Ok(())
}

/// Tells what is left out, and why.
fn not_carried(run: &mut Run<'_>, name: &str, catalog: &Catalog) {
    let mut warn = |code: &str, message: String, hint: &str| run.findings.push(Finding::warning(code, message).with_hint(hint));
    if !catalog.invalid_indexes.is_empty() {
        let list = catalog.invalid_indexes.join(", ");
        warn(
            "invalid-indexes",
            format!("database `{name}` has indexes that are not valid and are not carried: {list}"),
            "REINDEX or DROP what an interrupted CREATE INDEX CONCURRENTLY left",
        );
    }
    if !catalog.added_to_extensions.is_empty() {
        let list = catalog.added_to_extensions.join(", ");
        warn(
            "added-to-extensions",
            format!(
                "database `{name}` has what somebody added to objects that extensions own; it is not carried, as pg_dump doesn't: {list}"
            ),
            "add it again after a restore",
        );
    }
    let role = &run.server.role;
    if catalog.user_mappings > 0 && !run.server.superuser {
        let count = catalog.user_mappings;
        warn(
            "user-mappings",
            format!(
                "database `{name}` has {count} user mappings; `{role}` may not see the options of all of them, and those that it may not are not carried"
            ),
            "use a superuser, or set their options anew after a restore",
        );
    }
    if catalog.hidden_subscriptions > 0 {
        let count = catalog.hidden_subscriptions;
        warn(
            "subscriptions",
            format!("database `{name}` has {count} subscriptions that `{role}` may not read; they are not carried"),
            "use a superuser or a member of pg_read_all_data, or create them anew after a restore",
        );
    }
}

fn database_script(run: &mut Run<'_>, name: &str, statements: &[(String, String)]) -> Result<()> {
    let mut script = Script::create(run.settings.layout.script(name, "database"))?;
    for statement in globals::statements(name, statements) {
        script.add_unlisted(&statement)?;
    }
    run.proof.count(&script.finish()?);
    Ok(())
}

fn script(run: &mut Run<'_>, path: String, objects: &[super::catalog::Written]) -> Result<()> {
    let mut script = Script::create(path)?;
    for object in objects {
        let title = Title::new(&object.kind, &object.name)
            .at(object.place.clone())
            .identified(object.identity.as_deref());
        script.add(&mut run.index, &title, &object.statements)?;
    }
    run.objects += objects.len() as u64;
    run.proof.count(&script.finish()?);
    Ok(())
}

/// Takes the weakest lock on every table that is chosen: nobody can drop or alter one now, and everybody can read and write.
fn lock(sql: &mut Sql, selection: &Selection, timeout: Duration, database: &str) -> Result<()> {
    let mut tables = Vec::new();
    sql.each(TABLES, |row| {
        let mut values = row.into_iter();
        let mut next = || text(values.next().flatten());
        if selection.takes_table(&next(), &next()) {
            tables.push(next());
        }
        Ok(())
    })?;
    lock_tables(sql, &tables, timeout, database)
}

/// Locks these, and waits for so long for each.
pub(crate) fn lock_tables(sql: &mut Sql, tables: &[String], timeout: Duration, database: &str) -> Result<()> {
    sql.run(&format!("SET LOCAL lock_timeout = {}", timeout.as_millis()))
        .context(|| "limiting the wait for locks failed")?;
    for some in tables.chunks(LOCKED_AT_ONCE) {
        let statements: Vec<String> = some
            .iter()
            .map(|table| format!("LOCK TABLE ONLY {table} IN ACCESS SHARE MODE"))
            .collect();
        sql.run_counting(&statements.join(";"))
            .map_err(|(done, error)| of_table(error, some.get(done).map_or("", String::as_str), database))?;
    }
    sql.run("SET LOCAL lock_timeout = 0")
        .context(|| "lifting the limit of waiting for locks failed")
}

/// What kept a table from being locked or read.
pub(crate) fn of_table(error: ClientError, table: &str, database: &str) -> Error {
    let code = match &error {
        ClientError::Server(report) => report.code.clone(),
        _ => String::new(),
    };
    let mut told = Error::from(error);
    let (message, hint) = match code.as_str() {
        "42501" => {
            told.kind = ErrorKind::PermissionDenied;
            (
                "may not be read",
                format!(
                    "GRANT SELECT ON {table} TO the role, or GRANT pg_read_all_data (from PostgreSQL 14 on); a table with row level security needs BYPASSRLS or its owner"
                ),
            )
        }
        "55P03" => {
            told.kind = ErrorKind::TimedOut;
            told.retryable = true;
            (
                "is locked by somebody else",
                "wait for whoever holds the lock (pg_locks tells), or raise `lock-timeout`".to_owned(),
            )
        }
        "42P01" | "42703" | "3F000" | "40P01" | "XX000" => {
            told.kind = ErrorKind::Conflict;
            told.retryable = true;
            (
                "was dropped or altered while it was being read",
                "run again, at a time when nobody changes tables".to_owned(),
            )
        }
        _ => return told.context(format!("reading table {table} of database `{database}` failed")),
    };
    told.context(format!("table {table} of database `{database}` {message}"))
        .with_hint(hint)
}
