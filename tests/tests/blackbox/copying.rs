//! Vaults that are fed from others: hourly where the data is, daily in another region, weekly off-site, each with its own key and its own retention; with
//! plain restic as the witness, and what a kill or damage in the middle leaves.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use bulkhead_test_support::Tree;
use bulkhead_test_support::restic::Restic;
use serde_json::{Value, json};

use crate::damage::largest_pack;
use crate::world::{World, plugin_section};

/// A vault `main` and two that are fed from it: `region`, daily, and `offsite`, weekly.
struct Estate {
    world: World,
}

impl Estate {
    fn new() -> Self {
        let estate = Self { world: World::empty() };
        for name in ["region", "offsite"] {
            estate.world.bulkhead().scratch().folder(name).unwrap();
            estate.world.succeed(&["key", "generate", &format!("{name}-password")]);
        }
        estate.configure("entries = 3, entry-size = 300000, seed = 7");
        estate.world.succeed(&["init", "region", "offsite"]);
        estate
    }

    /// With this config of the pipeline `good`.
    fn configure(&self, good: &str) {
        let head = self.world.bulkhead().vault_section();
        let fed = |name: &str, rules: &str| {
            format!(
                "[vault.{name}]\nkey = {{ file = \"{name}-password\" }}\nsinks = [\"{name}\"]\n{rules}\n\n\
                 [sink.{name}]\nplugin = \"local\"\ndirectory.root = {{ path = \"{name}\", access = \"read-write\" }}\n\n"
            )
        };
        let region = fed("region", "copy = { from = \"main\", select = { daily = 30 } }");
        let offsite = fed(
            "offsite",
            "copy = { from = \"main\", select = { weekly = 3 } }\nretention = { weekly = 2 }",
        );
        self.world.write(&format!(
            "{head}\n{region}{offsite}{}\n[pipeline.good]\nplugin = \"misbehaving-source\"\nvault = \"main\"\nconfig = {{ {good} }}\n",
            plugin_section("misbehaving-source")
        ));
    }

    fn restic(&self, vault: &str) -> Restic {
        let folder = self.world.folder();
        Restic::new(folder.join(vault), folder.join(format!("{vault}-password"))).unwrap()
    }

    /// When the snapshots of a vault were taken, as restic tells it.
    fn times(&self, vault: &str) -> Vec<String> {
        let listed: Vec<Value> = serde_json::from_str(&self.restic(vault).text(["snapshots", "--json"]).unwrap()).unwrap();
        let mut times: Vec<String> = listed
            .iter()
            .map(|snapshot| snapshot["time"].as_str().unwrap()[..16].to_owned())
            .collect();
        times.sort();
        times
    }

    /// Takes a snapshot for the pipeline `good`, as restic does it, at this time.
    fn backdate(&self, time: &str) {
        let folder = self.world.bulkhead().scratch().folder("source").unwrap();
        fs::write(folder.join("file"), time).unwrap();
        let mut backup = self
            .restic("vault")
            .command(["backup", "--tag", "bulkhead,pipeline:good", "--time", time, "source"]);
        let done = backup.env("TZ", "UTC").current_dir(self.world.folder()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn restored(&self, vault: &str, snapshot: &str) -> Tree {
        let target: PathBuf = self.world.bulkhead().scratch().folder(format!("of-{vault}")).unwrap();
        self.restic(vault).restore(snapshot, &target).unwrap();
        Tree::of(&target).unwrap()
    }
}

#[test]
fn status_says_what_a_copy_would_bring() {
    let estate = Estate::new();
    let world = &estate.world;
    for time in ["2026-01-06 09:00:00", "2026-01-06 10:00:00", "2026-01-07 09:00:00"] {
        estate.backdate(time);
    }
    let copies = || world.json(&["status", "--json", "--metrics", "figures"])["copies"].clone();
    let lag = copies();
    let region = lag.as_array().unwrap().iter().find(|copy| copy["vault"] == "region").unwrap();
    assert_eq!((&region["from"], &region["behind"]), (&json!("main"), &json!(2)));
    assert_eq!(region["oldest"]["time"], "2026-01-06T10:00:00Z");
    assert!(region["oldest"]["age-seconds"].as_u64().unwrap() > 86_400);
    let figures = || fs::read_to_string(world.folder().join("figures")).unwrap();
    let behind = |count: u64| format!("bulkhead_copy_behind_snapshots{{vault=\"region\",from=\"main\"}} {count}\n");
    assert!(figures().contains(&behind(2)), "{}", figures());
    let readable = |value: u8| format!("bulkhead_copy_readable{{vault=\"region\",from=\"main\"}} {value}\n");
    assert!(figures().contains(&readable(1)), "{}", figures());
    assert!(figures().contains("bulkhead_copy_oldest_missing_timestamp_seconds{vault=\"region\",from=\"main\"} 1767693600\n"));
    assert!(world.succeed(&["status"]).contains("2026-01-06 10:00:00"));
    world.succeed(&["copy"]);
    assert!(
        copies()
            .as_array()
            .unwrap()
            .iter()
            .all(|copy| copy["behind"] == 0 && copy.get("oldest").is_none())
    );
    assert!(figures().contains(&behind(0)) && !figures().contains("copy_oldest_missing_timestamp_seconds{"));
    // A vault that can't be asked is told, and the rest all the same.
    fs::rename(world.folder().join("region"), world.folder().join("away")).unwrap();
    world.bulkhead().scratch().folder("region").unwrap();
    let outcome = world.run(&["status", "--json", "--metrics", "figures"]);
    assert_eq!(outcome.code, Some(13), "{}", outcome.stdout);
    assert!(figures().contains(&readable(0)) && !figures().contains(&behind(0)), "{}", figures());
    let document: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(document["errors"][0]["vault"], "region");
    assert_eq!(document["copies"].as_array().unwrap().len(), 1);
}

#[test]
fn hourly_here_daily_in_another_region_weekly_off_site() {
    let estate = Estate::new();
    let world = &estate.world;
    // The weeks of 2026 begin at January 5th, 12th and 19th.
    let taken = [
        "2025-12-31 09:00:00",
        "2026-01-06 09:00:00",
        "2026-01-06 10:00:00",
        "2026-01-07 09:00:00",
        "2026-01-13 09:00:00",
        "2026-01-20 09:00:00",
        "2026-01-20 10:00:00",
    ];
    for time in taken {
        estate.backdate(time);
    }
    let planned = world.json(&["copy", "offsite", "--dry-run", "--json"]);
    let vault = &planned["vaults"][0];
    assert_eq!(
        (&vault["done"], &vault["present"], &vault["left-out"]),
        (&json!(false), &json!(0), &json!(4))
    );
    assert_eq!(estate.times("offsite"), [""; 0]);
    let copied = world.json(&["copy", "--json"]);
    let numbers = copied["vaults"].as_array().unwrap().iter();
    assert_eq!(
        numbers
            .map(|vault| vault["snapshots"].as_array().unwrap().len())
            .collect::<Vec<_>>(),
        [5, 3]
    );
    assert_eq!(
        estate.times("region"),
        [
            "2025-12-31T09:00",
            "2026-01-06T10:00",
            "2026-01-07T09:00",
            "2026-01-13T09:00",
            "2026-01-20T10:00"
        ]
    );
    assert_eq!(
        estate.times("offsite"),
        ["2026-01-07T09:00", "2026-01-13T09:00", "2026-01-20T10:00"]
    );
    let last = copied["vaults"][1]["snapshots"][2].clone();
    let [here, there] =
        [("vault", &last["id"]), ("offsite", &last["copy"])].map(|(vault, id)| estate.restored(vault, id.as_str().unwrap()));
    assert_eq!(here.contents(), there.contents());
    // The copy is restored as the snapshot is that it is of.
    let into = |folder: &str, more: &[&str]| {
        world.succeed(&[&["restore", "good", "--into", folder, "--snapshot"], more].concat());
        Tree::of(&world.folder().join(folder)).unwrap().contents()
    };
    assert_eq!(
        into("from-main", &[last["id"].as_str().unwrap()]),
        into("from-copy", &[last["copy"].as_str().unwrap(), "--vault", "offsite"])
    );
    let nowhere = world.run(&["ls", "good", "--vault", "offsit"]);
    assert!(
        nowhere.code == Some(2) && nowhere.stderr.contains("did you mean `offsite`?"),
        "{}",
        nowhere.stderr
    );
    // What is there is not copied again; one more week, and another has to go.
    let again = world.json(&["copy", "offsite", "--json"]);
    assert_eq!(
        (&again["vaults"][0]["snapshots"], &again["vaults"][0]["present"]),
        (&json!([]), &json!(3))
    );
    estate.backdate("2026-01-27 09:00:00");
    world.succeed(&["copy"]);
    world.succeed(&["forget", "--vault", "offsite", "--yes"]);
    assert_eq!(estate.times("offsite"), ["2026-01-20T10:00", "2026-01-27T09:00"]);
    assert_eq!(estate.times("vault").len(), 8, "nothing goes where it came from");
    for vault in ["vault", "region", "offsite"] {
        estate.restic(vault).check().unwrap();
    }
}

#[test]
fn a_copy_that_is_killed_goes_on_from_where_it_was() {
    let estate = Estate::new();
    let world = &estate.world;
    estate.configure("entries = 30, entry-size = 3000000, seed = 1");
    world.succeed(&["run", "good"]);
    let packs = || {
        let tree = Tree::of(&world.folder().join("region/data")).unwrap();
        tree.contents().len()
    };
    for more in 0..3 {
        let before = packs();
        let mut copying = world.bulkhead().command(["copy", "region"]);
        let mut child = copying.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while packs() <= before + more && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let copied = world.json(&["copy", "region", "--json"]);
    let id = world.json(&["snapshots", "--json"])["snapshots"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(estate.times("region").len(), 1, "{copied}");
    assert_eq!(
        estate.restored("region", "latest").contents(),
        estate.restored("vault", &id).contents()
    );
    // restic takes the locks of those that were killed for alive.
    world.succeed(&["unlock"]);
    estate.restic("region").check().unwrap();
    world.succeed(&["prune", "--yes"]);
}

#[test]
fn what_is_damaged_is_not_copied_and_keeps_nothing_else_from_it() {
    let estate = Estate::new();
    let world = &estate.world;
    estate.backdate("2026-01-06 09:00:00");
    world.succeed(&["run", "good"]);
    fs::remove_file(largest_pack(&world.bulkhead().vault())).unwrap();
    let outcome = world.run(&["copy", "region"]);
    assert_eq!(outcome.code, Some(10), "{}{}", outcome.stdout, outcome.stderr);
    assert!(
        outcome.stdout.contains("not copied") && outcome.stderr.contains("missing from the store"),
        "{}{}",
        outcome.stdout,
        outcome.stderr
    );
    assert_eq!(estate.times("region"), ["2026-01-06T09:00"]);
    estate.restic("region").check().unwrap();
    // A run stores it anew, and that can be copied.
    world.succeed(&["repair", "index", "main", "--yes"]);
    world.succeed(&["run", "good"]);
    world.succeed(&["repair", "snapshots", "main", "--yes"]);
    world.succeed(&["copy", "region"]);
    estate.restic("region").check().unwrap();
}

#[test]
fn a_vault_that_is_fed_from_none_says_what_to_write() {
    let estate = Estate::new();
    let outcome = estate.world.run(&["copy", "main"]);
    assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("copy = { from = \"VAULT\" }"), "{}", outcome.stderr);
    let outcome = World::empty().run(&["copy"]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
    fs::remove_dir_all(estate.world.folder().join("offsite")).unwrap();
    fs::create_dir(estate.world.folder().join("offsite")).unwrap();
    let outcome = estate.world.run(&["copy", "offsite"]);
    assert_eq!(outcome.code, Some(13), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("bulkhead init offsite"), "{}", outcome.stderr);
}
