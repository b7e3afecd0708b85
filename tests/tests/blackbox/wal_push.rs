//! A server that hands its log over: `archive_command` is this binary. The witness is the server itself, and what it holds after a recovery.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use bulkhead_test_support::Outcome;
use bulkhead_test_support::postgres::Cluster;
use serde_json::Value;

use crate::server_desk::ServerDesk;

/// A server with its archive.
struct Archive(ServerDesk);

impl std::ops::Deref for Archive {
    type Target = ServerDesk;

    fn deref(&self) -> &ServerDesk {
        &self.0
    }
}

impl Archive {
    fn open() -> Self {
        let cluster = Cluster::builder()
            .without_tls()
            .wal_segment_mebibytes(1)
            .setting("archive_mode", "on")
            .start()
            .unwrap();
        let archive = Self(ServerDesk::beside(cluster));
        let log = archive.log().display().to_string();
        archive.configure("", &format!("directory.log = {{ path = {log:?}, access = \"read-only\" }}\n"));
        archive.init();
        archive
    }

    fn log(&self) -> PathBuf {
        self.cluster.data_directory().join("pg_wal")
    }

    /// Has the server archive from now on.
    fn hand_over(&self) {
        let command = format!("{} wal-push bank-wal %p", self.program());
        let statement = format!("ALTER SYSTEM SET archive_command = '{command}'");
        self.cluster.execute("postgres", &statement).unwrap();
        self.cluster.execute("postgres", "SELECT pg_reload_conf()").unwrap();
    }

    /// Begins another segment, and waits until all before it are archived.
    fn wait_for_the_archiver(&self) {
        let last = "SELECT pg_walfile_name(pg_switch_wal())";
        let last = self.cluster.execute("postgres", last).unwrap();
        let done = format!("SELECT last_archived_wal >= '{last}' AND last_archived_wal NOT LIKE '%.%' FROM pg_stat_archiver");
        let begun = Instant::now();
        while self.cluster.execute("postgres", &done).unwrap() != "t" {
            assert!(begun.elapsed() < Duration::from_secs(180), "{last}\n{}", self.cluster.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn push(&self, path: &Path) -> Outcome {
        self.run(&["wal-push", "bank-wal", path.to_str().unwrap()])
    }

    /// A file of the server's user.
    fn write(&self, path: &Path, content: &[u8]) {
        std::fs::write(path, content).unwrap();
        self.cluster.installation().user().own(path).unwrap();
    }

    fn ledger(server: &Cluster) -> String {
        let sums = "SELECT count(*), sum(abalance), md5(string_agg(aid || ':' || abalance, ',' ORDER BY aid)) FROM pgbench_accounts";
        server.execute("postgres", sums).unwrap() + &server.execute("postgres", "SELECT count(*) FROM pgbench_history").unwrap()
    }

    fn bench(&self, arguments: &[&str]) -> Child {
        let mut command = self.cluster.client("pgbench", arguments).unwrap();
        command.stdout(Stdio::null()).stderr(Stdio::null()).arg("postgres").spawn().unwrap()
    }
}

#[test]
fn a_server_hands_its_log_over_and_comes_back_from_it() {
    let archive = Archive::open();
    assert!(archive.bench(&["--initialize", "--quiet"]).wait().unwrap().success());
    // Many segments are ready when the archiver begins.
    archive.hand_over();
    archive.wait_for_the_archiver();
    let mut bench = archive.bench(&["--client=2", "--time=8"]);
    archive.succeed(&["run", "bank"]);
    assert!(bench.wait().unwrap().success());
    archive.wait_for_the_archiver();

    let failed = archive
        .cluster
        .execute("postgres", "SELECT archived_count > 10, failed_count FROM pg_stat_archiver")
        .unwrap();
    assert!(failed.starts_with("t|"), "{failed}");
    let listed = archive.json(&["snapshots", "bank-wal"]);
    let snapshots = listed["snapshots"].as_array().unwrap().len();
    let archived: usize = archive
        .cluster
        .execute("postgres", "SELECT archived_count FROM pg_stat_archiver")
        .unwrap()
        .parse()
        .unwrap();
    assert!(
        snapshots < archived,
        "{snapshots} snapshots for {archived} files: those that were ready went together"
    );

    archive.succeed(&["verify", "bank-wal"]);
    let verified = archive.json(&["wal-verify", "bank-wal"]);
    assert_eq!(
        (&verified["good"], verified["bases"].as_array().unwrap().len()),
        (&Value::Bool(true), 1),
        "{verified}"
    );
    assert!(verified["bases"][0]["range"]["to-lsn"].is_string(), "{verified}");

    let before = Archive::ledger(&archive.cluster);
    let data = archive.empty_data();
    archive.succeed(&["restore", "bank", "--target", "elsewhere", "--to-latest"]);
    let settings = data.join("postgresql.auto.conf");
    let kept = std::fs::read_to_string(&settings).unwrap();
    archive.write(&settings, (kept + "archive_command = 'false'\n").as_bytes());
    let server = archive.recovered();
    assert_eq!(Archive::ledger(&server), before);
}

#[test]
fn what_is_handed_over_is_stored_once_and_never_overwritten() {
    let archive = Archive::open();
    let name = archive
        .cluster
        .execute("postgres", "SELECT pg_walfile_name(pg_switch_wal())")
        .unwrap();
    let path = archive.log().join(&name);
    let first = archive.push(&path);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    // No server is asked for that, so none is granted.
    let checked = archive.succeed(&["check", "bank-wal", "--json"]);
    assert!(checked.contains("log-handed-over"), "{checked}");
    let again = archive.push(&path);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(again.stdout.contains("was stored before"), "{}", again.stdout);

    let whole = std::fs::read(&path).unwrap();
    let mut other = whole.clone();
    other[5000] ^= 1;
    archive.write(&path, &other);
    let different = archive.push(&path);
    assert_eq!(different.code, Some(12), "{}", different.stderr);
    assert!(different.stderr.contains(&format!("has another `{name}`")), "{}", different.stderr);
    archive.write(&path, &whole[..1000]);
    assert_eq!(archive.push(&path).code, Some(12), "shorter");
    archive.write(&path, &whole);

    // A history, and a label of a base backup, as they are.
    let (history, label) = ("00000007.history".to_owned(), format!("{name}.00000028.backup"));
    for (file, content) in [(&history, "1\t0/2000000\tx\n"), (&label, "START WAL LOCATION: 0/2000028\n")] {
        archive.write(&archive.log().join(file), content.as_bytes());
        assert_eq!(archive.push(&archive.log().join(file)).code, Some(0), "{file}");
        let target = archive.bulkhead.scratch().join("fetched");
        archive.succeed(&["wal-fetch", "bank-wal", file, target.to_str().unwrap()]);
        assert_eq!(std::fs::read_to_string(&target).unwrap(), content);
    }
    archive.succeed(&["verify", "bank-wal"]);

    // What is no segment of this cluster does not get in.
    let mut foreign = whole;
    foreign[24] ^= 1;
    let next = archive.log().join("0000000100000000000000FE");
    archive.write(&next, &foreign);
    assert_eq!(archive.push(&next).code, Some(10));
    assert_eq!(archive.push(&archive.log().join("README")).code, Some(3), "no file of a log");
    let elsewhere = archive.bulkhead.scratch().join(&name);
    archive.write(&elsewhere, b"");
    let refused = archive.push(&elsewhere);
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("directory.log"), "{}", refused.stderr);
    std::fs::rename(archive.bulkhead.vault(), archive.bulkhead.scratch().join("gone")).unwrap();
    let code = archive.push(&path).code.unwrap();
    assert!((1..=125).contains(&code), "{code} would end the archiver");
}

#[test]
fn a_page_that_lies_elsewhere_is_found() {
    let archive = Archive::open();
    let fill = "SELECT count(pg_logical_emit_message(true, 'x', repeat('y', 1000000))) FROM generate_series(1, 2)";
    archive.cluster.execute("postgres", fill).unwrap();
    let name = archive
        .cluster
        .execute("postgres", "SELECT pg_walfile_name(pg_switch_wal() - 1048576)")
        .unwrap();
    let path = archive.log().join(&name);
    let whole = std::fs::read(&path).unwrap();
    // The third page of 8 KiB says that it is the fourth.
    let mut damaged = whole.clone();
    damaged.copy_within(3 * 8192..3 * 8192 + 16, 2 * 8192);
    archive.write(&path, &damaged);
    assert_eq!(archive.push(&path).code, Some(0), "only its beginning is looked at on its way in");
    archive.succeed(&["verify", "bank-wal"]);
    let found = archive.run(&["wal-verify", "bank-wal"]);
    assert_eq!(found.code, Some(10), "{}{}", found.stdout, found.stderr);
    let told = format!("{name} has a page at 16384 that belongs elsewhere");
    assert!((found.stdout + &found.stderr).contains(&told));
}
