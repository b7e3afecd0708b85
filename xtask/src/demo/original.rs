//! The cluster that is backed up and destroyed.

use std::path::{Path, PathBuf};
use std::time::Instant;

use bulkhead_test_support::postgres::Cluster;
use bulkhead_test_support::{Scratch, random_secret};

use crate::console::{Console, size};
use crate::error::{Error, Result};

/// The role that Bulkhead connects as: it may replicate, and nothing else.
pub(super) const BACKUP_ROLE: &str = "backup";
const SCHEMA: &str = include_str!("schema.sql");
const CHANGES: &str = include_str!("changes.sql");

/// A filled cluster.
pub(super) struct Original {
    cluster: Cluster,
    tablespace: PathBuf,
    backup_password: String,
}

impl Original {
    /// Starts a server with a tablespace in `folder`, a role for backups, and data.
    pub(super) fn start(console: &Console, folder: &Scratch) -> Result<Self> {
        let begin = Instant::now();
        let cluster = Cluster::start_default()?;
        let backup_password = random_secret()?;
        console.note(&format!(
            "{}, port {}, TLS, data checksums",
            cluster.installation().version()?,
            cluster.port()
        ));
        let tablespace = folder.folder("tablespace-archive")?;
        cluster.installation().user().own(&tablespace)?;
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
        let original = Self {
            cluster,
            tablespace,
            backup_password,
        };
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

    /// Where its tablespace is. It is restored to the same place, because `pg_dumpall` says where tablespaces are.
    pub(super) fn tablespace(&self) -> &Path {
        &self.tablespace
    }

    /// The OID of its tablespace, by which restore targets call it.
    pub(super) fn tablespace_oid(&self) -> Result<String> {
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
        let (data, tablespace) = (self.cluster.data_directory().to_owned(), self.tablespace.clone());
        console.command(&format!("kill -9 {process}; rm -r {} {}/*", data.display(), tablespace.display()));
        self.cluster.kill()?;
        let user = self.cluster.installation().user();
        drop(self);
        let emptied = std::fs::remove_dir_all(&tablespace).and_then(|()| std::fs::create_dir(&tablespace));
        emptied.map_err(Error::io(format!("cannot empty {}", tablespace.display())))?;
        user.own(&tablespace)?;
        match data.exists() {
            true => Err(Error::Broken(format!("{} is still there", data.display()))),
            false => Ok((password, bytes)),
        }
    }
}
