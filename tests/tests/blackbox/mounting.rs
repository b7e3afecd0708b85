//! A mounted vault, through FUSE and over WebDAV, has the files that were backed up, and goes when it is told to.

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
        Self::spawn(files, "mnt")
    }

    /// Over WebDAV, and with the address.
    fn webdav(files: &Files) -> (Self, String) {
        let mut mount = Self::spawn(files, "--webdav=127.0.0.1:0");
        let event = mount.event();
        assert_eq!(event["event"], "mounted");
        let url = event["url"].as_str().unwrap().to_owned();
        (mount, url)
    }

    fn spawn(files: &Files, place: &str) -> Self {
        let folder = files.bulkhead.scratch().folder("mnt").unwrap();
        let mut command = files.bulkhead.command(["mount", "main", place, "--json"]);
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
    for pack in walk(&files.bulkhead.vault().join("data")) {
        if pack.is_file() && fs::metadata(&pack).unwrap().len() > 1 << 20 {
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

/// rclone, as a client of what is at an address.
fn rclone(url: &str, arguments: &[&str]) -> Command {
    let (credentials, address) = url.strip_prefix("http://").unwrap().split_once('@').unwrap();
    let (user, password) = credentials.split_once(':').unwrap();
    let obscured = Command::new("rclone").args(["obscure", password]).output().unwrap();
    let mut command = Command::new("rclone");
    command
        .args([
            "--config=/dev/null",
            "--retries=1",
            "--low-level-retries=1",
            "--webdav-vendor=other",
        ])
        .arg(format!("--webdav-url=http://{address}"))
        .arg(format!("--webdav-user={user}"))
        .arg(format!("--webdav-pass={}", String::from_utf8(obscured.stdout).unwrap().trim()))
        .args(arguments);
    command
}

#[test]
fn over_webdav_a_client_of_somebody_elses_reads_what_was_backed_up() {
    let files = Files::of_all_kinds();
    let (mount, url) = Mount::webdav(&files);
    let copy = files.path("copy");
    let latest = ":webdav:pipelines/good/latest";
    let copied = rclone(&url, &["copy", latest, copy.to_str().unwrap()]).output().unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    let mut plain = 0;
    for entry in walk(&files.source) {
        let name = entry.strip_prefix(&files.source).unwrap();
        let metadata = fs::symlink_metadata(&entry).unwrap();
        if metadata.is_file() && name.to_str().is_some() {
            plain += 1;
            assert!(fs::read(copy.join(name)).unwrap() == fs::read(&entry).unwrap(), "{name:?} differs");
        }
    }
    assert!(plain > 5, "{plain} files were compared");
    let part = rclone(&url, &["cat", "--offset=300001", "--count=70000", &format!("{latest}/big")]);
    let big = fs::read(files.source.join("big")).unwrap();
    assert!({ part }.output().unwrap().stdout == big[300_001..370_001], "a range differs");
    for forbidden in [
        ["touch", ":webdav:pipelines/good/latest/new"],
        ["deletefile", ":webdav:pipelines/good/latest/big"],
        ["purge", ":webdav:pipelines/good/latest/etc"],
    ] {
        assert!(
            !rclone(&url, &forbidden).output().unwrap().status.success(),
            "{forbidden:?} was allowed"
        );
    }
    signal::interrupt(&mount.child).unwrap();
    mount.assert_ended();
}

#[test]
fn over_webdav_nobody_reads_without_the_password() {
    let files = Files::of_all_kinds();
    let (mount, url) = Mount::webdav(&files);
    let listed = rclone(&url, &["lsf", ":webdav:pipelines/good"]).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("latest/"), "{listed:?}");
    let wrong = url.replace("bulkhead:", "bulkhead:0");
    for wrong in [wrong.as_str(), &url.replace("bulkhead:", "root:")] {
        let refused = rclone(wrong, &["lsf", ":webdav:"]).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("401"), "{said}");
    }
    let exposed = files.bulkhead.run(["mount", "main", "--webdav", "0.0.0.0:0"]).unwrap();
    assert_eq!(exposed.code, Some(3), "{}", exposed.stderr);
    assert!(exposed.stderr.contains("give an address of the loopback"), "{}", exposed.stderr);
    let taken = url.trim_end_matches('/').rsplit('@').next().unwrap().to_owned();
    let taken = files.bulkhead.run(["mount", "main", "--webdav", &taken]).unwrap();
    assert!(taken.stderr.contains("cannot listen on"), "{}", taken.stderr);
    signal::interrupt(&mount.child).unwrap();
    mount.assert_ended();
}

/// All that is below a folder.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let inside = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    inside
        .flat_map(|path| {
            let below = if path.is_dir() && !path.is_symlink() {
                walk(&path)
            } else {
                Vec::new()
            };
            [vec![path], below].concat()
        })
        .collect()
}
