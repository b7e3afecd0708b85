//! What restic makes, the sink stores; what the sink stores, restic opens.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{fs, path::Path, process::Command};

use bulkhead_plugin_local::Local;
use bulkhead_sdk::testing::{Directory, Harness};

fn restic(repository: &Path, arguments: &[&str]) {
    let output = Command::new("restic")
        .args(["--no-cache", "--quiet", "--repo"])
        .arg(repository)
        .args(arguments)
        .env("RESTIC_PASSWORD", "correct horse")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "restic {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_repository_copied_through_the_sink_passes_restics_own_check() {
    let (original, copy) = (Directory::temporary(), Directory::temporary());
    let (original_harness, copy_harness) = (
        Harness::new().directory("root", original.clone()),
        Harness::new().directory("root", copy.clone()),
    );
    let content = tempfile::tempdir().unwrap();
    fs::write(content.path().join("file"), vec![42; 3 << 20]).unwrap();
    restic(original.path(), &["init"]);
    restic(original.path(), &["backup", content.path().to_str().unwrap()]);

    let mut from = original_harness.sink::<Local>("{}").unwrap();
    let mut to = copy_harness.sink::<Local>("{}").unwrap();
    to.initialize().unwrap();
    let objects = from.list("").unwrap();
    assert!(objects.len() >= 5, "config, key, index, snapshot and packs: {objects:?}");
    for object in objects {
        to.put_if_absent(&object.key, &from.get(&object.key).unwrap()).unwrap();
    }
    restic(copy.path(), &["check", "--read-data"]);

    // The copy is a vault to the sink, and one that restic goes on writing.
    assert_eq!(to.check().unwrap(), []);
    fs::write(content.path().join("another"), "more").unwrap();
    restic(copy.path(), &["backup", content.path().to_str().unwrap()]);
    restic(copy.path(), &["check", "--read-data"]);
    assert_eq!(to.list("snapshots/").unwrap().len(), 2);
}
