//! The plugin on real trees, natively: what it stores is compared with what the system says of them.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::{self, FileTimes, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bulkhead_plugin_files::Files;
use bulkhead_sdk::{
    Error, ErrorKind, Result,
    metadata::NodeType,
    source::BackupResult,
    testing::{Call, Directory, Harness},
    types::{Fact, Timestamp},
};

/// A tree with one of everything.
fn filled() -> Directory {
    let tree = Directory::temporary();
    let root = tree.path();
    fs::create_dir_all(root.join("folder/below")).unwrap();
    fs::write(root.join("folder/file"), "some content").unwrap();
    fs::write(root.join("folder/below/large"), vec![7; 700_000]).unwrap();
    fs::write(root.join("empty"), "").unwrap();
    let holes = fs::File::create(root.join("holes")).unwrap();
    holes.set_len(5 << 20).unwrap();
    holes.write_all_at(b"end", (5 << 20) - 3).unwrap();
    let odd = std::ffi::OsStr::from_bytes(b"odd \xff\n name");
    fs::write(root.join(odd), "odd").unwrap();
    symlink("nowhere/at all", root.join("link")).unwrap();
    fs::hard_link(root.join("folder/file"), root.join("hard-link")).unwrap();
    UnixListener::bind(root.join("socket")).unwrap();
    assert!(Command::new("mkfifo").arg(root.join("pipe")).status().unwrap().success());
    fs::set_permissions(root.join("folder/below"), Permissions::from_mode(0o2751)).unwrap();
    fs::set_permissions(root.join("empty"), Permissions::from_mode(0o4705)).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH - Duration::new(300_000_000, 250_000_001);
    let empty = fs::File::options().write(true).open(root.join("empty")).unwrap();
    empty.set_times(FileTimes::new().set_modified(long_ago)).unwrap();
    tree
}

fn harness(tree: &Directory) -> Harness {
    Harness::new().directory("home", tree.clone().read_only())
}

fn backup(harness: &Harness, config: &str) -> Result<BackupResult> {
    harness.backup::<Files>(config)
}

fn fact<'f>(facts: &'f [Fact], name: &str) -> &'f str {
    &facts.iter().find(|fact| fact.name == name).unwrap().value
}

fn paths(harness: &Harness) -> Vec<String> {
    let snapshot = harness.last().unwrap();
    snapshot
        .entries
        .keys()
        .map(|path| String::from_utf8_lossy(path).into_owned())
        .collect()
}

#[test]
fn one_of_everything_is_stored_as_it_is() {
    let tree = filled();
    let harness = harness(&tree);
    let result = backup(&harness, "{}").unwrap();
    assert_eq!(result.findings, []);
    let counts = ["files", "folders", "symbolic-links", "special-files"].map(|name| fact(&result.proof.facts, name));
    assert_eq!(counts, ["6", "3", "1", "2"]);
    let snapshot = harness.last().unwrap();
    assert_eq!(snapshot.entries.len(), 12);
    for (path, entry) in &snapshot.entries {
        let below = path.strip_prefix(b"home").unwrap();
        let path = tree
            .path()
            .join(std::ffi::OsStr::from_bytes(below.strip_prefix(b"/").unwrap_or(below)));
        let there = fs::symlink_metadata(&path).unwrap();
        let stored = &entry.metadata;
        assert_eq!(
            (stored.mode, stored.uid, stored.gid),
            (there.mode() & 0o7777, there.uid(), there.gid()),
            "{path:?}"
        );
        assert_eq!(
            (stored.inode, stored.device, stored.links),
            (there.ino(), there.dev(), there.nlink()),
            "{path:?}"
        );
        assert_eq!(stored.modified, Some(Timestamp::from(there.modified().unwrap())), "{path:?}");
        if there.is_file() {
            assert!(entry.content == fs::read(&path).unwrap(), "{path:?}");
        }
    }
    let kind = |path: &str| snapshot.entries[path.as_bytes()].metadata.node_type.clone();
    assert_eq!(kind("home/link"), NodeType::Symlink(b"nowhere/at all".to_vec()));
    assert_eq!((kind("home/pipe"), kind("home/socket")), (NodeType::Fifo, NodeType::Socket));
}

#[test]
fn what_has_not_changed_is_not_read_again() {
    let tree = filled();
    let harness = harness(&tree);
    backup(&harness, "{}").unwrap();
    let first = harness.last().unwrap();
    let again = backup(&harness, "{}").unwrap();
    let told = |result: &BackupResult, name: &str| fact(&result.proof.facts, name).to_owned();
    assert_eq!(
        (told(&again, "unchanged-files"), told(&again, "bytes-read")),
        ("6".into(), "0".into())
    );
    assert_eq!(harness.last().unwrap().entries, first.entries);

    fs::write(tree.path().join("folder/below/large"), "now small").unwrap();
    fs::set_permissions(tree.path().join("holes"), Permissions::from_mode(0o600)).unwrap();
    fs::write(tree.path().join("new"), "new").unwrap();
    fs::remove_file(tree.path().join("pipe")).unwrap();
    let changed = backup(&harness, "{}").unwrap();
    let read = (9 + 3 + (5 << 20)).to_string();
    assert_eq!(
        (told(&changed, "unchanged-files"), told(&changed, "bytes-read")),
        ("4".into(), read)
    );
    assert_eq!(harness.content("home/folder/below/large").unwrap(), b"now small");
    assert!(!paths(&harness).contains(&"home/pipe".to_owned()));

    let all = backup(&harness, r#"{ "read-all": true }"#).unwrap();
    assert_eq!(told(&all, "unchanged-files"), "0");
}

#[test]
fn a_file_that_was_replaced_by_one_of_the_same_size_and_time_is_noticed() {
    let tree = Directory::temporary();
    let path = tree.path().join("file");
    fs::write(&path, "one").unwrap();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let harness = harness(&tree);
    backup(&harness, "{}").unwrap();
    fs::write(tree.path().join("other"), "two").unwrap();
    let other = fs::File::options().write(true).open(tree.path().join("other")).unwrap();
    other.set_times(FileTimes::new().set_modified(modified)).unwrap();
    fs::rename(tree.path().join("other"), &path).unwrap();
    backup(&harness, "{}").unwrap();
    assert_eq!(harness.content("home/file").unwrap(), b"two");
}

#[test]
fn patterns_and_markers_choose() {
    let tree = filled();
    let harness = harness(&tree);
    backup(&harness, r#"{ "exclude": ["*.tmp", "below", "/home/[elhos]*"] }"#).unwrap();
    assert_eq!(
        paths(&harness),
        ["home", "home/folder", "home/folder/file", "home/odd \u{fffd}\n name", "home/pipe"]
            .iter()
            .filter(|path| !path.contains("odd"))
            .map(|path| (*path).to_owned())
            .collect::<Vec<_>>()
    );
    backup(&harness, r#"{ "include": ["large", "/home/empty"] }"#).unwrap();
    let files = paths(&harness)
        .into_iter()
        .filter(|path| harness.last().unwrap().entries[path.as_bytes()].metadata.node_type == NodeType::File);
    assert_eq!(files.collect::<Vec<_>>(), ["home/empty", "home/folder/below/large"]);
    fs::write(tree.path().join("folder/.nobackup"), "").unwrap();
    let result = backup(&harness, "{}").unwrap();
    assert_eq!(result.findings[0].code, "marked");
    assert!(
        result.findings[0].message.ends_with(": home/folder"),
        "{}",
        result.findings[0].message
    );
    assert!(!paths(&harness).iter().any(|path| path.starts_with("home/folder/")));
    assert!(backup(&harness, r#"{ "markers": [] }"#).unwrap().findings.is_empty());
}

#[test]
fn what_cannot_be_read_fails_the_run_unless_it_is_allowed() {
    let tree = filled();
    let harness = harness(&tree);
    tree.fail(Call::OpenFile, ErrorKind::PermissionDenied);
    let refused: Error = backup(&harness, "{}").unwrap_err();
    assert_eq!(
        (refused.kind, refused.setting.as_deref()),
        (ErrorKind::PermissionDenied, Some("unreadable"))
    );
    assert!(refused.to_string().contains("home/empty"), "{refused}");
    assert_eq!(harness.snapshots(), []);
    let allowed = backup(&harness, r#"{ "unreadable": ["*"] }"#).unwrap();
    assert_eq!(allowed.findings[0].code, "unreadable");
    assert_eq!(allowed.proof.entries, 0);
}

#[test]
fn a_file_that_grows_while_it_is_read_is_told() {
    let tree = Directory::temporary();
    let path = tree.path().join("log");
    fs::write(&path, vec![1; 64 << 20]).unwrap();
    let harness = harness(&tree);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut end = 64 << 20;
            let file = fs::File::options().write(true).open(&path).unwrap();
            while !done.load(Ordering::Relaxed) && end < 80 << 20 {
                file.write_all_at(b"more", end).unwrap();
                end += 4;
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let result = backup(&harness, "{}").unwrap();
        done.store(true, Ordering::Relaxed);
        assert_eq!(result.findings[0].code, "changed-while-read");
    });
}

#[test]
fn folders_nested_deeper_than_a_stack_and_many_names() {
    let tree = Directory::temporary();
    let mut path = tree.path().to_owned();
    for _ in 0..500 {
        path.push("d");
        fs::create_dir(&path).unwrap();
    }
    fs::write(path.join("deep"), "deep").unwrap();
    let wide = tree.path().join("wide");
    fs::create_dir(&wide).unwrap();
    (0..20_000).for_each(|number| fs::write(wide.join(number.to_string()), "").unwrap());
    let harness = harness(&tree);
    let result = backup(&harness, "{}").unwrap();
    assert_eq!(result.proof.entries, 20_001);
    assert!(
        backup(&harness, "{}")
            .unwrap()
            .proof
            .facts
            .contains(&Fact::new("unchanged-files", 20_001))
    );
}

#[test]
fn an_empty_tree_and_one_that_is_not_there_are_told_before_the_first_run() {
    let tree = Directory::temporary();
    let findings = harness(&tree).check::<Files>("{}").unwrap();
    assert_eq!(findings[0].code, "tree-empty");
    let gone = Directory::at(Path::new("/nonexistent/bulkhead"));
    let findings = harness(&gone).check::<Files>("{}").unwrap();
    assert_eq!(findings[0].code, "tree-unreadable");
}
