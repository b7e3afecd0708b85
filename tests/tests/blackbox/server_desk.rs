//! A PostgreSQL server and this program beside it, run by the server's user, as on a database host: what tests of its log share.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use bulkhead_test_support::postgres::Cluster;
use bulkhead_test_support::{Bulkhead, Outcome};

/// A server, a folder with a configuration, and a place for what is restored.
pub(crate) struct ServerDesk {
    pub(crate) cluster: Cluster,
    pub(crate) bulkhead: Bulkhead,
    cache: PathBuf,
}

impl ServerDesk {
    /// Beside `cluster`, without a configuration.
    pub(crate) fn beside(cluster: Cluster) -> Self {
        let bulkhead = Bulkhead::new().unwrap();
        bulkhead.scratch().private_file("postgres-password", cluster.password()).unwrap();
        bulkhead.scratch().folder("restored").unwrap();
        // Compiling takes longer than all else, so all tests of this kind share one cache; and nobody may use another user's.
        let cache = bulkhead_test_support::binary()
            .unwrap()
            .with_file_name("bulkhead-test-cache-server");
        std::fs::create_dir_all(&cache).unwrap();
        Self { cluster, bulkhead, cache }
    }

    /// Lines of a pipeline that grant the server.
    pub(crate) fn server(&self) -> String {
        format!(
            "endpoint.server = {{ address = \"{}\", tls = {{ mode = \"disable\" }} }}\nsecret.password = {{ file = {:?}, reveal = true }}\n",
            self.cluster.address(),
            self.bulkhead.scratch().join("postgres-password").display().to_string(),
        )
    }

    /// Writes the configuration: a vault, the pipeline `bank` for base backups with its target `elsewhere`, and `bank-wal` with these settings and grants.
    pub(crate) fn configure(&self, settings: &str, grants: &str) {
        let server = self.server();
        let pipelines = format!(
            "[pipeline.bank]\nplugin = \"postgres\"\nvault = \"main\"\nwal = \"bank-wal\"\n\
             config = {{ mode = \"physical\", user = \"postgres\" }}\n{server}\
             [pipeline.bank.target.elsewhere]\ndirectory.data = {{ path = {:?}, access = \"read-write\" }}\n\
             [pipeline.bank-wal]\nplugin = \"postgres\"\nvault = \"main\"\n\
             config = {{ mode = \"wal\", user = \"postgres\"{settings} }}\n{grants}",
            self.data().display().to_string(),
        );
        self.bulkhead.configure(&pipelines).unwrap();
        self.cluster
            .installation()
            .user()
            .own(&self.bulkhead.scratch().join("bulkhead.toml"))
            .unwrap();
    }

    /// Gives all of it to the server's user, and makes the vault.
    pub(crate) fn init(&self) {
        let user = self.cluster.installation().user();
        user.own_all(self.bulkhead.scratch().path()).unwrap();
        user.own_all(&self.cache).unwrap();
        self.succeed(&["init", "main"]);
    }

    /// Where a restore goes.
    pub(crate) fn data(&self) -> PathBuf {
        self.bulkhead.scratch().join("restored/data")
    }

    /// Where a restore goes, with nothing in it, as a server wants its folder.
    pub(crate) fn empty_data(&self) -> PathBuf {
        let data = self.data();
        if data.exists() {
            std::fs::remove_dir_all(&data).unwrap();
        }
        std::fs::create_dir(&data).unwrap();
        std::fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        self.cluster.installation().user().own(&data).unwrap();
        data
    }

    /// The binary, with all that it takes from its surroundings, as a shell writes it.
    pub(crate) fn program(&self) -> String {
        format!(
            "env BULKHEAD_CACHE_DIR={} {} -c {}",
            self.cache.display(),
            bulkhead_test_support::binary().unwrap().display(),
            self.bulkhead.scratch().join("bulkhead.toml").display(),
        )
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bulkhead.command(arguments);
        command.arg("--config").arg(self.bulkhead.scratch().join("bulkhead.toml"));
        command.env("BULKHEAD_CACHE_DIR", &self.cache);
        self.cluster.installation().user().apply(&mut command);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.command(arguments).output().unwrap().into()
    }

    /// Standard output of what has to succeed.
    #[track_caller]
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, Some(0), "{arguments:?}\n{}{}", outcome.stdout, outcome.stderr);
        outcome.stdout
    }

    /// Standard output of what has to succeed, as JSON.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.succeed(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// Starts a server on what was restored, and waits until its recovery has ended.
    pub(crate) fn recovered(&self) -> Cluster {
        let server = Cluster::builder()
            .without_tls()
            .adopt(&self.data(), self.cluster.password())
            .unwrap();
        let begun = Instant::now();
        while server.execute("postgres", "SELECT pg_is_in_recovery()").unwrap() != "f" {
            assert!(begun.elapsed() < Duration::from_secs(120), "{}", server.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }
}
