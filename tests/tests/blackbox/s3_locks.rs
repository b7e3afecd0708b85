//! Objects that nobody can remove for a time, on a server of S3 that holds on to them.

use bulkhead_test_support::s3::{LockingServer, Proxy};
use bulkhead_test_support::{Bulkhead, Outcome};

/// A server, and an installation whose vault is in its bucket.
struct Desk {
    server: LockingServer,
    bulkhead: Bulkhead,
}

impl Desk {
    fn open() -> Self {
        let desk = Self {
            server: LockingServer::start().unwrap(),
            bulkhead: Bulkhead::new().unwrap(),
        };
        let scratch = desk.bulkhead.scratch();
        scratch.private_file("key", "anybody").unwrap();
        scratch.folder("home").unwrap();
        desk.write("first");
        desk
    }

    fn write(&self, content: &str) {
        std::fs::write(self.bulkhead.scratch().join("home/file"), content).unwrap();
    }

    /// With this in the sink's table.
    fn configure(&self, sink: &str) {
        self.configure_at(&self.server.url(), sink, "");
    }

    /// The same, at this address of the server and with more of `auth.aws`.
    fn configure_at(&self, url: &str, sink: &str, auth: &str) {
        let text = format!(
            "version = 1\n\n[vault.main]\nkey = {{ file = \"vault-password\" }}\nsinks = [\"bucket\"]\n\n\
             [sink.bucket]\nplugin = \"s3\"\n{sink}\n\
             endpoint.storage = {{ url = \"{url}\", auth = {{ aws = {{ region = \"us-east-1\", access-key-id = {{ file = \"key\" }}, \
             secret-access-key = {{ file = \"key\" }}{auth} }} }} }}\n\n\
             [pipeline.home]\nplugin = \"files\"\nvault = \"main\"\ndirectory.home = {{ path = \"home\", access = \"read-only\" }}\n"
        );
        self.bulkhead.write_configuration(&text).unwrap();
    }

    fn lock_for(&self, length: &str) {
        self.configure(&format!(
            "lock = \"{length}\"\nconfig = {{ bucket = \"locking\", prefix = \"vault\" }}"
        ));
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        self.bulkhead.run(arguments).unwrap()
    }

    #[track_caller]
    fn succeed(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, Some(0), "{arguments:?}\n{}{}", outcome.stdout, outcome.stderr);
        outcome.stdout
    }

    /// Objects of the vault and for how many seconds each is still locked; none of them is a lock of a run's.
    fn locks(&self) -> Vec<(String, i64)> {
        let keys = self.server.keys().unwrap();
        let locked_for = |key: &String| {
            let until: Option<jiff::Timestamp> = self.server.locked_until(key).unwrap().map(|until| until.parse().unwrap());
            until.map_or(0, |until| until.as_second() - jiff::Timestamp::now().as_second())
        };
        keys.into_iter().map(|key| (key.clone(), locked_for(&key))).collect()
    }

    #[track_caller]
    fn assert_all_locked(&self, seconds: i64) {
        let locks = self.locks();
        assert!(locks.len() > 4, "{locks:?}");
        let all = locks.iter().all(|(_, left)| (seconds..=seconds * 12 / 10).contains(left));
        assert!(all, "not all for {seconds} s: {locks:?}");
    }
}

const LENGTH: i64 = 100 * 86_400;

fn snapshot_time(report: &serde_json::Value, id: &str) -> String {
    let snapshots = report["snapshots"].as_array().unwrap();
    let snapshot = snapshots.iter().find(|snapshot| snapshot["id"] == id).unwrap();
    snapshot["time"].as_str().unwrap().to_owned()
}

#[test]
fn what_snapshots_need_is_locked_and_locked_for_longer_as_time_goes_on() {
    let desk = Desk::open();
    desk.lock_for("100 d");
    desk.succeed(&["init"]);
    desk.succeed(&["run", "home"]);
    desk.assert_all_locked(LENGTH);

    // Not due: nobody is asked to lock anything.
    desk.write("second");
    let report: serde_json::Value = serde_json::from_str(&desk.succeed(&["run", "home", "--json"])).unwrap();
    let lock = &report["runs"][0]["locks"][0];
    assert_eq!(
        (lock["sink"].as_str(), lock["objects"].as_u64()),
        (Some("bucket"), Some(0)),
        "{report}"
    );

    // As if that time had passed: all that is there is locked for longer, what earlier runs stored too.
    desk.lock_for("200 d");
    let told = desk.succeed(&["run", "home"]);
    assert!(told.contains("locked until"), "{told}");
    desk.assert_all_locked(2 * LENGTH);

    // A lock never becomes shorter, and what is new has the one that it should.
    desk.lock_for("100 d");
    desk.succeed(&["run", "home"]);
    let locks = desk.locks();
    assert!(locks.iter().all(|(_, left)| *left >= LENGTH), "{locks:?}");
    assert!(locks.iter().filter(|(_, left)| *left >= 2 * LENGTH - 3600).count() > 8, "{locks:?}");
    desk.succeed(&["check"]);
}

#[test]
fn what_was_removed_behind_our_back_is_told_as_long_as_it_is_locked() {
    let desk = Desk::open();
    desk.lock_for("100 d");
    desk.succeed(&["init"]);
    desk.succeed(&["run", "home"]);
    let pack = desk.server.keys().unwrap().into_iter().find(|key| key.contains("/data/")).unwrap();
    let removed = desk.server.exchange("DELETE", &format!("/locking/{pack}"), &[], b"").unwrap();
    assert_eq!(removed.status, 204);
    // Nothing is due: nobody looks.
    desk.succeed(&["extend-locks"]);
    desk.lock_for("200 d");
    let told = desk.run(&["extend-locks"]);
    assert_eq!(told.code, Some(14), "{}{}", told.stdout, told.stderr);
    assert!(
        told.stderr.contains("a pack that snapshots need is not on the sink any more") && told.stderr.contains("delete markers"),
        "{}",
        told.stderr
    );
    // The mark taken away, it is as it was.
    let versions = desk
        .server
        .exchange("GET", &format!("/locking?versions&prefix={pack}"), &[], b"")
        .unwrap();
    let text = String::from_utf8(versions.body).unwrap();
    let mark = text
        .split("<DeleteMarker>")
        .nth(1)
        .unwrap()
        .split("<VersionId>")
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap()
        .to_owned();
    desk.server
        .exchange("DELETE", &format!("/locking/{pack}?versionId={mark}"), &[], b"")
        .unwrap();
    let told = desk.succeed(&["extend-locks"]);
    assert!(told.contains("locked until"), "{told}");
    desk.assert_all_locked(2 * LENGTH);
    desk.succeed(&["verify", "--read-data"]);
}

#[test]
fn what_is_locked_can_be_forgotten_and_stays_behind_its_mark() {
    let desk = Desk::open();
    desk.lock_for("100 d");
    desk.succeed(&["init"]);
    desk.succeed(&["run", "home"]);
    desk.write("second");
    desk.succeed(&["run", "home"]);
    let report: serde_json::Value = serde_json::from_str(&desk.succeed(&["snapshots", "home", "--json"])).unwrap();
    let ids = report["snapshots"]
        .as_array()
        .unwrap()
        .iter()
        .map(|snapshot| snapshot["id"].as_str().unwrap());
    let (oldest, key) = ids
        .map(|id| (id.to_owned(), format!("vault/snapshots/{id}")))
        .min_by_key(|(id, _)| snapshot_time(&report, id))
        .unwrap();
    assert_eq!(desk.server.versions(&key).unwrap(), (1, false));
    desk.succeed(&["forget", "home", "--snapshot", &oldest, "--yes"]);
    assert_eq!(desk.server.versions(&key).unwrap(), (1, true));
    assert!(!desk.server.keys().unwrap().contains(&key));
    desk.succeed(&["restore", "home", "--into", "restored"]);
    assert_eq!(
        std::fs::read(desk.bulkhead.scratch().join("restored/home/file")).unwrap(),
        b"second"
    );
}

#[test]
fn a_lock_that_cannot_be_is_no_success() {
    let desk = Desk::open();
    // A sink that has none.
    desk.configure("lock = \"100 d\"\nconfig = { bucket = \"plain\" }");
    let refused = desk.run(&["init"]);
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("does not lock objects"), "{}", refused.stderr);

    let local = Bulkhead::new().unwrap();
    let text = local
        .vault_section()
        .replace("plugin = \"local\"", "plugin = \"local\"\nlock = \"100 d\"");
    local.scratch().folder("home").unwrap();
    let pipeline = "[pipeline.home]\nplugin = \"files\"\nvault = \"main\"\ndirectory.home = { path = \"home\", access = \"read-only\" }\n";
    local.write_configuration(&format!("{text}\n{pipeline}")).unwrap();
    let refused = local.run(["init"]).unwrap();
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("cannot lock objects"), "{}", refused.stderr);
    let checked = local.run(["check"]).unwrap();
    assert!(
        checked.stderr.contains("cannot lock objects"),
        "{}{}",
        checked.stdout,
        checked.stderr
    );
}

#[test]
fn what_a_key_of_ones_own_encrypts_is_locked_too() {
    let desk = Desk::open();
    let proxy = Proxy::start(desk.server.port()).unwrap();
    let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    desk.bulkhead.scratch().private_file("customer", key).unwrap();
    desk.configure_at(
        &proxy.url(),
        "lock = \"100 d\"\nconfig = { bucket = \"locking\", prefix = \"vault\", encryption = \"customer-key\" }",
        ", customer-key = { file = \"customer\" }",
    );
    desk.succeed(&["init"]);
    desk.succeed(&["run", "home"]);
    desk.assert_all_locked(LENGTH);
    desk.succeed(&["extend-locks"]);
    let heads = proxy.heads();
    // The server of S3 tells who has not the key nothing of an object, until when it is locked least of all.
    let asked: Vec<&String> = heads.iter().filter(|head| head.starts_with("HEAD ")).collect();
    assert!(asked.len() > 2 && asked.iter().all(|head| head.contains(key)), "{asked:?}");
}
