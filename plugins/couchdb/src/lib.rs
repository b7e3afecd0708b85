//! Bulkhead's source plugin for CouchDB and what else speaks its replication protocol, over HTTP: the host dials, verifies TLS and adds the credentials.
//!
//! The plugin is [`CouchDb`]. A backup reads each database as a replicator does: the changes feed (`changes.rs`), all leaf revisions of each document with their
//! histories (`revisions.rs`), and attachments one by one (`folder.rs`, `attachments.rs`, `body.rs`). The next run keeps what it has and reads what the feed names since
//! (`database.rs`). A restore writes the same revisions again (`restore/`), so that conflicts and tombstones come back as they were.
//!
//! # What is in a snapshot
//! | entry | what it is |
//! |---|---|
//! | `inventory.json` | the server, and a record of each database: what it said about itself before and after, and what was stored |
//! | `databases/<name>/database.json` | the record of that database, and where the next run goes on |
//! | `databases/<name>/security.json` | its `_security` |
//! | `databases/<name>/documents/…/<id>.json` | a document: each leaf revision with its history, one a line; mode 0400 where it is deleted |
//! | `databases/<name>/design/<id>.json` | a design document, likewise |
//! | `databases/<name>/attachments/…/<id>/md5-<digest>` | an attachment as the server keeps it, `.gz` where that is compressed |
//! | `databases/<name>/local/<id>.json` | a local document, where asked for |

mod attachments;
mod backup;
mod body;
mod browse;
mod changes;
mod check;
pub mod config;
mod database;
mod document;
mod folder;
mod items;
mod names;
mod record;
mod restore;
mod revisions;
mod seen;
mod server;
mod session;
mod verify;

use bulkhead_patterns::Patterns;
use bulkhead_sdk::prelude::*;

use config::Config;

/// The plugin.
pub struct CouchDb {
    config: Config,
    selection: Selection,
}

/// Which databases are meant.
struct Selection {
    /// None chooses all.
    include: Option<Patterns>,
    exclude: Patterns,
}

impl Selection {
    fn new(config: &Config) -> Result<Self> {
        let include = (!config.databases.is_empty()).then(|| Patterns::new("databases", &config.databases));
        Ok(Self {
            include: include.transpose()?,
            exclude: Patterns::new("exclude", &config.exclude)?,
        })
    }

    fn wants(&self, database: &str) -> bool {
        // A name may have slashes, which are no folders here.
        let name = names::component(database);
        self.include.as_ref().is_none_or(|include| include.matches(name.as_bytes())) && !self.exclude.matches(name.as_bytes())
    }
}

impl Source for CouchDb {
    type Config = Config;

    fn describe() -> Description {
        let reading = Operations::CHECK | Operations::BACKUP;
        Description::new(
            "couchdb",
            env!("CARGO_PKG_VERSION"),
            "Backs up CouchDB databases with all revisions, conflicts, tombstones and attachments, incrementally, and restores them into a server",
            reading | Operations::RESTORE | Operations::VERIFY | Operations::BROWSE,
        )
        .endpoint(
            server::ENDPOINT,
            "the server or cluster, by `url`, with an admin's `auth`; in a restore target, the server to restore into",
            reading | Operations::RESTORE,
        )
        .secret(
            session::PASSWORD,
            "the password of `config.user`, where a session's cookie is the only way in; `auth` of the endpoint does without",
            Operations::none(),
        )
    }

    fn new(config: Config) -> Result<Self> {
        let selection = Selection::new(&config)?;
        Ok(Self { config, selection })
    }

    fn check(&mut self) -> Result<Vec<Finding>> {
        check::check(&self.config, &self.selection)
    }

    fn backup(&mut self, _: BackupRequest) -> Result<BackupResult> {
        backup::backup(&self.config, &self.selection)
    }

    fn restore(&mut self, request: RestoreRequest) -> Result<RestoreResult> {
        restore::restore(&request)
    }

    fn verify(&mut self) -> Result<Vec<Finding>> {
        verify::verify()
    }

    fn browse(&mut self, request: BrowseRequest) -> Result<Vec<Item>> {
        browse::browse(&request)
    }
}

bulkhead_sdk::export_source!(CouchDb);
