//! Bulkhead's source plugin for Redis and Valkey, over the servers' own protocol: no `redis-cli`, no shell, no shared file system.
//!
//! The plugin is [`Redis`]. A backup asks a server for a full resynchronization, as a replica does, and stores the RDB file that it gets, reading it as it
//! passes (`backup.rs`); servers that hide replication are read key by key (`scan.rs`) into the same format. So there is one kind of snapshot, and one
//! way back from it (`restore/`): a file that a server starts from, or `RESTORE` into a live server.
//!
//! # What is in a snapshot
//! | entry | what it is |
//! |---|---|
//! | `dump.rdb` | the dataset; of a cluster `shards/<id>/dump.rdb`, one for each master |
//! | `acl.txt` | users, with the hashes of their passwords, as an ACL file; of a cluster beside each `dump.rdb` |
//! | `config.json` | `CONFIG GET *` without passwords; of a cluster beside each `dump.rdb` |
//! | `topology.json` | nodes and slots; of a cluster only |
//! | `manifest.json` | what was backed up, with counts and checksums: what `verify` compares with |

mod backup;
mod browse;
mod check;
mod clock;
mod cluster;
mod comparison;
pub mod config;
mod connection;
mod counts;
mod failure;
mod glob;
mod manifest;
mod restore;
mod scan;
mod sentinel;
mod server;
mod sidecar;
mod synchronization;
mod verify;

use bulkhead_sdk::prelude::*;

use config::Config;

/// The plugin.
pub struct Redis {
    config: Config,
}

impl Source for Redis {
    type Config = Config;

    fn describe() -> Description {
        let reading = Operations::CHECK | Operations::BACKUP;
        Description::new(
            "redis",
            env!("CARGO_PKG_VERSION"),
            "Backs up Redis 6.2 to 8.2 and Valkey as a replica does, and restores into a file or a live server",
            reading | Operations::RESTORE | Operations::VERIFY | Operations::BROWSE,
        )
        .endpoint(
            connection::SERVER,
            "the server, over TCP or its Unix socket; in a restore target, the live server to restore into",
            reading,
        )
        .endpoint(
            connection::SENTINEL,
            "the Sentinels, where `sentinel` is configured: they say which server is the master",
            Operations::none(),
        )
        .secret(
            connection::PASSWORD,
            "the user's password, where the server asks for one; AUTH needs its bytes",
            Operations::none(),
        )
        .secret(
            connection::SENTINEL_PASSWORD,
            "the password of the Sentinels themselves, where they have one",
            Operations::none(),
        )
        .directory(
            restore::DIRECTORY,
            "where a restored `dump.rdb` goes, for a server that is not running",
            Access::ReadWrite,
            Operations::none(),
        )
    }

    fn new(config: Config) -> Result<Self> {
        config.validate()?;
        Ok(Self { config })
    }

    fn check(&mut self) -> Result<Vec<Finding>> {
        check::check(&self.config)
    }

    fn backup(&mut self, _request: BackupRequest) -> Result<BackupResult> {
        backup::backup(&self.config)
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

bulkhead_sdk::export_source!(Redis);
