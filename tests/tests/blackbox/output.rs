//! Where output goes: a result that could not be written is a failure, and what matters is said even to those who want to hear little.

use std::fs::OpenOptions;
use std::io::{PipeReader, Read as _};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use bulkhead_test_support::signal;

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
    for arguments in [&["ls", "good"][..], &["completions", "bash"], &["completions", "zsh"], &["man"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = world.bulkhead().command(arguments).stdout(writer).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*told), (Some(0), ""), "{arguments:?}");
    }
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

/// A world whose snapshot has more than fits between a plugin and a reader that waits; and a call of the host may not take long.
fn with_a_large_snapshot() -> World {
    let world = World::empty();
    world.configure(
        "\n[pipeline.large]\nplugin = \"misbehaving-source\"\nvault = \"main\"\nconfig = { entries = 3, entry-size = 9000000 }\n\
         limits = { call-timeout = \"2 s\" }\n",
    );
    world.succeed(&["run", "large"]);
    world
}

/// A command that has filled the pipe which nobody reads.
fn spawn_and_fill(world: &World, arguments: &[&str]) -> (Child, PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = world.bulkhead().command(arguments);
    let child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while rustix::io::ioctl_fionread(&reader).unwrap() < 60_000 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is written");
        std::thread::sleep(Duration::from_millis(10));
    }
    (child, reader)
}

#[test]
fn a_plugin_waits_for_a_reader_that_takes_its_time() {
    let world = with_a_large_snapshot();
    let (child, mut reader) = spawn_and_fill(&world, &["dump", "large", "--format", "joined"]);
    // Longer than the limit `call-timeout`: what psql does here is make an index.
    std::thread::sleep(Duration::from_secs(4));
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((read.len(), read.ends_with(b"end\n")), (27_000_004, true));
}

#[test]
fn an_interrupt_does_not_wait_for_a_reader() {
    let world = with_a_large_snapshot();
    for arguments in [&["dump", "large", "--format", "joined"][..], &["dump", "large", "data/00000000"]] {
        let (mut child, reader) = spawn_and_fill(&world, arguments);
        signal::interrupt(&child).unwrap();
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if begun.elapsed() > Duration::from_secs(20) {
                child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
        drop(reader);
    }
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
