//! A sink that takes requests and never answers, while a server's log streams and while a database is dumped: the run ends at the sink's limit, and says so;
//! nothing is committed that is not there, and the server lets go of nothing that is not durable. The sink is a real server of S3 behind a proxy.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use bulkhead_test_support::postgres::Cluster;
use bulkhead_test_support::s3::{Fault, Proxy, Server};
use bulkhead_test_support::{Bulkhead, Outcome};
use serde_json::Value;

/// What the sink may take for one call, where it is about to fall silent.
const LIMIT: &str = "limits = { wall-clock = \"4 s\" }";

/// How long a run may take to end then: the call that is not answered, and the one that removes the lock; the rest is for a machine under load.
const BOUND: Duration = Duration::from_secs(60);

/// Exit code of a limit.
const LIMIT_REACHED: i32 = 8;

/// A server with a database, a vault in a bucket, and a pipeline each for the log and for the database.
struct Desk {
    cluster: Cluster,
    proxy: Proxy,
    bulkhead: Bulkhead,
    bucket: Server,
}

impl Desk {
    fn open() -> Self {
        let bucket = Server::start().unwrap();
        let desk = Self {
            cluster: Cluster::builder().without_tls().wal_segment_mebibytes(1).start().unwrap(),
            proxy: Proxy::start(bucket.port()).unwrap(),
            bulkhead: Bulkhead::new().unwrap(),
            bucket,
        };
        let scratch = desk.bulkhead.scratch();
        for (file, secret) in [
            ("access-key", desk.bucket.access_key()),
            ("secret-key", desk.bucket.secret_key()),
            ("postgres-password", desk.cluster.password()),
        ] {
            scratch.private_file(file, secret).unwrap();
        }
        desk.configure("", "until = \"caught-up\"");
        desk.succeed(&["init", "main"]);
        desk
    }

    fn configure(&self, limits: &str, log: &str) {
        let server = format!(
            "endpoint.server = {{ address = \"{}\", tls = {{ mode = \"disable\" }} }}\nsecret.password = {{ file = \"postgres-password\", reveal = true }}\n",
            self.cluster.address()
        );
        let text = format!(
            "version = 1\n\n[vault.main]\nkey = {{ file = \"vault-password\" }}\nsinks = [\"bucket\"]\n\n\
             [sink.bucket]\nplugin = \"s3\"\nconfig = {{ bucket = \"vaults\" }}\n{limits}\n\
             endpoint.storage = {{ url = \"{}\", auth = {{ aws = {{ region = \"us-east-1\", access-key-id = {{ file = \"access-key\" }}, secret-access-key = {{ file = \"secret-key\" }} }} }} }}\n\n\
             [pipeline.log]\nplugin = \"postgres\"\nvault = \"main\"\nconfig = {{ mode = \"wal\", user = \"postgres\", {log} }}\n{server}\n\
             [pipeline.database]\nplugin = \"postgres\"\nvault = \"main\"\nconfig = {{ mode = \"logical\", user = \"postgres\", databases = [\"postgres\"], jobs = 2 }}\n{server}",
            self.proxy.url()
        );
        self.bulkhead.write_configuration(&text).unwrap();
    }

    #[track_caller]
    fn succeed(&self, arguments: &[&str]) -> String {
        let outcome: Outcome = self.bulkhead.run(arguments).unwrap();
        assert_eq!(outcome.code, Some(0), "{arguments:?}\n{}{}", outcome.stdout, outcome.stderr);
        outcome.stdout
    }

    fn sql(&self, statement: &str) -> String {
        self.cluster.execute("postgres", statement).unwrap()
    }

    /// A position in the log, in bytes.
    fn position(&self, what: &str) -> u64 {
        let bytes = self.sql(&format!("SELECT {what} - pg_lsn '0/0'"));
        bytes.parse().unwrap()
    }

    /// The snapshots of a pipeline, oldest first.
    fn snapshots(&self, pipeline: &str) -> Vec<Value> {
        let listed: Value = serde_json::from_str(&self.succeed(&["snapshots", pipeline, "--json"])).unwrap();
        listed["snapshots"].as_array().unwrap().clone()
    }

    /// The end of the log that the vault has, in bytes.
    fn stored(&self) -> u64 {
        let last = self.snapshots("log").pop().unwrap();
        let facts = last["proof"]["facts"].as_array().unwrap().clone();
        let end = facts.iter().find(|fact| fact["name"] == "end-lsn").unwrap();
        self.position(&format!("pg_lsn '{}'", end["value"].as_str().unwrap()))
    }

    fn begin(&self, pipeline: &str) -> Child {
        let mut command = self.bulkhead.command(["run", pipeline]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// From now on nothing is answered whose first line begins with this.
    fn fall_silent(&self, what: &'static str) {
        self.proxy.inject(move |line| line.starts_with(what).then_some(Fault::Silence));
    }

    fn answer_again(&self) {
        self.proxy.inject(|_| None);
    }

    fn packs_asked(&self) -> usize {
        self.proxy
            .requests()
            .iter()
            .filter(|line| line.starts_with("PUT /vaults/data/"))
            .count()
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < BOUND, "not within {BOUND:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits for a run that has a silent sink, and looks at how it ended.
fn assert_ended_at_the_limit(mut child: Child) {
    wait_until("the run ends", || child.try_wait().unwrap().is_some());
    let outcome = Outcome::from(child.wait_with_output().unwrap());
    assert_eq!(outcome.code, Some(LIMIT_REACHED), "{}", outcome.stderr);
    for told in ["sink.bucket", "wall-clock", "4 s"] {
        assert!(outcome.stderr.contains(told), "`{told}` is not in: {}", outcome.stderr);
    }
}

#[test]
fn log_that_a_silent_sink_was_given_is_not_let_go_of() {
    let desk = Desk::open();
    desk.succeed(&["run", "log"]);
    for silent in ["", "PUT /vaults/data/", "PUT /vaults/snapshots/"] {
        desk.configure(LIMIT, "interval = \"1 s\", until = \"300 s\"");
        let follower = desk.begin("log");
        wait_until("somebody streams", || {
            desk.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") != "0"
        });
        let asked = desk.packs_asked();
        desk.sql("SELECT pg_logical_emit_message(true, 'x', 'before')");
        wait_until("a commit", || desk.packs_asked() > asked);
        desk.fall_silent(silent);
        desk.sql("SELECT count(pg_logical_emit_message(true, 'x', repeat(md5(n::text), 1000))) FROM generate_series(1, 100) n");
        let written = desk.position("pg_current_wal_flush_lsn()");
        assert_ended_at_the_limit(follower);
        let let_go = desk.position("(SELECT restart_lsn FROM pg_replication_slots)");
        desk.answer_again();
        desk.configure("", "until = \"caught-up\"");
        let stored = desk.stored();
        assert!(
            let_go <= stored,
            "`{silent}`: the server let go of the log up to {let_go}, the vault has it to {stored}"
        );
        assert!(stored < written, "`{silent}`: the sink has fallen silent before all was stored");
        desk.succeed(&["run", "log"]);
        assert!(desk.stored() >= written, "`{silent}`");
        desk.succeed(&["verify", "log"]);
    }
}

#[test]
fn a_dump_into_a_silent_sink_commits_nothing() {
    let desk = Desk::open();
    desk.sql("CREATE TABLE t AS SELECT n, md5(n::text) FROM generate_series(1, 100000) AS n; CREATE TABLE u AS TABLE t");
    for silent in ["", "PUT /vaults/data/", "PUT /vaults/snapshots/"] {
        desk.configure(LIMIT, "until = \"caught-up\"");
        desk.succeed(&["check", "database"]);
        desk.proxy.inject({
            // It answers until it is given something to keep.
            let given = std::sync::atomic::AtomicBool::new(false);
            move |line| {
                let is_given = line.starts_with("PUT /vaults/data/") || given.load(std::sync::atomic::Ordering::SeqCst);
                given.store(is_given, std::sync::atomic::Ordering::SeqCst);
                (is_given && line.starts_with(silent)).then_some(Fault::Silence)
            }
        });
        assert_ended_at_the_limit(desk.begin("database"));
        desk.answer_again();
        assert_eq!(desk.snapshots("database").len(), 0, "`{silent}`");
        wait_until("no session is left", || {
            desk.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bulkhead'") == "0"
        });
    }
    desk.configure("", "until = \"caught-up\"");
    desk.succeed(&["run", "database"]);
    desk.succeed(&["verify", "database", "--read-data"]);
}
