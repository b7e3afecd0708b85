//! Vaults that mean harm: a restore never leaves its folder, and says what it refused.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use bulkhead_test_support::Outcome;
use serde_json::{Value, json};

use crate::crafted::{Crafted, node};
use crate::restoring::details;

/// Bits of Go's `fs.FileMode`.
const SET_UID: u32 = 1 << 23;
const SET_GID: u32 = 1 << 22;

/// A crafted vault beside a folder that nothing may touch.
struct Trap {
    vault: Crafted,
    outside: PathBuf,
}

impl Trap {
    fn new() -> Self {
        let vault = Crafted::new();
        let outside = vault.bulkhead.scratch().folder("outside").unwrap();
        fs::write(outside.join("precious"), "precious").unwrap();
        fs::set_permissions(outside.join("precious"), fs::Permissions::from_mode(0o640)).unwrap();
        Self { vault, outside }
    }

    /// A file.
    fn file(&mut self, name: &str, more: Value) -> Value {
        let content = self.vault.content(b"evil");
        let mut file = node(name, "file", json!({ "size": 4, "content": [content] }));
        file.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        file
    }

    /// A folder of these nodes.
    fn folder(&mut self, name: &str, nodes: &[Value]) -> Value {
        let tree = self.vault.tree(nodes);
        node(name, "dir", json!({ "subtree": tree, "mode": 0o755 }))
    }

    /// Makes the snapshot, restores it with each set of options, and asserts that nothing was done outside of the folder. The last outcome.
    #[track_caller]
    fn spring(&mut self, root: &[Value], options: &[&[&str]]) -> Outcome {
        let tree = self.vault.tree(root);
        self.vault.snapshot(&tree);
        self.restore(options)
    }

    #[track_caller]
    fn restore(&self, options: &[&[&str]]) -> Outcome {
        let scratch = self.vault.bulkhead.scratch().path();
        let beside = || names(scratch).into_iter().filter(|name| name != "into").collect::<Vec<_>>();
        let before = (details(&self.outside), beside());
        let mut last = None;
        for options in options {
            let arguments = [&["restore", "good", "--into", "into/it", "--json"], *options].concat();
            let outcome = self.vault.bulkhead.run(arguments).unwrap();
            assert_eq!(before.0, details(&self.outside), "something happened outside");
            assert_eq!(before.1, beside());
            assert!(names(&scratch.join("into")).iter().all(|name| name == "it"));
            last = Some(outcome);
        }
        last.unwrap()
    }
}

fn names(folder: &std::path::Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

/// Into an empty folder, then into what that has left.
const BOTH: &[&[&str]] = &[&[], &["--delta"], &["--delta", "--delete", "--yes", "--checksum"]];

#[test]
fn names_that_cannot_be_are_refused_and_named() {
    let names = ["../evil", "a/b", "..", ".", "", "a\0b", "/etc/evil", r"..\x2fevil"];
    for (at, name) in names.into_iter().enumerate() {
        let mut trap = Trap::new();
        let evil = trap.file(name, json!({}));
        let root = if at % 2 == 0 { evil } else { trap.folder("folder", &[evil]) };
        let outcome = trap.spring(&[root], &BOTH[..2]);
        assert_eq!(outcome.code, Some(10), "{name:?}: {}", outcome.stdout);
        assert!(outcome.stdout.contains("cannot be"), "{}", outcome.stdout);
    }
}

#[test]
fn a_link_out_of_the_folder_is_restored_and_never_followed() {
    let mut trap = Trap::new();
    let target = trap.outside.display().to_string();
    let link = node("a", "symlink", json!({ "linktarget": target, "mode": 0o777 }));
    let inside = trap.file("precious", json!({}));
    // Two entries of one name: the link, and a folder whose files would go through it.
    let folder = trap.folder("a", &[inside]);
    let outcome = trap.spring(&[link, folder], BOTH);
    assert_eq!(outcome.code, Some(10), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("not in order"), "{}", outcome.stdout);
}

#[test]
fn a_link_that_an_earlier_restore_left_is_replaced_by_the_folder() {
    let mut trap = Trap::new();
    let inside = trap.file("precious", json!({ "mode": 0o777 }));
    let folder = trap.folder("a", &[inside]);
    fs::create_dir_all(trap.vault.bulkhead.scratch().join("into/it")).unwrap();
    std::os::unix::fs::symlink(&trap.outside, trap.vault.bulkhead.scratch().join("into/it/a")).unwrap();
    let outcome = trap.spring(&[folder], &[&["--delta"], &["--delta", "--delete", "--yes"]]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stdout);
    let restored = trap.vault.bulkhead.scratch().join("into/it/a");
    assert!(fs::symlink_metadata(&restored).unwrap().is_dir());
    assert_eq!(fs::read(restored.join("precious")).unwrap(), b"evil");
}

#[test]
fn hard_links_join_nothing_but_files_of_the_restore() {
    let mut trap = Trap::new();
    let precious = fs::metadata(trap.outside.join("precious")).unwrap();
    // Device and inode of a file outside.
    let links = json!({ "links": 2, "inode": precious.ino(), "device_id": precious.dev() });
    let (one, two) = (trap.file("one", links.clone()), trap.file("two", links));
    let outcome = trap.spring(&[one, two], BOTH);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stdout);
    let restored = |name: &str| fs::metadata(trap.vault.bulkhead.scratch().join("into/it").join(name)).unwrap();
    assert_eq!(restored("one").ino(), restored("two").ino());
    assert_ne!(restored("one").ino(), precious.ino());
}

#[test]
fn devices_are_made_only_when_they_are_asked_for() {
    let mut trap = Trap::new();
    let root = [
        node("disk", "dev", json!({ "device": 2048, "mode": 0o666 })),
        node("zero", "chardev", json!({ "device": 261, "mode": 0o666 })),
    ];
    let outcome = trap.spring(&root, BOTH);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stdout);
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(report["findings"][0]["code"], "devices-skipped");
    assert!(
        report["findings"][0]["message"].as_str().unwrap().contains("of 2 entries"),
        "{report}"
    );
    assert_eq!(names(&trap.vault.bulkhead.scratch().join("into/it")), [""; 0]);
}

#[test]
fn set_id_bits_do_not_come_without_their_owner() {
    let mut trap = Trap::new();
    let suid = trap.file("suid", json!({ "mode": 0o777 | SET_UID | SET_GID, "uid": 12345, "gid": 12345 }));
    let outcome = trap.spring(&[suid], &[&["--no-owner"], &["--no-owner", "--delta"]]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stdout);
    let restored = fs::metadata(trap.vault.bulkhead.scratch().join("into/it/suid")).unwrap();
    assert_eq!(restored.mode() & 0o7777, 0o777);
}

#[test]
fn a_file_that_is_not_as_long_as_it_says_is_refused_before_it_is_begun() {
    for size in [0, 3, 5, 1_u64 << 60] {
        let mut trap = Trap::new();
        let file = trap.file("file", json!({ "size": size }));
        let outcome = trap.spring(&[file], BOTH);
        assert_eq!(outcome.code, Some(10), "{size}: {}", outcome.stdout);
        assert!(outcome.stdout.contains("bytes, but it says"), "{}", outcome.stdout);
        assert_eq!(names(&trap.vault.bulkhead.scratch().join("into/it")), [""; 0]);
    }
    let mut trap = Trap::new();
    let outcome = trap.spring(&[node("file", "file", json!({ "size": 7, "content": [] }))], BOTH);
    assert_eq!(outcome.code, Some(10), "{}", outcome.stdout);
}

#[test]
fn a_tree_that_contains_itself_ends_in_an_error() {
    let mut trap = Trap::new();
    let id = "11".repeat(32);
    let again = node("again", "dir", json!({ "subtree": id }));
    trap.vault.false_tree(std::slice::from_ref(&again), &id);
    let outcome = trap.spring(&[again], BOTH);
    assert_eq!(outcome.code, Some(10), "{}", outcome.stdout);
}

#[test]
fn folders_deeper_than_a_path_may_be_long_end_in_an_error() {
    let mut trap = Trap::new();
    let mut nodes = vec![trap.file("file", json!({}))];
    for _ in 0..3000 {
        nodes = vec![trap.folder("d", &nodes)];
    }
    let outcome = trap.spring(&nodes, &[&[]]);
    assert_eq!(outcome.code, Some(10), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("more than 4096"), "{}", outcome.stdout);
}

#[test]
fn one_tree_in_many_places_is_restored_in_each() {
    let mut trap = Trap::new();
    let file = trap.file("file", json!({}));
    let same = trap.vault.tree(&[file]);
    let folders = ["a", "b", "c"].map(|name| node(name, "dir", json!({ "subtree": same, "mode": 0o755 })));
    let outcome = trap.spring(&folders, BOTH);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stdout);
    for name in ["a", "b", "c"] {
        let path = trap.vault.bulkhead.scratch().join("into/it").join(name).join("file");
        assert_eq!(fs::read(path).unwrap(), b"evil");
    }
}
