//! Help pages, as a reader sees them.

use bulkhead_test_support::Bulkhead;

/// Every command, as `bulkhead … --help` names it.
const COMMANDS: [&str; 12] = [
    "",
    "init",
    "check",
    "plan",
    "run",
    "snapshots",
    "ls",
    "dump",
    "restore",
    "verify",
    "plugin list",
    "plugin inspect",
];

#[test]
fn help_pages() {
    let bulkhead = Bulkhead::new().unwrap();
    for command in COMMANDS {
        let mut words: Vec<&str> = command.split_whitespace().collect();
        words.push("--help");
        let outcome = bulkhead.run(&words).unwrap();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert_eq!(outcome.stderr, "", "help is data");
        insta::assert_snapshot!(format!("help_{}", command.replace(' ', "_")), outcome.stdout);
    }
}

#[test]
fn the_version_is_one_line() {
    let outcome = Bulkhead::new().unwrap().run(["--version"]).unwrap();
    assert_eq!(outcome.stdout, concat!("bulkhead ", env!("CARGO_PKG_VERSION"), "\n"));
}
