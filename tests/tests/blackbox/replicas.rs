//! What maintenance leaves on the further sinks of a vault: with damage on one only, and when one could not be reached meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bulkhead_test_support::Tree;
use serde_json::Value;

use crate::damage::largest_pack;
use crate::world::{World, plugin_section};

const THOROUGH: &[&str] = &["prune", "--yes", "--grace", "0s", "--max-unused", "0", "--max-repack", "unlimited"];

/// A vault on the sinks `disk` and `second`.
pub(crate) struct Pair {
    pub(crate) world: World,
    pub(crate) second: PathBuf,
}

impl Pair {
    /// With snapshots of `good`, each with content of its own; `retention` keeps so many.
    pub(crate) fn with_snapshots(number: usize, retention: usize) -> Self {
        let world = World::empty();
        let second = world.bulkhead().scratch().folder("second").unwrap();
        let pair = Self { world, second };
        for seed in 0..number {
            pair.run(seed, retention);
        }
        pair
    }

    /// One more snapshot.
    pub(crate) fn run(&self, seed: usize, retention: usize) {
        let head = self
            .world
            .bulkhead()
            .vault_section()
            .replace("[\"disk\"]", "[\"disk\", \"second\"]");
        let good = crate::world::GOOD.replace("seed = 7 }", &format!("seed = {seed} }}\nretention = {{ last = {retention} }}"));
        self.world.write(&format!(
            "{head}\n[sink.second]\nplugin = \"local\"\ndirectory.root = {{ path = \"second\", access = \"read-write\" }}\n{}{good}",
            plugin_section("misbehaving-source")
        ));
        self.world.succeed(&["run", "good"]);
    }

    /// Ends with 15 and names the second sink.
    #[track_caller]
    fn assert_left_behind(&self, arguments: &[&str]) -> String {
        let outcome = self.world.run(arguments);
        assert_eq!(outcome.code, Some(15), "{}{}", outcome.stdout, outcome.stderr);
        assert!(outcome.stderr.contains("second"), "{}", outcome.stderr);
        outcome.stderr
    }

    /// Does `work` while the second sink is no vault.
    pub(crate) fn without_second(&self, work: impl FnOnce()) {
        let (config, away) = (self.second.join("config"), self.world.folder().join("away"));
        fs::rename(&config, &away).unwrap();
        work();
        fs::rename(&away, &config).unwrap();
    }

    /// Both sinks have the same.
    #[track_caller]
    pub(crate) fn assert_same(&self, parts: &[&str]) {
        for part in parts {
            assert_eq!(files(&self.second, part), files(&self.world.bulkhead().vault(), part), "{part}");
        }
    }

    pub(crate) fn snapshots(&self, sink: &str) -> Vec<String> {
        let listed: Value = self.world.json(&["snapshots", "--sink", sink, "--json"]);
        let ids = listed["snapshots"].as_array().unwrap().iter();
        ids.map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// The files of a part of a vault, by their names.
pub(crate) fn files(folder: &Path, of: &str) -> BTreeSet<PathBuf> {
    let tree = Tree::of(&folder.join(of)).unwrap();
    tree.contents().into_keys().collect()
}

#[test]
fn a_replica_keeps_what_is_damaged_on_the_first_sink_only() {
    let pair = Pair::with_snapshots(1, 9);
    let world = &pair.world;
    world.succeed(&["restore", "good", "--into", "before"]);
    let damaged = pair.snapshots("disk").remove(0);
    fs::remove_file(largest_pack(&world.bulkhead().vault())).unwrap();
    world.succeed(&["repair", "index", "main", "--yes"]);
    let told = pair.assert_left_behind(&["repair", "snapshots", "main", "--forget", "--yes"]);
    assert!(told.contains("whole") && told.contains("--sink second"), "{told}");
    assert!(!pair.snapshots("disk").contains(&damaged));
    assert!(pair.snapshots("second").contains(&damaged));
    // Nothing of it is pruned there.
    pair.assert_left_behind(THOROUGH);
    let restored = ["restore", "good", "--snapshot", &damaged, "--sink", "second", "--into", "after"];
    world.succeed(&restored);
    let [before, after] = ["before", "after"].map(|name| Tree::of(&world.folder().join(name)).unwrap().contents());
    assert_eq!(before, after);
    world.succeed(&["forget", "--vault", "main", "--snapshot", &damaged, "--yes"]);
    world.succeed(THOROUGH);
    pair.assert_same(&["data", "index", "snapshots"]);
    world.restic().check().unwrap();
}

#[test]
fn a_snapshot_that_is_damaged_everywhere_goes_everywhere() {
    let pair = Pair::with_snapshots(1, 9);
    let world = &pair.world;
    let damaged = pair.snapshots("disk").remove(0);
    for folder in [&world.bulkhead().vault(), &pair.second] {
        fs::remove_file(largest_pack(folder)).unwrap();
    }
    for sink in ["disk", "second"] {
        world.succeed(&["repair", "index", "main", "--sink", sink, "--yes"]);
    }
    world.succeed(&["repair", "snapshots", "main", "--forget", "--yes"]);
    assert_eq!(pair.snapshots("disk"), pair.snapshots("second"));
    assert!(!pair.snapshots("disk").contains(&damaged));
    world.succeed(THOROUGH);
    pair.assert_same(&["data", "index", "snapshots"]);
}

#[test]
fn a_prune_that_a_replica_missed_reaches_it_with_the_next_call() {
    let pair = Pair::with_snapshots(2, 1);
    let world = &pair.world;
    world.succeed(&["forget", "good", "--yes"]);
    pair.without_second(|| {
        pair.assert_left_behind(THOROUGH);
    });
    // On the first sink nothing is left to do; nobody is there to be asked about the second.
    let outcome = world.run(&["prune"]);
    assert_eq!(outcome.code, Some(2), "{}{}", outcome.stdout, outcome.stderr);
    world.succeed(THOROUGH);
    pair.assert_same(&["data", "index", "snapshots"]);
    // Without a second sink there would be nothing to ask.
    world.configure("");
    world.succeed(&["prune"]);
}

#[test]
fn a_repair_that_a_replica_missed_is_finished_by_a_run_and_a_forget() {
    let pair = Pair::with_snapshots(1, 9);
    let world = &pair.world;
    let damaged = pair.snapshots("disk").remove(0);
    fs::remove_file(largest_pack(&world.bulkhead().vault())).unwrap();
    world.succeed(&["repair", "index", "main", "--yes"]);
    pair.without_second(|| {
        pair.assert_left_behind(&["repair", "snapshots", "main", "--forget", "--yes"]);
    });
    pair.assert_left_behind(THOROUGH);
    assert!(pair.snapshots("second").contains(&damaged));
    world.succeed(&["forget", "--vault", "main", "--snapshot", &damaged, "--yes"]);
    world.succeed(THOROUGH);
    pair.assert_same(&["data", "index", "snapshots"]);
}

/// Two snapshots whose tags have changed while the second sink was away.
fn tagged_without_second() -> Pair {
    let pair = Pair::with_snapshots(2, 2);
    let [one, other] = &pair.snapshots("disk")[..] else {
        panic!("two snapshots")
    };
    let tag = ["tag", "good", "--snapshot", one, "--snapshot", other, "--add", "kept"];
    pair.without_second(|| {
        pair.assert_left_behind(&tag);
    });
    pair
}

#[test]
fn tags_that_a_replica_missed_reach_it_with_the_next_call() {
    let pair = tagged_without_second();
    let before = pair.snapshots("disk");
    let [one, other] = &before[..] else { panic!("two snapshots") };
    let tag = ["tag", "good", "--snapshot", one, "--snapshot", other, "--add", "kept"];
    pair.world.succeed(&tag);
    assert_eq!(pair.snapshots("disk"), before);
    pair.assert_same(&["snapshots"]);
    pair.world.succeed(THOROUGH);
}

#[test]
fn a_tag_that_a_replica_missed_costs_no_snapshot() {
    let pair = tagged_without_second();
    let before = pair.snapshots("disk");
    let document = pair.world.json(&["forget", "good", "--yes", "--json"]);
    let plan = &document["vaults"][0]["plan"];
    let numbers = ["kept", "forgotten"].map(|fate| plan[fate].as_array().unwrap().len());
    assert_eq!(numbers, [2, 2], "{plan}");
    assert_eq!(pair.snapshots("disk"), before);
    // What goes there has its successor there.
    pair.assert_same(&["snapshots"]);
    pair.world.succeed(THOROUGH);
    pair.world.succeed(&["restore", "good", "--into", "restored", "--sink", "second"]);
}
