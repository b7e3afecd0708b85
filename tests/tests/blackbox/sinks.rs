//! Sinks that fail or fill up: the run stops at once, commits nothing, and what was there stays readable.

use std::time::{Duration, Instant};

use bulkhead_test_support::{Bulkhead, Tree};

use crate::disk::Disk;
use crate::world::{assert_told, plugin_section};

/// The good run stores two packs, one of content and one of trees; so this is when the second one has stored its first.
const IN_THE_MIDDLE: u32 = 3;

/// A vault on the misbehaving sink with a snapshot in it, then a run in which the sink behaves as told.
fn assert_contained(name: &str, exit: i32, behaviour: &str, after: u32, limits: &str) {
    let bulkhead = Bulkhead::new().unwrap();
    let configure = |behaviour: &str, limits: &str, seed: u32| {
        let head = bulkhead
            .vault_section()
            .replace("plugin = \"local\"", "plugin = \"misbehaving-sink\"");
        let (source, sink) = (plugin_section("misbehaving-source"), plugin_section("misbehaving-sink"));
        let text = format!(
            "{head}config = {{ behaviour = \"{behaviour}\", after = {after} }}\n{limits}\n{source}{sink}\n[pipeline.good]\nplugin = \"misbehaving-source\"\n\
             vault = \"main\"\nconfig = {{ entries = 3, entry-size = 900000, seed = {seed} }}\n"
        );
        bulkhead.write_configuration(&text).unwrap();
    };
    let succeed = |arguments: &[&str]| {
        let outcome = bulkhead.run(arguments).unwrap();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        outcome.stdout
    };
    configure("good", "", 1);
    succeed(&["init", "main"]);
    succeed(&["run", "good"]);
    succeed(&["restore", "good", "--into", "before"]);

    configure(behaviour, limits, 2);
    let begin = Instant::now();
    let outcome = bulkhead.run(["run", "good"]).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(30), "it took {:?}", begin.elapsed());
    assert_told!(name, outcome);
    assert_eq!(outcome.code, Some(exit));

    configure("good", "", 1);
    succeed(&["restore", "good", "--into", "after"]);
    let [before, after] = ["before", "after"].map(|name| Tree::of(&bulkhead.scratch().join(name)).unwrap().contents());
    assert_eq!(before, after);
    let snapshots: serde_json::Value = serde_json::from_str(&succeed(&["snapshots", "--json"])).unwrap();
    assert_eq!(snapshots["snapshots"].as_array().unwrap().len(), 1);
    succeed(&["verify", "good"]);
}

#[test]
fn a_sink_that_reports_an_error_fails_the_run_before_it_begins() {
    assert_contained("sink_error", 6, "error", 0, "");
}

#[test]
fn a_sink_that_reports_an_error_in_the_middle_stops_the_run() {
    assert_contained("sink_error_midway", 6, "error", IN_THE_MIDDLE, "");
}

#[test]
fn a_sink_without_room_stops_the_run() {
    assert_contained("sink_storage_full", 11, "storage-full", IN_THE_MIDDLE, "");
}

#[test]
fn a_sink_that_panics_stops_the_run() {
    assert_contained("sink_panic", 7, "panic", IN_THE_MIDDLE, "");
}

#[test]
fn a_sink_that_loops_ends_at_its_limit() {
    assert_contained("sink_loops", 8, "loop-forever", IN_THE_MIDDLE, "limits = { cpu = \"1 s\" }");
}

#[test]
fn a_sink_that_hangs_ends_at_its_limit() {
    assert_contained("sink_hangs", 8, "hang", IN_THE_MIDDLE, "limits = { wall-clock = \"2 s\" }");
}

#[test]
fn a_disk_that_fills_up_stops_the_run_and_keeps_what_it_has() {
    let disk = Disk::new("size=8m");
    let bulkhead = Bulkhead::new().unwrap();
    let vault = disk.folder("vault");
    let configure = |entry_size: u32| {
        let head = bulkhead
            .vault_section()
            .replace(&format!("{:?}", bulkhead.vault()), &format!("{vault:?}"));
        let text = format!(
            "{head}{}\n[pipeline.good]\nplugin = \"misbehaving-source\"\nvault = \"main\"\nconfig = {{ entries = 3, entry-size = {entry_size} }}\n",
            plugin_section("misbehaving-source")
        );
        bulkhead.write_configuration(&text).unwrap();
    };
    let succeed = |arguments: &[&str]| {
        let outcome = disk.run(&bulkhead, arguments);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    };
    configure(500_000);
    succeed(&["init", "main"]);
    succeed(&["run", "good"]);
    succeed(&["restore", "good", "--into", "before"]);

    configure(20_000_000);
    let outcome = disk.run(&bulkhead, &["run", "good"]);
    assert_told!(outcome);
    assert_eq!(outcome.code, Some(11));

    configure(500_000);
    succeed(&["restore", "good", "--into", "after"]);
    let [before, after] = ["before", "after"].map(|name| Tree::of(&bulkhead.scratch().join(name)).unwrap().contents());
    assert_eq!(before, after);
    succeed(&["verify", "good", "--read-data"]);
}

#[test]
fn a_lost_first_sink_is_restored_from_the_second() {
    let bulkhead = Bulkhead::new().unwrap();
    bulkhead.scratch().folder("second").unwrap();
    let head = bulkhead.vault_section().replace("[\"disk\"]", "[\"disk\", \"second\"]");
    let text = format!(
        "{head}\n[sink.second]\nplugin = \"local\"\ndirectory.root = {{ path = \"second\", access = \"read-write\" }}\n{}{}",
        plugin_section("misbehaving-source"),
        crate::world::GOOD,
    );
    bulkhead.write_configuration(&text).unwrap();
    let succeed = |arguments: &[&str]| {
        let outcome = bulkhead.run(arguments).unwrap();
        assert_eq!(outcome.code, Some(0), "{arguments:?}: {}", outcome.stderr);
        outcome.stdout
    };
    succeed(&["init"]);
    succeed(&["run", "good"]);
    succeed(&["restore", "good", "--into", "before"]);
    let questions = [
        &["snapshots"][..],
        &["ls", "good", "--long"],
        &["dump", "good", "data/00000000"],
        &["browse", "good", "data/00000000"],
    ];
    let before = questions.map(succeed);

    std::fs::remove_dir_all(bulkhead.vault()).unwrap();
    let only_first = ["restore", "good", "--into", "after", "--sink", "disk"];
    assert_ne!(bulkhead.run(only_first).unwrap().code, Some(0));
    assert!(!bulkhead.scratch().join("after").exists(), "what can't be read leaves nothing");
    assert_eq!(questions.map(succeed), before, "whoever names no sink is served by the second");
    let from_second = |arguments: &[&str]| succeed(&[arguments, &["--sink", "second"]].concat());
    assert_eq!(questions.map(from_second), before);
    from_second(&["restore", "good", "--into", "after"]);
    let [before, after] = ["before", "after"].map(|name| Tree::of(&bulkhead.scratch().join(name)).unwrap().contents());
    assert_eq!(before, after);
    from_second(&["verify", "good", "--all-snapshots", "--read-data"]);
}
