//! Plugins that are none, fail, crash, loop or eat memory: the run fails, says why, and commits nothing.

use crate::world::{World, assert_told};
use std::time::{Duration, Instant};

/// A run of this behaviour under these limits fails as recorded, in time, and loses nothing.
fn assert_contained(name: &str, behaviour: &str, lines: &str) {
    let world = World::with_a_snapshot();
    world.configure_misbehaviour(behaviour, lines);
    let begin = Instant::now();
    let outcome = world.run(&["run", "bad"]);
    assert!(begin.elapsed() < Duration::from_secs(20), "it took {:?}", begin.elapsed());
    assert_told!(name, outcome);
    assert_ne!(outcome.code, Some(0));
    world.assert_nothing_was_lost();
}

#[test]
fn an_error_is_shown_with_its_hint_its_causes_and_the_setting_to_change() {
    assert_contained("plugin_error", "error", "");
}

#[test]
fn a_panic_is_a_trap() {
    assert_contained("plugin_panic", "panic", "");
}

#[test]
fn a_stack_overflow_is_a_trap() {
    assert_contained("plugin_overflows_stack", "overflow-stack", "");
}

#[test]
fn an_endless_loop_ends_at_the_processor_time_limit() {
    assert_contained("plugin_loops", "loop-forever", "limits = { cpu = \"1 s\" }");
}

#[test]
fn a_plugin_that_hangs_ends_at_the_wall_clock_limit() {
    assert_contained("plugin_hangs", "hang", "limits = { wall-clock = \"2 s\" }");
}

#[test]
fn a_plugin_that_eats_memory_ends_at_the_memory_limit() {
    assert_contained("plugin_eats_memory", "eat-memory", "limits = { memory = \"64 MiB\" }");
}

#[test]
fn a_plugin_that_writes_without_end_ends_at_the_limit_of_bytes() {
    assert_contained(
        "plugin_writes_too_much",
        "write-too-much",
        "limits = { bytes-written = \"32 MiB\" }",
    );
}

#[test]
fn a_plugin_that_makes_entries_without_end_ends_at_the_limit_of_entries() {
    assert_contained("plugin_too_many_entries", "too-many-entries", "limits = { entries = 1000 }");
}

#[test]
fn a_claim_of_more_entries_than_were_stored_fails_the_proof() {
    assert_contained("plugin_false_entries", "false-entries", "");
}

#[test]
fn a_claim_of_more_bytes_than_were_stored_fails_the_proof() {
    assert_contained("plugin_false_bytes", "false-bytes", "");
}

#[test]
fn a_source_that_did_not_see_its_end_marker_fails_the_run() {
    assert_contained("plugin_incomplete", "incomplete", "");
}

#[test]
fn an_entry_that_was_not_finished_fails_the_run() {
    assert_contained("plugin_unfinished_entry", "unfinished-entry", "");
}

#[test]
fn an_endpoint_that_was_not_granted_is_refused_with_the_line_that_would_grant_it() {
    assert_contained("plugin_not_granted", "not-granted", "");
}

#[test]
fn the_reserved_folder_is_closed_to_plugins() {
    assert_contained("plugin_reserved_path", "reserved-path", "");
}

#[test]
fn a_file_that_is_no_component_is_refused_before_anything_runs() {
    let world = World::with_a_snapshot();
    std::fs::write(world.folder().join("poem.wasm"), "It was a dark and stormy night.").unwrap();
    world.configure("\n[plugin.poem]\npath = \"poem.wasm\"\n\n[pipeline.bad]\nplugin = \"poem\"\nvault = \"main\"\n");
    let outcome = world.run(&["run", "bad"]);
    assert_told!(outcome);
    assert_ne!(outcome.code, Some(0));
    world.assert_nothing_was_lost();
}

#[test]
fn a_core_module_is_not_a_component() {
    let world = World::with_a_snapshot();
    std::fs::write(world.folder().join("module.wasm"), b"\0asm\x01\0\0\0").unwrap();
    world.configure("\n[plugin.module]\npath = \"module.wasm\"\n\n[pipeline.bad]\nplugin = \"module\"\nvault = \"main\"\n");
    let outcome = world.run(&["run", "bad"]);
    assert_told!(outcome);
    assert_ne!(outcome.code, Some(0));
    world.assert_nothing_was_lost();
}

#[test]
fn a_component_with_another_digest_than_the_configuration_says_is_refused() {
    let world = World::with_a_snapshot();
    let component = bulkhead_test_support::plugins::component("misbehaving-source").unwrap();
    let digest = "0".repeat(64);
    world.configure(&format!(
        "\n[plugin.pinned]\npath = {:?}\ndigest = \"sha256:{digest}\"\n\n[pipeline.bad]\nplugin = \"pinned\"\nvault = \"main\"\n",
        component.display().to_string()
    ));
    let outcome = world.run(&["run", "bad"]);
    assert_told!(outcome);
    assert_ne!(outcome.code, Some(0));
    world.assert_nothing_was_lost();
}

#[test]
fn a_plugin_that_knows_no_rehearsal_is_not_asked_for_one() {
    let world = World::with_a_snapshot();
    let target = world.bulkhead().scratch().folder("restored-by-plugin").unwrap();
    for how in ["--dry-run", "--yes"] {
        let refused = world.run(&["restore", "good", "--target", "folder", "--delta", how]);
        assert_eq!(refused.code, Some(3), "{}", refused.stderr);
        let message = "the plugin `misbehaving-source` cannot write over what a target has";
        assert!(refused.stderr.contains(message), "{}", refused.stderr);
        assert_eq!(target.read_dir().unwrap().count(), 0, "{how}: it wrote");
    }
    world.succeed(&["restore", "good", "--target", "folder"]);
    assert_ne!(target.read_dir().unwrap().count(), 0, "what it would have written");
}
