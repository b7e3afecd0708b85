//! Taking a base backup: [`backup`].

use bulkhead_postgres_client::{Session, Transport};
use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt,
    source::{BackupRequest, BackupResult},
    types::Finding,
};

use super::{
    checkpoint::Checkpoint,
    method::{self, Method, Started},
    outcome::{damage_error, damage_finding, damaged_files},
    unpack::{Unpacked, Unpacker},
};
use crate::{config::Config, server::Server};

/// Takes a base backup of the cluster.
pub(crate) fn backup(config: &Config, request: &BackupRequest) -> Result<BackupResult> {
    let Started {
        mut session,
        server,
        run,
        begun,
        method,
        parent,
    } = method::start(config, request.checkpoint.as_deref())?;
    let mut unpacker = Unpacker::new(&server, parent);
    let damage = begun.receive(&mut session, &mut unpacker).map_err(explain_backup)?;
    let (notices, _) = session.take_notices();
    let mut findings: Vec<Finding> = method.finding().into_iter().collect();
    let damaged = damage.is_some();
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
    let unpacked = unpacker.finish()?;
    let checkpoint = Checkpoint::of(&server, run.as_ref(), &unpacked, damaged).to_bytes()?;
    Ok(result(&server, unpacked, checkpoint, &method, findings))
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
pub(super) fn explain_backup(error: Error) -> Error {
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

fn result(server: &Server, unpacked: Unpacked, checkpoint: Vec<u8>, method: &Method, findings: Vec<Finding>) -> BackupResult {
    let mut proof = unpacked.proof;
    proof.fact("start-lsn", unpacked.start.lsn);
    proof.fact("end-lsn", unpacked.end.lsn);
    proof.fact("timeline", unpacked.end.timeline);
    proof.fact("system-identifier", server.identity.system_identifier);
    proof.fact("server-version", &server.version);
    if let Some(standby) = server.standby {
        proof.fact("server-role", if standby { "standby" } else { "primary" });
    }
    proof.fact("finished", unpacked.finished);
    proof.fact("files", proof.entries);
    proof.fact("bytes", proof.bytes);
    proof.fact("method", method);
    proof.fact("bytes-received", unpacked.received);
    if let Method::Incremental(_) = method {
        proof.fact("bytes-read-from-vault", unpacked.reread);
    }
    proof.fact("manifest-verified-files", unpacked.verified);
    proof.fact("tablespaces", unpacked.tablespaces.len());
    BackupResult {
        proof,
        checkpoint: Some(checkpoint),
        findings,
    }
}
