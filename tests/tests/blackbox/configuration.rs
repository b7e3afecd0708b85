//! Mistakes in `bulkhead.toml`: all of them at once, each at its place, and nothing is touched.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bulkhead_test_support::{Bulkhead, Outcome};
use serde_json::Value;

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

/// An example with every address of a server replaced by one where nobody listens.
fn without_servers(example: &str) -> String {
    let is_number = |text: &str| text.parse::<u16>().is_ok();
    // "08:00" is none.
    let is_address = |text: &str| {
        text.rsplit_once(':')
            .is_some_and(|(host, port)| is_number(port) && !is_number(host))
    };
    let parts = example.split('"').enumerate().map(|(number, part)| match number % 2 {
        1 if part.starts_with("https://") => "https://127.0.0.1:1",
        1 if is_address(part) => "127.0.0.1:1",
        _ => part,
    });
    parts.collect::<Vec<_>>().join("\"")
}

/// The document of a command, whatever it found.
fn document(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", outcome.stdout, outcome.stderr))
}

#[test]
fn every_example_is_understood_by_us_and_by_its_plugins() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut understood = Vec::new();
    for example in files.filter(|file| file.extension().is_some_and(|extension| extension == "toml")) {
        let bulkhead = Bulkhead::new().unwrap();
        let text = without_servers(&std::fs::read_to_string(&example).unwrap());
        bulkhead.write_configuration(&text).unwrap();
        let plan = document(&bulkhead.run(["plan", "--json"]).unwrap());
        let plugins_to_come = plan["diagnostics"].as_array().unwrap();
        assert!(!plan["plans"].as_array().unwrap().is_empty(), "{}", example.display());
        assert!(
            plugins_to_come
                .iter()
                .all(|each| each["message"].as_str().unwrap().contains("plugin")),
            "{}: {plugins_to_come:?}",
            example.display()
        );
        if !plugins_to_come.is_empty() {
            continue;
        }
        // Its servers and folders are not here, and that is all there may be to complain about.
        let checked = document(&bulkhead.run(["check", "--json"]).unwrap());
        for part in checked["parts"].as_array().unwrap() {
            let is_vault = part["table"].as_str().unwrap().starts_with("vault.");
            let settings = part["findings"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|finding| finding.get("setting").is_some());
            assert!(is_vault || settings.count() == 0, "{}: {part}", example.display());
        }
        understood.push(example);
    }
    assert!(understood.len() >= 4, "{understood:?}");
}

#[test]
fn a_vaults_folder_is_made_with_it_and_nothing_above() {
    let bulkhead = Bulkhead::new().unwrap();
    let init = |folder: &str| {
        let vault = bulkhead.vault().display().to_string();
        let text = bulkhead
            .vault_section()
            .replace(&format!("\"{vault}\""), &format!("\"{vault}/{folder}\""));
        bulkhead.write_configuration(&text).unwrap();
        bulkhead.run(["init"]).unwrap()
    };
    let made = init("new");
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let folder = bulkhead.vault().join("new");
    assert!(
        made.stdout
            .contains(&format!("made the folder {}, for this user alone", folder.display())),
        "{}",
        made.stdout
    );
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o7777, 0o700);
    let mistyped = init("nowhere/new");
    assert_ne!(mistyped.code, Some(0));
    assert!(
        mistyped.stderr.contains("create the folder, or correct `directory.root`"),
        "{}",
        mistyped.stderr
    );
    assert!(!bulkhead.vault().join("nowhere").exists());
}
