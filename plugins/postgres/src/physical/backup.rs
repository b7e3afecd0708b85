//! Taking a base backup: [`backup`].

use bulkhead_postgres_client::{Session, Transport};
use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt, source::BackupResult, types::Finding};
use serde::Serialize;

use super::{
    base_backup::{self, command},
    outcome::{damage_error, damage_finding, damaged_files},
    unpack::{Unpacked, Unpacker},
};
use crate::{
    config::Config,
    connection::{self, Purpose},
    server::Server,
};

/// What a snapshot was, for whoever continues from it (log archiving, incremental backups).
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Checkpoint<'a> {
    /// Of this structure.
    version: u32,
    mode: &'a str,
    system_identifier: u64,
    timeline: u32,
    start_lsn: String,
    end_lsn: String,
    server_version: &'a str,
    wal_segment_size: u64,
    tablespaces: &'a [u32],
    finished: i64,
}

/// Takes a base backup of the cluster.
pub(crate) fn backup(config: &Config) -> Result<BackupResult> {
    let mut session = connection::open(config, Purpose::PhysicalReplication)?;
    let server = Server::inspect(&mut session)?;
    reserve_log(&mut session, server.major)?;

    let mut unpacker = Unpacker::new(&server);
    let command = command(server.major, config.checkpoint, config.max_rate_kib()?);
    let damage = base_backup::receive(&mut session, &command, server.major, &mut unpacker).map_err(explain_backup)?;
    let (notices, _) = session.take_notices();
    let mut findings = Vec::new();
    if let Some(report) = damage {
        let files = damaged_files(&notices);
        if !config.accept_damaged_pages {
            return Err(damage_error(&files, &report));
        }
        findings.push(damage_finding(&files));
    }
    if !server.data_checksums {
        findings.push(checksums_off());
    }
    session.close();
    result(&server, unpacker.finish()?, findings)
}

/// Makes a slot that keeps the log from the last checkpoint on, until this connection ends: the log of the backup cannot be removed under it.
pub(super) fn reserve_log<T: Transport>(session: &mut Session<T>, major: u32) -> Result<()> {
    let name = slot_name()?;
    let command = if major >= 15 {
        format!("CREATE_REPLICATION_SLOT {name} TEMPORARY PHYSICAL (RESERVE_WAL)")
    } else {
        format!("CREATE_REPLICATION_SLOT {name} TEMPORARY PHYSICAL RESERVE_WAL")
    };
    session
        .query(&command)
        .context(|| "reserving the write-ahead log with a temporary replication slot failed")?;
    Ok(())
}

/// A name that no other run has.
fn slot_name() -> Result<String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|_| Error::new(ErrorKind::Internal, "no random numbers available"))?;
    Ok(format!("bulkhead_{}", hex::encode(random)))
}

/// Adds what to do where the server gave up on keeping the log: it terminates whoever holds the slot (57P01), or finds the log missing at the end.
fn explain_backup(error: Error) -> Error {
    let error = error.context("the base backup failed");
    let is_about = |words: &str| error.causes.iter().any(|cause| cause.contains(words));
    if is_about("SQLSTATE 57P01") {
        return error.with_hint(
            "an administrator terminated the connection, or the backup's log grew beyond `max_slot_wal_keep_size`: the server's own log tells \
             which; raise that setting where backups run long beside many writes",
        );
    }
    if error.kind == ErrorKind::Server && is_about("WAL") {
        return error.with_hint("the server removed log that the backup needs: raise `max_slot_wal_keep_size` on the server");
    }
    error
}

/// Pages have no checksums: what the disk changes goes unnoticed into every backup.
pub(super) fn checksums_off() -> Finding {
    Finding::warning(
        "data-checksums-off",
        "the cluster has no page checksums: damage by its disk goes unnoticed into backups",
    )
    .with_hint("stop the server, run pg_checksums --enable -D PGDATA, and start it")
}

fn result(server: &Server, unpacked: Unpacked, findings: Vec<Finding>) -> Result<BackupResult> {
    let Unpacked {
        mut proof,
        start,
        end,
        finished,
        verified,
        tablespaces,
    } = unpacked;
    let checkpoint = Checkpoint {
        version: 1,
        mode: "physical",
        system_identifier: server.identity.system_identifier,
        timeline: end.timeline.0,
        start_lsn: start.lsn.to_string(),
        end_lsn: end.lsn.to_string(),
        server_version: &server.version,
        wal_segment_size: server.wal_segment_size,
        tablespaces: &tablespaces,
        finished,
    };
    let checkpoint = serde_json::to_vec(&checkpoint).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
    proof.fact("start-lsn", start.lsn);
    proof.fact("end-lsn", end.lsn);
    proof.fact("timeline", end.timeline);
    proof.fact("system-identifier", server.identity.system_identifier);
    proof.fact("server-version", &server.version);
    if let Some(standby) = server.standby {
        proof.fact("server-role", if standby { "standby" } else { "primary" });
    }
    proof.fact("finished", finished);
    proof.fact("files", proof.entries);
    proof.fact("bytes", proof.bytes);
    proof.fact("manifest-verified-files", verified);
    proof.fact("tablespaces", tablespaces.len());
    Ok(BackupResult {
        proof,
        checkpoint: Some(checkpoint),
        findings,
    })
}
