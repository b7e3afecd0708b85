//! A PostgreSQL cluster into a vault and back, through the sandbox.

use std::path::{Path, PathBuf};

use bulkhead_test_support::postgres::Cluster;
use bulkhead_test_support::{Bulkhead, Outcome, Tree, sha256_of_file};

use crate::world::assert_told;

/// Enough of everything that a base backup treats in its own way: a tablespace, an unlogged table, a large object, several databases.
const CONTENT: &str = "
CREATE ROLE backup LOGIN REPLICATION PASSWORD 'backup password';
CREATE DATABASE shop;
\\connect shop
CREATE TABLE purchase AS SELECT n AS id, md5(n::text) AS note FROM generate_series(1, 100000) AS n;
CREATE UNLOGGED TABLE session AS SELECT n FROM generate_series(1, 1000) AS n;
CREATE TABLE old_purchase TABLESPACE archive AS SELECT * FROM purchase WHERE id % 10 = 0;
SELECT lo_from_bytea(0, decode(repeat(md5('x'), 5000), 'hex'));
";

/// A filled cluster with a vault for it.
pub(crate) struct Shop {
    pub(crate) cluster: Cluster,
    pub(crate) bulkhead: Bulkhead,
}

impl Shop {
    pub(crate) fn open() -> Self {
        Self::of(Cluster::start_default().unwrap())
    }

    /// Fills this cluster.
    pub(crate) fn of(cluster: Cluster) -> Self {
        let folder = cluster.tablespace_folder("archive").unwrap();
        cluster
            .execute("postgres", &format!("CREATE TABLESPACE archive LOCATION '{}'", folder.display()))
            .unwrap();
        cluster.execute("postgres", CONTENT).unwrap();
        let bulkhead = Bulkhead::new().unwrap();
        bulkhead.scratch().private_file("postgres-password", "backup password\n").unwrap();
        let shop = Self { cluster, bulkhead };
        shop.configure("backup", "");
        shop.succeed(&["init", "main"]);
        shop
    }

    /// The pipeline `shop` as this role, and `more` lines of its table.
    pub(crate) fn configure(&self, role: &str, more: &str) {
        let authority = self.cluster.certificates().unwrap().authority_certificate();
        let oid = self
            .cluster
            .execute("postgres", "SELECT oid FROM pg_tablespace WHERE spcname = 'archive'")
            .unwrap();
        let pipelines = format!(
            "[pipeline.shop]\nplugin = \"postgres\"\nvault = \"main\"\nconfig = {{ mode = \"physical\", user = \"{role}\" }}\n\
             endpoint.server = {{ address = \"{}\", tls = {{ mode = \"verify-full\", ca = {:?} }} }}\n\
             secret.password = {{ file = \"postgres-password\", reveal = true }}\n{more}\n\
             [pipeline.shop.target.elsewhere]\ndirectory.data = {{ path = \"restored/data\", access = \"read-write\" }}\n\
             directory.tablespace-{oid} = {{ path = {:?}, access = \"read-write\" }}\n",
            self.cluster.address(),
            authority.display().to_string(),
            self.cluster.tablespaces().unwrap()[0].display().to_string(),
        );
        self.bulkhead.configure(&pipelines).unwrap();
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.bulkhead.run(arguments).unwrap()
    }

    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(
            outcome.code,
            Some(0),
            "bulkhead {}\n{}{}",
            arguments.join(" "),
            outcome.stdout,
            outcome.stderr
        );
        outcome.stdout
    }

    /// Kills the server and makes empty folders for a restore, as PostgreSQL wants them; PGDATA's. The tablespace goes back to where it was, because
    /// `pg_dumpall` says where tablespaces are.
    pub(crate) fn destroy(&self) -> PathBuf {
        let tablespace = self.cluster.tablespaces().unwrap().remove(0);
        self.cluster.kill().unwrap();
        std::fs::remove_dir_all(&tablespace).unwrap();
        std::fs::create_dir(&tablespace).unwrap();
        self.cluster.installation().user().own(&tablespace).unwrap();
        for name in ["restored", "restored/data"] {
            let folder = self.bulkhead.scratch().folder(name).unwrap();
            std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
            self.cluster.installation().user().own(&folder).unwrap();
        }
        self.bulkhead.scratch().join("restored/data")
    }

    /// Everything that a server holds, as SQL. Unlogged tables are empty after a restore, as after a crash, so they are emptied here.
    pub(crate) fn dump(&self, server: &Cluster, name: &str) -> PathBuf {
        server.execute("shop", "TRUNCATE session").unwrap();
        let path = self.bulkhead.scratch().join(name);
        server.dump_all(&path).unwrap();
        path
    }

    fn stored_bytes(&self) -> u64 {
        Tree::of(&self.bulkhead.vault()).unwrap().0.values().map(|node| node.size).sum()
    }
}

pub(crate) fn assert_same_dump(before: &Path, after: &Path) {
    assert!(std::fs::metadata(before).unwrap().len() > 1_000_000);
    assert_eq!(
        sha256_of_file(before).unwrap(),
        sha256_of_file(after).unwrap(),
        "pg_dumpall differs"
    );
}

#[test]
fn a_cluster_goes_into_a_vault_and_comes_back_the_same() {
    let shop = Shop::open();
    shop.succeed(&["check"]);
    shop.succeed(&["run", "shop"]);
    let first = shop.stored_bytes();
    shop.succeed(&["run", "shop"]);
    let unchanged = shop.stored_bytes() - first;
    assert!(
        unchanged * 8 < first,
        "a second backup of the same added {unchanged} bytes to {first}"
    );
    let first = shop.stored_bytes();

    shop.cluster
        .execute("shop", "UPDATE purchase SET note = 'returned' WHERE id < 100; CHECKPOINT")
        .unwrap();
    shop.succeed(&["run", "shop"]);
    let added = shop.stored_bytes() - first;
    // How much depends on where this vault's chunks end.
    assert!(added < first * 3 / 4, "the third backup added {added} bytes to {first}");

    let before = shop.dump(&shop.cluster, "before.sql");
    let data = shop.destroy();
    shop.succeed(&["restore", "shop", "--target", "elsewhere"]);
    shop.cluster.installation().verify_backup(&data).unwrap();
    let restored = Cluster::builder().adopt(&data, shop.cluster.password()).unwrap();
    assert_eq!(restored.tablespaces().unwrap().len(), 1);
    assert_eq!(
        restored.execute("shop", "SELECT count(*) FROM session").unwrap(),
        "0",
        "unlogged tables come back empty"
    );
    assert_same_dump(&before, &shop.dump(&restored, "after.sql"));
}

#[test]
fn the_snapshot_before_the_last_one_restores_to_the_state_before_the_change() {
    let shop = Shop::open();
    let first: serde_json::Value = serde_json::from_str(&shop.succeed(&["run", "shop", "--json"])).unwrap();
    let before = shop.dump(&shop.cluster, "before.sql");
    shop.cluster.execute("shop", "DROP TABLE old_purchase").unwrap();
    shop.succeed(&["run", "shop"]);
    let data = shop.destroy();
    let snapshot = first["runs"][0]["snapshot"].as_str().unwrap();
    shop.succeed(&["restore", "shop", "--snapshot", snapshot, "--target", "elsewhere"]);
    let restored = Cluster::builder().adopt(&data, shop.cluster.password()).unwrap();
    assert_same_dump(&before, &shop.dump(&restored, "after.sql"));
}

#[test]
fn a_target_that_is_not_empty_is_left_alone() {
    let shop = Shop::open();
    shop.succeed(&["run", "shop"]);
    let data = shop.destroy();
    std::fs::write(data.join("precious"), "another cluster").unwrap();
    let outcome = shop.run(&["restore", "shop", "--target", "elsewhere"]);
    assert_told!(outcome);
    assert_ne!(outcome.code, Some(0));
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1, "nothing was written");
}

#[test]
fn a_wrong_password_is_told_by_check_and_by_run() {
    let shop = Shop::open();
    shop.bulkhead
        .scratch()
        .private_file("postgres-password", "wrong password\n")
        .unwrap();
    for arguments in [&["check"][..], &["run", "shop"]] {
        let outcome = shop.run(arguments);
        assert_told!(format!("wrong_password_{}", arguments[0]), outcome);
        assert_ne!(outcome.code, Some(0));
        assert!(!outcome.stderr.contains("wrong password"), "a password is never shown");
    }
}

#[test]
fn a_role_without_the_right_to_replicate_is_told_how_to_get_it() {
    let shop = Shop::open();
    shop.cluster
        .execute("postgres", "CREATE ROLE reader LOGIN PASSWORD 'backup password'")
        .unwrap();
    shop.configure("reader", "");
    let outcome = shop.run(&["run", "shop"]);
    assert_told!(outcome);
    assert_ne!(outcome.code, Some(0));
}

#[test]
fn a_server_that_is_not_there_is_named_by_its_address() {
    let shop = Shop::open();
    shop.cluster.stop().unwrap();
    let outcome = shop.run(&["run", "shop"]);
    assert_told!(outcome);
    assert_ne!(outcome.code, Some(0));
}

#[test]
fn a_server_with_a_certificate_of_another_authority_is_not_talked_to() {
    let shop = Shop::open();
    let foreign = shop.cluster.certificates().unwrap().foreign_authority().unwrap();
    std::fs::copy(foreign, shop.cluster.certificates().unwrap().authority_certificate()).unwrap();
    let outcome = shop.run(&["run", "shop"]);
    assert_told!(outcome);
    assert_ne!(outcome.code, Some(0));
}
