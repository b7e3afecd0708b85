//! pgBackRest's side: a repository of its own beside the server, zstd at level 1, two processes, a full backup and then incremental ones.

use std::process::Command;

use bulkhead_test_support::Scratch;
use bulkhead_test_support::postgres::Cluster;

use super::measure::{Cost, Job};
use crate::error::{Error, Result};
use crate::process::bytes_below;

/// A repository of pgBackRest's. It reads the server's files, so it runs as the server's user.
pub(super) struct PgBackRestSide {
    scratch: Scratch,
}

impl PgBackRestSide {
    pub(super) fn new(cluster: &Cluster) -> Result<Self> {
        let side = Self { scratch: Scratch::new()? };
        for folder in ["repository", "log", "lock", "spool", "restored"] {
            cluster.installation().user().own(&side.scratch.folder(folder)?)?;
        }
        cluster.installation().user().own(side.scratch.path())?;
        bulkhead_test_support::run(&mut side.command(cluster, &["stanza-create"]))?;
        Ok(side)
    }

    fn command(&self, cluster: &Cluster, arguments: &[&str]) -> Command {
        let mut command = Command::new("pgbackrest");
        let folder = |name: &str| self.scratch.join(name);
        let socket = cluster.socket();
        command
            .args(arguments)
            .arg("--stanza=bench")
            .env("PGPASSWORD", cluster.password())
            .env("PGBACKREST_CONFIG", "/dev/null")
            .env("PGBACKREST_PG1_PATH", cluster.data_directory())
            .env("PGBACKREST_PG1_SOCKET_PATH", socket.parent().unwrap_or(&socket))
            .env("PGBACKREST_PG1_PORT", cluster.port().to_string())
            .env("PGBACKREST_PG1_USER", "postgres")
            .env("PGBACKREST_REPO1_PATH", folder("repository"))
            .env("PGBACKREST_REPO1_RETENTION_FULL", "9")
            .env("PGBACKREST_LOG_PATH", folder("log"))
            .env("PGBACKREST_LOCK_PATH", folder("lock"))
            .env("PGBACKREST_SPOOL_PATH", folder("spool"))
            .env("PGBACKREST_LOG_LEVEL_CONSOLE", "error")
            .env("PGBACKREST_PROCESS_MAX", "2");
        cluster.installation().user().apply(&mut command);
        command
    }

    /// A full backup where there is none, else an incremental one. The log is not archived here, so pgBackRest must not wait for it.
    pub(super) fn back_up(&self, cluster: &Cluster) -> Result<Cost> {
        let compress = [
            "--compress-type=zst",
            "--compress-level=1",
            "--start-fast",
            "--no-archive-check",
            "--type=incr",
        ];
        Job::command(self.command(cluster, &[&["backup"][..], &compress].concat())).run()
    }

    /// Into an empty folder.
    pub(super) fn restore(&self, cluster: &Cluster) -> Result<Cost> {
        let target = self.scratch.join("restored");
        let path = format!("--pg1-path={}", target.display());
        let cost = Job::command(self.command(cluster, &["restore", &path])).run()?;
        for entry in std::fs::read_dir(&target).map_err(Error::io("cannot list what was restored"))? {
            let path = entry.map_err(Error::io("cannot list what was restored"))?.path();
            let removed = if path.is_dir() {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
            removed.map_err(Error::io("cannot remove what was restored"))?;
        }
        Ok(cost)
    }

    pub(super) fn stored_bytes(&self) -> Result<u64> {
        bytes_below(&self.scratch.join("repository"))
    }
}
