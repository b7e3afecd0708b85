//! What was backed up, as it is stored beside the datasets: [`Manifest`].

use std::collections::BTreeMap;

use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt, entries, metadata::Metadata, snapshot, types::Proof};
use serde::{Deserialize, Serialize};

/// Its path.
pub(crate) const PATH: &str = "manifest.json";

/// Largest manifest that is read: a cluster has at most 16,384 masters.
const MAX_SIZE: u64 = 64 << 20;

/// What a snapshot holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Manifest {
    /// Of this structure.
    pub(crate) version: u32,
    pub(crate) datasets: Vec<Dataset>,
}

/// One `dump.rdb`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Dataset {
    /// Of the entry.
    pub(crate) path: String,
    /// `replica` or `scan`.
    pub(crate) read: String,
    /// The server that sent it.
    pub(crate) address: String,
    pub(crate) server_version: String,
    /// `master` or `replica`.
    pub(crate) role: String,
    pub(crate) run_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replication_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replication_offset: Option<u64>,
    /// Of a cluster, the slots of the shard: `0-5460`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slots: Option<String>,
    pub(crate) rdb_version: String,
    /// CRC-64 in hexadecimal; zeros where the server makes none.
    pub(crate) checksum: String,
    pub(crate) bytes: u64,
    /// By database.
    pub(crate) keys: BTreeMap<u64, u64>,
    /// By type.
    pub(crate) types: BTreeMap<String, u64>,
    pub(crate) expires: u64,
    pub(crate) functions: u64,
    /// How well counts could be compared with the server's own.
    pub(crate) compared: String,
}

impl Manifest {
    /// Stores it.
    pub(crate) fn store(&self, proof: &mut Proof) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        store_entry(PATH, &text, proof)
    }

    /// Reads the stored one.
    pub(crate) fn load() -> Result<Self> {
        let damaged = |what: &dyn std::fmt::Display| {
            Error::new(ErrorKind::Corrupt, format!("{PATH} cannot be read"))
                .with_cause(what)
                .with_hint("restore from another snapshot; `bulkhead verify` tells which ones are whole")
        };
        let mut reader = snapshot::open(PATH).context(|| "the snapshot is not one of this plugin")?;
        if reader.size() > MAX_SIZE {
            return Err(damaged(&format!("it has {} bytes", reader.size())));
        }
        let mut text = Vec::new();
        while let Some(piece) = reader.read_bytes(bulkhead_sdk::host::BEST_TRANSFER)? {
            text.extend_from_slice(&piece);
        }
        let manifest: Self = serde_json::from_slice(&text).map_err(|error| damaged(&error))?;
        if manifest.version != 1 {
            return Err(
                Error::unsupported(format!("{PATH} has version {}; this plugin knows version 1", manifest.version))
                    .with_hint("use the Bulkhead release that made the snapshot, or a newer one"),
            );
        }
        Ok(manifest)
    }
}

/// Stores a small entry, whole.
pub(crate) fn store_entry(path: &str, content: &[u8], proof: &mut Proof) -> Result<()> {
    let mut entry = entries::create(path, &Metadata::file())?;
    entry.write_bytes(content)?;
    proof.count(&entry.finish()?);
    Ok(())
}
