//! Where output goes: a result that could not be written is a failure, and what matters is said even to those who want to hear little.

use std::fs::OpenOptions;
use std::process::Stdio;

use crate::world::{World, assert_told};

#[test]
fn output_into_a_full_disk_fails() {
    let world = World::with_a_snapshot();
    for arguments in [
        &["dump", "good", "data/00000000"][..],
        &["ls", "good"],
        &["plan", "--json"],
        &["completions", "bash"],
    ] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = world.bulkhead().command(arguments).stdout(Stdio::from(full)).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(11),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to standard output"));
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let world = World::with_a_snapshot();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = world.bulkhead().command(["ls", "good"]).stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn quiet_still_tells_of_errors() {
    let world = World::with_a_snapshot();
    world.configure_misbehaviour("error", "");
    let outcome = world.run(&["check", "bad", "--quiet"]);
    assert_eq!(outcome.code, Some(14));
    assert!(outcome.stderr.contains("the server refused the backup"), "{}", outcome.stderr);
    world.configure_misbehaviour("hang", "");
    let outcome = world.run(&["check", "bad", "--quiet"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "a warning is not an error");
}

#[test]
fn an_entry_is_looked_into_a_page_at_a_time() {
    let world = World::empty();
    world.configure(
        "\n[pipeline.large]\nplugin = \"misbehaving-source\"\nvault = \"main\"\nconfig = { entries = 1, entry-size = 5000000 }\n",
    );
    world.succeed(&["run", "large"]);
    let all = world.run(&["browse", "large", "data/00000000"]);
    assert_told!(all);
    let some = world.json(&["browse", "large", "data/00000000", "part-", "--limit", "2", "--json"]);
    assert_eq!((&some["items"][1]["name"], &some["more"]), (&"part-00000001".into(), &true.into()));
    let rest = world.json(&["browse", "large", "data/00000000", "--after", "part-00000003", "--json"]);
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["more"]), (1, &false.into()));
    let missing = world.run(&["browse", "large", "nowhere"]);
    assert_eq!(missing.code, Some(13), "{}", missing.stderr);
}

#[test]
fn a_snapshot_in_another_format_is_whole_only_if_the_command_says_so() {
    let world = World::with_a_snapshot();
    let joined = |path: &[&str]| {
        let mut dump = world.bulkhead().command([&["dump", "good", "--format", "joined"], path].concat());
        let output = dump.output().unwrap();
        assert_eq!((output.status.code(), output.stdout.ends_with(b"end\n")), (Some(0), true));
        output.stdout.len()
    };
    let sizes = joined(&["data/00000000"]) + joined(&["data/00000001"]) + joined(&["data/00000002"]);
    assert_eq!(joined(&[]), sizes - 2 * "end\n".len());
    let unknown = world.run(&["dump", "good", "--format", "sql"]);
    assert_eq!(unknown.code, Some(13), "{}", unknown.stderr);
    assert_told!(unknown);
    let nothing = world.run(&["dump", "good"]);
    assert_eq!(nothing.code, Some(2), "{}", nothing.stderr);
}

#[test]
fn manual_pages_are_written_for_every_command() {
    let world = World::empty();
    let folder = world.bulkhead().scratch().folder("man").unwrap();
    world.succeed(&["man", "--into", "man"]);
    for page in ["bulkhead.1", "bulkhead-run.1", "bulkhead-plugin-list.1"] {
        let text = std::fs::read_to_string(folder.join(page)).unwrap();
        assert!(text.contains(".TH"), "{page}: {text}");
    }
    assert!(world.succeed(&["man"]).contains(".TH bulkhead"));
}
