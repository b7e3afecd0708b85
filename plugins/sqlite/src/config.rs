//! What an operator writes under `config` of a pipeline ([`Config`]) and of a restore target ([`RestoreOptions`]).

use std::time::Duration;

use bulkhead_sdk::config::Period;
use bulkhead_sqlite_image::Check;
use schemars::JsonSchema;
use serde::Deserialize;

/// The config of a pipeline. Patterns are globs (`*`, `?`, `[a-z]`, `{a,b}`, `**` for any number of folders). One without `/` is compared with names; one with `/` with whole
/// paths in the snapshot, whose first component is the name of the directory: `/app/tenants/*/main.db`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// The databases, in the granted directories and the folders below them. `["*.db", "*.sqlite", "*.sqlite3"]` by default. What matches and is no database fails the run.
    pub databases: Vec<String>,
    /// What not to look at; of a folder, all that is in it.
    pub exclude: Vec<String>,
    /// How long to wait for a database that a writer has locked: 30 s by default.
    pub busy_timeout: Period,
    /// What SQLite is asked about each image: `full` (the default), `quick` or `none`.
    pub check: Check,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            databases: ["*.db", "*.sqlite", "*.sqlite3"].map(str::to_owned).to_vec(),
            exclude: Vec::new(),
            busy_timeout: Period(Duration::from_secs(30)),
            check: Check::default(),
        }
    }
}

/// The config of a restore target.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RestoreOptions {
    /// Replace databases that are there. Each is locked first: one that is in use is left alone, and fails the restore.
    pub overwrite: bool,
}
