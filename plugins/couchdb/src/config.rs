//! What an operator writes under `config` of a pipeline ([`Config`]) and of a restore target ([`RestoreOptions`]).

use std::collections::BTreeMap;

use bulkhead_sdk::{config::ByteSize, retry::Attempts};
use schemars::JsonSchema;
use serde::Deserialize;

/// The config of a pipeline. Patterns are globs over the names of databases (`*`, `?`, `[a-z]`, `{a,b}`).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// The databases; without any, all of them, `_users` and `_replicator` included. A list that matches none fails the run.
    pub databases: Vec<String>,
    /// What to leave out.
    pub exclude: Vec<String>,
    /// Log in as this user, with `secret.password`, and go on by the session's cookie. Not needed where `auth` of the endpoint says who we are.
    pub user: Option<String>,
    /// Also store local documents (`_local/…`): checkpoints of replications, which belong to one server; `local-documents` of a restore target brings them back.
    pub local_documents: bool,
    /// Read everything, also what the last snapshot has.
    pub read_all: bool,
    /// The most that all leaf revisions of one document may have, without attachments: what the plugin holds in memory. `"32 MiB"` by default; CouchDB's own limit
    /// is 8 MB a revision.
    pub max_document: ByteSize,
    /// How often to try a request that may succeed later. Of an answer that breaks off, what is missing is asked for again; an attachment is not.
    pub attempts: Attempts,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            databases: Vec::new(),
            exclude: Vec::new(),
            user: None,
            local_documents: false,
            read_all: false,
            max_document: ByteSize(32 << 20),
            attempts: Attempts::default(),
        }
    }
}

/// What to do about a database that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Existing {
    /// Refuse before anything is written, unless it is empty.
    #[default]
    Fail,
    /// Add the revisions that it lacks, as a replication does: also how an interrupted restore is resumed.
    Merge,
}

/// The config of a restore target.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RestoreOptions {
    /// The databases, as patterns; without any, all that are in the snapshot.
    pub databases: Vec<String>,
    /// Other names for databases: `{ "ledger" = "ledger-restored" }`.
    pub rename: BTreeMap<String, String>,
    /// What to do about databases that are there.
    pub existing: Existing,
    /// Log in as this user, as in a pipeline.
    pub user: Option<String>,
    /// Restore the objects `_security` too.
    pub security: bool,
    /// Restore `_replicator` too: its replications begin at once.
    pub replicator: bool,
    /// Restore local documents too, where the snapshot has them and the target does not: checkpoints of replications, which mean something only to a server that takes
    /// the place of the one that was backed up.
    pub local_documents: bool,
    /// How often to try a request that may succeed later.
    pub attempts: Attempts,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self {
            databases: Vec::new(),
            rename: BTreeMap::new(),
            existing: Existing::Fail,
            user: None,
            security: true,
            replicator: false,
            local_documents: false,
            attempts: Attempts::default(),
        }
    }
}
