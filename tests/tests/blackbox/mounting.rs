//! A vault mounted through FUSE has the files that were backed up, and goes when it is told to.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use bulkhead_test_support::mutation::Random;
use bulkhead_test_support::signal;
use serde_json::Value;

use crate::damage::change;
use crate::restoring::{Files, assert_same};

/// A mounted vault.
struct Mount {
    child: Child,
    stdout: BufReader<ChildStdout>,
    folder: PathBuf,
}

impl Mount {
    /// Returns when it is mounted.
    fn new(files: &Files) -> Self {
        let mut mount = Self::begin(files);
        assert_eq!(mount.event()["event"], "mounted");
        mount
    }

    fn begin(files: &Files) -> Self {
        let folder = files.bulkhead.scratch().folder("mnt").unwrap();
        let mut command = files.bulkhead.command(["mount", "main", "mnt", "--json"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout, folder }
    }

    /// The next document.
    fn event(&mut self) -> Value {
        let mut text = String::new();
        loop {
            let length = self.stdout.read_line(&mut text).unwrap();
            assert_ne!(length, 0, "it ended: {text}");
            if let Ok(document) = serde_json::from_str(&text) {
                return document;
            }
        }
    }

    /// It ends, and says so.
    #[track_caller]
    fn assert_ended(mut self) {
        assert_eq!(self.event()["event"], "unmounted");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        assert!(!is_mounted(&self.folder));
        assert_eq!(fs::read_dir(&self.folder).unwrap().count(), 0);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if is_mounted(&self.folder) {
            let _ = self.child.kill();
            let _ = self.child.wait();
            unmount(&self.folder, "-l");
        }
    }
}

fn is_mounted(folder: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().any(|line| line.split(' ').nth(1) == folder.to_str())
}

/// As root with the system's own command, otherwise with FUSE's.
fn unmount(folder: &Path, option: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    let mut command = Command::new(if root { "umount" } else { "fusermount3" });
    command.args((!root).then_some("-u")).args((!option.is_empty()).then_some(option));
    command.arg(folder).status().unwrap().success()
}

#[test]
fn a_mounted_snapshot_has_what_was_backed_up() {
    let files = Files::of_all_kinds();
    fs::write(files.source.join("later"), "only in the second snapshot").unwrap();
    files.snapshot();
    let mount = Mount::new(&files);
    let latest = fs::canonicalize(mount.folder.join("pipelines/good/latest")).unwrap();
    assert_same(&latest, &files.source);
    let mut snapshots: Vec<PathBuf> = fs::read_dir(mount.folder.join("snapshots"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    snapshots.sort_unstable();
    assert_eq!(snapshots.len(), 2);
    assert_eq!(snapshots.iter().filter(|snapshot| snapshot.join("later").exists()).count(), 1);
    let mut diff = Command::new("diff");
    diff.args(["-r", "--no-dereference", "--exclude=pipe", "--exclude=null"])
        .arg(&latest)
        .arg(&files.source);
    assert!(diff.status().unwrap().success(), "diff found something");
    read_anywhere(&latest.join("big"), &files.source.join("big"));
    read_anywhere(&latest.join("sparse"), &files.source.join("sparse"));
    assert!(fs::write(latest.join("new"), "").is_err());
    assert!(File::options().write(true).open(latest.join("big")).is_err());
    assert!(!latest.join("missing").exists());
    assert!(unmount(&mount.folder, ""));
    mount.assert_ended();
}

/// Reads both at the same random places, from several threads.
fn read_anywhere(one: &Path, other: &Path) {
    let size = fs::metadata(other).unwrap().len();
    assert_eq!(fs::metadata(one).unwrap().len(), size);
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || {
                let (one, other) = (File::open(one).unwrap(), File::open(other).unwrap());
                let mut random = Random::new(seed);
                for _ in 0..50 {
                    let (at, length) = (random.below(size), random.below(300_000) as usize + 1);
                    let (mut left, mut right) = (vec![0; length], vec![0; length]);
                    let read = |file: &File, buffer: &mut [u8]| {
                        let mut done = 0;
                        while let Ok(count @ 1..) = file.read_at(&mut buffer[done..], at + done as u64) {
                            done += count;
                        }
                        done
                    };
                    assert_eq!(read(&one, &mut left), read(&other, &mut right), "at {at}");
                    assert!(left == right, "the files differ at {at}");
                }
            });
        }
    });
}

#[test]
fn an_interrupt_unmounts_even_while_somebody_is_in_it() {
    let files = Files::of_all_kinds();
    let mount = Mount::new(&files);
    signal::interrupt(&mount.child).unwrap();
    mount.assert_ended();
    let mount = Mount::new(&files);
    let mut open = File::open(mount.folder.join("pipelines/good/latest/big")).unwrap();
    open.read_exact(&mut [0; 100]).unwrap();
    signal::interrupt(&mount.child).unwrap();
    mount.assert_ended();
}

#[test]
fn damage_in_the_vault_is_an_error_where_it_is_met_and_nowhere_else() {
    let files = Files::of_all_kinds();
    let mount = Mount::new(&files);
    // Nothing was read yet but the snapshots.
    for pack in packs(&files.bulkhead.vault().join("data")) {
        if fs::metadata(&pack).unwrap().len() > 1 << 20 {
            fs::set_permissions(&pack, fs::Permissions::from_mode(0o600)).unwrap();
            let length = fs::metadata(&pack).unwrap().len();
            File::options().write(true).open(&pack).unwrap().set_len(length / 100).unwrap();
        }
    }
    let latest = mount.folder.join("pipelines/good/latest");
    assert!(fs::read(latest.join("big")).is_err());
    assert_eq!(fs::read_link(latest.join("deep/link")).unwrap(), Path::new("../../nowhere"));
    assert!(unmount(&mount.folder, ""));
    mount.assert_ended();
}

#[test]
fn a_snapshot_whose_file_is_damaged_does_not_hide_the_others() {
    let files = Files::of_all_kinds();
    files.snapshot();
    let snapshots = files.bulkhead.vault().join("snapshots");
    let damaged = fs::read_dir(&snapshots).unwrap().next().unwrap().unwrap().path();
    fs::set_permissions(&damaged, fs::Permissions::from_mode(0o600)).unwrap();
    change(&damaged, |content| content[20] ^= 1);
    let mut mount = Mount::begin(&files);
    let mounted = mount.event();
    assert_eq!((&mounted["event"], &mounted["snapshots"]), (&"mounted".into(), &1.into()));
    assert_eq!(mounted["unreadable"][0]["id"], damaged.file_name().unwrap().to_str().unwrap());
    assert_same(
        &fs::canonicalize(mount.folder.join("pipelines/good/latest")).unwrap(),
        &files.source,
    );
    assert!(unmount(&mount.folder, ""));
    mount.assert_ended();
}

fn packs(folder: &Path) -> Vec<PathBuf> {
    let inside = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    inside
        .flat_map(|path| if path.is_dir() { packs(&path) } else { vec![path] })
        .collect()
}

#[test]
fn what_cannot_be_mounted_says_what_to_do() {
    let files = Files::of_all_kinds();
    let outcome = files.bulkhead.run(["mount", "main", "nowhere"]).unwrap();
    assert_eq!(outcome.code, Some(13), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("make the folder first"), "{}", outcome.stderr);
    let outcome = files.bulkhead.run(["mount", "maim", "source"]).unwrap();
    assert_ne!(outcome.code, Some(0));
    assert!(outcome.stderr.contains("main"), "{}", outcome.stderr);
}
