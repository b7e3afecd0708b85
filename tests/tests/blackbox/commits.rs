//! What a run says of its snapshots: a failure that comes after a commit does not make it undone, and a refused commit is the proof's failure.

use std::time::{Duration, Instant};

use bulkhead_test_support::signal;
use serde_json::Value;

use crate::interruption::{outcome, spawn_until};
use crate::world::{World, assert_told, plugin_section};

#[test]
fn an_interrupt_after_a_commit_says_what_is_committed() {
    let world = World::with_a_snapshot();
    world.configure_misbehaviour("commit-then-hang", "");
    for json in [false, true] {
        let arguments: &[&str] = if json { &["run", "bad", "--json"] } else { &["run", "bad"] };
        let child = spawn_until(&world, arguments, "committed");
        signal::interrupt(&child).unwrap();
        let ended = outcome(child);
        assert_eq!(ended.code, Some(130));
        if json {
            let document: Value = serde_json::from_str(&ended.stdout).unwrap();
            let run = &document["runs"][0];
            assert_eq!((&run["class"], &run["exit-code"]), (&"cancelled".into(), &130.into()));
            assert_eq!(run["committed"].as_array().unwrap().len(), 1, "{run}");
        } else {
            assert_told!(ended);
        }
    }
    assert_eq!(world.snapshots(), 3);
    world.restic().check().unwrap();
}

#[test]
fn an_interrupt_while_a_replica_is_filled_says_that_the_snapshot_is_safe() {
    let world = World::with_a_snapshot();
    world.bulkhead().scratch().folder("second").unwrap();
    let configure = |behaviour: &str| {
        let head = world.bulkhead().vault_section().replace("[\"disk\"]", "[\"disk\", \"second\"]");
        world.write(&format!(
            "{head}\n[sink.second]\nplugin = \"misbehaving-sink\"\nconfig = {{ behaviour = \"{behaviour}\" }}\n\
             directory.root = {{ path = \"second\", access = \"read-write\" }}\n{}{}{}",
            plugin_section("misbehaving-source"),
            plugin_section("misbehaving-sink"),
            crate::world::GOOD,
        ));
    };
    configure("hang");
    let child = spawn_until(&world, &["run", "good"], "going wrong now");
    let begin = Instant::now();
    signal::interrupt(&child).unwrap();
    let ended = outcome(child);
    assert!(begin.elapsed() < Duration::from_secs(2), "it took {:?}", begin.elapsed());
    assert_told!(ended);
    assert_eq!(ended.code, Some(15));
    // The next run makes it good.
    configure("good");
    world.succeed(&["run", "good"]);
    let verified = world.json(&["verify", "good", "--sink", "second", "--read-data", "--json"]);
    let vault = &verified["vaults"][0];
    assert_eq!((&vault["sink"], &vault["snapshots"]), (&"second".into(), &3.into()));
}

#[test]
fn a_folder_that_comes_after_the_last_commit_of_the_source_is_kept() {
    let world = World::with_a_snapshot();
    world.configure_misbehaviour("commit-then-folder", "");
    world.succeed(&["run", "bad"]);
    assert_eq!(world.snapshots(), 3, "the source's own, and the folder");
    assert!(world.succeed(&["ls", "bad"]).lines().any(|line| line == "later"));
}

#[test]
fn a_commit_of_the_source_that_proves_nothing_fails_as_the_proof() {
    let world = World::with_a_snapshot();
    world.configure_misbehaviour("false-commit", "");
    let outcome = world.run(&["run", "bad"]);
    assert_told!(outcome);
    assert_eq!(outcome.code, Some(9));
    world.assert_nothing_was_lost();
}

#[test]
fn a_commit_of_the_source_that_is_not_as_expected_fails_as_the_proof() {
    let world = World::with_a_snapshot();
    world.configure_misbehaviour("commit-then-folder", "expect.min-entries = 4");
    let outcome = world.run(&["run", "bad"]);
    assert_told!(outcome);
    assert_eq!(outcome.code, Some(9));
    world.assert_nothing_was_lost();
}
