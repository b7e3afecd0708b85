//! A vault in a bucket: a real server of S3, plain restic on the same bucket, and requests that fail on their way.

use std::path::{Path, PathBuf};

use bulkhead_test_support::restic::Restic;
use bulkhead_test_support::s3::{Fault, Proxy, Server};
use bulkhead_test_support::{Bulkhead, Outcome, Tree, sha256_of_file};

use crate::world::assert_told;

/// Who signs.
const KEYS: &str = "access-key-id = { file = \"access-key\" }, secret-access-key = { file = \"secret-key\" }";

/// A server, a proxy in front of it, and an installation whose vault is in the server's bucket, with some files to back up.
struct Desk {
    server: Server,
    proxy: Proxy,
    bulkhead: Bulkhead,
}

impl Desk {
    /// With `config` beside the bucket, and a file of so many MiB.
    fn with(config: &str, mebibytes: usize) -> Self {
        let server = Server::start().unwrap();
        let desk = Self {
            proxy: Proxy::start(server.port()).unwrap(),
            bulkhead: Bulkhead::new().unwrap(),
            server,
        };
        let scratch = desk.bulkhead.scratch();
        scratch.private_file("access-key", desk.server.access_key()).unwrap();
        scratch.private_file("secret-key", desk.server.secret_key()).unwrap();
        let home = scratch.folder("home").unwrap();
        for number in 0..30_usize {
            std::fs::write(
                home.join(format!("file-{number}")),
                format!("content {number} ").repeat(number * 200),
            )
            .unwrap();
        }
        // xorshift: nothing that compresses.
        let mut state = 1_u64;
        let large: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .take(mebibytes << 17)
        .flatten()
        .collect();
        std::fs::write(home.join("large"), large).unwrap();
        desk.configure(&desk.proxy.url(), &format!("bucket = \"vaults\"{config}"));
        desk
    }

    fn open() -> Self {
        Self::with("", 2)
    }

    /// An initialized vault with one snapshot.
    fn with_a_snapshot() -> Self {
        let desk = Self::open();
        desk.succeed(&["init"]);
        desk.succeed(&["run", "home"]);
        desk
    }

    fn configure(&self, url: &str, config: &str) {
        self.configure_auth(url, config, KEYS);
    }

    fn configure_auth(&self, url: &str, config: &str, keys: &str) {
        let text = format!(
            "version = 1\n\n[vault.main]\nkey = {{ file = \"vault-password\" }}\nsinks = [\"bucket\"]\n\n\
             [sink.bucket]\nplugin = \"s3\"\nconfig = {{ {config} }}\n\
             endpoint.storage = {{ url = \"{url}\", auth = {{ aws = {{ region = \"us-east-1\", {keys} }} }} }}\n\n\
             [pipeline.home]\nplugin = \"files\"\nvault = \"main\"\ndirectory.home = {{ path = \"home\", access = \"read-only\" }}\n"
        );
        self.bulkhead.write_configuration(&text).unwrap();
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

    fn path(&self, path: &str) -> PathBuf {
        self.bulkhead.scratch().join(path)
    }

    /// Plain restic over S3. Its `check` is for [`Self::restic_on_disk`]: it lists with an empty delimiter, which this server takes for one.
    fn restic(&self, prefix: &str) -> Restic {
        Restic::on_s3(&self.server, prefix, self.bulkhead.vault_password_file()).unwrap()
    }

    /// Plain restic on the files that the objects are.
    fn restic_on_disk(&self, prefix: &str) -> Restic {
        Restic::new(self.server.bucket().join(prefix), self.bulkhead.vault_password_file()).unwrap()
    }

    /// By ourselves and by plain restic, everything comes back.
    #[track_caller]
    fn assert_restores(&self, prefix: &str) {
        let before = Tree::of(&self.path("home")).unwrap();
        for folder in ["ours", "theirs"] {
            let _ = std::fs::remove_dir_all(self.path(folder));
        }
        self.succeed(&["restore", "home", "--into", "ours"]);
        assert_eq!(Tree::of(&self.path("ours/home")).unwrap(), before);
        self.restic_on_disk(prefix).check().unwrap();
        self.restic(prefix).restore("latest", &self.path("theirs")).unwrap();
        assert_eq!(Tree::of(&self.path("theirs/home")).unwrap(), before);
    }

    fn puts_of_packs(&self) -> usize {
        self.proxy
            .requests()
            .iter()
            .filter(|line| line.starts_with("PUT ") && line.contains("/data/"))
            .count()
    }
}

/// Files below a folder, without restic's locks.
fn objects(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| if entry.path().is_dir() { objects(&entry.path()) } else { 1 })
        .sum()
}

#[test]
fn a_vault_in_a_bucket_restores_by_us_and_by_restic() {
    let desk = Desk::with(", prefix = \"backups/one\", storage-class = \"STANDARD\"", 24);
    assert_eq!(desk.run(&["check"]).code, Some(14), "there is no vault yet");
    assert_eq!(objects(&desk.server.bucket()), 0, "a check leaves nothing behind");
    desk.succeed(&["init"]);
    desk.succeed(&["check"]);
    desk.succeed(&["run", "home"]);
    desk.succeed(&["verify", "--read-data"]);
    desk.assert_restores("backups/one");
    // What restic adds, we read.
    let restic = desk.restic("backups/one");
    restic.run(["backup", &desk.path("home").display().to_string()]).unwrap();
    desk.succeed(&["verify", "--all-snapshots", "--read-data"]);
    // The same content again costs no pack.
    let packs = desk.puts_of_packs();
    desk.succeed(&["run", "home"]);
    // What the run says about itself, and the folders above it.
    let stored = desk.puts_of_packs() - packs;
    assert!(stored <= 2, "{stored} packs for what is there already");

    std::fs::write(desk.path("home/large"), "small").unwrap();
    desk.succeed(&["run", "home", "--accept-small"]);
    let listed: serde_json::Value = serde_json::from_str(&desk.succeed(&["snapshots", "home", "--json"])).unwrap();
    let snapshots = listed["snapshots"].as_array().unwrap();
    assert_eq!(snapshots.len(), 3);
    for snapshot in &snapshots[..2] {
        // The first of them is the last one that was verified, of which nobody is asked to be careful here.
        let id = snapshot["id"].as_str().unwrap();
        desk.succeed(&["forget", "home", "--snapshot", id, "--verified", "--yes"]);
    }
    desk.succeed(&["prune", "--yes", "--grace", "0s"]);
    desk.assert_restores("backups/one");
}

#[test]
fn a_bucket_can_be_named_by_the_url_and_keys_by_a_profile() {
    let desk = Desk::open();
    let profile = format!(
        "[other]\naws_access_key_id = x\n[backup]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        desk.server.access_key(),
        desk.server.secret_key()
    );
    desk.bulkhead.scratch().private_file("credentials", profile).unwrap();
    let url = format!("{}/vaults", desk.server.url());
    desk.configure_auth(&url, "", "profile = \"backup\", credentials-file = \"credentials\"");
    desk.succeed(&["init"]);
    desk.succeed(&["run", "home"]);
    desk.assert_restores("");
}

#[test]
fn what_passes_by_itself_is_tried_again() {
    let slow = "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
    for (what, fault) in [
        ("PUT ", Fault::Answer(503, vec!["retry-after: 1".to_owned()], slow.to_owned())),
        ("/data/", Fault::Answer(500, Vec::new(), String::new())),
        ("/data/", Fault::CutRequest(100_000)),
        ("/data/", Fault::CutAnswer(10)),
        // Carried out, but nobody heard of it: with `If-None-Match` the next attempt finds the object there.
        ("/snapshots/", Fault::CutAnswer(0)),
        ("/data/", Fault::FlipRequest(1000)),
    ] {
        let desk = Desk::open();
        desk.succeed(&["init"]);
        desk.proxy.inject_times(what, 2, fault.clone());
        let outcome = desk.run(&["run", "home"]);
        assert_eq!(outcome.code, Some(0), "{fault:?}\n{}", outcome.stderr);
        desk.proxy.inject(|_| None);
        desk.assert_restores("");
    }
}

#[test]
fn reading_goes_on_where_it_broke_off() {
    let desk = Desk::with_a_snapshot();
    desk.proxy.inject_times("GET /vaults/data/", 3, Fault::CutAnswer(300_000));
    desk.assert_restores("");
    // What is damaged on its way, and stays so, is found.
    desk.proxy
        .inject(|line| line.starts_with("GET /vaults/data/").then_some(Fault::FlipAnswer(5000)));
    assert_ne!(desk.run(&["verify", "--read-data"]).code, Some(0));
    assert_ne!(desk.run(&["restore", "home", "--into", "damaged"]).code, Some(0));
}

#[test]
fn a_server_that_stays_down_fails_the_run_and_loses_nothing() {
    let desk = Desk::with_a_snapshot();
    desk.configure(&desk.proxy.url(), "bucket = \"vaults\", attempts = 2");
    let before = std::fs::read(desk.path("home/large")).unwrap();
    let modified = std::fs::metadata(desk.path("home/large")).unwrap().modified().unwrap();
    let mut changed = before.clone();
    changed.reverse();
    std::fs::write(desk.path("home/large"), &changed).unwrap();
    for what in ["PUT /vaults/data/", "PUT /vaults/index/", "PUT /vaults/snapshots/"] {
        desk.proxy
            .inject(move |line| line.starts_with(what).then(|| Fault::Answer(503, Vec::new(), String::new())));
        assert_ne!(desk.run(&["run", "home"]).code, Some(0), "{what}");
        assert_eq!(objects(&desk.server.bucket().join("snapshots")), 1, "{what}");
    }
    desk.proxy.inject(|_| None);
    std::fs::write(desk.path("home/large"), &before).unwrap();
    let large = std::fs::File::options().write(true).open(desk.path("home/large")).unwrap();
    large.set_modified(modified).unwrap();
    desk.assert_restores("");
    assert_eq!(
        sha256_of_file(&desk.path("ours/home/large")).unwrap(),
        sha256_of_file(&desk.path("home/large")).unwrap()
    );
}

#[test]
fn what_goes_wrong_is_told_with_what_to_do() {
    let desk = Desk::with_a_snapshot();
    let error = |code: &str, more: &str| {
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>As told by the server.</Message>{more}</Error>")
    };
    let injected = |name: &str, status: u16, body: String| {
        desk.proxy.inject(move |_| Some(Fault::Answer(status, Vec::new(), body.clone())));
        let outcome = desk.run(&["snapshots"]);
        assert_ne!(outcome.code, Some(0));
        assert_told!(name, outcome);
    };
    let times = "<RequestTime>20261122T040000Z</RequestTime><ServerTime>2026-11-22T05:00:00Z</ServerTime>";
    injected("s3_clock_skew", 403, error("RequestTimeTooSkewed", times));
    injected(
        "s3_wrong_region",
        400,
        error("AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"),
    );
    injected("s3_access_denied", 403, error("AccessDenied", ""));
    injected("s3_expired_token", 400, error("ExpiredToken", ""));
    injected("s3_archived", 403, error("InvalidObjectState", ""));
    desk.proxy.inject(|_| None);

    desk.bulkhead.scratch().private_file("secret-key", "wrong").unwrap();
    assert_told!("s3_wrong_secret_key", desk.run(&["check"]));
    desk.bulkhead
        .scratch()
        .private_file("secret-key", desk.server.secret_key())
        .unwrap();
    desk.configure(&desk.proxy.url(), "bucket = \"nowhere\"");
    assert_told!("s3_no_such_bucket", desk.run(&["check"]));
    desk.configure(&desk.proxy.url(), "bucket = \"vaults\", attempts = 1");
    desk.proxy
        .inject_times("PUT ", 1000, Fault::Answer(507, Vec::new(), error("QuotaExceeded", "")));
    std::fs::write(desk.path("home/new"), "new").unwrap();
    let outcome = desk.run(&["run", "home"]);
    assert!(
        outcome.stderr.contains("no room left") && outcome.stderr.contains("raise the quota"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn nobody_sees_a_key() {
    let desk = Desk::with_a_snapshot();
    let mut told = String::new();
    for arguments in [
        &["check", "-vv"][..],
        &["plan"],
        &["plan", "--json"],
        &["run", "home", "-vv", "--json"],
        &["snapshots", "--json"],
    ] {
        let outcome = desk.run(arguments);
        told += &format!("{}{}", outcome.stdout, outcome.stderr);
    }
    assert!(!told.contains(desk.server.secret_key()), "the secret key was told");
}

#[test]
fn a_server_that_stores_over_what_is_there_is_found_out() {
    let desk = Desk::open();
    desk.proxy
        .inject_times("PUT /vaults/bulkhead-check", 2, Fault::Answer(200, Vec::new(), String::new()));
    let outcome = desk.run(&["check"]);
    assert!(
        outcome.stdout.contains("conditional-put = false") || outcome.stderr.contains("conditional-put = false"),
        "{}{}",
        outcome.stdout,
        outcome.stderr
    );
    desk.configure(&desk.proxy.url(), "bucket = \"vaults\", conditional-put = false");
    desk.succeed(&["init"]);
    desk.succeed(&["run", "home"]);
    desk.assert_restores("");
    assert_ne!(desk.run(&["init"]).code, Some(0), "a vault is not made twice");
}

#[test]
fn credentials_that_only_append_do() {
    let desk = Desk::open();
    desk.proxy.inject(|line| {
        let denied = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
        line.starts_with("DELETE ")
            .then(|| Fault::Answer(403, Vec::new(), denied.to_owned()))
    });
    let outcome = desk.run(&["check"]);
    assert!(
        outcome.stderr.contains("cannot remove anything"),
        "{}{}",
        outcome.stdout,
        outcome.stderr
    );
    desk.succeed(&["init"]);
    desk.succeed(&["run", "home"]);
    // What is recorded of it is a new object, too.
    desk.succeed(&["verify", "--read-data"]);
    let listed: serde_json::Value = serde_json::from_str(&desk.succeed(&["snapshots", "--json"])).unwrap();
    assert!(listed["snapshots"][0]["verified"].is_array(), "{listed}");
    desk.proxy.inject(|_| None);
    desk.succeed(&["unlock"]);
    desk.assert_restores("");
}

#[test]
fn one_who_only_appends_and_another_who_prunes_go_together() {
    let desk = Desk::open();
    desk.succeed(&["init"]);
    desk.proxy.inject(|line| {
        let denied = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
        line.starts_with("DELETE ")
            .then(|| Fault::Answer(403, Vec::new(), denied.to_owned()))
    });
    let locks = || std::fs::read_dir(desk.server.bucket().join("locks")).map_or(0, Iterator::count);
    let writer = |arguments: &[&str]| {
        desk.configure(&desk.proxy.url(), "bucket = \"vaults\"");
        let outcome = desk.run(arguments);
        assert_eq!(outcome.code, Some(0), "{arguments:?}: {}{}", outcome.stdout, outcome.stderr);
        assert!(!outcome.stderr.contains("lock could not be"), "{}", outcome.stderr);
    };
    // With the rights that the writer lacks, on another host: it cannot see that the writer's processes are gone.
    let keeper = |arguments: &[&str]| -> Outcome {
        desk.configure(&desk.server.url(), "bucket = \"vaults\"");
        let output = desk.bulkhead.command_on_host("elsewhere", arguments).output().unwrap();
        output.into()
    };
    let prune = ["prune", "--yes", "--grace", "0s", "--max-unused", "0", "--max-repack", "unlimited"];
    for number in 0..3 {
        std::fs::write(desk.path("home/large"), format!("{number}").repeat(1 << 20)).unwrap();
        writer(&["run", "home"]);
        assert!(locks() >= 2, "nobody has removed its lock");
        let hold = ["hold", "add", "home", "--name", "Jane Doe", "--reason", "audit"];
        for arguments in [
            &hold[..],
            &["hold", "release", "home", "--name", "Jane Doe", "--reason", "done"],
            &prune,
        ] {
            let outcome = keeper(arguments);
            assert_eq!(outcome.code, Some(0), "{arguments:?}: {}{}", outcome.stdout, outcome.stderr);
        }
        assert_eq!(locks(), 0, "what nobody holds is removed by who may");
    }
    let snapshots = serde_json::from_str::<serde_json::Value>(&keeper(&["snapshots", "--json"]).stdout).unwrap();
    let oldest = snapshots["snapshots"][0]["id"].as_str().unwrap().to_owned();
    for arguments in [&["forget", "home", "--snapshot", &oldest, "--yes"][..], &prune] {
        let outcome = keeper(arguments);
        assert_eq!(outcome.code, Some(0), "{arguments:?}: {}{}", outcome.stdout, outcome.stderr);
    }
    desk.assert_restores("");
}

/// What the headers of a request say; the name in lower case.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

#[test]
fn a_key_of_ones_own_goes_with_every_object_and_nowhere_else() {
    const CUSTOMER: &str = "x-amz-server-side-encryption-customer";
    let desk = Desk::open();
    let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    desk.bulkhead.scratch().private_file("customer", format!("{key}\n")).unwrap();
    let settings = "bucket = \"vaults\", encryption = \"customer-key\"";
    desk.configure_auth(&desk.proxy.url(), settings, KEYS);
    let refused = desk.run(&["init"]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("customer-key"), "{}", refused.stderr);
    assert!(
        !desk.proxy.heads().iter().any(|head| head.starts_with("PUT ")),
        "nothing goes without it"
    );

    desk.configure_auth(
        &desk.proxy.url(),
        settings,
        &format!("{KEYS}, customer-key = {{ file = \"customer\" }}"),
    );
    desk.succeed(&["init"]);
    let told = desk.run(&["run", "home", "-vvv"]);
    assert!(told.code == Some(0) && !told.stderr.contains(&key[..16]), "{}", told.stderr);
    desk.succeed(&["verify", "--read-data"]);
    desk.assert_restores("");
    let heads = desk.proxy.heads();
    let objects = heads.iter().filter(|head| {
        let line = head.lines().next().unwrap();
        !line.starts_with("DELETE ") && line.contains("/vaults/") && !line.contains('?')
    });
    assert!(objects.clone().count() > 10);
    for head in objects.filter(|head| !head.contains("/vaults/ HTTP")) {
        let said = ["algorithm", "key", "key-md5"].map(|what| header(head, &format!("{CUSTOMER}-{what}")));
        assert_eq!(said, [Some("AES256"), Some(key), Some("hRasmdxgYDKV3nvbahU1MA==")], "{head}");
    }
    let others = heads
        .iter()
        .filter(|head| head.contains("list-type=2") || head.starts_with("DELETE "));
    assert!(others.clone().count() > 3 && !others.clone().any(|head| head.contains(CUSTOMER)));
}
