//! etcd into a vault and back, through the sandbox: TLS with client certificates, authentication, three members, K3s' files.

use std::path::Path;

use bulkhead_test_support::etcd::{Cluster, Release};
use bulkhead_test_support::postgres::KeyFormat;
use bulkhead_test_support::{Bulkhead, Outcome};
use serde_json::Value;

use crate::world::assert_told;

const PASSWORD: &str = "etcd password 7c1e";

/// A cluster of three that wants certificates and a password, with a vault for it.
struct Registry {
    cluster: Cluster,
    bulkhead: Bulkhead,
}

impl Registry {
    fn open(release: &Release, members: usize) -> Self {
        let mut cluster = Cluster::builder(release).members(members).tls().start().unwrap();
        for pod in 0..40 {
            let (key, value) = (format!("/registry/pods/{pod:03}"), "pod ".repeat(pod * 20));
            cluster.execute(["put", &key, &value]).unwrap();
        }
        cluster.execute(["del", "/registry/pods/003"]).unwrap();
        cluster.execute(["compact", "20"]).unwrap();
        let granted = cluster.execute(["lease", "grant", "3600"]).unwrap();
        let lease = format!("--lease={}", granted.split_whitespace().nth(1).unwrap());
        cluster.execute(["put", "/leased", "value", &lease]).unwrap();
        cluster.enable_authentication(PASSWORD).unwrap();
        let bulkhead = Bulkhead::new().unwrap();
        bulkhead.scratch().private_file("password", PASSWORD).unwrap();
        let registry = Self { cluster, bulkhead };
        registry.configure(&registry.endpoint(&registry.cluster.certificates().unwrap().1.certificate), "");
        registry.succeed(&["init", "main"]);
        registry
    }

    /// The endpoint with this client certificate and the key beside it.
    fn endpoint(&self, certificate: &Path) -> String {
        let (certificates, _) = self.cluster.certificates().unwrap();
        format!(
            "{{ addresses = {:?}, tls = {{ mode = \"verify-full\", ca = {:?}, certificate = {:?}, key = {{ file = {:?} }} }} }}",
            self.cluster.addresses(),
            certificates.authority_certificate(),
            certificate,
            certificate.with_extension("key"),
        )
    }

    fn configure(&self, endpoint: &str, more: &str) {
        let text = format!(
            "[pipeline.registry]\nplugin = \"etcd\"\nvault = \"main\"\nendpoint.server = {endpoint}\n\
             secret.password = {{ file = \"password\", reveal = true }}\n\
             config = {{ user = \"root\", distribution = \"k3s\", files = [\"server/token\"] }}\n\
             directory.files-server = {{ path = \"server\", access = \"read-only\" }}\n{more}\n"
        );
        self.bulkhead.scratch().folder("server").unwrap();
        self.bulkhead
            .scratch()
            .private_file("server/token", "K10abc::server:def\n")
            .unwrap();
        self.bulkhead.configure(&text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        self.bulkhead.run(arguments).unwrap()
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        let line = arguments.join(" ");
        assert_eq!(outcome.code, Some(0), "bulkhead {line}\n{}{}", outcome.stdout, outcome.stderr);
        outcome.stdout
    }

    /// Fails without a snapshot and without telling the password.
    fn refuses(&self, arguments: &[&str]) -> Outcome {
        let outcome = self.run(arguments);
        assert_ne!(outcome.code, Some(0));
        assert!(!format!("{}{}", outcome.stdout, outcome.stderr).contains(PASSWORD));
        let snapshots: Value = serde_json::from_str(&self.succeed(&["snapshots", "--json"])).unwrap();
        assert_eq!(snapshots["snapshots"].as_array().map(Vec::len), Some(0), "{snapshots}");
        outcome
    }

    /// As [`Self::refuses`], with the recorded message.
    fn tells(&self, name: &str, arguments: &[&str]) {
        assert_told!(name, self.refuses(arguments));
    }

    /// As [`Self::refuses`], where it depends on who is quicker how a connection ends: one of the exit codes, and the action.
    fn advises(&self, codes: &[i32], advice: &str) {
        let outcome = self.refuses(&["run", "registry"]);
        assert!(outcome.code.is_some_and(|code| codes.contains(&code)), "{:?}", outcome.code);
        assert!(outcome.stderr.contains(advice), "{}", outcome.stderr);
    }
}

/// Every key with value, revisions, version and lease.
fn keys(cluster: &Cluster) -> Value {
    let mut dump: Value = serde_json::from_str(&cluster.dump().unwrap()).unwrap();
    dump["kvs"].take()
}

#[test]
fn a_cluster_goes_into_a_vault_and_comes_back_the_same() {
    for release in Release::all().unwrap() {
        let registry = Registry::open(&release, 3);
        registry.succeed(&["check"]);
        registry.succeed(&["run", "registry"]);
        registry.succeed(&["verify", "--read-data"]);

        registry.succeed(&["restore", "registry", "--into", "files"]);
        let file = registry.bulkhead.scratch().join("files/snapshot.db");
        release.snapshot_status(&file).unwrap();
        // The restored cluster asks for the password too.
        let restored = Cluster::builder(&release).members(3).from_snapshot(&file).login("root", PASSWORD);
        let restored = restored.start().unwrap();
        assert_eq!(keys(&restored), keys(&registry.cluster), "{}", release.line);
    }
}

#[test]
fn the_keys_come_back_in_a_running_cluster_through_the_plugin() {
    let release = Release::distro().unwrap();
    let registry = Registry::open(&release, 1);
    let target = Cluster::builder(&release).members(3).start().unwrap();
    let endpoint = registry.endpoint(&registry.cluster.certificates().unwrap().1.certificate);
    let more = format!(
        "[pipeline.registry.target.elsewhere]\nendpoint.server = {{ addresses = {:?}, tls = {{ mode = \"disable\" }} }}\nconfig = {{ prefix = \"/registry/\", rename = \"/copy/\" }}\n\
         [pipeline.registry.target.file]\ndirectory.target = {{ path = \"restored\", access = \"read-write\" }}\n",
        target.addresses()
    );
    registry.configure(&endpoint, &more);
    registry.succeed(&["run", "registry"]);
    registry.succeed(&["restore", "registry", "--target", "elsewhere"]);
    let copies = target
        .execute(["get", "/copy/pods/", "--prefix", "--count-only", "--write-out", "fields"])
        .unwrap();
    assert!(copies.contains("\"Count\" : 39"), "{copies}");

    registry.bulkhead.scratch().folder("restored").unwrap();
    let told = registry.run(&["restore", "registry", "--target", "file"]);
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    assert!(
        format!("{}{}", told.stdout, told.stderr).contains("etcdutl snapshot restore"),
        "{}{}",
        told.stdout,
        told.stderr
    );
    let token = std::fs::read_to_string(registry.bulkhead.scratch().join("restored/files/server/token")).unwrap();
    assert_eq!(token, "K10abc::server:def\n");
    let runbook = std::fs::read_to_string(registry.bulkhead.scratch().join("restored/RUNBOOK.md")).unwrap();
    assert!(runbook.contains("--cluster-reset-restore-path"));
}

#[test]
fn certificates_and_passwords_that_do_not_fit_leave_no_snapshot() {
    let registry = Registry::open(&Release::distro().unwrap(), 1);
    let (certificates, client) = registry.cluster.certificates().unwrap();
    let expired = certificates.issue_expired_client("root").unwrap();
    registry.configure(&registry.endpoint(&expired.certificate), "");
    registry.advises(&[4, 5], "certificate");

    let plain = format!(
        "{{ addresses = {:?}, tls = {{ mode = \"disable\" }} }}",
        registry.cluster.addresses()
    );
    registry.configure(&plain, "");
    registry.advises(&[5], "`tls` is set where the port speaks TLS");

    registry.configure(&registry.endpoint(&client.certificate), "");
    registry.bulkhead.scratch().private_file("password", "wrong").unwrap();
    registry.tells("etcd_wrong_password", &["run", "registry"]);
    registry.tells("etcd_wrong_password_check", &["check"]);
}

/// A fact of a run's proof.
fn fact(report: &Value, name: &str) -> String {
    let facts = report["runs"][0]["proof"]["facts"].as_array().unwrap();
    let fact = facts.iter().find(|fact| fact["name"] == name);
    fact.unwrap_or_else(|| panic!("no {name} in {report}"))["value"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_follower_is_read_from_and_another_one_where_it_is_gone() {
    let registry = Registry::open(&Release::debian().unwrap(), 3);
    let run = || -> Value { serde_json::from_str(&registry.succeed(&["run", "registry", "--json"])).unwrap() };
    let report = run();
    assert_eq!(fact(&report, "member-role"), "follower", "{report}");
    let first = fact(&report, "member");
    assert!(registry.cluster.addresses().contains(&fact(&report, "hash-kv-witness")), "{report}");
    assert_ne!(fact(&report, "hash-kv-witness"), first);
    let number = registry.cluster.addresses().iter().position(|address| *address == first).unwrap();
    registry.cluster.kill_member(number).unwrap();
    registry.cluster.wait_until_healthy().unwrap();
    let report = run();
    assert_ne!(fact(&report, "member"), first);
    assert_eq!(fact(&report, "member-role"), "follower", "{report}");
    assert_eq!(report["runs"][0]["findings"][0]["code"], "member-unreached", "{report}");
}

#[test]
fn keys_are_read_as_k3s_and_kubeadm_write_them() {
    let registry = Registry::open(&Release::distro().unwrap(), 1);
    let (certificates, _) = registry.cluster.certificates().unwrap();
    for (format, head) in [
        (KeyFormat::EllipticCurve, "-----BEGIN EC PRIVATE KEY-----"),
        (KeyFormat::Rsa, "-----BEGIN RSA PRIVATE KEY-----"),
    ] {
        let client = certificates.issue_traditional_client("root", format).unwrap();
        assert!(std::fs::read_to_string(&client.key).unwrap().starts_with(head));
        registry.configure(&registry.endpoint(&client.certificate), "");
        registry.succeed(&["run", "registry"]);
    }
}
