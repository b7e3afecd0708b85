//! Other sides: PostgreSQL's own `pg_basebackup` piped into restic, which is what a careful administrator would build from Debian's packages, and into
//! zstd, which is what a hurried one would.

use std::cell::Cell;
use std::path::PathBuf;
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
        let base_backup = base_backup(cluster)?;
        let store = self
            .restic
            .command(["backup", "--quiet", "--stdin", "--stdin-filename", "cluster.tar"]);
        Job::pipeline([base_backup, store]).run()
    }

    /// `restic dump latest cluster.tar | tar -x`
    pub(super) fn restore(&self) -> Result<Cost> {
        unpack(&self.scratch, self.restic.command(["dump", "--quiet", "latest", "cluster.tar"]))
    }

    pub(super) fn stored_bytes(&self) -> Result<u64> {
        bytes_below(&self.scratch.join("repository"))
    }
}

/// A folder of compressed archives, one for each backup.
pub(super) struct ZstdSide {
    scratch: Scratch,
    archives: Cell<u32>,
}

impl ZstdSide {
    pub(super) fn new() -> Result<Self> {
        let scratch = Scratch::new()?;
        scratch.folder("archives")?;
        let archives = Cell::new(0);
        Ok(Self { scratch, archives })
    }

    fn archive(&self) -> PathBuf {
        self.scratch.join("archives").join(format!("{}.tar.zst", self.archives.get()))
    }

    /// `pg_basebackup -Ft -X fetch -D - | zstd -3 -T2`
    pub(super) fn back_up(&self, cluster: &Cluster) -> Result<Cost> {
        self.archives.set(self.archives.get() + 1);
        let mut compress = Command::new("zstd");
        compress.args(["-3", "-T2", "--quiet", "-o"]).arg(self.archive());
        Job::pipeline([base_backup(cluster)?, compress]).run()
    }

    /// `zstd -d --stdout | tar -x` of the last one.
    pub(super) fn restore(&self) -> Result<Cost> {
        let mut decompress = Command::new("zstd");
        decompress.args(["-d", "--quiet", "--stdout"]).arg(self.archive());
        unpack(&self.scratch, decompress)
    }

    pub(super) fn stored_bytes(&self) -> Result<u64> {
        bytes_below(&self.scratch.join("archives"))
    }
}

/// The whole cluster as one archive on standard output.
fn base_backup(cluster: &Cluster) -> Result<Command> {
    let arguments = ["--format=tar", "--wal-method=fetch", "--checkpoint=fast", "--pgdata=-"];
    let mut command = cluster.client("pg_basebackup", arguments)?;
    command
        .env("PGUSER", "backup")
        .env("PGPASSWORD", "backup")
        .env("PGSSLMODE", "require");
    Ok(command)
}

/// Unpacks what `archive` prints into a folder, which is removed afterwards.
fn unpack(scratch: &Scratch, archive: Command) -> Result<Cost> {
    let target = scratch.folder("restored")?;
    let mut unpack = Command::new("tar");
    unpack.arg("--extract").arg("--directory").arg(&target);
    let cost = Job::pipeline([archive, unpack]).run()?;
    std::fs::remove_dir_all(&target).map_err(Error::io("cannot remove what was restored"))?;
    Ok(cost)
}
