//! Mistakes in `bulkhead.toml`: all of them at once, each at its place, and nothing is touched.

use crate::world::{World, assert_told};

/// Exit code of every wrong configuration.
const WRONG_CONFIGURATION: Option<i32> = Some(3);

#[test]
fn every_mistake_is_shown_at_once_at_its_line() {
    let world = World::with_a_snapshot();
    world.configure(
        r#"
[pipeline.bad]
plugin = "misbehaving-source"
valut = "main"
limits = { memory = 128, wall-clock = "1 fortnight" }
directory.target = { path = "restored", access = "readwrite" }
"#,
    );
    let outcome = world.run(&["run", "bad"]);
    assert_told!(outcome);
    assert_eq!(outcome.code, WRONG_CONFIGURATION);
    world.assert_nothing_was_lost();
}

#[test]
fn a_setting_that_only_the_plugin_knows_to_be_wrong_is_shown_at_its_line() {
    let world = World::with_a_snapshot();
    world.configure("\n[pipeline.bad]\nplugin = \"misbehaving-source\"\nvault = \"main\"\nconfig = { entries = 3, entry-sise = 5 }\n");
    let outcome = world.run(&["run", "bad"]);
    assert_told!(outcome);
    assert_eq!(outcome.code, WRONG_CONFIGURATION);
    world.assert_nothing_was_lost();
}

#[test]
fn a_pipeline_that_does_not_exist_is_answered_with_those_that_do() {
    let world = World::with_a_snapshot();
    let outcome = world.run(&["run", "goood"]);
    assert_told!(outcome);
    assert_ne!(outcome.code, Some(0));
    world.assert_nothing_was_lost();
}

#[test]
fn a_missing_configuration_says_where_it_was_looked_for() {
    let world = World::empty();
    let outcome = world.run(&["--config", "elsewhere.toml", "plan"]);
    assert_told!(outcome);
    assert_eq!(outcome.code, WRONG_CONFIGURATION);
}

#[test]
fn a_file_that_is_not_toml_says_where_it_stops_being_it() {
    let world = World::with_a_snapshot();
    world.write("version = 1\n[vault.main\nkey = \"\n");
    let outcome = world.run(&["plan"]);
    assert_told!(outcome);
    assert_eq!(outcome.code, WRONG_CONFIGURATION);
    world.assert_nothing_was_lost();
}
