//! Help pages are data that teaches; their full text is recorded beside the command line itself (`host/cli`).

use bulkhead_test_support::Bulkhead;

/// Every command.
const COMMANDS: [&str; 28] = [
    "init",
    "check",
    "plan",
    "run",
    "snapshots",
    "ls",
    "find",
    "diff",
    "stats",
    "browse",
    "dump",
    "restore",
    "wal-fetch",
    "wal-push",
    "wal-verify",
    "mount",
    "verify",
    "forget",
    "prune",
    "tag",
    "repair index",
    "repair snapshots",
    "unlock",
    "auth gdrive",
    "plugin list",
    "plugin inspect",
    "man",
    "completions",
];

#[test]
fn every_command_explains_itself_with_examples_on_standard_output() {
    let bulkhead = Bulkhead::new().unwrap();
    for command in COMMANDS {
        let mut words: Vec<&str> = command.split_whitespace().collect();
        words.push("--help");
        let outcome = bulkhead.run(&words).unwrap();
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "bulkhead {command} --help");
        for part in ["Usage: bulkhead", "--json", &format!("Examples:\n  bulkhead {command}")] {
            assert!(outcome.stdout.contains(part), "{part} is missing:\n{}", outcome.stdout);
        }
    }
}

#[test]
fn the_program_explains_how_to_begin() {
    let outcome = Bulkhead::new().unwrap().run(["--help"]).unwrap();
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    for part in ["Usage: bulkhead", "--json", "Begin with:\n  bulkhead plan"] {
        assert!(outcome.stdout.contains(part), "{part} is missing:\n{}", outcome.stdout);
    }
}

#[test]
fn the_version_is_one_line() {
    let outcome = Bulkhead::new().unwrap().run(["--version"]).unwrap();
    assert_eq!(outcome.stdout, concat!("bulkhead ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn a_wrong_option_is_a_usage_error_on_standard_error() {
    let outcome = Bulkhead::new().unwrap().run(["run", "--fulll"]).unwrap();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""));
    assert!(outcome.stderr.contains("--full"), "{}", outcome.stderr);
}
