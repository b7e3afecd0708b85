//! What is in the databases of a snapshot: [`Inventory`], the entry `inventory.json`. People read it, tools compare it, and `verify` holds the stored databases against it.

use std::collections::BTreeMap;

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    entries::{self, Finished},
    metadata::Metadata,
    snapshot,
};
use bulkhead_sqlite_image::Contents;
use serde::{Deserialize, Serialize};

/// Where it is in a snapshot. No directory has such a name.
pub(crate) const INVENTORY: &str = "inventory.json";

/// All databases, by their paths in the snapshot; one that is no UTF-8 with its bytes as Rust writes them (`caf\xe9.db`).
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Inventory {
    pub(crate) databases: BTreeMap<String, Record>,
}

/// One database.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Record {
    /// The bytes of a path that is no UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<Vec<u8>>,
    /// `rollback`, `wal` or `empty`.
    pub(crate) mode: String,
    /// Bytes of the image.
    pub(crate) bytes: u64,
    /// Pages that were in the log, or in the journal of a transaction that was cut short, and not in the database file.
    pub(crate) second_pages: usize,
    /// `ok` where SQLite checked it; else why it could not.
    pub(crate) integrity: String,
    /// `None` where nothing was asked.
    pub(crate) contents: Option<Contents>,
}

/// What the inventory, and whoever reads it, calls the database at `path`.
pub(crate) fn name(path: &[u8]) -> String {
    std::str::from_utf8(path).map_or_else(|_| path.escape_ascii().to_string(), str::to_owned)
}

impl Inventory {
    /// Stores it.
    pub(crate) fn store(&self) -> Result<Finished> {
        let text = serde_json::to_vec_pretty(self).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        let mut writer = entries::create(INVENTORY, &Metadata::file())?;
        writer.write_bytes(&text)?;
        writer.finish()
    }

    /// That of a snapshot.
    ///
    /// # Errors
    /// `Corrupt`, `NotFound`.
    pub(crate) fn stored() -> Result<Self> {
        let reader = snapshot::open(INVENTORY)?;
        serde_json::from_reader(reader).map_err(|error| {
            Error::new(ErrorKind::Corrupt, format!("{INVENTORY} of the snapshot cannot be read: {error}"))
                .with_hint("restore from another snapshot")
        })
    }
}
