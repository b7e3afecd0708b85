//! The README's first command, on the binary under test.

use std::path::Path;
use std::process::Command;

#[test]
fn the_demo_ends_with_identical_dumps_and_leaves_nothing_behind() {
    let mut demo = Command::new(env!("CARGO"));
    demo.args(["xtask", "demo", "--binary"])
        .arg(bulkhead_test_support::binary().unwrap());
    let scratch = bulkhead_test_support::Scratch::new().unwrap();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = bulkhead_test_support::run(demo.current_dir(workspace).env("TMPDIR", scratch.path()).env("NO_COLOR", "1")).unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        told.contains("✓ pg_dumpall says the same of the original and of the restored cluster"),
        "{told}"
    );
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "nothing is left behind");
}
