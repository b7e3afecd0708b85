//! The cluster that is backed up and destroyed.

use std::path::Path;
use std::time::Instant;

use bulkhead_test_support::postgres::Cluster;
use bulkhead_test_support::random_secret;

use crate::console::{Console, size};
use crate::error::Result;

/// The role that Bulkhead connects as: it may replicate, and nothing else.
pub(super) const BACKUP_ROLE: &str = "backup";
const SCHEMA: &str = include_str!("schema.sql");
const CHANGES: &str = include_str!("changes.sql");

/// A filled cluster.
pub(super) struct Original {
    cluster: Cluster,
    backup_password: String,
}

impl Original {
    /// Starts a server with a tablespace, a role for backups, and data.
    pub(super) fn start(console: &Console) -> Result<Self> {
        let begin = Instant::now();
        let cluster = Cluster::start_default()?;
        let backup_password = random_secret()?;
        console.note(&format!(
            "{}, port {}, TLS, data checksums",
            cluster.installation().version()?,
            cluster.port()
        ));
        let tablespace = cluster.tablespace_folder("archive")?;
        cluster.execute(
            "postgres",
            &format!("CREATE TABLESPACE archive LOCATION '{}'", tablespace.display()),
        )?;
        console.command(&format!("psql -c \"CREATE ROLE {BACKUP_ROLE} LOGIN REPLICATION PASSWORD '…'\""));
        cluster.execute(
            "postgres",
            &format!("CREATE ROLE {BACKUP_ROLE} LOGIN REPLICATION PASSWORD '{backup_password}'"),
        )?;
        console.command("psql -f schema.sql   # 3 databases, 16 partitions, 120 large objects, a tablespace");
        cluster.execute("postgres", SCHEMA)?;
        let original = Self { cluster, backup_password };
        console.success(&format!(
            "{} of databases in {:.1} s",
            size(original.size()?),
            begin.elapsed().as_secs_f64()
        ));
        Ok(original)
    }

    /// The running server.
    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The password of [`BACKUP_ROLE`].
    pub(super) fn backup_password(&self) -> &str {
        &self.backup_password
    }

    /// The OID of its tablespace, by which restore targets call it.
    pub(super) fn tablespace(&self) -> Result<String> {
        Ok(self
            .cluster
            .execute("postgres", "SELECT oid FROM pg_tablespace WHERE spcname = 'archive'")?)
    }

    /// Bytes of all databases.
    fn size(&self) -> Result<u64> {
        let bytes = self
            .cluster
            .execute("postgres", "SELECT sum(pg_database_size(oid))::bigint FROM pg_database")?;
        Ok(bytes.parse().unwrap_or(0))
    }

    /// Changes some rows of each database.
    pub(super) fn change(&self, console: &Console) -> Result<()> {
        console.command("psql -f changes.sql   # updates, inserts, a large object amended");
        self.cluster.execute("postgres", CHANGES).map(drop).map_err(Into::into)
    }

    /// Writes everything it holds, as SQL.
    pub(super) fn dump(&self, console: &Console, path: &Path) -> Result<()> {
        console.command("pg_dumpall > original.sql");
        self.cluster.dump_all(path).map_err(Into::into)
    }

    /// Kills the server and removes its data directory and tablespace; returns the superuser's password and the databases' size.
    pub(super) fn destroy(self, console: &Console) -> Result<(String, u64)> {
        let (password, bytes) = (self.cluster.password().to_owned(), self.size()?);
        let process = self.cluster.process_id()?;
        let folder = self.cluster.data_directory().to_owned();
        console.command(&format!("kill -9 {process}; rm -r {}", folder.display()));
        self.cluster.kill()?;
        drop(self);
        match folder.exists() {
            true => Err(crate::error::Error::Broken(format!("{} is still there", folder.display()))),
            false => Ok((password, bytes)),
        }
    }
}
