//! Whether a stored snapshot is whole: [`verify`] reads every RDB file again and compares it with the manifest.

use bulkhead_sdk::{Error, ErrorKind, Result, host::BEST_TRANSFER, progress, snapshot, types::Finding};

use crate::{
    counts::Counted,
    failure,
    manifest::{Dataset, Manifest},
};

/// Problems that are listed one by one.
const MAX_LISTED: usize = 50;

/// Reads everything.
pub(crate) fn verify() -> Result<Vec<Finding>> {
    let manifest = match Manifest::load() {
        Ok(manifest) => manifest,
        Err(error) if matches!(error.kind, ErrorKind::Corrupt | ErrorKind::NotFound) => return Ok(vec![damaged(&error)]),
        Err(error) => return Err(error),
    };
    let mut findings = Vec::new();
    let (mut keys, mut bytes) = (0, 0);
    for dataset in &manifest.datasets {
        match read(dataset) {
            Ok(read) => {
                keys += read.counts.total();
                bytes += read.position();
            }
            Err(error) if matches!(error.kind, ErrorKind::Corrupt | ErrorKind::NotFound) => {
                if findings.len() < MAX_LISTED {
                    findings.push(damaged(&error));
                }
            }
            Err(error) => return Err(error),
        }
    }
    if findings.is_empty() {
        let files = manifest.datasets.len();
        let message = format!("{files} RDB files ({bytes} bytes) have the checksums, and the {keys} keys, of the backup");
        findings.push(Finding::info("rdb-verified", message));
    }
    Ok(findings)
}

fn damaged(error: &Error) -> Finding {
    Finding::error("rdb-damaged", error.to_string())
        .with_hint("restore from another snapshot; `bulkhead verify` tells which ones are whole")
}

/// Reads a file and compares it with what the manifest says.
fn read(dataset: &Dataset) -> Result<Counted> {
    let path = &dataset.path;
    let mut reader = snapshot::open(path)?;
    let size = reader.size();
    let mut rdb = Counted::new();
    while let Some(piece) = reader.read_bytes(BEST_TRANSFER)? {
        let read = rdb.feed(&piece).map_err(|error| failure::stored(&error, path))?;
        if read < piece.len() {
            return Err(Error::new(ErrorKind::Corrupt, format!("{path} goes on behind its end")));
        }
        progress::report("verifying", rdb.position(), Some(size));
    }
    rdb.finish().map_err(|error| failure::stored(&error, path))?;
    let checksum = format!("{:016x}", rdb.checksum());
    let differs = |what: &str| {
        Err(Error::new(
            ErrorKind::Corrupt,
            format!("{path} does not have the {what} of the backup"),
        ))
    };
    if checksum != dataset.checksum {
        return differs("checksum");
    }
    if rdb.counts.keys != dataset.keys || rdb.counts.expires != dataset.expires || rdb.counts.functions != dataset.functions {
        return differs("keys");
    }
    Ok(rdb)
}
