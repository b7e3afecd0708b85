//! What one sink of a vault has lost is read from another, and copied back from there.

use std::fs;

use bulkhead_test_support::{Outcome, Tree};
use serde_json::Value;

use crate::damage::{change, largest_pack};
use crate::replicas::{Pair, files};

/// A vault with so many snapshots on two sinks, and how the last of them is restored.
fn pair(snapshots: usize) -> Pair {
    let pair = Pair::with_snapshots(snapshots, 9);
    pair.world.succeed(&["restore", "good", "--into", "before"]);
    pair
}

/// Restores into `name`, which gets what the snapshot had before anything was lost.
#[track_caller]
fn assert_restored(pair: &Pair, name: &str) -> Outcome {
    let outcome = pair.world.run(&["restore", "good", "--into", name]);
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    let [before, after] = ["before", name].map(|name| Tree::of(&pair.world.folder().join(name)).unwrap().contents());
    assert_eq!(before, after);
    outcome
}

#[track_caller]
fn repaired(pair: &Pair, arguments: &[&str]) -> Value {
    let document = pair.world.json(&[&["repair", "objects", "main", "--json"], arguments].concat());
    document["vaults"][0].clone()
}

fn losses(report: &Value) -> Vec<(&str, &str)> {
    let lost = report["lost"].as_array().unwrap().iter();
    let mut losses: Vec<_> = lost
        .map(|object| {
            let key = object["object"].as_str().unwrap();
            (object["loss"].as_str().unwrap(), key.split('/').next().unwrap())
        })
        .collect();
    losses.sort_unstable();
    losses
}

#[test]
fn what_the_first_sink_has_lost_is_read_from_another_and_copied_back() {
    let pair = pair(1);
    let vault = pair.world.bulkhead().vault();
    let pack = largest_pack(&vault);
    // Not what `verify` records below, which only the first sink has.
    let snapshot = vault.join("snapshots").join(pair.snapshots("disk").remove(0));
    // One byte of a pack: sizes say nothing of it.
    change(&pack, |content| content[1000] ^= 1);
    let told = assert_restored(&pair, "flipped");
    assert!(told.stderr.contains("read from another replica"), "{}", told.stderr);
    let alone = pair.world.run(&["restore", "good", "--into", "alone", "--sink", "disk"]);
    assert_eq!(alone.code, Some(10), "{}{}", alone.stdout, alone.stderr);
    assert_eq!(losses(&repaired(&pair, &["--dry-run"])), []);
    assert_eq!(losses(&repaired(&pair, &["--read-data", "--dry-run"])), [("damaged", "data")]);
    assert_eq!(pair.world.run(&["verify", "--read-data"]).code, Some(10), "a plan changes nothing");
    // A pack that is cut short, one that is gone, a damaged index file and a damaged snapshot.
    change(&pack, |content| content.truncate(100));
    assert_restored(&pair, "short");
    fs::remove_file(&pack).unwrap();
    assert_restored(&pair, "gone");
    // Again not what was recorded.
    let index = vault.join("index").join(files(&pair.second, "index").first().unwrap());
    for file in [index, snapshot] {
        change(&file, |content| content.truncate(20));
    }
    assert_restored(&pair, "index");
    let report = repaired(&pair, &["--yes"]);
    assert_eq!(
        losses(&report),
        [("damaged", "index"), ("damaged", "snapshots"), ("missing", "data")]
    );
    assert!(
        report["lost"]
            .as_array()
            .unwrap()
            .iter()
            .all(|object| object["copied-from"] == "second"),
        "{report}"
    );
    pair.world.succeed(&["verify", "--read-data"]);
    pair.world.restic().check().unwrap();
    // What was recorded of the verifications gets to the second sink with the next run.
    pair.world.succeed(&["run", "good"]);
    pair.assert_same(&["keys", "data", "index", "snapshots"]);
}

#[test]
fn damage_to_what_only_the_first_sink_has_is_told() {
    // Without an index file nothing is known to be complete; a snapshot that is not asked for is passed over.
    for (folder, code) in [("index", 10), ("snapshots", 0)] {
        let pair = pair(1);
        // What it records, no run has brought to the second sink yet.
        pair.world.succeed(&["verify"]);
        let vault = pair.world.bulkhead().vault();
        let [first, second] = [&vault, &pair.second].map(|sink| files(sink, folder));
        let file = first.difference(&second).next().unwrap();
        change(&vault.join(folder).join(file), |content| content.truncate(20));
        let told = pair.world.run(&["restore", "good", "--into", "told"]);
        assert_eq!(told.code, Some(code), "{}{}", told.stdout, told.stderr);
        let damage = format!("{folder}/{} is damaged", file.display());
        assert!(told.stderr.contains(&damage), "{}", told.stderr);
    }
}

#[test]
fn a_first_sink_that_is_gone_is_read_elsewhere_and_comes_back_whole() {
    let pair = pair(1);
    let vault = pair.world.bulkhead().vault();
    fs::remove_dir_all(&vault).unwrap();
    fs::create_dir(&vault).unwrap();
    let told = assert_restored(&pair, "elsewhere");
    assert!(told.stderr.contains("the next sink is tried"), "{}", told.stderr);
    let report = repaired(&pair, &["--yes"]);
    assert!(
        report["lost"]
            .as_array()
            .unwrap()
            .iter()
            .all(|object| object["copied-from"] == "second"),
        "{report}"
    );
    pair.assert_same(&["keys", "data", "index", "snapshots"]);
    pair.world.succeed(&["verify", "--read-data"]);
    assert_restored(&pair, "whole");
}

#[test]
fn what_was_removed_on_purpose_comes_back_only_when_that_is_asked_for() {
    let pair = pair(2);
    let old = pair.snapshots("disk").remove(0);
    pair.without_second(|| {
        let forgotten = pair.world.run(&["forget", "--vault", "main", "--snapshot", &old, "--yes"]);
        assert_eq!(forgotten.code, Some(15), "{}", forgotten.stderr);
    });
    let report = repaired(&pair, &["--yes"]);
    assert_eq!((losses(&report), &report["removed-snapshots"]), (vec![], &1.into()));
    assert!(!pair.snapshots("disk").contains(&old));
    assert_eq!(losses(&repaired(&pair, &["--removed", "--yes"])), [("missing", "snapshots")]);
    assert!(pair.snapshots("disk").contains(&old));
    pair.world.succeed(&["verify", "--read-data"]);
}

#[test]
fn what_is_whole_nowhere_is_told() {
    let pair = pair(1);
    let pack = largest_pack(&pair.world.bulkhead().vault());
    let name = pack.strip_prefix(pair.world.bulkhead().vault()).unwrap();
    for pack in [&pack, &pair.second.join(name)] {
        change(pack, |content| content[1000] ^= 1);
    }
    let restored = pair.world.run(&["restore", "good", "--into", "after"]);
    assert_eq!(restored.code, Some(10), "{}{}", restored.stdout, restored.stderr);
    let outcome = pair.world.run(&["repair", "objects", "main", "--read-data", "--yes"]);
    assert_eq!(outcome.code, Some(10), "{}{}", outcome.stdout, outcome.stderr);
    assert!(
        outcome.stderr.contains("is whole nowhere") && outcome.stderr.contains("repair index"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn nothing_is_whole_by_comparison_with_nobody() {
    let pair = pair(1);
    let away = pair.world.folder().join("away");
    fs::rename(&pair.second, &away).unwrap();
    let outcome = pair.world.run(&["repair", "objects", "main"]);
    assert_eq!(outcome.code, Some(15), "{}{}", outcome.stdout, outcome.stderr);
    assert!(
        outcome.stderr.contains("cannot be asked") && !outcome.stdout.contains("nothing is lost"),
        "{}",
        outcome.stdout
    );
    fs::create_dir(&pair.second).unwrap();
    assert_eq!(pair.world.run(&["repair", "objects", "main"]).code, Some(15), "an empty one");
    fs::remove_dir(&pair.second).unwrap();
    fs::rename(&away, &pair.second).unwrap();
    // What makes a store a vault has no digest for a name: the other sink has it right.
    let config = pair.world.bulkhead().vault().join("config");
    change(&config, |content| content[20] ^= 1);
    assert_eq!(losses(&repaired(&pair, &["--yes"])), [("damaged", "config")]);
    assert_restored(&pair, "config");
}

#[test]
fn a_vault_with_one_sink_says_so() {
    let world = crate::world::World::with_a_snapshot();
    let outcome = world.run(&["repair", "objects", "main"]);
    assert_eq!(outcome.code, Some(3), "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stderr.contains("one sink only"), "{}", outcome.stderr);
}
