//! Preflight: [`check`] does everything that a backup does before the first byte of it, and looks at what would make one fail or worthless.

use bulkhead_postgres_client::ResultSet;
use bulkhead_sdk::{Error, Result, types::Finding};

use super::{
    backup::{checksums_off, reserve_log},
    parent::{Full, SUMMARIES_HINT, offered},
    truncations::Truncations,
};
use crate::{
    config::Config,
    connection::{self, Connection, Purpose},
    preflight::{protection, reached},
    server::Server,
};

/// Connects, logs in, and looks around. Fails where a backup would fail to begin.
pub(crate) fn check(config: &Config) -> Result<Vec<Finding>> {
    let mut session = connection::open(config, Purpose::PhysicalReplication)?;
    let server = Server::inspect(&mut session)?;
    let mut findings = vec![reached(&session, &server)];
    findings.extend(protection(&session));
    if let Err(error) = reserve_log(&mut session, server.major) {
        findings.push(Finding::of_error("replication-slot", &error));
    }
    if !server.data_checksums {
        findings.push(checksums_off());
    }
    if server.standby == Some(true) {
        let message = "the server is a standby: a backup fails if it is promoted meanwhile, and needs `full_page_writes` on its primary";
        findings.push(Finding::info("server-is-standby", message));
    }
    findings.extend(incremental(config, &server, &mut session)?);
    findings.extend(look_around(config));
    session.close();
    Ok(findings)
}

/// What a setting of the server, or a right, would save.
fn incremental(config: &Config, server: &Server, session: &mut Connection) -> Result<Option<Finding>> {
    let off =
        |why: Full, hint: &str| Finding::info("incremental-off", format!("every backup reads all of the cluster: {why}")).with_hint(hint);
    Ok(match offered(config.incremental, server, session)? {
        Err(why @ Full::NotSummarized) => Some(off(
            why,
            "ALTER SYSTEM SET summarize_wal = on; SELECT pg_reload_conf(): then the server tells what has changed since the last snapshot, and sends only that",
        )),
        Err(_) => None,
        Ok(()) => closed(config).map(|why| off(why, SUMMARIES_HINT)),
    })
}

/// Why the server would not tell to where relations were cut. Where SQL as a whole is closed, looking around says so.
fn closed(config: &Config) -> Option<Full> {
    let asked = connection::open(config, Purpose::Database("postgres")).and_then(|mut sql| {
        let closed = Truncations::closed(&mut sql)?;
        sql.close();
        Ok(closed)
    });
    asked.ok().flatten()
}

/// What only SQL tells. The role needs none of this for a backup, so where SQL is closed to it, that is said and no more.
fn look_around(config: &Config) -> Vec<Finding> {
    let answers = connection::open(config, Purpose::Database("postgres")).and_then(|mut session| {
        let answers = Answers::ask(&mut session)?;
        session.close();
        Ok(answers)
    });
    match answers {
        Ok(answers) => answers.findings(),
        Err(error) => {
            let message = format!(
                "tablespaces, WAL senders and slots could not be looked at, as `{}` cannot use SQL in database `postgres`: {error}",
                config.user
            );
            let hint = "a backup that reads everything does not need it, an incremental one does; a line for the role and database `postgres` in pg_hba.conf makes this check say more";
            vec![Finding::info("no-sql", message).with_hint(hint)]
        }
    }
}

struct Answers {
    senders: ResultSet,
    tablespaces: ResultSet,
}

impl Answers {
    fn ask(session: &mut Connection) -> Result<Self> {
        let mut first = |statement: &str| Ok::<_, Error>(session.query(statement)?.into_iter().next().unwrap_or_default());
        Ok(Self {
            // A role without pg_monitor sees the rows of others, but not their content: counting works.
            senders: first(
                "SELECT current_setting('max_wal_senders')::int8 - (SELECT count(*) FROM pg_stat_replication) AS senders, \
                 current_setting('max_replication_slots')::int8 - (SELECT count(*) FROM pg_replication_slots) AS slots, \
                 current_setting('max_slot_wal_keep_size') AS keep",
            )?,
            tablespaces: first(
                "SELECT oid, spcname, pg_tablespace_location(oid) AS location FROM pg_tablespace \
                 WHERE pg_tablespace_location(oid) <> '' ORDER BY oid",
            )?,
        })
    }

    fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let free = |name| self.senders.value(0, name).and_then(|text| text.parse::<i64>().ok());
        // This check itself holds one of each; it has returned them when a backup starts.
        for (left, code, setting) in [
            (free("senders"), "wal-senders-scarce", "max_wal_senders"),
            (free("slots"), "replication-slots-scarce", "max_replication_slots"),
        ] {
            if let Some(left) = left.filter(|&left| left <= 0) {
                let message = format!("all but the one of this check of the server's `{setting}` are in use (free: {left})");
                let hint =
                    format!("raise `{setting}` in postgresql.conf and restart the server: another standby or backup makes backups fail");
                findings.push(Finding::warning(code, message).with_hint(hint));
            }
        }
        if let Some(keep) = self.senders.value(0, "keep").filter(|keep| *keep != "-1") {
            let message = format!("`max_slot_wal_keep_size` is {keep}: a backup fails if more log than that is written while it runs");
            findings.push(Finding::info("wal-kept-limited", message).with_hint("raise it where backups run long beside many writes"));
        }
        findings.extend(self.tablespace_finding());
        findings
    }

    fn tablespace_finding(&self) -> Option<Finding> {
        let lines: Vec<String> = (0..self.tablespaces.rows.len())
            .filter_map(|row| {
                let value = |name| self.tablespaces.value(row, name);
                let (oid, location) = (value("oid")?, value("location")?);
                Some(format!(
                    "directory.tablespace-{oid} = {{ path = \"{location}\", access = \"read-write\" }}"
                ))
            })
            .collect();
        if lines.is_empty() {
            return None;
        }
        let message = format!("the cluster has {} tablespaces: a restore needs a directory for each", lines.len());
        Some(Finding::info("tablespaces", message).with_hint(format!("in the restore target: {}", lines.join("; "))))
    }
}
