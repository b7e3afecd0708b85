//! What an operator writes under `config` of a pipeline ([`Config`]) and of a restore target ([`RestoreOptions`]).

use std::{collections::BTreeMap, time::Duration};

use bulkhead_sdk::config::Period;
use bulkhead_sqlite_image::Check;
use schemars::JsonSchema;
use serde::Deserialize;

/// Where the database of a CA is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Database {
    /// Stored with the home: SQLite from it, PostgreSQL over `endpoint.database`, each as of one moment. A CA with another database fails the run.
    #[default]
    Home,
    /// With somebody else, who backs it up. Of PostgreSQL and MySQL only the home is stored then, and a finding says so.
    Elsewhere,
}

/// The config of a pipeline. Patterns are globs (`*`, `?`, `[a-z]`, `{a,b}`, `**` for any number of folders). One without `/` is compared with names; one with `/` with
/// whole paths from the home: `/ca/ca1/*.log`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// Where the server sees its home, such as `/etc/hyperledger/fabric-ca-server`: what absolute paths in its config are compared with. The granted directory's own
    /// path by default.
    pub server_home: Option<String>,
    /// Variables of the server's environment that stand over its config, as its manifest has them, without passwords:
    /// `{ FABRIC_CA_SERVER_DB_TYPE = "postgres", FABRIC_CA_SERVER_DB_DATASOURCE = "host=db port=5432 user=fabric dbname=fabric_ca" }`.
    pub environment: BTreeMap<String, String>,
    /// Whether databases on a server are stored with the home: `home` (the default) or `elsewhere`.
    pub database: Database,
    /// PostgreSQL: the role to connect as, which may read the CAs' tables. That of the CAs' configs by default.
    pub database_user: Option<String>,
    /// What to leave out; of a folder, all that is in it.
    pub exclude: Vec<String>,
    /// CA and TLS certificates whose private keys are kept elsewhere on purpose (offline, in an HSM), as patterns. Any other one without its key fails the run.
    pub keys_elsewhere: Vec<String>,
    /// A certificate that expires within this time is a finding: `"30 d"` by default.
    pub expires_within: Period,
    /// How long to wait for a database, or a table of one, that is locked: 30 s by default.
    pub busy_timeout: Period,
    /// What SQLite is asked about each database: `full` (the default), `quick` or `none`.
    pub check: Check,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server_home: None,
            environment: BTreeMap::new(),
            database: Database::Home,
            database_user: None,
            exclude: Vec::new(),
            keys_elsewhere: Vec::new(),
            expires_within: Period(Duration::from_secs(30 * 24 * 3600)),
            busy_timeout: Period(Duration::from_secs(30)),
            check: Check::Full,
        }
    }
}

/// The config of a restore target.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RestoreOptions {
    /// Replace what is there. The server must be stopped. What the snapshot does not have is left as it is.
    pub overwrite: bool,
    /// PostgreSQL: the role to restore as, which may make databases for the role that owns the CA's. That of the pipeline by default.
    pub database_user: Option<String>,
    /// PostgreSQL: restore a CA's database under another name: `{ fabric_ca = "fabric_ca_restored" }`.
    pub rename: BTreeMap<String, String>,
    /// PostgreSQL: what the old database of that name is called now, on the target's server: `{ fabric_ca = "fabric_ca_old" }`. It is compared with that of the snapshot.
    /// One that is restored under another name is compared with the one that has its own.
    pub previous: BTreeMap<String, String>,
}
