//! What the tests share: clusters that write log, harnesses that archive it, and recoveries from what was archived.

use std::path::{Path, PathBuf};

use bulkhead_plugin_postgres::Postgres;
use bulkhead_sdk::{
    Error, Result,
    source::BackupResult,
    testing::{Endpoint, Harness, Snapshot},
    types::{Finding, Proof},
};
use bulkhead_test_support::{
    Scratch,
    postgres::{Builder, Cluster},
    run,
};

/// Small segments make small logs. The server keeps some of its own, to be compared with.
pub(crate) fn builder() -> Builder {
    Cluster::builder()
        .without_tls()
        .wal_segment_mebibytes(1)
        .setting("wal_keep_size", "256MB")
}

/// A cluster whose log is to be archived.
pub(crate) fn cluster() -> Cluster {
    builder().start().unwrap()
}

/// JSON of a config for the superuser, with `more` settings (`, "a": 1`).
pub(crate) fn config(more: &str) -> String {
    format!(r#"{{"mode":"wal","user":"postgres"{more}}}"#)
}

/// Grants the server over unencrypted TCP, and the superuser's password.
pub(crate) fn over_tcp(cluster: &Cluster) -> Harness {
    Harness::new()
        .endpoint("server", Endpoint::tcp(cluster.address()))
        .secret("password", cluster.password())
}

/// The plugin's operations, on a harness.
pub(crate) trait Operations {
    /// Follows the log with `more` settings.
    fn follow(&self, more: &str) -> Result<BackupResult>;
    /// Takes what the server has now.
    fn catch_up(&self) -> Result<BackupResult>;
    fn checked(&self) -> Vec<Finding>;
    fn verified(&self) -> Vec<Finding>;
}

impl Operations for Harness {
    fn follow(&self, more: &str) -> Result<BackupResult> {
        self.backup::<Postgres>(&config(more))
    }
    fn catch_up(&self) -> Result<BackupResult> {
        self.follow(r#","until":"caught-up""#)
    }
    fn checked(&self) -> Vec<Finding> {
        self.check::<Postgres>(&config("")).unwrap()
    }
    fn verified(&self) -> Vec<Finding> {
        self.verify::<Postgres>(&config("")).unwrap()
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

/// What a proof states.
pub(crate) fn fact(proof: &Proof, name: &str) -> String {
    proof.facts.iter().find(|fact| fact.name == name).unwrap().value.clone()
}

/// The end of a snapshot's log, as a number.
pub(crate) fn end(snapshot: &Snapshot) -> u64 {
    lsn(&fact(&snapshot.proof, "end-lsn"))
}

/// A log position as a number.
pub(crate) fn lsn(text: &str) -> u64 {
    let (high, low) = text.split_once('/').unwrap();
    u64::from_str_radix(high, 16).unwrap() << 32 | u64::from_str_radix(low, 16).unwrap()
}

/// Where a server's log ends.
pub(crate) fn position(cluster: &Cluster) -> u64 {
    lsn(&cluster.execute("postgres", "SELECT pg_current_wal_flush_lsn()").unwrap())
}

/// Writes so many MiB of log, and a little.
pub(crate) fn write_log(cluster: &Cluster, mebibytes: u32) {
    let statement = format!("SELECT count(pg_logical_emit_message(true, 'x', repeat('y', 1000000))) FROM generate_series(1, {mebibytes})");
    cluster.execute("postgres", &statement).unwrap();
}

/// Names of the whole segments in a snapshot.
pub(crate) fn segments(snapshot: &Snapshot) -> Vec<String> {
    files(snapshot, "wal/").filter(|name| !name.ends_with(".history")).collect()
}

/// Names of the partial segments in a snapshot.
pub(crate) fn partials(snapshot: &Snapshot) -> Vec<String> {
    files(snapshot, "partial/").collect()
}

fn files<'s>(snapshot: &'s Snapshot, folder: &'static str) -> impl Iterator<Item = String> + 's {
    let paths = snapshot.entries.keys().filter_map(|path| str::from_utf8(path).ok());
    paths
        .filter(move |path| path.starts_with(folder))
        .map(|path| path.rsplit('/').next().unwrap().to_owned())
}

/// Compares every whole segment of a snapshot with the server's own file; how many there were.
pub(crate) fn assert_same_segments(cluster: &Cluster, snapshot: &Snapshot) -> usize {
    let mut compared = 0;
    for (path, entry) in &snapshot.entries {
        let name = Path::new(str::from_utf8(path).unwrap());
        let own = cluster.data_directory().join("pg_wal").join(name.file_name().unwrap());
        if path.starts_with(b"wal/") && own.is_file() {
            assert!(std::fs::read(&own).unwrap() == entry.content, "{} differs", name.display());
            compared += 1;
        }
    }
    compared
}

/// A base backup by PostgreSQL's own tool, that a server can be recovered from.
pub(crate) struct Base {
    scratch: Scratch,
    password: String,
}

impl Base {
    /// Without log: all that is needed must come from the archive.
    pub(crate) fn of(cluster: &Cluster) -> Self {
        let scratch = Scratch::new().unwrap();
        cluster.installation().user().own(scratch.path()).unwrap();
        let mut copy = cluster
            .installation()
            .server_program("pg_basebackup", ["--wal-method=none", "--checkpoint=fast", "--no-sync"])
            .unwrap();
        let connection = format!(
            "host=127.0.0.1 port={} user=postgres password={}",
            cluster.port(),
            cluster.password()
        );
        copy.arg("--dbname").arg(connection).arg("--pgdata").arg(scratch.join("data"));
        run(&mut copy).unwrap();
        Self {
            scratch,
            password: cluster.password().to_owned(),
        }
    }

    /// A server that recovers from this backup and the log in `snapshot`, with these settings, and is open for writing at the end.
    pub(crate) fn recover(&self, snapshot: &Snapshot, settings: &str) -> Cluster {
        let archive = lay_down(&self.scratch, snapshot);
        let data = self.scratch.join("data");
        let configuration = data.join("postgresql.auto.conf");
        let lines = format!(
            "restore_command = 'cp {}/%f %p'\nrecovery_target_action = promote\n{settings}\n",
            archive.display()
        );
        std::fs::write(configuration, lines).unwrap();
        std::fs::write(data.join("recovery.signal"), "").unwrap();
        start_recovered(&data, &self.password)
    }
}

/// Starts a server on a restored data directory, and waits until its recovery has ended.
pub(crate) fn start_recovered(data: &Path, password: &str) -> Cluster {
    let server = Cluster::builder().without_tls().adopt(data, password).unwrap();
    // `pg_ctl` does not wait for the end of the recovery of a hot standby.
    while server.execute("postgres", "SELECT pg_is_in_recovery()").unwrap() != "f" {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    server
}

/// Writes the log as an archive's folder; a partial segment stands for the whole one that is not there.
pub(crate) fn lay_down(scratch: &Scratch, snapshot: &Snapshot) -> PathBuf {
    let folder = scratch.folder("archive").unwrap();
    for (path, entry) in &snapshot.entries {
        let name = str::from_utf8(path).unwrap().rsplit('/').next().unwrap();
        let file = folder.join(name.strip_suffix(".partial").unwrap_or(name));
        if !entry.content.is_empty() {
            std::fs::write(&file, &entry.content).unwrap();
            std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        }
    }
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    folder
}
