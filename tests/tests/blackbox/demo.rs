//! The README's first command, on the binary under test.

use std::path::Path;
use std::process::Command;

/// What the demo prints, and how many files it leaves.
fn play(arguments: &[&str]) -> (String, usize) {
    let mut demo = Command::new(env!("CARGO"));
    demo.args(["xtask", "demo", "--binary"])
        .arg(bulkhead_test_support::binary().unwrap())
        .args(arguments);
    let scratch = bulkhead_test_support::Scratch::new().unwrap();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = bulkhead_test_support::run(demo.current_dir(workspace).env("TMPDIR", scratch.path()).env("NO_COLOR", "1")).unwrap();
    let left = std::fs::read_dir(scratch.path()).unwrap().count();
    (String::from_utf8(output.stdout).unwrap(), left)
}

#[test]
fn the_demo_ends_with_identical_dumps_and_leaves_nothing_behind() {
    let (told, left) = play(&[]);
    assert!(
        told.contains("✓ pg_dumpall says the same of the original and of the restored cluster"),
        "{told}"
    );
    assert_eq!(left, 0, "nothing is left behind");
}

#[test]
fn the_quick_demo_needs_no_server_and_leaves_nothing_behind() {
    let (told, left) = play(&["--quick"]);
    assert!(told.contains("✓ diff finds no difference between the trees"), "{told}");
    assert!(told.contains("✓ the image of the database is of one moment"), "{told}");
    assert_eq!(left, 0, "nothing is left behind");
}
