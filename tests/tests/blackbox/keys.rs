//! `bulkhead key`: passwords that open a vault, with plain restic as the witness that they do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use bulkhead_test_support::restic::Restic;
use serde_json::Value;

use crate::world::{World, plugin_section};

/// A vault with one snapshot on the sinks `disk` and `second`, and the file of a new password.
struct Desk {
    world: World,
    new: PathBuf,
}

impl Desk {
    fn open() -> Self {
        let desk = Self {
            world: World::empty(),
            new: PathBuf::new(),
        };
        let new = desk.world.folder().join("new-password");
        desk.world.bulkhead().scratch().folder("second").unwrap();
        desk.configure("vault-password");
        desk.world.succeed(&["run", "good"]);
        desk.world.succeed(&["key", "generate", "new-password"]);
        Self { new, ..desk }
    }

    /// With the password in this file.
    fn configure(&self, password: &str) {
        let head = self
            .world
            .bulkhead()
            .vault_section()
            .replace("[\"disk\"]", "[\"disk\", \"second\"]")
            .replace("vault-password", password);
        self.world.write(&format!(
            "{head}\n[sink.second]\nplugin = \"local\"\ndirectory.root = {{ path = \"second\", access = \"read-write\" }}\n{}{}",
            plugin_section("misbehaving-source"),
            crate::world::GOOD
        ));
    }

    fn keys(&self, sink: &str) -> Vec<Value> {
        let listed = self.world.succeed(&["key", "list", "--sink", sink, "--json"]);
        let listed: Value = serde_json::from_str(&listed).unwrap();
        listed["vaults"][0]["keys"].as_array().unwrap().clone()
    }

    /// The id of the only key that the configuration does, or does not, name.
    fn id(&self, current: bool) -> String {
        let keys = self.keys("disk");
        let [key] = keys.iter().filter(|key| key["current"] == current).collect::<Vec<_>>()[..] else {
            panic!("{keys:?}");
        };
        key["id"].as_str().unwrap().to_owned()
    }

    fn restic(&self, sink: &str, password: &str) -> Restic {
        let repository = match sink {
            "disk" => self.world.bulkhead().vault(),
            other => self.world.folder().join(other),
        };
        Restic::new(repository, self.world.folder().join(password)).unwrap()
    }
}

#[test]
fn a_generated_password_is_private_and_never_replaced() {
    let desk = Desk::open();
    let text = fs::read_to_string(&desk.new).unwrap();
    assert_eq!(text.trim_end().len(), 44, "32 bytes in base64");
    assert_eq!(fs::metadata(&desk.new).unwrap().permissions().mode() & 0o777, 0o600);
    let again = desk.world.run(&["key", "generate", "new-password"]);
    assert_eq!(again.code, Some(2), "{}", again.stderr);
    assert_eq!(fs::read_to_string(&desk.new).unwrap(), text);
    desk.world.succeed(&["key", "generate", "another"]);
    assert_ne!(fs::read_to_string(desk.world.folder().join("another")).unwrap(), text);
}

#[test]
fn a_password_is_changed_on_all_sinks() {
    let desk = Desk::open();
    let old = desk.id(true);
    desk.world.succeed(&["key", "add", "main", "--password-file", "new-password"]);
    assert_eq!(desk.keys("disk").len(), 2);
    let refused = desk.world.run(&["key", "remove", "main", &old, "--yes"]);
    assert_eq!(refused.code, Some(12), "the configuration names it: {}", refused.stderr);
    // By both passwords, on both sinks, before anything else has run.
    for sink in ["disk", "second"] {
        for password in ["vault-password", "new-password"] {
            desk.restic(sink, password).check().unwrap();
        }
    }
    desk.configure("new-password");
    desk.world.succeed(&["run", "good"]);
    let outcome = desk.world.run(&["key", "remove", "main", &old[..8]]);
    assert_eq!(outcome.code, Some(2), "nobody can be asked");
    desk.world.succeed(&["key", "remove", "main", &old[..8], "--yes"]);
    for sink in ["disk", "second"] {
        assert_eq!(desk.keys(sink).len(), 1, "{sink}");
        assert!(
            desk.restic(sink, "vault-password").run(["snapshots"]).is_err(),
            "{sink}: the old password opens it"
        );
        desk.restic(sink, "new-password").check().unwrap();
    }
    desk.configure("vault-password");
    assert_eq!(desk.world.run(&["snapshots"]).code, Some(4), "the old password");
}

#[test]
fn a_sink_that_was_away_loses_the_key_later() {
    let desk = Desk::open();
    desk.world.succeed(&["key", "add", "main", "--password-file", "new-password"]);
    let id = desk.id(false);
    let (config, away) = (desk.world.folder().join("second/config"), desk.world.folder().join("away"));
    // A damaged one, not one that is no vault yet.
    fs::rename(&config, &away).unwrap();
    fs::write(&config, "damaged").unwrap();
    let outcome = desk.world.run(&["key", "remove", "main", &id, "--yes"]);
    assert_eq!(outcome.code, Some(15), "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stderr.contains("second"), "{}", outcome.stderr);
    fs::rename(&away, &config).unwrap();
    assert_eq!(desk.keys("second").len(), 2);
    desk.world.succeed(&["key", "remove", "main", &id, "--yes"]);
    assert_eq!(desk.keys("second").len(), 1);
    let none = desk.world.run(&["key", "remove", "main", &id, "--yes"]);
    assert_eq!(none.code, Some(13), "{}", none.stderr);
}

#[test]
fn a_password_that_is_none_is_refused() {
    let desk = Desk::open();
    fs::write(desk.world.folder().join("empty"), "\n").unwrap();
    for file in ["empty", "absent"] {
        let outcome = desk.world.run(&["key", "add", "main", "--password-file", file]);
        assert_eq!(outcome.code, Some(4), "{file}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(file), "{}", outcome.stderr);
    }
    assert_eq!(desk.keys("disk").len(), 1);
}

#[test]
fn a_recovery_kit_opens_the_vault_with_restic() {
    let desk = Desk::open();
    let kit = desk.world.folder().join("kit.txt");
    let made = desk.world.run(&["key", "kit", "main", "--file", "kit.txt", "--json"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    assert_eq!(fs::metadata(&kit).unwrap().permissions().mode() & 0o777, 0o600);
    let page = fs::read_to_string(&kit).unwrap();
    let is_password = |line: &&str| line.len() == 35 && line.split('-').count() == 6;
    let password = page.lines().map(str::trim).find(is_password).unwrap();
    assert!(!made.stdout.contains(password) && !made.stderr.contains(password));
    let document: Value = serde_json::from_str(&made.stdout).unwrap();
    let id = document["key"].as_str().unwrap();
    assert_eq!(
        (document["kind"].as_str(), document["file"].as_str()),
        (Some("key-kit"), Some("kit.txt"))
    );
    for expected in [
        id,
        "█",
        "main",
        &format!("restic -r '{}' snapshots", desk.world.bulkhead().vault().display()),
    ] {
        assert!(page.contains(expected), "{expected} is missing:\n{page}");
    }
    fs::write(desk.world.folder().join("typed"), password).unwrap();
    for sink in ["disk", "second"] {
        desk.restic(sink, "typed").check().unwrap();
        let key = desk.keys(sink).into_iter().find(|key| key["id"] == id).unwrap();
        assert_eq!(key["host"], "recovery-kit");
    }
    let config = desk.restic("disk", "typed").text(["cat", "config"]).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert!(page.contains(config["id"].as_str().unwrap()), "{page}");
    // What is there stays, and gets no further key.
    let again = desk.world.run(&["key", "kit", "main", "--file", "kit.txt"]);
    assert_eq!(again.code, Some(2), "{}", again.stderr);
    assert_eq!(fs::read_to_string(&kit).unwrap(), page);
    let nowhere = desk.world.run(&["key", "kit", "main"]);
    assert_eq!(nowhere.code, Some(2), "{}{}", nowhere.stdout, nowhere.stderr);
    assert_eq!(desk.keys("disk").len(), 2);
    // One that was mistyped is known for that.
    fs::write(desk.world.folder().join("mistyped"), password.to_lowercase()).unwrap();
    desk.configure("mistyped");
    let refused = desk.world.run(&["snapshots"]);
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    assert!(refused.stderr.contains("mistyped"), "{}", refused.stderr);
}

#[test]
fn a_key_that_gets_old_is_a_finding() {
    let world = World::with_a_snapshot();
    let checked = |age: &str| {
        let vault = world
            .bulkhead()
            .vault_section()
            .replace("[vault.main]", &format!("[vault.main]\nkey-max-age = \"{age}\""));
        world.write(&format!("{vault}\n{}{}", plugin_section("misbehaving-source"), crate::world::GOOD));
        world.run(&["check"])
    };
    assert!(!checked("1 d").stderr.contains("was made"));
    // Seconds count: a key is a second old at some time.
    let told = loop {
        let outcome = checked("1 s");
        if outcome.stderr.contains("was made") {
            break outcome;
        }
    };
    assert_eq!(told.code, Some(0), "a warning: {}{}", told.stdout, told.stderr);
    assert!(
        told.stderr.contains("key-max-age") && told.stderr.contains("key add main"),
        "{}",
        told.stderr
    );
}
