//! Bulkhead's source plugin for Hyperledger Fabric CA: the home of a server with all its CAs, and their databases in SQLite or PostgreSQL, consistently, while the server goes on.
//!
//! # What is in a snapshot
//! | entry | what it is |
//! |---|---|
//! | `home/…` | the home, with modes, owners and times; each database as one file of one moment |
//! | `database/…` | databases in PostgreSQL, as `bulkhead-postgres-logical` dumps them |
//! | `inventory/home.jsonl` | CAs, private keys (by what Fabric calls them) and certificates in files |
//! | `inventory/api.jsonl` | the same of the server's API, where that is granted, and `inventory/crl/<ca>.pem` the list of revoked certificates |
//! | `inventory/database.jsonl` | affiliations, identities and certificates with their revocation state, and rows of each table |
//!
//! The plugin is [`FabricCa`]. `home.rs` lists a home, live or stored, `authority.rs` finds the CAs in it by their configs (`settings.rs`), `stores.rs` where their databases are, and `database/`
//! reads those, through the crates `bulkhead-sqlite-image` and `bulkhead-postgres-logical`; `api/` asks the server, and `inspect.rs` proves that keys, certificates and chains belong together.

mod api;
mod authority;
mod backup;
mod certificate;
mod check;
pub mod config;
mod database;
mod datasource;
mod few;
mod home;
mod inspect;
mod installation;
mod inventory;
mod key;
mod pem;
mod pool;
mod report;
mod restore;
mod rsa;
mod settings;
mod stores;
mod verify;

use bulkhead_patterns::Patterns;
use bulkhead_sdk::prelude::*;

use config::Config;
use database::postgres;

/// The plugin.
pub struct FabricCa {
    config: Config,
    exclude: Patterns,
    keys_elsewhere: Patterns,
}

impl Source for FabricCa {
    type Config = Config;

    fn describe() -> Description {
        let reading = Operations::CHECK | Operations::BACKUP;
        Description::new(
            "fabric-ca",
            env!("CARGO_PKG_VERSION"),
            "Backs up the homes and databases of Hyperledger Fabric CAs, proves that keys and certificates belong together, and restores them",
            reading | Operations::RESTORE | Operations::VERIFY,
        )
        .directory(
            home::HOME,
            "the server's home, read-only. In a restore target, read-write: where it goes",
            Access::ReadWrite,
            reading,
        )
        .directory(
            report::PREVIOUS,
            "of a restore target: the old home, for a report of what was enrolled after the snapshot",
            Access::ReadOnly,
            Operations::none(),
        )
        .endpoint(
            postgres::ENDPOINT,
            "the PostgreSQL server with the CAs' databases, where their configs say so; in a restore target, the live server to restore them into",
            Operations::none(),
        )
        .secret(
            postgres::PASSWORD,
            "the password of the role for `endpoint.database`, where the server asks for one; SCRAM needs its bytes",
            Operations::none(),
        )
        .endpoint(
            api::ENDPOINT,
            "the server's REST API, by `url`, to compare its lists with the database's and to store its list of revoked certificates",
            Operations::none(),
        )
        .secret(
            api::CERTIFICATE,
            "the enrolment certificate of a registrar for `endpoint.api`: each request carries it, and a signature of its own",
            Operations::none(),
        )
        .secret(api::KEY, "the private key of that certificate, which signs each request", Operations::none())
    }

    fn new(config: Config) -> Result<Self> {
        installation::check(&config.environment)?;
        Ok(Self {
            exclude: Patterns::new("exclude", &config.exclude)?,
            keys_elsewhere: Patterns::new("keys-elsewhere", &config.keys_elsewhere)?,
            config,
        })
    }

    fn check(&mut self) -> Result<Vec<Finding>> {
        check::check(&self.config, &self.exclude, &self.keys_elsewhere)
    }

    fn backup(&mut self, _: BackupRequest) -> Result<BackupResult> {
        backup::backup(&self.config, &self.exclude, &self.keys_elsewhere)
    }

    fn restore(&mut self, request: RestoreRequest) -> Result<RestoreResult> {
        restore::restore(&self.config, &request)
    }

    fn verify(&mut self) -> Result<Vec<Finding>> {
        verify::verify(&self.config, &self.keys_elsewhere)
    }
}

bulkhead_sdk::export_source!(FabricCa);
