//! What is known of a database that was stored: [`Record`], the entry `database.json`. People read it, the next run goes on from it, and `verify` and `restore` hold the
//! snapshot against it.

use std::collections::BTreeMap;

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    entries::{self, Finished},
    metadata::Metadata,
    snapshot,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    names,
    server::{Info, Sequence, Welcome},
};

/// All databases of a snapshot.
pub(crate) const INVENTORY: &str = "inventory.json";
/// Of the layout of entries: a run goes on from its own only.
pub(crate) const FORMAT: u32 = 1;

/// What is stored of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Tally {
    /// Documents whose winning revision is not deleted: what CouchDB calls `doc_count`.
    pub(crate) documents: u64,
    /// The others: `doc_del_count`.
    pub(crate) deleted: u64,
    /// Attachments with something in them, one for each digest in a document. Also those that a document lost, or went with, while it was read: what a run has stored
    /// it cannot take back, but the next one can.
    pub(crate) attachments: u64,
    pub(crate) attachment_bytes: u64,
}

/// A database.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Record {
    pub(crate) format: u32,
    pub(crate) name: String,
    /// What tells it from another one of its name.
    pub(crate) identity: String,
    /// All changes up to here are in the snapshot; later ones may be.
    pub(crate) seq: Sequence,
    pub(crate) levels: u8,
    #[serde(flatten)]
    pub(crate) stored: Tally,
    /// How this run went on: `first`, `continued`, or why all was read anew.
    pub(crate) reading: String,
    pub(crate) documents_read: u64,
    /// Documents that changed after they were read: the next run reads them again.
    pub(crate) changed_meanwhile: u64,
    /// How the counts compare with the server's.
    pub(crate) counts: String,
    /// What the server said before and after.
    pub(crate) before: Info,
    pub(crate) after: Info,
    pub(crate) revs_limit: Option<u64>,
    #[serde(default)]
    pub(crate) purged_infos_limit: Option<u64>,
}

/// The entry `inventory.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Inventory {
    pub(crate) server: Welcome,
    pub(crate) databases: BTreeMap<String, Record>,
}

impl Record {
    /// What the snapshot says that this is about; `None` where it has no such database.
    pub(crate) fn stored(database: &str) -> Result<Option<Self>> {
        match Self::at(&names::folder(database)) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            record => record.map(Some),
        }
    }

    /// That of the database in a folder of the snapshot.
    pub(crate) fn at(folder: &str) -> Result<Self> {
        read(&format!("{folder}/database.json"))
    }

    /// Stores it.
    pub(crate) fn store(&self) -> Result<Finished> {
        write(&format!("{}/database.json", names::folder(&self.name)), &pretty(self)?)
    }
}

impl Inventory {
    /// That of the snapshot.
    pub(crate) fn stored() -> Result<Self> {
        read(INVENTORY)
    }

    /// Stores it.
    pub(crate) fn store(&self) -> Result<Finished> {
        write(INVENTORY, &pretty(self)?)
    }
}

/// An entry of a few bytes.
pub(crate) fn write(path: &str, content: &[u8]) -> Result<Finished> {
    let mut writer = entries::create(path, &Metadata::file())?;
    writer.write_bytes(content)?;
    writer.finish()
}

fn pretty<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(value).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))
}

fn read<T: DeserializeOwned>(path: &str) -> Result<T> {
    serde_json::from_reader(snapshot::open(path)?).map_err(|error| {
        let lost = std::io::Error::from(error);
        let error = Error::from(lost);
        Error::new(ErrorKind::Corrupt, format!("{path} of the snapshot cannot be read"))
            .with_cause(error)
            .with_hint("restore from another snapshot")
    })
}
