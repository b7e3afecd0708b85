//! Fault × moment × sink: whatever happens to a store, when and for how long, no committed snapshot is lost and no success is false.

use std::sync::atomic::{AtomicUsize, Ordering};

use bulkhead_test_support::gdrive::{self, Drive};
use bulkhead_test_support::s3::{self, Proxy, Server};
use bulkhead_test_support::{Bulkhead, Tree};

/// A store, and what can happen to requests on their way to it.
trait Store {
    /// What can happen, by name.
    fn faults(&self) -> Vec<&'static str>;
    /// It happens to the request with that number, counted from 0 from now on, and to all later ones where it lasts.
    fn fail(&self, fault: &str, first: usize, lasts: bool);
    /// Nothing happens any more.
    fn behave(&self);
    /// Requests since this was asked last.
    fn requests(&self) -> usize;
}

/// Whether it happens to this request, of which each is asked once.
fn happens(first: usize, lasts: bool) -> impl Fn() -> bool + Send + Sync + 'static {
    let seen = AtomicUsize::new(0);
    move || {
        let number = seen.fetch_add(1, Ordering::SeqCst);
        number == first || (lasts && number > first)
    }
}

struct Bucket {
    proxy: Proxy,
    told: AtomicUsize,
    _server: Server,
}

impl Store for Bucket {
    fn faults(&self) -> Vec<&'static str> {
        vec![
            "500",
            "SlowDown",
            "ExpiredToken",
            "AccessDenied",
            "NoSuchBucket",
            "QuotaExceeded",
            "the request breaks off",
            "the answer breaks off",
            "no answer",
            "a flipped bit in the request",
            "a flipped bit in the answer",
        ]
    }

    fn fail(&self, fault: &str, first: usize, lasts: bool) {
        let told = |status: u16, code: &str| {
            let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>As told by the server.</Message></Error>");
            s3::Fault::Answer(status, Vec::new(), body)
        };
        let fault = match fault {
            "500" => s3::Fault::Answer(500, Vec::new(), String::new()),
            "SlowDown" => told(503, fault),
            "ExpiredToken" => told(400, fault),
            "AccessDenied" => told(403, fault),
            "NoSuchBucket" => told(404, fault),
            "QuotaExceeded" => told(507, fault),
            "the request breaks off" => s3::Fault::CutRequest(10),
            "the answer breaks off" => s3::Fault::CutAnswer(30),
            "no answer" => s3::Fault::CutAnswer(0),
            "a flipped bit in the request" => s3::Fault::FlipRequest(10),
            _ => s3::Fault::FlipAnswer(3),
        };
        let happens = happens(first, lasts);
        self.proxy.inject(move |_| happens().then(|| fault.clone()));
    }

    fn behave(&self) {
        self.proxy.inject(|_| None);
    }

    fn requests(&self) -> usize {
        let all = self.proxy.requests().len();
        all - self.told.swap(all, Ordering::SeqCst)
    }
}

struct Folder(Drive);

impl Store for Folder {
    fn faults(&self) -> Vec<&'static str> {
        vec![
            "backendError",
            "userRateLimitExceeded",
            "insufficientFilePermissions",
            "storageQuotaExceeded",
            "notFound",
            "the request breaks off",
            "the answer breaks off",
            "no answer",
            "a flipped bit in the request",
            "a flipped bit in the answer",
        ]
    }

    fn fail(&self, fault: &str, first: usize, lasts: bool) {
        let fault = match fault {
            "backendError" => gdrive::Fault::refusal(500, fault),
            "notFound" => gdrive::Fault::refusal(404, fault),
            "the request breaks off" => gdrive::Fault::CutRequest(10),
            "the answer breaks off" => gdrive::Fault::CutAnswer(10),
            "no answer" => gdrive::Fault::Silence,
            "a flipped bit in the request" => gdrive::Fault::FlipRequest(10),
            "a flipped bit in the answer" => gdrive::Fault::FlipAnswer(3),
            _ => gdrive::Fault::refusal(403, fault),
        };
        let happens = happens(first, lasts);
        self.0.inject(move |_, _| happens().then(|| fault.clone()));
    }

    fn behave(&self) {
        self.0.behave();
    }

    fn requests(&self) -> usize {
        self.0.requests().len()
    }
}

/// An installation whose vault is in a store.
struct Desk<S> {
    store: S,
    bulkhead: Bulkhead,
    seed: AtomicUsize,
}

impl<S: Store> Desk<S> {
    fn new(store: S, bulkhead: Bulkhead, sink: &str) -> Self {
        bulkhead.scratch().folder("home").unwrap();
        let text = format!(
            "version = 1\n\n[vault.main]\nkey = {{ file = \"vault-password\" }}\nsinks = [\"away\"]\n\n[sink.away]\n{sink}\n\n\
             [pipeline.home]\nplugin = \"files\"\nvault = \"main\"\ndirectory.home = {{ path = \"home\", access = \"read-only\" }}\n"
        );
        bulkhead.write_configuration(&text).unwrap();
        Self {
            store,
            bulkhead,
            seed: AtomicUsize::new(1),
        }
    }

    #[track_caller]
    fn succeed(&self, arguments: &[&str]) -> String {
        let outcome = self.bulkhead.run(arguments).unwrap();
        assert_eq!(outcome.code, Some(0), "{arguments:?}\n{}{}", outcome.stdout, outcome.stderr);
        outcome.stdout
    }

    /// New content: something to store in each run.
    fn change(&self) {
        let seed = self.seed.fetch_add(1, Ordering::SeqCst);
        let content = format!("content {seed}\n").repeat(2000 + seed);
        std::fs::write(self.bulkhead.scratch().join("home/file"), content).unwrap();
    }

    fn snapshots(&self) -> usize {
        let list: serde_json::Value = serde_json::from_str(&self.succeed(&["snapshots", "--json"])).unwrap();
        list["snapshots"].as_array().unwrap().len()
    }

    /// A run to which this happens.
    fn assert_survives(&self, fault: &str, first: usize, lasts: bool) {
        let case = format!("{fault} at request {first}, {}", if lasts { "from then on" } else { "once" });
        let before = self.snapshots();
        self.change();
        self.store.fail(fault, first, lasts);
        let outcome = self.bulkhead.run(["run", "home", "--json"]).unwrap();
        self.store.behave();
        let told = format!("{case}\n{}{}", outcome.stdout, outcome.stderr);
        let report: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {told}"));
        let run = &report["runs"][0];
        let after = self.snapshots();
        match outcome.code {
            Some(0) => assert_eq!(after, before + 1, "a false success: {told}"),
            Some(code) => {
                assert!((3..=14).contains(&code), "not a typed failure: {told}");
                let unsure = usize::from(run["commit-unknown"] == true);
                assert!((before..=before + unsure).contains(&after), "not as told: {told}");
            }
            None => panic!("killed: {told}"),
        }
        // Whatever is there is whole.
        self.succeed(&["verify", "--read-data"]);
    }

    fn assert_survives_everything(&self) {
        self.succeed(&["init"]);
        self.change();
        self.succeed(&["run", "home"]);
        self.store.requests();
        self.change();
        self.succeed(&["run", "home"]);
        let requests = self.store.requests();
        for fault in self.store.faults() {
            for first in [0, requests / 2, requests - 3] {
                self.assert_survives(fault, first, true);
            }
            self.assert_survives(fault, requests * 2 / 3, false);
        }
        self.change();
        self.succeed(&["run", "home"]);
        self.succeed(&["restore", "home", "--into", "restored"]);
        let [home, restored] = ["home", "restored/home"].map(|folder| Tree::of(&self.bulkhead.scratch().join(folder)).unwrap());
        assert_eq!(home, restored);
    }
}

#[test]
fn a_bucket_may_fail_in_any_way_at_any_moment() {
    let (server, bulkhead) = (Server::start().unwrap(), Bulkhead::new().unwrap());
    let proxy = Proxy::start(server.port()).unwrap();
    bulkhead.scratch().private_file("access-key", server.access_key()).unwrap();
    bulkhead.scratch().private_file("secret-key", server.secret_key()).unwrap();
    let sink = format!(
        "plugin = \"s3\"\nconfig = {{ bucket = \"vaults\", attempts = 2 }}\n\
         endpoint.storage = {{ url = \"{}\", auth = {{ aws = {{ region = \"us-east-1\", access-key-id = {{ file = \"access-key\" }}, \
         secret-access-key = {{ file = \"secret-key\" }} }} }} }}",
        proxy.url()
    );
    let bucket = Bucket {
        proxy,
        told: AtomicUsize::new(0),
        _server: server,
    };
    Desk::new(bucket, bulkhead, &sink).assert_survives_everything();
}

#[test]
fn a_drive_may_fail_in_any_way_at_any_moment() {
    let (drive, bulkhead) = (Drive::new(), Bulkhead::new().unwrap());
    let folder = drive.state().add_folder("root", "vault");
    let served = drive.serve().unwrap();
    let user = drive.add_user().unwrap();
    let consent = serde_json::json!({
        "type": "authorized_user",
        "client_id": user.client_id,
        "client_secret": user.client_secret,
        "refresh_token": user.refresh_token,
        "token_uri": served.token_url(),
    });
    bulkhead.scratch().private_file("consent.json", consent.to_string()).unwrap();
    let sink = format!(
        "plugin = \"gdrive\"\nconfig = {{ folder = \"{folder}\", attempts = 2 }}\n\
         endpoint.drive = {{ url = \"{}\", tls = {{ ca = \"{}\" }}, auth = {{ refresh-token = {{ file = \"consent.json\" }} }} }}",
        served.url(),
        served.authority().display()
    );
    Desk::new(Folder(drive), bulkhead, &sink).assert_survives_everything();
}
