//! Homes of Fabric CAs into a vault and back, through the sandbox: OpenSSL and SQLite's shell have made them, and say whether what came back is theirs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use bulkhead_test_support::fabric_ca::{Api, Home, ROLE, crl, query, sign, verify};
use bulkhead_test_support::postgres::{Certificates, Cluster};
use bulkhead_test_support::tls::Front;
use bulkhead_test_support::{Bulkhead, Outcome};

/// An installation with a vault.
struct Desk(Bulkhead);

impl Desk {
    fn open(pipelines: &str) -> Self {
        let desk = Self(Bulkhead::new().unwrap());
        desk.0.scratch().folder("restored").unwrap();
        desk.0.configure(pipelines).unwrap();
        desk.succeed(&["init", "main"]);
        desk
    }

    fn home(&self, name: &str) -> Home {
        let home = Home::root(self.0.scratch().join(name), name).unwrap();
        home.register("peer0", "peer", "org1.department1").unwrap();
        home.enroll("peer0").unwrap();
        home.register("user1", "client", "org2.department1").unwrap();
        home.enroll("user1").unwrap();
        home.revoke("user1").unwrap();
        home
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        self.0.run(arguments).unwrap()
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, Some(0), "{arguments:?}\n{}{}", outcome.stdout, outcome.stderr);
        outcome.stdout
    }
}

const ONE: &str = r#"
[pipeline.ca]
plugin = "fabric-ca"
vault = "main"
directory.home = { path = "org1", access = "read-only" }

[pipeline.ca.target.elsewhere]
directory.home = { path = "restored", access = "read-write" }
directory.previous = { path = "org1", access = "read-only" }
"#;

/// What OpenSSL says of a home that has come back.
fn witness(original: &Home, restored: &Path) {
    let root = restored.join("ca-cert.pem");
    let key = restored.join(original.key_file().unwrap().strip_prefix(original.path()).unwrap());
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o7777, 0o600);
    sign(&key, &root).unwrap();
    let database = restored.join("fabric-ca-server.db");
    for id in ["admin", "peer0", "user1"] {
        let pem = query(&database, &format!("SELECT pem FROM certificates WHERE id = '{id}' LIMIT 1")).unwrap();
        verify(&root, None, &format!("{pem}\n")).unwrap();
    }
}

#[test]
fn a_home_that_is_backed_up_and_restored_signs_and_verifies() {
    let desk = Desk::open(ONE);
    let home = desk.home("org1");
    desk.succeed(&["check"]);
    desk.succeed(&["run", "ca"]);
    desk.succeed(&["verify", "--read-data"]);
    home.register("late", "client", "org1").unwrap();
    let report = desk.run(&["restore", "ca", "--target", "elsewhere"]);
    assert_eq!(report.code, Some(0), "{}", report.stderr);
    assert!(report.stderr.contains("late (client, org1)"), "{}", report.stderr);
    let restored = desk.0.scratch().join("restored");
    witness(&home, &restored);
    assert_eq!(
        query(&restored.join("fabric-ca-server.db"), "SELECT count(*) FROM users").unwrap(),
        "3"
    );
    // What is there is not overwritten by accident.
    let refused = desk.run(&["restore", "ca", "--target", "elsewhere"]);
    assert_eq!(refused.code, Some(12), "{}", refused.stderr);
    assert!(refused.stderr.contains("overwrite = true"), "{}", refused.stderr);
    // Without the plugin, as plain files.
    let plain = desk.0.scratch().join("plain");
    desk.succeed(&["restore", "ca", "--into", &plain.display().to_string()]);
    witness(&home, &plain.join("home"));
    let inventory = desk.succeed(&["dump", "ca", "inventory/database.jsonl"]);
    assert!(
        inventory.contains(r#""id":"user1""#) && inventory.contains(r#""status":"revoked""#),
        "{inventory}"
    );
}

#[test]
fn a_certificate_without_its_key_commits_nothing() {
    let desk = Desk::open(ONE);
    let home = desk.home("org1");
    fs::remove_file(home.key_file().unwrap()).unwrap();
    let refused = desk.run(&["run", "ca"]);
    assert_eq!(refused.code, Some(9), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("ca-cert.pem") && refused.stderr.contains("keys-elsewhere"),
        "{}",
        refused.stderr
    );
    assert!(!desk.succeed(&["snapshots", "--json"]).contains("\"id\""));
    let checked = desk.run(&["check"]);
    assert_eq!(checked.code, Some(14), "{}{}", checked.stdout, checked.stderr);
}

#[test]
fn five_cas_are_one_table_and_one_that_fails_is_seen() {
    let desk = Desk::open(
        "[pipeline.ca]\nplugin = \"fabric-ca\"\nvault = \"main\"\ndirectory.home = { path = \"{ca}\", access = \"read-only\" }\n\
         each.ca = [\"root\", \"org1\", \"org2\", \"orderer\", \"tls\"]\n",
    );
    let homes: Vec<Home> = ["root", "org1", "org2", "orderer", "tls"].map(|name| desk.home(name)).into();
    desk.succeed(&["run", "--all"]);
    fs::write(homes[3].join("fabric-ca-server.db"), [7; 5000]).unwrap();
    let outcome = desk.run(&["run", "--all"]);
    assert_eq!(outcome.code, Some(10), "{}{}", outcome.stdout, outcome.stderr);
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(said.contains("orderer") && said.contains("fabric-ca-server.db"), "{said}");
    let listed = desk.succeed(&["snapshots", "--json"]);
    assert_eq!(listed.matches("\"id\"").count(), 9, "five, and then four: {listed}");
}

#[test]
fn the_servers_api_is_asked_with_signed_requests() {
    let desk = Desk(Bulkhead::new().unwrap());
    let home = desk.home("org1");
    let (certificate, key) = home.enroll_with_key("admin").unwrap();
    desk.0.scratch().private_file("admin.pem", certificate).unwrap();
    desk.0.scratch().private_file("admin.key", key).unwrap();
    let url = Api::of(&home).serve().unwrap();
    let pipeline = format!(
        "[pipeline.ca]\nplugin = \"fabric-ca\"\nvault = \"main\"\ndirectory.home = {{ path = \"org1\", access = \"read-only\" }}\nendpoint.api = {{ url = \"{url}\" }}\n\
         secret.admin-certificate = {{ file = \"admin.pem\", reveal = true }}\nsecret.admin-key = {{ file = \"admin.key\", reveal = true }}\n"
    );
    desk.0.configure(&pipeline).unwrap();
    desk.succeed(&["init", "main"]);
    desk.succeed(&["check"]);
    desk.succeed(&["run", "ca"]);
    desk.succeed(&["verify"]);
    let listed = desk.succeed(&["dump", "ca", "inventory/api.jsonl"]);
    assert!(listed.contains(r#""id":"peer0""#), "{listed}");
    let list = desk.succeed(&["dump", "ca", "inventory/crl/org1.pem"]);
    assert!(crl(&home.join("ca-cert.pem"), list.as_bytes()).unwrap().contains("Key Compromise"));
}

#[test]
fn the_servers_api_is_asked_over_tls_with_an_authority_and_a_clients_certificate() {
    let desk = Desk(Bulkhead::new().unwrap());
    let home = desk.home("org1");
    let (certificate, key) = home.enroll_with_key("admin").unwrap();
    desk.0.scratch().private_file("admin.pem", certificate).unwrap();
    desk.0.scratch().private_file("admin.key", key).unwrap();
    let certificates = Certificates::in_folder(desk.0.scratch().folder("tls").unwrap()).unwrap();
    let client = certificates.issue_client("bulkhead").unwrap();
    let plain = Api::of(&home).serve().unwrap();
    let (open, guarded) = (
        Front::before(&plain, &certificates, None).unwrap(),
        Front::before(&plain, &certificates, Some(&certificates.authority_certificate())).unwrap(),
    );
    let authority = certificates.authority_certificate().display().to_string();
    let foreign = certificates.foreign_authority().unwrap().display().to_string();
    let shown = format!(
        "certificate = \"{}\", key = {{ file = \"{}\" }}",
        client.certificate.display(),
        client.key.display()
    );
    let outcome = |url: &str, tls: &str| {
        let pipeline = format!(
            "[pipeline.ca]\nplugin = \"fabric-ca\"\nvault = \"main\"\ndirectory.home = {{ path = \"org1\", access = \"read-only\" }}\n\
             endpoint.api = {{ url = \"{url}\", tls = {{ mode = \"verify-full\", {tls} }} }}\n\
             secret.admin-certificate = {{ file = \"admin.pem\", reveal = true }}\nsecret.admin-key = {{ file = \"admin.key\", reveal = true }}\n"
        );
        desk.0.configure(&pipeline).unwrap();
        desk.run(&["init", "main"]);
        desk.run(&["run", "ca"])
    };
    for (url, tls) in [
        (open.url(), format!("ca = \"{authority}\"")),
        (guarded.url(), format!("ca = \"{authority}\", {shown}")),
    ] {
        let done = outcome(&url, &tls);
        assert_eq!(done.code, Some(0), "{tls}: {}{}", done.stdout, done.stderr);
        let listed = desk.succeed(&["dump", "ca", "inventory/api.jsonl"]);
        assert!(listed.contains(r#""id":"peer0""#), "{listed}");
    }
    // A server of another authority is not talked to, and one that wants to see who asks does not answer.
    for (url, tls) in [
        (open.url(), format!("ca = \"{foreign}\"")),
        (guarded.url(), format!("ca = \"{authority}\"")),
    ] {
        let refused = outcome(&url, &tls);
        assert_ne!(refused.code, Some(0), "{tls}: {}{}", refused.stdout, refused.stderr);
        assert!(refused.stderr.to_lowercase().contains("certificate"), "{tls}: {}", refused.stderr);
    }
    assert_eq!(desk.succeed(&["snapshots", "--json"]).matches("\"id\"").count(), 2);
}

#[test]
fn a_ca_with_its_database_in_postgresql_comes_back_whole_through_the_sandbox() {
    let server = || Arc::new(Cluster::builder().without_tls().setting("fsync", "off").start().unwrap());
    let (cluster, other) = (server(), server());
    other.execute("postgres", &format!("CREATE ROLE {ROLE}")).unwrap();
    let desk = Desk(Bulkhead::new().unwrap());
    desk.0.scratch().folder("restored").unwrap();
    let home = Home::root_with(desk.0.scratch().join("org1"), "org1", &cluster, "fabric_ca").unwrap();
    home.register("peer0", "peer", "org1.department1").unwrap();
    home.enroll("peer0").unwrap();
    desk.0.scratch().private_file("password", "secret").unwrap();
    desk.0.scratch().private_file("superuser", other.password()).unwrap();
    let grant = |cluster: &Cluster, password: &str| {
        format!(
            "endpoint.database = {{ address = \"{}\", tls = {{ mode = \"disable\" }} }}\nsecret.database-password = {{ file = \"{password}\", reveal = true }}\n",
            cluster.address()
        )
    };
    desk.0
        .configure(&format!(
            "[pipeline.ca]\nplugin = \"fabric-ca\"\nvault = \"main\"\ndirectory.home = {{ path = \"org1\", access = \"read-only\" }}\n{}\
             [pipeline.ca.target.elsewhere]\nconfig = {{ database-user = \"postgres\" }}\ndirectory.home = {{ path = \"restored\", access = \"read-write\" }}\n{}",
            grant(&cluster, "password"),
            grant(&other, "superuser")
        ))
        .unwrap();
    desk.succeed(&["init", "main"]);
    desk.succeed(&["check"]);
    let report: serde_json::Value = serde_json::from_str(&desk.succeed(&["run", "ca", "--json"])).unwrap();
    let text = report.to_string();
    for fact in [
        "first-expiry-seconds",
        "expiring-ca-certificates",
        "expiring-identities",
        "server-version",
    ] {
        assert!(text.contains(fact), "{fact}: {text}");
    }
    desk.succeed(&["verify", "--read-data"]);
    desk.succeed(&["restore", "ca", "--target", "elsewhere"]);
    let rows = "SELECT id, convert_from(serial_number, 'UTF8'), convert_from(pem, 'UTF8') FROM certificates ORDER BY 2";
    assert_eq!(
        other.execute("fabric_ca", rows).unwrap(),
        cluster.execute("fabric_ca", rows).unwrap()
    );
    assert!(desk.0.scratch().join("restored/ca-cert.pem").exists());
    // A database alone, where the first one has gone.
    other.execute("postgres", "DROP DATABASE fabric_ca").unwrap();
    desk.succeed(&["restore", "ca", "--target", "elsewhere", "database"]);
    assert_eq!(
        other.execute("fabric_ca", rows).unwrap(),
        cluster.execute("fabric_ca", rows).unwrap()
    );
}
