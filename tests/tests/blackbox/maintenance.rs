//! What is kept, and what is let go: `forget`, `prune`, `tag`, `repair` and `unlock`, with plain restic as the judge.

use std::{collections::BTreeSet, fs, path::Path};

use bulkhead_test_support::Tree;
use serde_json::Value;

use crate::damage::change;
use crate::world::{World, assert_told, plugin_section};

const KEEP_TWO: &str = "\nretention = { last = 2 }\n";

/// A vault with snapshots of `good`, each with content of its own.
fn with_snapshots(number: usize, more: &str) -> World {
    let world = World::empty();
    for seed in 0..number {
        configure(&world, seed, more);
        world.succeed(&["run", "good"]);
    }
    world
}

fn configure(world: &World, seed: usize, more: &str) {
    let good = crate::world::GOOD.replace("seed = 7 }", &format!("seed = {seed} }}{more}"));
    world.write(&format!(
        "{}{}{good}",
        world.bulkhead().vault_section(),
        plugin_section("misbehaving-source")
    ));
}

fn ids(world: &World) -> Vec<String> {
    let listed: Value = serde_json::from_str(&world.restic().text(["snapshots", "--json"]).unwrap()).unwrap();
    let ids = listed.as_array().unwrap().iter();
    ids.map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect()
}

fn files(folder: &Path, of: &str) -> BTreeSet<std::path::PathBuf> {
    let tree = Tree::of(&folder.join(of)).unwrap();
    tree.contents().into_keys().collect()
}

#[test]
fn a_retention_is_planned_first_and_carried_out_on_request() {
    let world = with_snapshots(3, KEEP_TWO);
    let before = ids(&world);
    let refused = world.run(&["forget", "good", "--snapshot", "latest", "--yes"]);
    assert_eq!(refused.code, Some(3), "what it means changes while snapshots go");
    assert!(refused.stderr.contains("not the beginning of a snapshot's id") && !refused.stderr.contains("give `latest`"));
    let plan = world.succeed(&["forget", "good", "--dry-run"]);
    let fates: Vec<&str> = plan.lines().filter_map(|line| line.split("  ").last()).map(str::trim).collect();
    assert_eq!(
        fates,
        [
            "HOST",
            "forgotten",
            "kept: last",
            "kept: last",
            "vault main: 1 snapshot forgotten, 2 kept"
        ],
        "{plan}"
    );
    let refused = world.run(&["forget", "good"]);
    assert_eq!(refused.code, Some(2), "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    assert_eq!(ids(&world), before, "a plan changes nothing");
    let document = world.json(&["forget", "good", "--yes", "--json"]);
    assert_eq!(document["vaults"][0]["plan"]["forgotten"][0]["id"], before[0]);
    assert_eq!(document["vaults"][0]["sinks"][0]["removed"], 1);
    assert_eq!(ids(&world), before[1..]);
    world.succeed(&["forget", "--all", "--yes"]);
    assert_eq!(ids(&world), before[1..]);
    world.restic().check().unwrap();
}

#[test]
fn nothing_is_forgotten_while_backups_are_overdue() {
    let world = with_snapshots(2, "");
    let before = ids(&world);
    configure(&world, 2, "\nretention = { last = 1 }\nobjectives = { rpo = \"1 s\" }\n");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let refused = world.run(&["forget", "good", "--yes"]);
    assert_eq!(refused.code, Some(12), "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stdout.contains("kept: overdue"), "{}", refused.stdout);
    assert!(refused.stderr.contains("older than its RPO"), "{}", refused.stderr);
    let refused = world.run(&["forget", "--all", "--yes", "--json"]);
    let document: Value = serde_json::from_str(&refused.stdout).unwrap();
    assert_eq!(document["vaults"][0]["plan"]["overdue"][0], "good");
    assert_eq!(ids(&world), before);
    world.succeed(&["forget", "good", "--yes", "--overdue"]);
    assert_eq!(ids(&world), before[1..]);
}

#[test]
fn a_snapshot_that_is_named_goes_even_if_it_is_the_last() {
    let world = with_snapshots(1, "");
    let [id] = &ids(&world)[..] else { panic!("one snapshot") };
    let outcome = world.run(&["forget", "good"]);
    assert_eq!(outcome.code, Some(3), "{}{}", outcome.stdout, outcome.stderr);
    let outcome = world.run(&["forget", "good", "--snapshot", "0000000000", "--yes"]);
    assert_eq!(outcome.code, Some(13), "{}{}", outcome.stdout, outcome.stderr);
    world.succeed(&["forget", "good", "--snapshot", &id[..10], "--yes"]);
    assert_eq!(ids(&world), Vec::<String>::new());
}

#[test]
fn a_retention_has_no_say_over_what_others_took() {
    let world = with_snapshots(1, "");
    let folder = world.bulkhead().scratch().folder("theirs").unwrap();
    fs::write(folder.join("file"), b"theirs").unwrap();
    for _ in 0..2 {
        world
            .restic()
            .run(["backup", folder.to_str().unwrap(), "--tag", "pipeline:good"])
            .unwrap();
    }
    configure(&world, 1, "\nretention = { last = 1 }\n");
    world.succeed(&["run", "good"]);
    let before = ids(&world);
    world.succeed(&["forget", "good", "--yes"]);
    assert_eq!(ids(&world), before[1..], "of four snapshots, the pipeline's older one goes");
    world.succeed(&["forget", "--vault", "main", "--snapshot", &before[1], "--yes"]);
    assert_eq!(ids(&world), before[2..]);
}

#[test]
fn what_is_forgotten_is_pruned_in_two_phases() {
    let world = with_snapshots(2, KEEP_TWO);
    configure(&world, 2, "\nretention = { last = 1 }\n");
    world.succeed(&["run", "good"]);
    world.succeed(&["forget", "good", "--yes"]);
    let packs = || files(&world.bulkhead().vault(), "data");
    let before = packs();
    let plan = world.succeed(&["prune", "--dry-run", "--max-unused", "0", "--max-repack", "unlimited"]);
    assert!(
        plan.contains("unused") && plan.contains("marked, deleted after the grace time"),
        "{plan}"
    );
    assert_eq!(packs(), before, "a plan changes nothing");
    assert_eq!(world.run(&["prune"]).code, Some(2), "nobody can be asked");
    let thorough = |grace: &'static str| {
        [
            "prune",
            "main",
            "--yes",
            "--json",
            "--max-unused",
            "0",
            "--max-repack",
            "unlimited",
            "--grace",
            grace,
        ]
    };
    let marked = world.json(&thorough("1 h"));
    assert!(marked["vaults"][0]["unused-packs"].as_u64().unwrap() > 0, "{marked}");
    assert!(packs().is_superset(&before));
    world.succeed(&["verify", "good", "--read-data"]);
    world.restic().check().unwrap();
    // No snapshot says that time has passed since.
    let waiting = world.json(&thorough("1 ms"));
    assert_eq!(waiting["vaults"][0]["deleted-packs"], 0, "{waiting}");
    let deleted = world.json(&[&thorough("1 ms")[..], &["--clock-is-right"]].concat());
    assert!(deleted["vaults"][0]["deleted-packs"].as_u64().unwrap() > 0, "{deleted}");
    assert!(packs().len() < before.len());
    world.succeed(&["verify", "good", "--read-data"]);
    world.restic().check().unwrap();
    world.succeed(&["restore", "good", "--into", "restored"]);
}

#[test]
fn replicas_follow_and_one_that_cannot_be_reached_is_told() {
    let world = World::empty();
    world.bulkhead().scratch().folder("second").unwrap();
    let configure = |seed: usize| {
        let head = world.bulkhead().vault_section().replace("[\"disk\"]", "[\"disk\", \"second\"]");
        let good = crate::world::GOOD.replace("seed = 7 }", &format!("seed = {seed} }}\nretention = {{ last = 1 }}"));
        world.write(&format!(
            "{head}\n[sink.second]\nplugin = \"local\"\ndirectory.root = {{ path = \"second\", access = \"read-write\" }}\n{}{good}",
            plugin_section("misbehaving-source")
        ));
    };
    for seed in 0..3 {
        configure(seed);
        world.succeed(&["run", "good"]);
    }
    let second = world.folder().join("second");
    let (config, away) = (second.join("config"), world.folder().join("away"));
    fs::rename(&config, &away).unwrap();
    let outcome = world.run(&["forget", "good", "--yes"]);
    assert_eq!(outcome.code, Some(15), "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stderr.contains("second"), "{}", outcome.stderr);
    assert_eq!(ids(&world).len(), 1);
    fs::rename(&away, &config).unwrap();
    // It has what the first one has forgotten: it is not pruned until that is forgotten there, too.
    let prune = &["prune", "--yes", "--grace", "0s", "--max-unused", "0", "--max-repack", "unlimited"][..];
    let outcome = world.run(prune);
    assert_eq!(outcome.code, Some(15), "{}{}", outcome.stdout, outcome.stderr);
    world.succeed(&["forget", "good", "--yes"]);
    world.succeed(prune);
    for part in ["data", "index", "snapshots"] {
        assert_eq!(files(&second, part), files(&world.bulkhead().vault(), part), "{part}");
    }
    world.succeed(&["tag", "good", "--add", "kept"]);
    assert_eq!(files(&second, "snapshots"), files(&world.bulkhead().vault(), "snapshots"));
    world.succeed(&["verify", "good", "--read-data", "--sink", "second"]);
    world.succeed(&["restore", "good", "--into", "restored", "--sink", "second"]);
    world.restic().check().unwrap();
}

#[test]
fn tags_are_added_and_those_that_say_whose_it_is_stay() {
    let world = World::with_a_snapshot();
    assert_told!(world.run(&["tag", "good", "--add", "before-upgrade"]));
    let tags = || {
        let listed: Value = serde_json::from_str(&world.restic().text(["snapshots", "--json"]).unwrap()).unwrap();
        listed[0]["tags"].clone()
    };
    assert_eq!(tags(), serde_json::json!(["bulkhead", "pipeline:good", "before-upgrade"]));
    world.succeed(&["tag", "good", "--remove", "before-upgrade"]);
    assert_eq!(tags(), serde_json::json!(["bulkhead", "pipeline:good"]));
    for forged in [
        &["--add", "pipeline:other"][..],
        &["--remove", "bulkhead"],
        &["--set", "pipeline:other"],
    ] {
        let outcome = world.run(&[&["tag", "good"], forged].concat());
        assert_eq!(outcome.code, Some(3), "{}{}", outcome.stdout, outcome.stderr);
    }
    assert_eq!(tags(), serde_json::json!(["bulkhead", "pipeline:good"]));
    world.assert_nothing_was_lost();
}

#[test]
fn a_lost_index_is_repaired() {
    let world = World::with_a_snapshot();
    fs::remove_dir_all(world.bulkhead().vault().join("index")).unwrap();
    fs::create_dir(world.bulkhead().vault().join("index")).unwrap();
    assert_eq!(world.run(&["verify", "good"]).code, Some(10));
    assert_told!(world.run(&["repair", "index", "--dry-run"]));
    world.succeed(&["repair", "index", "main", "--yes"]);
    world.succeed(&["verify", "good", "--read-data"]);
    world.assert_nothing_was_lost();
    let document = world.json(&["repair", "index", "--dry-run", "--json"]);
    assert_eq!(document["vaults"][0]["nothing-to-do"], true);
}

/// Two snapshots; the file of the second is damaged.
fn with_a_damaged_file() -> (World, [String; 2]) {
    let world = with_snapshots(2, KEEP_TWO);
    let [whole, damaged] = &ids(&world)[..] else {
        panic!("two snapshots")
    };
    let (whole, damaged) = (whole.clone(), damaged.clone());
    let file = world.bulkhead().vault().join("snapshots").join(&damaged);
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    change(&file, |content| content[20] ^= 1);
    assert_ne!(world.run(&["prune", "--yes"]).code, Some(0), "what it needs can't be told");
    (world, [whole, damaged])
}

fn assert_only(world: &World, whole: &str) {
    assert_eq!(ids(world), [whole]);
    world.succeed(&["prune", "--yes", "--grace", "0s"]);
    // What is left is the first one: its plugin checks what is stored by its own settings.
    configure(world, 0, KEEP_TWO);
    world.succeed(&["verify", "good", "--read-data"]);
    world.restic().check().unwrap();
}

#[test]
fn a_snapshot_whose_file_is_damaged_can_be_forgotten_by_name() {
    let (world, [whole, damaged]) = with_a_damaged_file();
    let by_rule = world.run(&["forget", "good", "--yes"]);
    assert_eq!(by_rule.code, Some(0), "{}{}", by_rule.stdout, by_rule.stderr);
    assert!(by_rule.stderr.contains("forget --vault main --snapshot"), "{}", by_rule.stderr);
    // Whose it is can't be told.
    assert_eq!(world.run(&["forget", "good", "--snapshot", &damaged, "--yes"]).code, Some(13));
    let named = ["forget", "--vault", "main", "--snapshot", &damaged[..10], "--json"];
    let plan = world.json(&[&named[..], &["--dry-run"]].concat());
    assert_eq!(plan["vaults"][0]["plan"]["damaged"][0]["id"], damaged);
    assert!(plan["vaults"][0]["plan"]["unreadable"].is_null(), "{plan}");
    let done = world.json(&[&named[..], &["--yes"]].concat());
    assert_eq!(done["vaults"][0]["sinks"][0]["removed"], 1, "{done}");
    assert_only(&world, &whole);
}

#[test]
fn a_snapshot_whose_file_is_damaged_does_not_keep_others_from_being_repaired() {
    let (world, [whole, damaged]) = with_a_damaged_file();
    let repair = ["repair", "snapshots", "main", "--json"];
    let plan = world.json(&[&repair[..], &["--dry-run"]].concat());
    assert_eq!(plan["vaults"][0]["unreadable"][0]["id"], damaged);
    assert_eq!(plan["vaults"][0]["snapshots"], serde_json::json!([]));
    // Without --forget there is nothing to do.
    world.succeed(&["repair", "snapshots"]);
    let done = world.json(&[&repair[..], &["--forget", "--yes"]].concat());
    assert_eq!(done["vaults"][0]["unreadable"][0]["id"], damaged);
    assert_only(&world, &whole);
}

#[test]
fn locks_of_the_dead_are_removed() {
    let world = World::with_a_snapshot();
    let lock = world.bulkhead().vault().join("locks");
    let mut dead = world.restic().command(["backup", "--stdin"]);
    let mut dead = dead.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let names = || fs::read_dir(&lock).unwrap().map(|file| file.unwrap().file_name());
    while !names().any(|name| name.len() == 64) {
        std::thread::yield_now();
    }
    world.succeed(&["unlock"]);
    assert_eq!(fs::read_dir(&lock).unwrap().count(), 1, "the living keep their locks");
    let outcome = world.run(&["prune", "--yes"]);
    assert_eq!(outcome.code, Some(12), "{}{}", outcome.stdout, outcome.stderr);
    let outcome = world.run(&["unlock", "--force"]);
    assert_eq!(outcome.code, Some(2), "{}{}", outcome.stdout, outcome.stderr);
    assert_eq!(fs::read_dir(&lock).unwrap().count(), 1, "nobody could be asked");
    dead.kill().unwrap();
    dead.wait().unwrap();
    world.succeed(&["unlock"]);
    assert_eq!(fs::read_dir(&lock).unwrap().count(), 0);
    world.succeed(&["unlock", "--force", "--yes"]);
    world.assert_nothing_was_lost();
}
