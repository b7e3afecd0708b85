//! Restores into folders: what comes back, with plain restic as the witness; what is left alone; and what a kill in the middle leaves.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use bulkhead_test_support::mutation::Random;
use bulkhead_test_support::restic::Restic;
use bulkhead_test_support::{Bulkhead, Outcome, run};
use rustix::fs::{FileType, Mode, XattrFlags};
use serde_json::Value;

use crate::world::World;

/// The pipeline whose snapshots the tests restore. Nothing of its plugin runs.
pub(crate) const GOOD: &str = "\n[pipeline.good]\nplugin = \"redis\"\nvault = \"main\"\n";

/// A tree of files, and a vault with a snapshot of it that plain restic took.
pub(crate) struct Files {
    pub(crate) bulkhead: Bulkhead,
    pub(crate) source: PathBuf,
    restic: Restic,
}

impl Files {
    /// A vault without a snapshot.
    pub(crate) fn new() -> Self {
        let bulkhead = Bulkhead::new().unwrap();
        bulkhead.configure(GOOD).unwrap();
        let restic = Restic::new(bulkhead.vault(), bulkhead.vault_password_file()).unwrap();
        restic.run(["init"]).unwrap();
        let source = bulkhead.scratch().folder("source").unwrap();
        Self { bulkhead, source, restic }
    }

    /// With a snapshot of a tree that has some of everything.
    pub(crate) fn of_all_kinds() -> Self {
        let files = Self::new();
        grow(&files.source);
        files.snapshot();
        files
    }

    /// Takes a snapshot.
    pub(crate) fn snapshot(&self) {
        let mut backup = self.restic.command(["backup", ".", "--tag", "bulkhead", "--tag", "pipeline:good"]);
        run(backup.current_dir(&self.source)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.bulkhead.scratch().join(name)
    }

    /// The id of the first snapshot.
    fn oldest(&self) -> String {
        let listed = self.bulkhead.run(["snapshots", "--json"]).unwrap();
        let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
        listed["snapshots"][0]["id"].as_str().unwrap().to_owned()
    }

    /// Restores into the folder `into`.
    fn try_restore(&self, into: &str, options: &[&str]) -> Outcome {
        let arguments = [&["restore", "good", "--into", into, "--json"], options].concat();
        self.bulkhead.run(arguments).unwrap()
    }

    /// The report of a restore that succeeded.
    #[track_caller]
    fn restore(&self, into: &str, options: &[&str]) -> Value {
        let outcome = self.try_restore(into, options);
        assert_eq!(outcome.code, Some(0), "{options:?}\n{}{}", outcome.stdout, outcome.stderr);
        serde_json::from_str(&outcome.stdout).unwrap()
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Fills a folder with some of everything.
pub(crate) fn grow(source: &Path) {
    for folder in ["etc/ssl", "home/a/.cache", "deep/1/2/3", "empty"] {
        fs::create_dir_all(source.join(folder)).unwrap();
    }
    for (name, content) in [
        ("etc/a.conf", "a"),
        ("etc/ssl/b.conf", "bb"),
        ("etc/c.txt", "ccc"),
        ("home/a/x", "x"),
        ("home/a/x.tmp", "temporary"),
        ("home/a/.cache/y", "cached"),
        ("nothing", ""),
        ("deep/1/2/3/leaf", "leaf"),
    ] {
        fs::write(source.join(name), content).unwrap();
    }
    let odd = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"odd \xff\n\"name");
    fs::write(source.join(odd), "odd").unwrap();
    fs::write(source.join("big"), random(9_000_000, 1)).unwrap();
    let sparse = File::create(source.join("sparse")).unwrap();
    sparse.set_len(40_000_000).unwrap();
    sparse.write_all_at(b"in the middle", 20_000_000).unwrap();
    fs::hard_link(source.join("big"), source.join("deep/1/hard")).unwrap();
    symlink("../../nowhere", source.join("deep/link")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, source.join("deep/pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    if is_root() {
        rustix::fs::mknodat(
            rustix::fs::CWD,
            source.join("deep/null"),
            FileType::CharacterDevice,
            Mode::RUSR,
            259,
        )
        .unwrap();
        std::os::unix::fs::chown(source.join("etc/c.txt"), Some(1234), Some(4321)).unwrap();
        std::os::unix::fs::lchown(source.join("deep/link"), Some(77), Some(78)).unwrap();
    }
    for (name, attribute, value) in [
        ("etc/a.conf", "user.comment", b"hello".to_vec()),
        ("home/a/x", ACCESS_LIST, access_list()),
        ("home/a", DEFAULT_LIST, access_list()),
        ("deep/pipe", ACCESS_LIST, access_list()),
    ] {
        let set = rustix::fs::lsetxattr(source.join(name), attribute, &value, XattrFlags::empty());
        assert!(matches!(set, Ok(()) | Err(rustix::io::Errno::OPNOTSUPP)), "{set:?}");
    }
    for (name, mode) in [("etc/a.conf", 0o4750), ("etc/c.txt", 0o400), ("deep/1", 0o500), ("home/a", 0o1777)] {
        fs::set_permissions(source.join(name), Permissions::from_mode(mode)).unwrap();
    }
    let before_1970 = SystemTime::UNIX_EPOCH - Duration::new(1_000_000, 123_456_789);
    File::open(source.join("etc/ssl/b.conf"))
        .unwrap()
        .set_modified(before_1970)
        .unwrap();
    File::open(source.join("empty")).unwrap().set_modified(before_1970).unwrap();
}

const ACCESS_LIST: &str = "system.posix_acl_access";
/// What new files in a folder get.
const DEFAULT_LIST: &str = "system.posix_acl_default";

/// An access control list, as Linux has it in an attribute: the owner may write, the group and one more user may read.
fn access_list() -> Vec<u8> {
    const NOBODY_IN_PARTICULAR: u32 = u32::MAX;
    let entries: [(u16, u16, u32); 5] = [
        (0x01, 6, NOBODY_IN_PARTICULAR),
        (0x02, 4, 1),
        (0x04, 4, NOBODY_IN_PARTICULAR),
        (0x10, 4, NOBODY_IN_PARTICULAR),
        (0x20, 0, NOBODY_IN_PARTICULAR),
    ];
    let entries = entries.map(|(tag, permissions, id)| [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat());
    [&2_u32.to_le_bytes()[..], &entries.concat()].concat()
}

fn random(length: usize, seed: u64) -> Vec<u8> {
    Random::new(seed).bytes(length)
}

/// All that a restore has to bring back of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Details {
    mode: u32,
    owner: (u32, u32),
    /// Not of folders.
    size: u64,
    modified: (i64, i64),
    device: u64,
    /// Not of folders.
    names: u64,
    attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    content: Vec<u8>,
}

/// Everything below a folder.
pub(crate) fn details(folder: &Path) -> BTreeMap<PathBuf, Details> {
    let mut all = BTreeMap::new();
    collect(folder, Path::new(""), &mut all);
    all
}

fn collect(root: &Path, below: &Path, all: &mut BTreeMap<PathBuf, Details>) {
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let relative = below.join(entry.unwrap().file_name());
        let path = root.join(&relative);
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = if metadata.is_symlink() {
            std::os::unix::ffi::OsStringExt::into_vec(fs::read_link(&path).unwrap().into_os_string())
        } else if metadata.is_file() {
            fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        let is_folder = metadata.is_dir();
        all.insert(
            relative.clone(),
            Details {
                mode: metadata.mode(),
                owner: (metadata.uid(), metadata.gid()),
                size: if is_folder { 0 } else { metadata.size() },
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                device: metadata.rdev(),
                names: if is_folder { 0 } else { metadata.nlink() },
                attributes: attributes(&path),
                content,
            },
        );
        if is_folder {
            collect(root, &relative, all);
        }
    }
}

fn attributes(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 4096];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            (name.to_vec(), value[..length].to_vec())
        })
        .collect()
}

/// Asserts equality without printing megabytes.
#[track_caller]
pub(crate) fn assert_same(one: &Path, other: &Path) {
    let (left, right) = (details(one), details(other));
    let paths: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
    let differing: Vec<String> = paths
        .into_iter()
        .filter(|path| left.get(*path) != right.get(*path))
        .map(|path| {
            let short = |details: Option<&Details>| {
                let mut details = details.cloned()?;
                details.content.truncate(20);
                Some(details)
            };
            format!("{}:\n  {:?}\n  {:?}", path.display(), short(left.get(path)), short(right.get(path)))
        })
        .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

fn paths(folder: &Path) -> Vec<String> {
    let all = details(folder).into_keys();
    all.map(|path| path.to_string_lossy().into_owned()).collect()
}

fn changes(report: &Value) -> [u64; 4] {
    ["created", "updated", "unchanged", "deleted"].map(|key| report["changes"][key].as_u64().unwrap())
}

fn codes(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings.map(|finding| finding["code"].as_str().unwrap()).collect()
}

#[test]
fn a_tree_of_all_kinds_comes_back_as_it_was_and_as_restic_restores_it() {
    let files = Files::of_all_kinds();
    let report = files.restore("ours", &["--devices"]);
    assert_eq!(codes(&report), [""; 0]);
    assert_same(&files.path("ours"), &files.source);
    let theirs = files.bulkhead.scratch().folder("theirs").unwrap();
    files.restic.restore("latest", &theirs).unwrap();
    assert_same(&files.path("ours"), &theirs);
    assert!(fs::metadata(files.path("ours/sparse")).unwrap().blocks() < 1000, "holes are holes");
}

#[test]
fn patterns_choose_and_parents_come_with_their_own_metadata() {
    let files = Files::of_all_kinds();
    files.restore(
        "some",
        &[
            "--include",
            "**/*.conf",
            "--include",
            "home/a",
            "--exclude",
            "**/.cache",
            "--exclude",
            "**/*.tmp",
        ],
    );
    let expected = ["etc", "etc/a.conf", "etc/ssl", "etc/ssl/b.conf", "home", "home/a", "home/a/x"];
    assert_eq!(paths(&files.path("some")), expected);
    let (ours, theirs) = (details(&files.path("some")), details(&files.source));
    for path in expected.map(Path::new) {
        assert_eq!(ours[path], theirs[path], "{}", path.display());
    }
    files.restore("part", &["etc", "--exclude", "etc/*.conf"]);
    assert_eq!(paths(&files.path("part")), ["etc", "etc/c.txt", "etc/ssl", "etc/ssl/b.conf"]);
}

#[test]
fn a_pattern_that_takes_nothing_is_an_error_and_makes_nothing() {
    let files = Files::of_all_kinds();
    let outcome = files.try_restore("none", &["--include", "etc/**", "--include", "*.conf"]);
    assert_eq!(outcome.code, Some(13), "{}", outcome.stdout);
    let error: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert!(error["message"].as_str().unwrap().ends_with("matches `*.conf`"), "{error}");
    assert!(!files.path("none").exists());
    let report = files.restore("all", &["--exclude", "nowhere/**"]);
    assert!(codes(&report).contains(&"nothing-excluded"), "{report}");
    assert_eq!(files.try_restore("odd", &["--include", "a["]).code, Some(2));
}

#[test]
fn a_dry_run_reports_what_the_restore_does_and_writes_nothing() {
    let files = Files::of_all_kinds();
    let told = files.restore("into", &["--dry-run"]);
    assert!(!files.path("into").exists());
    let done = files.restore("into", &[]);
    for key in ["entries", "bytes", "changes"] {
        assert_eq!(told[key], done[key], "{key}");
    }
    assert_eq!((&told["dry-run"], &done["dry-run"]), (&true.into(), &false.into()));
    damage(&files.path("into"));
    let before = details(&files.path("into"));
    let told = files.restore("into", &["--delta", "--delete", "--dry-run"]);
    assert!(before == details(&files.path("into")), "a dry run changed something");
    let done = files.restore("into", &["--delta", "--delete", "--yes"]);
    for key in ["entries", "bytes", "changes", "surplus"] {
        assert_eq!(told[key], done[key], "{key}");
    }
}

/// Changes some of everything in a restored folder.
fn damage(folder: &Path) {
    let big = File::options().write(true).open(folder.join("sparse")).unwrap();
    big.write_all_at(b"somewhere else", 5_000_000).unwrap();
    big.set_len(41_000_000).unwrap();
    fs::remove_file(folder.join("nothing")).unwrap();
    fs::remove_file(folder.join("etc/c.txt")).unwrap();
    symlink("/etc/passwd", folder.join("etc/c.txt")).unwrap();
    fs::set_permissions(folder.join("deep/1"), Permissions::from_mode(0o700)).unwrap();
    fs::remove_dir_all(folder.join("deep/1/2")).unwrap();
    fs::write(folder.join("deep/1/2"), "a file where a folder was").unwrap();
    fs::remove_file(folder.join("deep/link")).unwrap();
    fs::create_dir(folder.join("deep/link")).unwrap();
    fs::set_permissions(folder.join("home"), Permissions::from_mode(0o777)).unwrap();
    fs::create_dir_all(folder.join("junk/1")).unwrap();
    fs::write(folder.join("junk/1/file"), "junk").unwrap();
    symlink("/", folder.join("etc/root")).unwrap();
}

#[test]
fn a_delta_writes_what_differs_and_removes_what_it_is_told_to() {
    let files = Files::of_all_kinds();
    let all = files.restore("into", &["--devices"])["entries"].as_u64().unwrap();
    assert_eq!(changes(&files.restore("into", &["--delta", "--devices"])), [0, 0, all, 0]);
    damage(&files.path("into"));
    // Off a terminal there is nobody to ask.
    let unasked = files.try_restore("into", &["--delta", "--delete"]);
    assert_eq!(unasked.code, Some(2), "{}", unasked.stdout);
    let report = files.restore("into", &["--delta", "--delete", "--yes", "--devices"]);
    assert_same(&files.path("into"), &files.source);
    let mut surplus: Vec<_> = report["surplus"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["path"].as_str().unwrap())
        .collect();
    surplus.sort_unstable();
    assert_eq!(surplus, ["deep/link", "etc/root", "junk"]);
    assert_eq!(report["changes"]["deleted"], 5);
    let written = report["changes"]["bytes-written"].as_u64().unwrap();
    assert!((1..=8 << 20).contains(&written), "of one large file one chunk differs: {written}");
    assert!(
        fs::metadata(files.path("into/sparse")).unwrap().blocks() < 1000,
        "holes are holes again"
    );
    assert!(Path::new("/etc/passwd").exists());
}

#[test]
fn only_a_checksum_finds_a_change_that_kept_size_and_time() {
    let files = Files::of_all_kinds();
    files.restore("into", &[]);
    let big = files.path("into/etc/ssl/b.conf");
    let modified = fs::metadata(&big).unwrap().modified().unwrap();
    fs::write(&big, "BB").unwrap();
    File::open(&big).unwrap().set_modified(modified).unwrap();
    assert_eq!(changes(&files.restore("into", &["--delta"]))[1], 0);
    assert_eq!(changes(&files.restore("into", &["--delta", "--checksum"]))[1], 1);
    assert_eq!(fs::read(&big).unwrap(), b"bb");
}

#[test]
fn a_file_with_a_name_outside_of_the_folder_is_not_changed_through_it() {
    let files = Files::of_all_kinds();
    files.restore("into", &[]);
    let (inside, outside) = (files.path("into/home/a/x"), files.path("outside"));
    fs::write(&outside, "precious").unwrap();
    fs::remove_file(&inside).unwrap();
    fs::hard_link(&outside, &inside).unwrap();
    // And a folder that leads out of it.
    let elsewhere = files.bulkhead.scratch().folder("elsewhere").unwrap();
    fs::write(elsewhere.join("leaf"), "precious").unwrap();
    fs::remove_dir_all(files.path("into/deep/1/2/3")).unwrap();
    symlink(&elsewhere, files.path("into/deep/1/2/3")).unwrap();
    files.restore("into", &["--delta", "--delete", "--yes", "--devices"]);
    assert_same(&files.path("into"), &files.source);
    assert_eq!(fs::read(&outside).unwrap(), b"precious");
    assert_eq!(fs::read(elsewhere.join("leaf")).unwrap(), b"precious");
}

#[test]
fn excluded_files_are_neither_restored_nor_removed() {
    let files = Files::of_all_kinds();
    files.restore("into", &[]);
    fs::create_dir(files.path("into/new")).unwrap();
    for name in ["new/a", "new/keep.log", "etc/keep.log", "etc/gone"] {
        fs::write(files.path("into").join(name), "").unwrap();
    }
    files.restore("into", &["--delta", "--delete", "--yes", "--exclude", "**/*.log"]);
    for (name, exists) in [
        ("new/a", false),
        ("new/keep.log", true),
        ("etc/keep.log", true),
        ("etc/gone", false),
    ] {
        assert_eq!(files.path("into").join(name).exists(), exists, "{name}");
    }
    // Of a part of the snapshot, only what belongs to that part is removed.
    fs::write(files.path("into/etc/gone"), "").unwrap();
    files.restore("into", &["home", "--delta", "--delete", "--yes"]);
    assert!(files.path("into/etc/gone").exists() && files.path("into/new/keep.log").exists());
}

#[test]
fn a_folder_that_is_in_the_way_stays_unless_it_is_planned_to_go() {
    let files = Files::of_all_kinds();
    files.restore("into", &[]);
    fs::remove_file(files.path("into/nothing")).unwrap();
    fs::create_dir_all(files.path("into/nothing/inside")).unwrap();
    let refused = files.try_restore("into", &["--delta"]);
    assert_eq!(refused.code, Some(12), "{}", refused.stdout);
    assert!(refused.stdout.contains("--delete"), "{}", refused.stdout);
    assert!(files.path("into/nothing/inside").exists());
    let report = files.restore("into", &["--delta", "--delete", "--yes"]);
    assert_eq!(report["surplus"][0]["path"], "nothing");
    assert!(files.path("into/nothing").is_file());
}

#[test]
fn a_folder_that_is_not_empty_is_refused_without_delta() {
    let files = Files::of_all_kinds();
    fs::create_dir(files.path("into")).unwrap();
    fs::write(files.path("into/mine"), "").unwrap();
    for options in [&[][..], &["--dry-run"]] {
        let refused = files.try_restore("into", options);
        assert_eq!(refused.code, Some(12), "{}", refused.stdout);
    }
    assert_eq!(paths(&files.path("into")), ["mine"]);
}

#[test]
fn owners_are_kept_mapped_or_left() {
    let files = Files::of_all_kinds();
    let me = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let owner = |into: &str, name: &str| details(&files.path(into))[Path::new(name)].owner;
    let mapping = format!("{}:{}", me.0, me.0 + 5000);
    let report = files.restore("mapped", &["--map-user", &mapping, "--map-group", "*:4242"]);
    if is_root() {
        assert_eq!(owner("mapped", "etc/a.conf"), (me.0 + 5000, 4242));
        assert_eq!(owner("mapped", "etc/c.txt"), (1234, 4242));
    } else {
        assert!(codes(&report).contains(&"owners-skipped"), "{report}");
        assert_eq!(owner("mapped", "etc/a.conf"), me);
    }
    // Set-user-id belongs to the owner that the snapshot names.
    assert!(codes(&report).contains(&"set-id-skipped"), "{report}");
    assert_eq!(details(&files.path("mapped"))[Path::new("etc/a.conf")].mode & 0o7777, 0o750);
    files.restore("left", &["--no-owner"]);
    assert_eq!(owner("left", "etc/c.txt"), me);
    assert_eq!(owner("left", "deep/link"), me);
    for wrong in [["--map-user", "x:1"], ["--map-group", "1"]] {
        assert_eq!(files.try_restore("wrong", &wrong).code, Some(2));
    }
}

/// `CAP_SETUID`, effective: the value of `security.capability` as capabilities(7) and linux/capability.h have it, version 2.
const SETUID_CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn capabilities_belong_to_the_owner_as_set_user_id_does() {
    assert!(is_root(), "only root may give a file capabilities");
    let files = Files::new();
    let program = files.source.join("program");
    fs::write(&program, "program").unwrap();
    rustix::fs::setxattr(&program, "security.capability", &SETUID_CAPABILITY, XattrFlags::empty()).unwrap();
    files.snapshot();
    let capabilities = |into: &str| {
        let mut value = [0; 64];
        let length = rustix::fs::getxattr(files.path(into).join("program"), "security.capability", &mut value[..]);
        length.ok().map(|length| value[..length].to_vec())
    };
    files.restore("owned", &[]);
    assert_eq!(capabilities("owned").as_deref(), Some(&SETUID_CAPABILITY[..]));
    for (into, options) in [("left", &["--no-owner"][..]), ("mapped", &["--map-user", "*:4242"])] {
        let report = files.restore(into, options);
        assert!(codes(&report).contains(&"set-id-skipped"), "{report}");
        assert_eq!(capabilities(into), None, "{into}");
    }
    // One that was given away, or was added, is no file that has not changed.
    rustix::fs::removexattr(files.path("owned/program"), "security.capability").unwrap();
    files.restore("owned", &["--delta"]);
    assert_eq!(capabilities("owned").as_deref(), Some(&SETUID_CAPABILITY[..]));
    rustix::fs::setxattr(
        files.path("left/program"),
        "security.capability",
        &SETUID_CAPABILITY,
        XattrFlags::empty(),
    )
    .unwrap();
    files.restore("left", &["--delta", "--no-owner"]);
    assert_eq!(capabilities("left"), None);
}

/// What a restore has written so far.
fn progress(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| {
            let metadata = entry.metadata();
            let blocks = metadata.as_ref().map_or(0, |metadata| metadata.blocks() * 512);
            let inside = if metadata.is_ok_and(|metadata| metadata.is_dir()) {
                progress(&entry.path())
            } else {
                0
            };
            (64 << 10) + blocks + inside
        })
        .sum()
}

#[test]
fn a_restore_that_is_killed_again_and_again_ends_with_every_byte() {
    let files = Files::new();
    for number in 0..300_u64 {
        let folder = files.source.join(format!("{:02}", number % 20));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(number.to_string()), random((number * 997 % 40_000) as usize, number)).unwrap();
    }
    for number in 0..4 {
        let name = files.source.join(format!("{number:02}/large"));
        fs::write(&name, random(8_000_000, 1000 + number)).unwrap();
        fs::hard_link(&name, files.source.join(format!("1{number}/linked"))).unwrap();
    }
    files.snapshot();
    let into = files.path("into");
    let total = progress(&files.source);
    let mut kills = 0;
    for round in 0..60 {
        let start = progress(&into);
        let mut command = files.bulkhead.command(["restore", "good", "--into", "into", "--delta"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if progress(&into) >= start + total / 80 {
                break None;
            }
            std::thread::yield_now();
        };
        match ended {
            Some(status) if status.success() => break,
            Some(status) => panic!("round {round} ended with {status}"),
            None => {
                child.kill().unwrap();
                if child.wait().unwrap().success() {
                    break;
                }
                kills += 1;
            }
        }
    }
    // How soon it is seen that there is more, and so how often it can be killed, is up to the machine.
    assert!(kills >= 8, "it was only killed {kills} times");
    files.restore("into", &["--delta"]);
    assert_same(&into, &files.source);
    let all = details(&into).len() as u64;
    assert_eq!(changes(&files.restore("into", &["--delta", "--checksum"])), [0, 0, all, 0]);
}

#[test]
fn a_sink_that_must_bring_objects_back_first_says_so() {
    let world = World::with_a_snapshot();
    let text = fs::read_to_string(world.folder().join("bulkhead.toml")).unwrap();
    assert!(!world.succeed(&["plan"]).contains("retrieval"));
    world.write(&text.replace("[sink.disk]\n", "[sink.disk]\nretrieval = \"12 h\"\n"));
    let plan = world.succeed(&["plan"]);
    assert!(plan.contains("(must succeed, read after a retrieval of 12 h)"), "{plan}");
    let restore = ["restore", "good", "--into", "restored"];
    let document = world.json(&[&restore[..], &["--dry-run", "--json"]].concat());
    assert_eq!(document["retrieval"], serde_json::json!({ "sink": "disk", "time": 43200.0 }));
    for more in [&["--dry-run"][..], &[]] {
        let told = world.run(&[&restore[..], more].concat());
        assert!(
            told.stderr.contains("on the sink disk") && told.stderr.contains("12 h"),
            "{}",
            told.stderr
        );
    }
}

#[test]
fn a_rehearsal_names_what_it_would_touch_and_a_restore_what_it_replaces() {
    let files = Files::of_all_kinds();
    files.restore("there", &["--devices"]);
    let there = |name: &str| files.path(&format!("there/{name}"));
    fs::write(there("etc/a.conf"), "other").unwrap();
    fs::remove_file(there("etc/c.txt")).unwrap();
    fs::remove_file(there("deep/1/2/3/leaf")).unwrap();
    fs::remove_dir(there("deep/1/2/3")).unwrap();
    symlink("/nowhere", there("deep/1/2/3")).unwrap();
    fs::write(there("etc/surplus"), "").unwrap();
    let before = details(&files.path("there"));
    let restore = |options: &[&str]| {
        let outcome = files
            .bulkhead
            .run([&["restore", "good", "--into", "there", "--delta", "--devices"], options].concat());
        let outcome = outcome.unwrap();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let words = ["create ", "update ", "replace ", "remove "];
        let named = outcome
            .stdout
            .lines()
            .filter(|line| words.iter().any(|word| line.starts_with(word)));
        named.map(str::to_owned).collect::<Vec<_>>()
    };
    // Folders that lost a name or got one have another time.
    let all = [
        "update deep/1/2",
        "replace deep/1/2/3",
        "create deep/1/2/3/leaf",
        "update etc",
        "update etc/a.conf",
        "create etc/c.txt",
        "remove etc/surplus",
    ];
    assert_eq!(restore(&["--dry-run", "--delete"]), all);
    assert_eq!(restore(&["--dry-run"]), all[..6]);
    let report = files.restore("there", &["--delta", "--devices", "--dry-run"]);
    let touched = report["touched"].as_array().unwrap().iter();
    let touched: Vec<String> = touched
        .map(|entry| format!("{} {}", entry["change"].as_str().unwrap(), entry["path"].as_str().unwrap()))
        .collect();
    assert_eq!(touched, all[..6]);
    assert_eq!(changes(&report)[..2], [2, 4]);
    assert_eq!(details(&files.path("there")), before, "nothing was written");
    assert_eq!(restore(&["--delete", "--yes"]), ["remove etc/surplus", "replace deep/1/2/3"]);
    assert_same(&files.path("there"), &files.source);
    assert_eq!(files.restore("new", &[])["touched"], serde_json::json!([]));
}

#[test]
fn names_that_would_act_on_a_terminal_are_shown_instead() {
    let files = Files::new();
    let names = ["\x1b[2K\x1b[1Ghidden", "back\\x2dslash", "cr\r", "gpj.\u{202e}exe", "two\nlines"];
    for name in names {
        fs::write(files.source.join(name), name).unwrap();
    }
    files.snapshot();
    let shown = [
        r"\u{1b}[2K\u{1b}[1Ghidden",
        r"back\x2dslash",
        r"cr\r",
        r"gpj.\u{202e}exe",
        r"two\nlines",
    ];
    let text = |arguments: &[&str]| {
        let mut command = files.bulkhead.command(arguments);
        let output = command.env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(text(&["ls", "good"]).lines().collect::<Vec<_>>(), shown);
    let found = text(&["find", "--type", "file"]);
    let found: Vec<&str> = found.lines().skip(1).map(|line| line.rsplit("good: ").next().unwrap()).collect();
    assert_eq!(found, shown);
    // What somebody is asked to agree to cannot rub itself out.
    for name in names {
        fs::remove_file(files.source.join(name)).unwrap();
    }
    fs::write(files.source.join("new"), "").unwrap();
    files.snapshot();
    files.restore("there", &["--snapshot", &files.oldest()]);
    let plan = text(&["restore", "good", "--into", "there", "--delta", "--delete", "--dry-run"]);
    let mut removed: Vec<&str> = plan
        .lines()
        .filter_map(|line| line.strip_prefix("\x1b[33mremove\x1b[0m "))
        .collect();
    removed.sort_unstable();
    assert_eq!(removed, shown);
    assert!(!plan.contains("\x1b[2K") && !plan.contains('\u{202e}'), "{plan}");
    let documents = files.bulkhead.run(["ls", "good", "--snapshot", &files.oldest(), "--json"]).unwrap();
    let documents: Value = serde_json::from_str(&documents.stdout).unwrap();
    assert_eq!(documents["entries"][0]["path"], names[0]);
}
