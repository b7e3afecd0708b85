//! What SQLite is asked about an image, and what it answers: [`Check`], [`Verdict`], [`Contents`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What SQLite is asked about an image before the run may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// `PRAGMA integrity_check`: all pages, and that each row is in each index.
    #[default]
    Full,
    /// `PRAGMA quick_check`: all pages, without the comparison with indexes; a fraction of the time.
    Quick,
    /// Nothing, and no rows are counted: for a database that is known to be damaged.
    None,
}

/// What SQLite says of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong with it.
    Whole,
    /// It cannot say: the schema uses something that only its program has (a collation, a function).
    Unknown(String),
}

/// What SQLite says is in a database.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Contents {
    /// `PRAGMA encoding`.
    pub encoding: String,
    /// `PRAGMA user_version`.
    pub user_version: i64,
    /// `PRAGMA application_id`.
    pub application_id: i64,
    /// Rows of each table.
    pub rows: BTreeMap<String, i64>,
    /// The SQL of everything in the schema, by kind and name.
    pub schema: Vec<String>,
}
