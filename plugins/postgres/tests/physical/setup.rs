//! What the tests share: clusters with something in them, harnesses with grants, and folders to restore into.

use std::path::Path;

use bulkhead_plugin_postgres::Postgres;
use bulkhead_sdk::{
    Error, Result,
    source::{BackupResult, RestoreResult},
    testing::{Directory, Endpoint, Harness, Snapshot},
    types::Finding,
};
use bulkhead_test_support::{
    Scratch,
    postgres::{Builder, Cluster},
};

/// A cluster with small log segments, so that backups are small.
pub(crate) fn builder() -> Builder {
    Cluster::builder().wal_segment_mebibytes(1)
}

/// JSON of a config for the role `user`, with `more` settings (`, "a": 1`).
pub(crate) fn config(user: &str, more: &str) -> String {
    format!(r#"{{"mode":"physical","user":"{user}"{more}}}"#)
}

/// JSON of a config for the superuser.
pub(crate) fn superuser() -> String {
    config("postgres", "")
}

/// Grants the server over unencrypted TCP, and the superuser's password.
pub(crate) fn over_tcp(cluster: &Cluster) -> Harness {
    Harness::new()
        .endpoint("server", Endpoint::tcp(cluster.address()))
        .secret("password", cluster.password())
}

/// The plugin's operations, on a harness.
pub(crate) trait Operations {
    fn check_as(&self, config: &str) -> Result<Vec<Finding>>;
    fn backup_as(&self, config: &str) -> Result<BackupResult>;
    fn verified(&self) -> Vec<Finding>;
}

impl Operations for Harness {
    fn check_as(&self, config: &str) -> Result<Vec<Finding>> {
        self.check::<Postgres>(config)
    }
    fn backup_as(&self, config: &str) -> Result<BackupResult> {
        self.backup::<Postgres>(config)
    }
    fn verified(&self) -> Vec<Finding> {
        self.verify::<Postgres>(&superuser()).unwrap()
    }
}

/// The codes of findings.
pub(crate) fn codes(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.code.as_str()).collect()
}

/// Whether an error, with its causes, and its hint have these words.
pub(crate) fn assert_says(error: &Error, message: &str, hint: &str) {
    assert!(error.to_string().contains(message), "`{message}` is not in: {error}");
    let found = error.hint.as_deref().unwrap_or("no hint");
    assert!(found.contains(hint), "`{hint}` is not in: {found}");
}

/// Folders to restore into; the server's user may enter them.
pub(crate) struct Target {
    scratch: Scratch,
    folders: Vec<(String, Directory)>,
}

impl Target {
    /// One for PGDATA and one for each tablespace.
    pub(crate) fn new(tablespaces: &[u32]) -> Self {
        let scratch = Scratch::new().unwrap();
        let names = std::iter::once("data".to_owned()).chain(tablespaces.iter().map(|oid| format!("tablespace-{oid}")));
        let folders = names
            .map(|name| (name.clone(), Directory::at(scratch.folder(&name).unwrap())))
            .collect();
        Self { scratch, folders }
    }

    /// The same PGDATA, with another folder for a tablespace.
    pub(crate) fn elsewhere(&self, oid: u32) -> Self {
        let mut moved = Self::new(&[oid]);
        moved.folders[0].1 = self.folder("data").clone();
        moved
    }

    /// Where `name` is.
    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.scratch.join(name)
    }

    pub(crate) fn folder(&self, name: &str) -> &Directory {
        &self.folders.iter().find(|(folder, _)| folder == name).unwrap().1
    }

    /// Restores `paths` (none: everything) of `snapshot` into the folders.
    pub(crate) fn restore(&self, snapshot: &Snapshot, options: &str, paths: &[&str]) -> Result<RestoreResult> {
        let harness = self
            .folders
            .iter()
            .fold(Harness::new().snapshot(snapshot.clone()), |harness, (name, folder)| {
                harness.directory(name, folder.clone())
            });
        harness.restore_paths::<Postgres>(&superuser(), options, paths)
    }
}

/// `pg_dumpall` of a cluster.
pub(crate) fn dump(cluster: &Cluster) -> String {
    let scratch = Scratch::new().unwrap();
    let path = scratch.join("dump.sql");
    cluster.dump_all(&path).unwrap();
    std::fs::read_to_string(path).unwrap()
}

/// Makes a tablespace and returns its OID.
pub(crate) fn make_tablespace(cluster: &Cluster, name: &str) -> u32 {
    let folder = cluster.tablespace_folder(name).unwrap();
    cluster
        .execute("postgres", &format!("CREATE TABLESPACE {name} LOCATION '{}'", folder.display()))
        .unwrap();
    cluster
        .execute("postgres", &format!("SELECT oid FROM pg_tablespace WHERE spcname = '{name}'"))
        .unwrap()
        .parse()
        .unwrap()
}

/// Whether there is something at `path`.
pub(crate) fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}
