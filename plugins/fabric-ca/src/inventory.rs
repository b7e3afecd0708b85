//! What is in a snapshot, as people read it and tools compare it: [`Line`]s of JSON, one a thing, in an order that does not depend on the run.

use std::io::{BufRead as _, BufWriter, Write as _};

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    entries::{self, EntryWriter, Finished},
    metadata::Metadata,
    snapshot,
};
use serde::{Deserialize, Serialize};

use crate::installation::Installation;

/// CAs, keys and certificates of the home.
pub(crate) const HOME: &str = "inventory/home.jsonl";
/// What the databases have.
pub(crate) const DATABASE: &str = "inventory/database.jsonl";
/// What the API tells.
pub(crate) const API: &str = "inventory/api.jsonl";

/// What a database in the home is called, as the server's config calls it.
pub(crate) const SQLITE: &str = "sqlite3";
/// What one in PostgreSQL is called.
pub(crate) const POSTGRES: &str = "postgres";

/// One thing. `ca` is the CA's folder in the home, `.` for the server's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub(crate) enum Line {
    /// The home as a whole.
    Home(Installation),
    /// A CA.
    Authority {
        ca: String,
        name: Option<String>,
        config: Option<String>,
        certificate: Option<String>,
        /// `sqlite3`, `postgres` or `mysql`.
        database_type: String,
        /// Its file in the home, or its name on the server.
        database: Option<String>,
    },
    /// A CA as the server has it.
    Server { ca: String, name: String, version: String },
    /// A private key, by what Fabric calls it; never the key itself.
    Key {
        ca: String,
        file: String,
        algorithm: String,
        ski: String,
        /// The file with its certificate.
        certificate: Option<String>,
    },
    /// A certificate in a file of the home.
    HomeCertificate {
        file: String,
        subject: String,
        issuer: String,
        serial: String,
        ski: String,
        not_after: String,
        sha256: String,
    },
    /// A table of a database.
    Table { ca: String, name: String, rows: i64 },
    /// An affiliation.
    Affiliation { ca: String, name: String },
    /// An identity, without what it enrols with.
    Identity {
        ca: String,
        id: String,
        #[serde(rename = "type")]
        kind: String,
        affiliation: String,
        attributes: Vec<Attribute>,
        max_enrollments: i64,
        /// How often it has enrolled; -1 where it is revoked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<i64>,
    },
    /// A certificate that the CA has issued.
    Certificate {
        ca: String,
        serial: String,
        aki: String,
        id: String,
        /// `good` or `revoked`.
        status: String,
        /// By its number in RFC 5280.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revoked_at: Option<String>,
        not_after: String,
        sha256: String,
    },
}

/// An attribute of an identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Attribute {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) value: String,
    /// Whether it is put into enrolment certificates.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) ecert: bool,
}

/// An inventory being written.
pub(crate) struct Inventory(BufWriter<EntryWriter>);

impl Inventory {
    /// Begins one.
    pub(crate) fn create(entry: &str) -> Result<Self> {
        Ok(Self(BufWriter::new(entries::create(entry, &Metadata::file())?)))
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, line: &Line) -> Result<()> {
        self.0.write_all(text(line)?.as_bytes())?;
        Ok(self.0.write_all(b"\n")?)
    }

    /// Ends it.
    pub(crate) fn finish(self) -> Result<Finished> {
        self.0.into_inner().map_err(std::io::IntoInnerError::into_error)?.finish()
    }
}

/// As it is stored.
pub(crate) fn text(line: &Line) -> Result<String> {
    serde_json::to_string(line).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))
}

/// A stored inventory, line by line.
pub(crate) fn stored(entry: &str) -> Result<impl Iterator<Item = Result<String>> + use<>> {
    Ok(snapshot::open(entry)?.lines().map(|line| line.map_err(Error::from)))
}

/// Reads a line.
///
/// # Errors
/// `Corrupt`.
pub(crate) fn line(text: &str) -> Result<Line> {
    serde_json::from_str(text).map_err(|error| Error::new(ErrorKind::Corrupt, format!("a line of the inventory cannot be read: {error}")))
}
