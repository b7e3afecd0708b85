//! A vault in Google Drive: the built binary over TLS against a server that answers as Drive does, plain restic through rclone, and whatever goes wrong.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use bulkhead_test_support::gdrive::{Drive, Fault, Served};
use bulkhead_test_support::{Bulkhead, Outcome, Scratch, Tool, Tree, run};

/// A server with a folder for the vault, and an installation whose vault is in it, with some files to back up.
struct Desk {
    drive: Drive,
    served: Served,
    folder: String,
    bulkhead: Bulkhead,
    secrets: Vec<String>,
}

impl Desk {
    /// As a person who has given consent.
    fn open() -> Self {
        let drive = Drive::new();
        let folder = drive.state().add_folder("root", "vault");
        let desk = Self::of(drive, folder);
        let user = desk.drive.add_user().unwrap();
        let document = serde_json::json!({
            "type": "authorized_user",
            "client_id": user.client_id,
            "client_secret": user.client_secret,
            "refresh_token": user.refresh_token,
            "token_uri": desk.served.token_url(),
        });
        desk.scratch().private_file("consent.json", document.to_string()).unwrap();
        desk.configure("");
        Self {
            secrets: vec![user.client_secret, user.refresh_token, "ya29.".to_owned()],
            ..desk
        }
    }

    fn of(drive: Drive, folder: String) -> Self {
        let desk = Self {
            served: drive.serve().unwrap(),
            drive,
            folder,
            bulkhead: Bulkhead::new().unwrap(),
            secrets: Vec::new(),
        };
        let home = desk.scratch().folder("home").unwrap();
        for number in 0..20_usize {
            let content = format!("content {number} ").repeat(number * 200);
            std::fs::write(home.join(format!("file-{number}")), content).unwrap();
        }
        desk.write_large(1);
        desk
    }

    /// An initialized vault with one snapshot.
    fn with_a_snapshot() -> Self {
        let desk = Self::open();
        desk.succeed(&["init"]);
        desk.succeed(&["run", "home"]);
        desk
    }

    fn scratch(&self) -> &Scratch {
        self.bulkhead.scratch()
    }

    /// Nothing that compresses: xorshift.
    fn write_large(&self, seed: u64) {
        let mut state = seed;
        let large: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .take(3 << 17)
        .flatten()
        .collect();
        std::fs::write(self.scratch().join("home/large"), large).unwrap();
    }

    fn configure(&self, more: &str) {
        self.configure_auth(more, "{ refresh-token = { file = \"consent.json\" } }");
    }

    fn configure_auth(&self, more: &str, auth: &str) {
        let (url, ca, folder) = (self.served.url(), self.served.authority(), &self.folder);
        let text = format!(
            "version = 1\n\n[vault.main]\nkey = {{ file = \"vault-password\" }}\nsinks = [\"cloud\"]\n\n\
             [sink.cloud]\nplugin = \"gdrive\"\nconfig = {{ folder = \"{folder}\", piece = \"256 KiB\"{more} }}\n\
             endpoint.drive = {{ url = \"{url}\", tls = {{ ca = \"{}\" }}, auth = {auth} }}\n\n\
             [pipeline.home]\nplugin = \"files\"\nvault = \"main\"\ndirectory.home = {{ path = \"home\", access = \"read-only\" }}\n",
            ca.display()
        );
        self.bulkhead.write_configuration(&text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        let outcome = self.bulkhead.run(arguments).unwrap();
        for secret in &self.secrets {
            let told = outcome.stdout.contains(secret) || outcome.stderr.contains(secret);
            assert!(!told, "{arguments:?} tells a secret\n{}{}", outcome.stdout, outcome.stderr);
        }
        outcome
    }

    #[track_caller]
    fn succeed(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, Some(0), "{arguments:?}\n{}{}", outcome.stdout, outcome.stderr);
        outcome.stdout
    }

    fn path(&self, path: &str) -> PathBuf {
        self.scratch().join(path)
    }

    /// Everything comes back.
    #[track_caller]
    fn assert_restores(&self) {
        let _ = std::fs::remove_dir_all(self.path("ours"));
        self.succeed(&["restore", "home", "--into", "ours"]);
        assert_eq!(Tree::of(&self.path("ours/home")).unwrap(), Tree::of(&self.path("home")).unwrap());
    }

    /// The id of the oldest snapshot.
    fn oldest(&self) -> String {
        let listed: serde_json::Value = serde_json::from_str(&self.succeed(&["snapshots", "home", "--json"])).unwrap();
        listed["snapshots"].as_array().unwrap()[0]["id"].as_str().unwrap().to_owned()
    }

    fn snapshots(&self) -> usize {
        let state = self.drive.state();
        let folders = state.at(&self.folder, "snapshots");
        folders.iter().map(|folder| state.objects(&folder.id)).sum()
    }
}

/// Plain restic, over rclone, over the same server.
fn restic(desk: &Desk, arguments: &[&str]) -> String {
    let user = desk.drive.add_user().unwrap();
    let configuration = format!(
        "[drive]\ntype = drive\nscope = drive\nclient_id = {}\nclient_secret = {}\nroot_folder_id = {}\n\
         token = {{\"access_token\":\"old\",\"token_type\":\"Bearer\",\"refresh_token\":\"{}\",\"expiry\":\"2020-01-01T00:00:00Z\"}}\n",
        user.client_id, user.client_secret, desk.folder, user.refresh_token
    );
    desk.scratch().private_file("rclone.conf", configuration).unwrap();
    Tool::find("rclone", "apt-get install rclone").unwrap();
    let mut command = Tool::find("restic", "apt-get install restic")
        .unwrap()
        .command(["--no-cache", "--repo", "rclone:drive:"]);
    let rclone = format!(
        "rclone.args=serve restic --stdio --drive-disable-http2 --config {} --ca-cert {}",
        desk.path("rclone.conf").display(),
        desk.served.authority().display()
    );
    command
        .args(["-o", &rclone, "--password-file"])
        .arg(desk.bulkhead.vault_password_file())
        .args(arguments)
        .env("HTTPS_PROXY", desk.served.proxy());
    String::from_utf8_lossy(&run(&mut command).unwrap().stdout).into_owned()
}

#[test]
fn a_vault_in_drive_restores_by_us_and_by_restic() {
    let desk = Desk::open();
    assert_eq!(desk.run(&["check"]).code, Some(14), "there is no vault yet");
    assert_eq!(desk.drive.state().objects("root"), 0, "a check leaves nothing behind");
    desk.succeed(&["init"]);
    desk.succeed(&["check"]);
    desk.succeed(&["run", "home"]);
    desk.succeed(&["verify", "--read-data"]);
    desk.assert_restores();

    let theirs = desk.path("theirs");
    restic(&desk, &["check", "--read-data"]);
    restic(&desk, &["restore", "latest", "--target", &theirs.display().to_string()]);
    assert_eq!(Tree::of(&theirs.join("home")).unwrap(), Tree::of(&desk.path("home")).unwrap());
    // What restic adds, we read.
    restic(&desk, &["backup", &desk.path("home").display().to_string()]);
    desk.succeed(&["verify", "--all-snapshots", "--read-data"]);
}

#[test]
fn what_was_forgotten_is_pruned() {
    let desk = Desk::with_a_snapshot();
    desk.write_large(99);
    desk.succeed(&["run", "home"]);
    let before = desk.drive.state().usage();
    desk.succeed(&["forget", "home", "--snapshot", &desk.oldest(), "--yes"]);
    desk.succeed(&["prune", "--yes", "--grace", "0s"]);
    let after = desk.drive.state().usage();
    assert!(after < before - (2 << 20), "{before} bytes before, {after} after");
    desk.assert_restores();

    // Where these credentials only throw away, a run succeeds, and forgetting says what to write.
    desk.drive.state().only_trashes = true;
    desk.succeed(&["run", "home"]);
    let oldest = desk.oldest();
    let forget = ["forget", "home", "--snapshot", &oldest, "--yes"];
    let outcome = desk.run(&forget);
    assert_ne!(outcome.code, Some(0));
    assert!(outcome.stderr.contains("removed = \"trashed\""), "{}", outcome.stderr);
    desk.configure(", removed = \"trashed\"");
    desk.succeed(&forget);
    assert!(desk.drive.state().files().any(|file| file.trashed && file.name == oldest));
    desk.assert_restores();
}

#[test]
fn a_service_account_works_in_a_shared_drive() {
    let drive = Drive::new();
    let shared = drive.state().add_shared_drive("Backups");
    let folder = drive.state().add_folder(&shared, "vault");
    let desk = Desk::of(drive, folder);
    let account = desk.drive.add_service_account(&desk.served.token_url()).unwrap();
    let auth = format!("{{ service-account = {{ file = \"{}\" }} }}", account.key_file().display());
    desk.configure_auth("", &auth);
    desk.succeed(&["init"]);
    desk.succeed(&["run", "home"]);
    desk.assert_restores();
    assert_eq!(desk.drive.state().objects("root"), 0);
    // One token for all instances of the sink: the vault is opened once to be verified, and once for what its snapshots hold.
    let before = desk.drive.state().tokens_given();
    desk.succeed(&["verify", "--read-data"]);
    let given = desk.drive.state().tokens_given() - before;
    assert!((1..=2).contains(&given), "{given} tokens");
}

#[test]
fn one_who_only_adds_and_another_who_prunes_go_together() {
    let desk = Desk::open();
    desk.succeed(&["init"]);
    let keeper = |arguments: &[&str]| -> Outcome {
        desk.drive.behave();
        desk.bulkhead.command_on_host("elsewhere", arguments).output().unwrap().into()
    };
    for seed in 1..3 {
        desk.write_large(seed);
        // A contributor of a shared drive can neither delete nor throw away.
        desk.drive.inject(|request, _| {
            let removes = request.method == "DELETE" || request.method == "PATCH" && !request.path.contains("/upload/");
            removes.then(|| Fault::refusal(403, "insufficientFilePermissions"))
        });
        let outcome = desk.run(&["run", "home"]);
        assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
        assert!(!outcome.stderr.contains("lock could not be"), "{}", outcome.stderr);
        let prune = ["prune", "--yes", "--grace", "0s", "--max-unused", "0", "--max-repack", "unlimited"];
        let outcome = keeper(&prune);
        assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
        let outcome = keeper(&["unlock", "--json"]);
        let unlocked: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(
            unlocked["vaults"][0]["sinks"][0]["removed"], 0,
            "the prune has removed them: {unlocked}"
        );
    }
    desk.assert_restores();
    assert_eq!(desk.snapshots(), 2);
}

#[test]
fn what_passes_by_itself_is_tried_again() {
    for (what, fault) in [
        ("/upload/", Fault::refusal(403, "userRateLimitExceeded")),
        ("/upload/", Fault::refusal(429, "rateLimitExceeded")),
        ("GET /drive/v3/files", Fault::refusal(500, "backendError")),
        ("PUT /upload/", Fault::pause(503, 1)),
        ("PUT /upload/", Fault::CutRequest(100_000)),
        ("PUT /upload/", Fault::Silence),
        ("PUT /upload/", Fault::CutAnswer(10)),
        ("PUT /upload/", Fault::FlipRequest(1000)),
        ("POST /token", Fault::refusal(503, "backendError")),
    ] {
        let desk = Desk::open();
        desk.succeed(&["init"]);
        desk.drive.inject_times(what, 2, fault.clone());
        let outcome = desk.run(&["run", "home"]);
        assert_eq!(outcome.code, Some(0), "{fault:?}\n{}", outcome.stderr);
        desk.drive.behave();
        desk.assert_restores();
        assert_eq!(desk.snapshots(), 1, "{fault:?}");
    }
}

#[test]
fn a_token_that_ends_in_the_middle_of_a_run_is_renewed() {
    let desk = Desk::open();
    desk.succeed(&["init"]);
    let mut pieces = 0;
    desk.drive.inject(move |request, state| {
        pieces += usize::from(request.method == "PUT");
        if request.method == "PUT" && (pieces == 5 || pieces == 12) {
            state.expire_tokens();
        }
        None
    });
    let before = desk.drive.state().tokens_given();
    desk.succeed(&["run", "home"]);
    assert!(desk.drive.state().tokens_given() - before >= 3);
    desk.drive.behave();
    // One that lives for two seconds is renewed before it ends.
    desk.drive.state().set_token_lifetime(Duration::from_secs(2));
    desk.drive.set_latency(Duration::from_millis(50));
    desk.assert_restores();
}

#[test]
fn reading_goes_on_where_it_broke_off() {
    let desk = Desk::with_a_snapshot();
    desk.drive.inject_times("alt=media", 3, Fault::CutAnswer(300_000));
    desk.assert_restores();
    // What is damaged on its way, and stays so, is found.
    desk.drive
        .inject(|request, _| request.path.contains("alt=media").then_some(Fault::FlipAnswer(5000)));
    assert_ne!(desk.run(&["verify", "--read-data"]).code, Some(0));
    assert_ne!(desk.run(&["restore", "home", "--into", "damaged"]).code, Some(0));
}

#[test]
fn a_drive_that_stays_full_or_down_fails_the_run_and_loses_nothing() {
    let desk = Desk::with_a_snapshot();
    desk.configure(", attempts = 2");
    let saved = desk.path("saved");
    std::fs::rename(desk.path("home/large"), &saved).unwrap();
    desk.write_large(5);
    for (fault, told) in [
        (Fault::refusal(403, "storageQuotaExceeded"), "no room left"),
        (Fault::refusal(403, "dailyLimitExceeded"), "used up its requests"),
        (Fault::refusal(503, "backendError"), "gave up after 2 attempts"),
    ] {
        desk.drive
            .inject(move |request, _| (request.path.starts_with("/upload/") && request.method == "POST").then(|| fault.clone()));
        let outcome = desk.run(&["run", "home"]);
        assert_ne!(outcome.code, Some(0));
        assert!(outcome.stderr.contains(told), "{}", outcome.stderr);
        assert_eq!(desk.snapshots(), 1);
    }
    desk.drive.behave();
    std::fs::rename(&saved, desk.path("home/large")).unwrap();
    desk.assert_restores();
}

#[test]
fn duplicates_do_no_harm() {
    let desk = Desk::with_a_snapshot();
    // As rclone's or a person's copies make them: half of each object, by the same name, and older.
    let copies: Vec<(String, String, Vec<u8>)> = {
        let state = desk.drive.state();
        let objects = state.files().filter(|file| file.content.is_some() && file.name != "config");
        objects
            .map(|file| {
                let bytes = &file.content.as_ref().unwrap().bytes;
                (file.parents[0].clone(), file.name.clone(), bytes[..bytes.len() / 2].to_vec())
            })
            .collect()
    };
    for (parent, name, content) in copies {
        let id = desk.drive.state().add_file(&parent, &name, &content);
        desk.drive.state().file_mut(&id).unwrap().created = "2020-01-01T00:00:00.000Z".to_owned();
    }
    desk.succeed(&["verify", "--read-data"]);
    desk.assert_restores();
}

#[test]
fn what_goes_wrong_with_consent_is_told_with_what_to_do() {
    let desk = Desk::with_a_snapshot();
    desk.drive.state().withdraw_consent();
    let outcome = desk.run(&["run", "home"]);
    assert!(
        outcome.stderr.contains("invalid_grant") && outcome.stderr.contains("bulkhead auth gdrive"),
        "{}",
        outcome.stderr
    );
    desk.scratch().private_file("consent.json", "{}").unwrap();
    let outcome = desk.run(&["snapshots"]);
    assert!(
        outcome.stderr.contains("neither the JSON key of a service account"),
        "{}",
        outcome.stderr
    );
}

/// `bulkhead auth gdrive`, and what it says first.
fn asking(desk: &Desk, more: &[&str]) -> (std::process::Child, String) {
    let user = desk.drive.add_user().unwrap();
    desk.scratch()
        .private_file("client-secret", format!("{}\n", user.client_secret))
        .unwrap();
    let (server, ca) = (desk.served.url(), desk.served.authority().display().to_string());
    let mut arguments = vec![
        "auth",
        "gdrive",
        "--client-id",
        &user.client_id,
        "--client-secret-file",
        "client-secret",
        "--into",
        "new.json",
        "--server",
        &server,
        "--ca",
        &ca,
    ];
    arguments.extend(more);
    let mut command = desk.bulkhead.command(&arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let wanted = if more.contains(&"--device") { "type the code" } else { "https://" };
    let line = lines.by_ref().map(Result::unwrap).find(|line| line.contains(wanted)).unwrap();
    (child, line)
}

#[test]
fn consent_in_a_browser_is_stored_and_works() {
    let desk = Desk::open();
    let (child, url) = asking(&desk, &[]);
    // The browser: it opens the page, which sends it back to the one that asks.
    let page = desk.drive.answer(&get(url.trim().strip_prefix(&desk.served.url()).unwrap()));
    assert_eq!(page.status, 302, "{url}");
    let back = page.headers.iter().find(|(name, _)| name == "Location").unwrap().1.clone();
    let (host, query) = back.strip_prefix("http://").unwrap().split_once('?').unwrap();
    // Whoever else comes first changes nothing.
    assert!(fetch(host, "/?code=forged&state=guessed").contains("404"));
    assert!(fetch(host, &format!("/?{query}")).contains("Thank you"));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    works(&desk);
}

#[test]
fn consent_on_another_device_is_stored_and_works_in_a_folder_of_its_own() {
    let mut desk = Desk::open();
    let (child, line) = asking(&desk, &["--device", "--folder", "Backups"]);
    assert!(
        line.contains("https://www.google.com/device") && line.contains("GQVQ-JKEC"),
        "{line}"
    );
    std::thread::sleep(Duration::from_millis(1500));
    desk.drive.state().answer_device(true);
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    desk.folder = desk.drive.state().at("root", "Backups")[0].id.clone();
    assert!(output.status.success() && told.contains(&desk.folder), "{told}");
    works(&desk);

    let (child, _) = asking(&desk, &["--device"]);
    desk.drive.state().answer_device(false);
    assert!(!child.wait_with_output().unwrap().status.success());
}

/// What was stored is for its owner only, and good for a vault.
fn works(desk: &Desk) {
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(desk.path("new.json")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    desk.configure_auth("", "{ refresh-token = { file = \"new.json\" } }");
    desk.succeed(&["init"]);
    desk.succeed(&["run", "home"]);
    desk.assert_restores();
}

fn get(path: &str) -> bulkhead_test_support::couchdb::Request {
    bulkhead_test_support::couchdb::Request {
        method: "GET".to_owned(),
        path: path.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
    }
}

/// As a browser does it.
fn fetch(host: &str, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
