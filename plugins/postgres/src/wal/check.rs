//! Preflight: [`check`] looks at the server and at the slot, and at what would let the one run full because of the other.

use bulkhead_postgres_client::ResultSet;
use bulkhead_sdk::{Error, ErrorKind, Result, directory, types::Finding};

use super::{
    archive::MAX_SEGMENT,
    push::{GRANT, newest_segment},
};
use crate::{
    config::Config,
    connection::{self, Connection, Purpose},
    preflight::{protection, reached},
    server::Server,
};

/// Connects, logs in, and looks around. Changes nothing: a slot that is missing is made by the first run.
pub(crate) fn check(config: &Config) -> Result<Vec<Finding>> {
    let mut session = match connection::open(config, Purpose::PhysicalReplication) {
        Err(error) if error.kind == ErrorKind::NotGranted && is_handed_over() => return look_at_log(),
        session => session?,
    };
    let server = Server::inspect(&mut session)?;
    let mut findings = vec![reached(&session, &server)];
    findings.extend(protection(&session));
    session.close();
    if server.wal_segment_size > MAX_SEGMENT {
        let message = format!(
            "the cluster's segments have {} bytes; mode `wal` holds one in memory, and takes up to {MAX_SEGMENT}",
            server.wal_segment_size
        );
        findings.push(Finding::error("segments-too-large", message).with_hint("initdb --wal-segsize=16 is PostgreSQL's default"));
    }
    findings.extend(look_at_slot(config));
    Ok(findings)
}

/// Whether the log comes file by file, from a server that need not be asked anything.
fn is_handed_over() -> bool {
    directory::grants().iter().any(|grant| grant.name == GRANT)
}

fn look_at_log() -> Result<Vec<Finding>> {
    let name = newest_segment(&directory::open(GRANT)?)?;
    let message =
        format!("no server is granted, so the log has to be handed over by `bulkhead wal-push`; `directory.log` has segments up to {name}");
    Ok(vec![Finding::info("log-handed-over", message)])
}

/// What only SQL tells. The role needs none of this for a run, so where SQL is closed to it, that is said and no more.
fn look_at_slot(config: &Config) -> Vec<Finding> {
    let answer = connection::open(config, Purpose::Database(config.database())).and_then(|mut session| {
        let answer = ask(&mut session, config.slot())?;
        session.close();
        Ok(answer)
    });
    match answer {
        Ok(answer) => findings(config, &answer),
        Err(error) => {
            let message = format!(
                "the replication slot could not be looked at, as `{}` cannot use SQL in database `{}`: {error}",
                config.user,
                config.database()
            );
            let hint = "a run does not need it; a line for the role and the database in pg_hba.conf makes this check say how much log the server keeps";
            vec![Finding::info("no-sql", message).with_hint(hint)]
        }
    }
}

/// A row, also where there is no slot. The slot's name has been checked to need no quoting.
fn ask(session: &mut Connection, slot: &str) -> Result<ResultSet> {
    let statement = format!(
        "SELECT s.slot_type, s.active, s.wal_status, s.restart_lsn, \
         pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, s.restart_lsn)::int8 AS kept, \
         current_setting('max_slot_wal_keep_size') AS limit, \
         current_setting('max_wal_senders')::int8 - (SELECT count(*) FROM pg_stat_replication) AS senders, \
         current_setting('max_replication_slots')::int8 - (SELECT count(*) FROM pg_replication_slots) AS slots \
         FROM (SELECT 1) AS one LEFT JOIN pg_replication_slots AS s ON s.slot_name = '{slot}'"
    );
    let sets = session.query(&statement).map_err(Error::from)?;
    Ok(sets.into_iter().next().unwrap_or_default())
}

fn findings(config: &Config, answer: &ResultSet) -> Vec<Finding> {
    let value = |name| answer.value(0, name);
    let mut findings = Vec::new();
    match value("slot_type") {
        None => findings.extend(missing(config, answer)),
        Some("physical") => findings.extend(state(config, answer)),
        Some(_) => findings.push(
            Finding::error(
                "slot-logical",
                format!("the replication slot `{}` is one for logical decoding", config.slot()),
            )
            .with_setting("slot")
            .with_hint("name another one: the first run makes it"),
        ),
    }
    match value("limit") {
        Some("-1") => findings.push(
            Finding::warning(
                "wal-kept-unlimited",
                "`max_slot_wal_keep_size` is -1: while no run takes the log, the server keeps it until its disk is full",
            )
            .with_hint("set it to what the disk can spare; beyond it the server gives up the slot, and goes on"),
        ),
        Some(limit) => findings.push(Finding::info(
            "wal-kept-limited",
            format!("`max_slot_wal_keep_size` is {limit}: if that much is written while no run takes the log, there is a gap in it"),
        )),
        None => {}
    }
    findings.extend(scarce("senders", "wal-senders-scarce", "max_wal_senders", answer));
    findings
}

fn missing(config: &Config, answer: &ResultSet) -> Vec<Finding> {
    let message = format!("there is no replication slot `{}` yet: the first run makes it", config.slot());
    let mut findings = vec![Finding::info("slot-missing", message)];
    findings.extend(scarce("slots", "replication-slots-scarce", "max_replication_slots", answer));
    findings
}

/// Something of which nothing is free.
fn scarce(column: &str, code: &str, setting: &str, answer: &ResultSet) -> Option<Finding> {
    let free = answer.value(0, column)?.parse::<i64>().ok()?;
    (free <= 0).then(|| {
        Finding::warning(
            code,
            format!("none of the server's `{setting}` is free: a run fails while it is so"),
        )
        .with_hint(format!("raise `{setting}` in postgresql.conf and restart the server"))
    })
}

/// A slot that is there.
fn state(config: &Config, answer: &ResultSet) -> Vec<Finding> {
    let value = |name| answer.value(0, name).unwrap_or_default();
    let slot = config.slot();
    if value("wal_status") == "lost" {
        let message = format!("the server has given up the replication slot `{slot}`: it kept more than `max_slot_wal_keep_size`");
        return vec![Finding::error("slot-lost", message).with_hint(
            "the next run makes it anew, and says whether there is a gap; take a base backup then, and raise `max_slot_wal_keep_size`",
        )];
    }
    let kept = value("kept").parse::<u64>().unwrap_or(0);
    let whose = if value("active") == "t" { "in use" } else { "not in use" };
    let message = format!(
        "the replication slot `{slot}` is {whose}, and keeps {kept} bytes of log from {} on",
        value("restart_lsn")
    );
    if kept > config.slot_warning() {
        return vec![
            Finding::warning("slot-lag", message)
                .with_hint("see that a run takes the log: `bulkhead run`; until then it fills the server's disk")
                .with_setting("slot-warning"),
        ];
    }
    vec![Finding::info("slot-state", message)]
}
