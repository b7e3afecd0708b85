//! The other side: PostgreSQL's own `pg_basebackup` piped into restic, which is what a careful administrator would build from Debian's packages.

use std::process::Command;

use bulkhead_test_support::Scratch;
use bulkhead_test_support::postgres::Cluster;
use bulkhead_test_support::restic::Restic;

use super::measure::{Cost, Job};
use crate::error::{Error, Result};
use crate::process::bytes_below;

/// A restic repository of its own.
pub(super) struct ResticSide {
    scratch: Scratch,
    restic: Restic,
}

impl ResticSide {
    pub(super) fn new() -> Result<Self> {
        let scratch = Scratch::new()?;
        let password = scratch.private_file("password", "benchmark")?;
        let restic = Restic::new(scratch.join("repository"), password)?;
        restic.run(["init", "--repository-version", "2"])?;
        Ok(Self { scratch, restic })
    }

    /// `pg_basebackup -Ft -X fetch -D - | restic backup --stdin`
    pub(super) fn back_up(&self, cluster: &Cluster) -> Result<Cost> {
        let arguments = ["--format=tar", "--wal-method=fetch", "--checkpoint=fast", "--pgdata=-"];
        let mut base_backup = cluster.client("pg_basebackup", arguments)?;
        base_backup
            .env("PGUSER", "backup")
            .env("PGPASSWORD", "backup")
            .env("PGSSLMODE", "require");
        let store = self
            .restic
            .command(["backup", "--quiet", "--stdin", "--stdin-filename", "cluster.tar"]);
        Job::pipeline([base_backup, store]).run()
    }

    /// `restic dump latest cluster.tar | tar -x`
    pub(super) fn restore(&self) -> Result<Cost> {
        let target = self.scratch.folder("restored")?;
        let mut unpack = Command::new("tar");
        unpack.arg("--extract").arg("--directory").arg(&target);
        let cost = Job::pipeline([self.restic.command(["dump", "--quiet", "latest", "cluster.tar"]), unpack]).run()?;
        let removed = std::fs::remove_dir_all(&target);
        removed.map_err(Error::io("cannot remove what was restored"))?;
        Ok(cost)
    }

    pub(super) fn stored_bytes(&self) -> Result<u64> {
        bytes_below(&self.scratch.join("repository"))
    }
}
