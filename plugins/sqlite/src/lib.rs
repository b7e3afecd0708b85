//! Bulkhead's source plugin for SQLite: consistent images of live databases, while their programs go on.
//!
//! # What is in a snapshot
//! | entry | what it is |
//! |---|---|
//! | `NAME/…` | each database of the directory `NAME`, as one file: what was in its write-ahead log or hot journal is in it |
//! | `inventory.json` | schema, row counts and SQLite's verdict of each |
//!
//! The plugin is [`Sqlite`]. The crate `bulkhead-sqlite-image` holds a database still by SQLite's own locks, and has SQLite itself, which judges what was stored.

mod backup;
mod check;
pub mod config;
mod find;
mod inventory;
mod restore;
mod verify;

use bulkhead_sdk::prelude::*;

use config::Config;
use find::Wanted;

/// The plugin.
pub struct Sqlite {
    config: Config,
    wanted: Wanted,
}

impl Source for Sqlite {
    type Config = Config;

    fn describe() -> Description {
        let reading = Operations::CHECK | Operations::BACKUP;
        Description::new(
            "sqlite",
            env!("CARGO_PKG_VERSION"),
            "Backs up SQLite databases while programs use them, checks each with SQLite itself, and restores them to their places",
            reading | Operations::RESTORE | Operations::VERIFY,
        )
        .directory(
            "*",
            "where databases are, read-only; its name is that of their folder in the snapshot. In a restore target, read-write: where they go",
            Access::ReadWrite,
            reading | Operations::RESTORE,
        )
    }

    fn new(config: Config) -> Result<Self> {
        let wanted = Wanted::new(&config)?;
        Ok(Self { config, wanted })
    }

    fn check(&mut self) -> Result<Vec<Finding>> {
        check::check(&self.config, &self.wanted)
    }

    fn backup(&mut self, _: BackupRequest) -> Result<BackupResult> {
        backup::backup(&self.config, &self.wanted)
    }

    fn restore(&mut self, request: RestoreRequest) -> Result<RestoreResult> {
        restore::restore(&request)
    }

    fn verify(&mut self) -> Result<Vec<Finding>> {
        verify::verify()
    }
}

bulkhead_sdk::export_source!(Sqlite);
