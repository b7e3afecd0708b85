//! Bulkhead's source plugin for PostgreSQL, over the server's own protocol: no `pg_basebackup`, no libpq, no shell.
//!
//! The plugin is [`Postgres`]. Its mode decides what a snapshot holds; `physical` is a whole cluster, file by file, with the log that makes it
//! consistent; `logical` is databases as SQL; `wal` is the log, streamed (the modules of these names say how). What the modes share: [`config`], the way to a
//! server, and the names of log segments.

pub mod config;
mod connection;
mod logical;
mod physical;
mod preflight;
mod segment;
mod server;
pub mod tar;
mod wal;

use std::io::Write;

use bulkhead_sdk::prelude::*;

use config::{Config, Mode};

/// The plugin.
pub struct Postgres {
    config: Config,
}

impl Source for Postgres {
    type Config = Config;

    fn describe() -> Description {
        let reading = Operations::CHECK | Operations::BACKUP;
        Description::new(
            "postgres",
            env!("CARGO_PKG_VERSION"),
            "Backs up PostgreSQL 13 to 17 over its own protocol, as files, as SQL or as a continuous log, and restores it",
            reading | Operations::RESTORE | Operations::RESTORE_DELTA | Operations::VERIFY,
        )
        .endpoint(
            connection::ENDPOINT,
            "the server, over TCP or its Unix socket, unless all that is stored is handed over by `bulkhead wal-push`; in a restore target of mode `logical`, the \
             live server to restore into",
            Operations::none(),
        )
        .secret(
            connection::PASSWORD,
            "the role's password, where the server asks for one; SCRAM needs its bytes",
            Operations::none(),
        )
        .directory(
            "data",
            "mode `physical`: where a restored cluster goes (PGDATA); empty, or the cluster that `--delta` writes over",
            Access::ReadWrite,
            Operations::none(),
        )
        .directory(
            wal::GRANT,
            "mode `wal`: the server's `pg_wal`, where `bulkhead wal-push` is its archive_command",
            Access::ReadOnly,
            Operations::none(),
        )
        .directory(
            "tablespace-*",
            "where the restored tablespace with this OID goes, one for each that the cluster has; empty, or that tablespace, where `--delta` writes over it",
            Access::ReadWrite,
            Operations::none(),
        )
        .format(
            "sql",
            "mode `logical`: one script that psql alone replays into an empty server; with a path, a database of it",
        )
    }

    fn new(config: Config) -> Result<Self> {
        config.validate()?;
        Ok(Self { config })
    }

    fn check(&mut self) -> Result<Vec<Finding>> {
        match self.config.mode {
            Mode::Physical => physical::check(&self.config),
            Mode::Logical => logical::check(&self.config),
            Mode::Wal => wal::check(&self.config),
        }
    }

    fn backup(&mut self, request: BackupRequest) -> Result<BackupResult> {
        match self.config.mode {
            Mode::Physical => physical::backup(&self.config, &request),
            Mode::Logical => logical::backup(&self.config),
            Mode::Wal => wal::backup(&self.config, &request),
        }
    }

    fn restore(&mut self, request: RestoreRequest) -> Result<RestoreResult> {
        match self.config.mode {
            Mode::Physical => physical::restore(&request),
            Mode::Logical => logical::restore(&self.config, &request),
            Mode::Wal => Err(wal::no_restore()),
        }
    }

    fn run_part(&mut self, work: Vec<u8>) -> Result<Vec<u8>> {
        logical::run_part(&self.config, &work)
    }

    fn verify(&mut self) -> Result<Vec<Finding>> {
        match self.config.mode {
            Mode::Physical => physical::verify(),
            Mode::Logical => logical::verify(),
            Mode::Wal => wal::verify(&self.config),
        }
    }

    fn render(&mut self, request: RenderRequest, into: &mut dyn Write) -> Result<()> {
        match self.config.mode {
            Mode::Logical => logical::render(&request, into),
            Mode::Physical | Mode::Wal => Err(
                Error::unsupported(format!("a snapshot of files has no format `{}`", request.format))
                    .with_hint("only those of mode `logical` have SQL in them"),
            ),
        }
    }
}

bulkhead_sdk::export_source!(Postgres);
