//! The sink in real folders: what it stores, what it refuses, and what is left when it is killed.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    time::{Duration, SystemTime},
};

use bulkhead_plugin_local::Local;
use bulkhead_sdk::{
    ErrorKind,
    testing::{Call, Directory, Harness, SinkTester, conformance},
    types::{Finding, Severity},
};

const KEY: &str = "data/ab/ab01";

fn harness(directory: &Directory) -> Harness {
    Harness::new().directory("root", directory.clone())
}

fn sink(harness: &Harness) -> SinkTester<'_, Local> {
    harness.sink("{}").unwrap()
}

fn codes(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.code.as_str()).collect()
}

/// Makes a file two days old.
fn age(path: &Path) {
    let two_days_ago = SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(two_days_ago).unwrap();
}

/// All regular files below `folder`.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}

/// A store with the two files that make it a repository.
fn repository(directory: &Directory) {
    let harness = harness(directory);
    let mut sink = sink(&harness);
    sink.initialize().unwrap();
    sink.put("keys/0a", b"key").unwrap();
    sink.put("config", b"config").unwrap();
}

#[test]
fn conforms() {
    conformance::sink::<Local>(&harness(&Directory::temporary()), "{}");
}

#[test]
fn conforms_where_there_are_no_hard_links() {
    conformance::sink::<Local>(&harness(&Directory::temporary().without_hard_links()), "{}");
}

#[test]
fn files_and_folders_are_private() {
    let directory = Directory::temporary();
    repository(&directory);
    for (path, mode) in [
        ("keys/0a", 0o600),
        ("config", 0o600),
        ("keys", 0o700),
        ("data", 0o700),
        ("data/ff", 0o700),
    ] {
        assert_eq!(fs::metadata(directory.path().join(path)).unwrap().mode() & 0o7777, mode, "{path}");
    }
}

#[test]
fn a_killed_put_leaves_the_object_whole_or_absent() {
    for if_absent in [false, true] {
        let mut killed = 0;
        for changes in 0.. {
            let directory = Directory::temporary();
            repository(&directory);
            let harness = harness(&directory);
            let mut sink = sink(&harness);
            directory.die_after(changes);
            let stored = if if_absent {
                sink.put_if_absent(KEY, b"whole")
            } else {
                sink.put(KEY, b"whole")
            };
            directory.die_after(u64::MAX);
            match sink.get(KEY) {
                Ok(content) => assert_eq!(content, b"whole", "killed after {changes} changes"),
                Err(error) => assert_eq!(
                    (error.kind, stored.is_ok()),
                    (ErrorKind::NotFound, false),
                    "killed after {changes} changes"
                ),
            }
            let listed = sink.list("data/").unwrap();
            assert_eq!(
                listed.len(),
                usize::from(sink.stat(KEY).unwrap().is_some()),
                "a temporary file is no object"
            );
            if stored.is_ok() {
                break;
            }
            killed += 1;
        }
        assert!(
            killed >= 5,
            "create, write, sync, rename and sync of the folder can each be the last; only {killed} were"
        );
    }
}

#[test]
fn a_replaced_object_is_old_or_new_when_killed() {
    for changes in 0..5 {
        let directory = Directory::temporary();
        repository(&directory);
        let harness = harness(&directory);
        let mut sink = sink(&harness);
        directory.die_after(changes);
        sink.put("config", b"new").unwrap_err();
        assert!(
            [&b"config"[..], b"new"].contains(&&sink.get("config").unwrap()[..]),
            "killed after {changes} changes"
        );
    }
}

#[test]
fn a_full_disk_says_so_and_leaves_nothing() {
    let directory = Directory::temporary();
    repository(&directory);
    let harness = harness(&directory);
    let before = files(directory.path()).len();
    directory.set_room(1 << 20);
    let error = sink(&harness).put(KEY, &vec![7; 2 << 20]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::StorageFull);
    let hint = error.hint.unwrap();
    assert!(
        hint.starts_with(&format!("make room on the file system of {}", directory.path().display())),
        "{hint}"
    );
    assert_eq!(files(directory.path()).len(), before);
    directory.set_room(1 << 30);
    sink(&harness).put(KEY, &vec![7; 2 << 20]).unwrap();
}

#[test]
fn leftovers_are_no_objects_and_are_swept_when_old() {
    let directory = Directory::temporary();
    repository(&directory);
    let (young, old) = (
        directory.path().join("data/ab/ab01-tmp-1"),
        directory.path().join("data/ab/ab02-tmp-2"),
    );
    fs::write(&young, "half").unwrap();
    fs::write(&old, "half").unwrap();
    age(&old);
    let harness = harness(&directory);
    assert_eq!(sink(&harness).list("data/").unwrap(), []);
    assert!(young.exists(), "it may belong to a run that is at work");
    assert!(!old.exists());
}

#[test]
fn the_age_of_leftovers_is_told_by_the_clock_that_stamps_them() {
    let directory = Directory::temporary();
    repository(&directory);
    let leftover = directory.path().join("data/ab/ab02-tmp-2");
    fs::write(&leftover, "half").unwrap();
    age(&leftover);
    directory.set_clock_behind(Duration::from_secs(30 * 3600));
    let harness = harness(&directory);
    let before = files(directory.path());
    sink(&harness).list("").unwrap();
    assert_eq!(
        files(directory.path()),
        before,
        "by the server's clock it is 18 hours old, and nothing else is left"
    );
    directory.set_clock_behind(Duration::from_secs(3600));
    sink(&harness).list("").unwrap();
    assert!(!leftover.exists());
}

#[test]
fn only_what_an_interrupted_run_left_is_swept() {
    let directory = Directory::temporary();
    repository(&directory);
    let swept = "index/0a-tmp-0f";
    let kept = [
        "photos-tmp-2019",
        "config-tmp-final",
        "index/notes-tmp-1",
        "data/ab/cd-tmp-1",
        "keys/0b-tmp-1",
    ];
    for name in kept.iter().chain([&swept]) {
        fs::write(directory.path().join(name), "half").unwrap();
        age(&directory.path().join(name));
    }
    let harness = harness(&directory);
    sink(&harness).list("index/").unwrap();
    for name in kept {
        assert!(directory.path().join(name).exists(), "{name}");
    }
    assert!(!directory.path().join(swept).exists());
    sink(&harness).list("").unwrap();
    assert!(!directory.path().join("keys/0b-tmp-1").exists());
    assert!(directory.path().join("config-tmp-final").exists());
}

#[test]
fn nothing_is_changed_in_a_folder_that_is_no_vault() {
    let home = Directory::temporary();
    fs::create_dir(home.path().join("keys")).unwrap();
    for name in [
        "photo.jpg",
        "photos-tmp-2019",
        "config-tmp-1",
        "keys/0a-tmp-1",
        "keys/house-tmp-key",
    ] {
        fs::write(home.path().join(name), "").unwrap();
        age(&home.path().join(name));
    }
    let (harness, before) = (harness(&home), files(home.path()));
    let mut sink = sink(&harness);
    // What `init` asks before it refuses.
    sink.traits().unwrap();
    assert_eq!(sink.list("keys/").unwrap(), []);
    assert_eq!(sink.list("").unwrap(), []);
    assert_eq!(sink.initialize().unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(files(home.path()), before);
}

#[test]
fn a_vault_that_is_unmounted_is_not_begun_anew_below_its_mount_point() {
    let mount = tempfile::tempdir().unwrap();
    let (path, away) = (mount.path().join("vault"), mount.path().join("away"));
    fs::create_dir(&path).unwrap();
    let directory = Directory::at(&path);
    repository(&directory);
    let harness = harness(&directory);
    let mut at_work = sink(&harness);
    at_work.put(KEY, b"first").unwrap();
    fs::rename(&path, &away).unwrap();
    fs::create_dir(&path).unwrap();

    // An instance at work stays with the folder that it has opened.
    at_work.put("data/cd/cd01", b"second").unwrap();
    assert_eq!(fs::read(away.join("data/cd/cd01")).unwrap(), b"second");
    // One that comes later finds that there is no vault.
    for key in ["data/ef/ef01", "index/0a", "snapshots/0a", "locks/0a"] {
        let error = sink(&harness).put(key, b"lost").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict, "{key}: {error}");
        assert_eq!(
            error.message,
            format!("the vault at {} has gone; is it mounted?", path.display()),
            "{key}"
        );
    }
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0);

    fs::remove_dir(&path).unwrap();
    fs::remove_dir_all(&away).unwrap();
    let error = at_work.put(KEY, b"lost").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict, "removed altogether: {error}");
}

#[test]
fn folders_that_a_vault_lacks_are_made() {
    let directory = Directory::temporary();
    let harness = harness(&directory);
    // The first objects of a vault, where empty folders got lost on the way.
    sink(&harness).put("keys/0a", b"key").unwrap();
    sink(&harness).put("config", b"config").unwrap();
    sink(&harness).put(KEY, b"content").unwrap();
    assert_eq!(sink(&harness).get(KEY).unwrap(), b"content");
}

#[test]
fn a_failed_link_is_no_reason_to_replace() {
    for (link, stat, expected) in [
        (ErrorKind::Io, None, ErrorKind::Io),
        (ErrorKind::PermissionDenied, Some(ErrorKind::Io), ErrorKind::Io),
        (ErrorKind::Unsupported, Some(ErrorKind::ConnectionLost), ErrorKind::ConnectionLost),
    ] {
        let directory = Directory::temporary();
        repository(&directory);
        let before = files(directory.path());
        directory.fail(Call::CreateHardLink, link);
        if let Some(kind) = stat {
            directory.fail(Call::Stat, kind);
        }
        let error = sink(&harness(&directory)).put_if_absent(KEY, b"content").unwrap_err();
        assert_eq!(error.kind, expected, "{error}");
        assert_eq!(files(directory.path()), before);
    }
}

#[test]
fn a_store_without_hard_links_says_so() {
    for (directory, expected) in [
        (Directory::temporary(), true),
        (Directory::temporary().without_hard_links(), false),
        (Directory::temporary().read_only(), false),
    ] {
        let harness = harness(&directory);
        assert_eq!(sink(&harness).traits().unwrap().conditional_put, expected);
        assert_eq!(files(directory.path()).len(), 0);
    }
}

#[test]
fn an_object_that_is_there_is_stored_whatever_becomes_of_its_temporary() {
    let directory = Directory::temporary();
    repository(&directory);
    directory.fail(Call::RemoveFile, ErrorKind::Io);
    let harness = harness(&directory);
    sink(&harness).put_if_absent(KEY, b"content").unwrap();
    assert_eq!(sink(&harness).list("data/").unwrap().len(), 1);
}

#[test]
fn leftovers_are_not_in_the_way_of_a_new_vault() {
    let directory = Directory::temporary();
    fs::create_dir(directory.path().join("keys")).unwrap();
    for name in ["config-tmp-0f", "keys/0a-tmp-1"] {
        fs::write(directory.path().join(name), "half").unwrap();
    }
    assert_eq!(codes(&sink(&harness(&directory)).check().unwrap()), ["not-initialized"]);
    sink(&harness(&directory)).initialize().unwrap();
    repository(&directory);
}

#[test]
fn initialize_takes_only_an_empty_folder() {
    let directory = Directory::temporary();
    fs::create_dir(directory.path().join("lost+found")).unwrap();
    sink(&harness(&directory)).initialize().unwrap();
    sink(&harness(&directory)).initialize().unwrap(); // cut off before the first file: nothing that could be lost

    sink(&harness(&directory)).put("keys/0a", b"key").unwrap();
    let half = sink(&harness(&directory)).initialize().unwrap_err();
    assert_eq!(half.kind, ErrorKind::Conflict);
    assert!(half.message.contains("holds part of a vault"), "{half}");

    sink(&harness(&directory)).put("config", b"config").unwrap();
    let there = sink(&harness(&directory)).initialize().unwrap_err();
    assert!(there.message.ends_with("already holds a vault"), "{there}");

    let foreign = Directory::temporary();
    fs::write(foreign.path().join("photo.jpg"), "").unwrap();
    let refused = sink(&harness(&foreign)).initialize().unwrap_err();
    assert!(
        refused.message.ends_with("is not empty and not a vault; it holds photo.jpg"),
        "{refused}"
    );
    assert_eq!(files(foreign.path()).len(), 1);
}

#[test]
fn check_finds_what_is_wrong_and_leaves_nothing() {
    let directory = Directory::temporary();
    assert_eq!(codes(&sink(&harness(&directory)).check().unwrap()), ["not-initialized"]);
    repository(&directory);
    let before = files(directory.path());
    assert_eq!(sink(&harness(&directory)).check().unwrap(), []);
    assert_eq!(files(directory.path()), before);

    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory.set_room(1 << 20);
    let findings = sink(&harness(&directory)).check().unwrap();
    assert_eq!(codes(&findings), ["open-to-others", "little-space"]);
    assert!(
        findings
            .iter()
            .all(|finding| finding.severity == Severity::Warning && finding.hint.is_some())
    );
    directory.set_room(0);
    assert_eq!(
        codes(&sink(&harness(&directory)).check().unwrap()),
        ["open-to-others", "no-space", "not-writable"]
    );
    assert_eq!(
        codes(&sink(&harness(&directory.clone().read_only())).check().unwrap()),
        ["open-to-others", "no-space", "not-writable"]
    );

    fs::remove_file(directory.path().join("config")).unwrap();
    assert_eq!(codes(&sink(&harness(&directory)).check().unwrap())[0], "half-initialized");
}

#[test]
fn a_long_listing_comes_in_pages_without_gap_or_repetition() {
    let directory = Directory::temporary();
    repository(&directory);
    let mut expected = Vec::new();
    for number in 0..25_000_u32 {
        let folder = number % 7;
        let key = format!("data/{folder:02x}/{folder:02x}{number:06x}");
        fs::write(directory.path().join(&key), "").unwrap();
        expected.push(key);
    }
    expected.sort();
    let harness = harness(&directory);
    let listed: Vec<String> = sink(&harness).list("data/").unwrap().into_iter().map(|object| object.key).collect();
    assert!(listed == expected, "{} of {} objects were listed", listed.len(), expected.len());
}

#[test]
fn keys_outside_the_layout_are_refused() {
    let directory = Directory::temporary();
    repository(&directory);
    let harness = harness(&directory);
    for key in ["../outside", "other", "data/abcd", ""] {
        assert_eq!(sink(&harness).put(key, b"").unwrap_err().kind, ErrorKind::Internal, "{key:?}");
    }
}
