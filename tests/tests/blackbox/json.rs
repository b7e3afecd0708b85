//! `--json`: the fields that programs may rely on. Their names and types are a written contract (`docs/json.md`), so they are recorded whole.

use serde_json::{Map, Value};

use crate::world::World;

/// The document with types in the place of values; of a list, its first element.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "boolean".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        Value::Array(elements) => elements.iter().take(1).map(shape).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), shape(value)))
            .collect::<Map<_, _>>()
            .into(),
    }
}

/// Records the shape of what a successful command prints.
fn assert_shape(world: &World, name: &str, arguments: &[&str]) {
    let document = world.json(&[arguments, &["--json"]].concat());
    insta::assert_json_snapshot!(format!("json_{name}"), shape(&document));
}

#[test]
fn documents_of_all_commands() {
    let world = World::with_a_snapshot();
    assert_shape(&world, "run", &["run", "good"]);
    assert_shape(&world, "snapshots", &["snapshots"]);
    assert_shape(&world, "ls", &["ls", "good"]);
    assert_shape(&world, "find", &["find", "0000000*", "--type", "file"]);
    assert_shape(&world, "diff", &["diff", "good", "latest", "latest"]);
    assert_shape(&world, "stats", &["stats"]);
    assert_shape(&world, "browse", &["browse", "good", "data/00000000"]);
    assert_shape(&world, "plan", &["plan"]);
    assert_shape(&world, "check", &["check"]);
    assert_shape(&world, "verify", &["verify", "good", "--read-data"]);
    assert_shape(&world, "restore_into", &["restore", "good", "--into", "restored"]);
    world.bulkhead().scratch().folder("restored-by-plugin").unwrap();
    assert_shape(&world, "restore_target", &["restore", "good", "--target", "folder"]);
    assert_shape(&world, "tag", &["tag", "good", "--add", "seen"]);
    assert_shape(&world, "unlock", &["unlock"]);
    assert_shape(&world, "repair_index", &["repair", "index", "--dry-run"]);
    assert_shape(&world, "repair_snapshots", &["repair", "snapshots", "--dry-run"]);
    assert_shape(&world, "prune", &["prune", "--yes"]);
    let oldest = world.json(&["snapshots", "--json"])["snapshots"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_shape(&world, "forget", &["forget", "good", "--snapshot", &oldest, "--yes"]);
    assert_shape(&world, "plugin_list", &["plugin", "list"]);
    assert_shape(&world, "plugin_inspect", &["plugin", "inspect", "postgres"]);
}

#[test]
fn a_failure_is_one_document_on_standard_output() {
    let world = World::with_a_snapshot();
    world.configure_misbehaviour("error", "");
    let outcome = world.run(&["run", "bad", "--json"]);
    let document: Value = serde_json::from_str(&outcome.stdout).unwrap();
    insta::assert_json_snapshot!(shape(&document));
    assert_ne!(outcome.code, Some(0));
}

#[test]
fn mistakes_in_the_configuration_are_a_document_too() {
    let world = World::with_a_snapshot();
    world.configure("\n[pipeline.bad]\nplugin = \"misbehaving-source\"\nvalut = \"main\"\n");
    let outcome = world.run(&["plan", "--json"]);
    let document: Value = serde_json::from_str(&outcome.stdout).unwrap();
    insta::assert_json_snapshot!(shape(&document));
    assert_eq!(outcome.code, Some(3));
}

#[test]
fn what_was_stored_is_told_as_numbers() {
    let world = World::with_a_snapshot();
    let document = world.json(&["run", "good", "--json"]);
    let run = &document["runs"][0];
    assert_eq!((&run["entries"], &run["bytes"]), (&3.into(), &900_000.into()));
    assert!(
        run["added-bytes"].as_u64().unwrap() < 10_000,
        "nothing has changed since the first run: {run}"
    );
}
