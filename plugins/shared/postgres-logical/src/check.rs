//! Preflight: [`check`] does what a backup does before it reads rows.

use bulkhead_sdk::{Result, types::Finding};

use super::{
    backup::chosen,
    names,
    selection::Selection,
    server::{Server, databases},
    session::Sql,
};
use crate::settings::Settings;

/// Tables that a message lists at most.
const NAMED: usize = 10;

/// Connects to every database that is to be read, and looks for what would make a backup fail.
pub(crate) fn check(settings: &Settings) -> Result<Vec<Finding>> {
    let mut sql = Sql::open(settings, &settings.database)?;
    let server = Server::inspect(&mut sql)?;
    let chosen = chosen(settings, databases(&mut sql)?)?;
    sql.close();
    let names: Vec<&str> = chosen.iter().map(|database| database.name.as_str()).collect();
    let bytes: u64 = chosen.iter().map(|database| database.size).sum();
    let message = format!(
        "PostgreSQL {}: {} databases with {bytes} bytes on the server's disk: {}",
        server.version,
        names.len(),
        names.join(", ")
    );
    let selection = Selection::new(&settings.parts)?;
    names::refuse_unmatched(settings, &chosen)?;
    let mut findings = vec![Finding::info("server-reached", message)];
    if settings.globals && !server.sees_passwords {
        let message = format!("`{}` may not read the passwords of roles, so they are not carried", server.role);
        findings.push(
            Finding::info("no-passwords", message)
                .with_hint("GRANT pg_read_all_data (from PostgreSQL 14 on), or set them anew after a restore"),
        );
    }
    for name in names {
        match unreadable(settings, &selection, name) {
            Ok(tables) if tables.is_empty() => {}
            Ok(tables) => {
                let message = format!(
                    "`{}` may not read these tables of database `{name}`: {}",
                    server.role,
                    tables.join(", ")
                );
                findings.push(
                    Finding::error("tables-unreadable", message)
                        .with_hint("GRANT SELECT on them, or GRANT pg_read_all_data (from PostgreSQL 14 on)"),
                );
            }
            Err(error) => findings.push(Finding::of_error("database-unreachable", &error)),
        }
    }
    Ok(findings)
}

/// A few of the tables that the role may not read.
fn unreadable(settings: &Settings, selection: &Selection, database: &str) -> Result<Vec<String>> {
    let mut sql = Sql::open(settings, database)?;
    let rows = sql.rows(
        "SELECT n.nspname, c.relname, c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
           AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid WHERE d.classid = c.tableoid AND d.objid = c.oid AND d.deptype = 'e' \
                           AND d.refclassid = e.tableoid AND c.oid <> ALL (coalesce(e.extconfig, '{}'))) \
           AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')) ORDER BY 3",
    )?;
    sql.close();
    let chosen = rows.into_iter().filter_map(|row| {
        let [schema, relation, full] = <[Option<String>; 3]>::try_from(row).ok()?;
        selection.takes_table(&schema?, &relation?).then_some(full).flatten()
    });
    Ok(chosen.take(NAMED).collect())
}
