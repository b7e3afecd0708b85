//! A small file system that any user can make: [`Disk`], in a mount namespace that lives as long as it does.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bulkhead_test_support::{Bulkhead, Outcome, Scratch};

/// A tmpfs that only commands run by [`Disk::run`] see. Root takes a mount namespace; anybody else becomes root in a user namespace of their own first.
pub(crate) struct Disk {
    scratch: Scratch,
    /// A shell in the namespace; it ends when its standard input does.
    holder: Child,
    options: &'static [&'static str],
}

/// What a file system can run out of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Room {
    Bytes,
    Inodes,
}

impl Disk {
    /// With these options of tmpfs: `size=8m,nr_inodes=400`.
    pub(crate) fn new(limits: &str) -> Self {
        let scratch = Scratch::new().unwrap();
        let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
        let (enter, options): (&[&str], &[&str]) = if is_root {
            (&["--mount"], &["--mount"])
        } else {
            (
                &["--user", "--map-root-user", "--mount"],
                &["--user", "--preserve-credentials", "--mount"],
            )
        };
        // No shell beside it, so that the process is the one that is in the namespace.
        let mut holder = Command::new("unshare")
            .args(enter)
            .args([
                "sh",
                "-c",
                &format!("mount -t tmpfs -o {limits} tmpfs \"$0\" && echo mounted && exec cat"),
            ])
            .arg(scratch.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(
            line, "mounted\n",
            "a file system of its own needs unprivileged user namespaces (`sysctl kernel.unprivileged_userns_clone=1`), or root with the right to mount"
        );
        Self { scratch, holder, options }
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// Where it is for those who are not in its namespace, for as long as it exists.
    pub(crate) fn outside_path(&self) -> PathBuf {
        let root = format!("/proc/{}/root", self.holder.id());
        Path::new(&root).join(self.path().strip_prefix("/").unwrap())
    }

    /// Runs a command of `bulkhead` that sees it.
    pub(crate) fn run(&self, bulkhead: &Bulkhead, arguments: &[&str]) -> Outcome {
        self.command_of(bulkhead, arguments).output().unwrap().into()
    }

    /// A command of `bulkhead` that sees it.
    pub(crate) fn command_of(&self, bulkhead: &Bulkhead, arguments: &[&str]) -> Command {
        let inner = bulkhead.command(arguments);
        let mut command = self.command(bulkhead.scratch().path());
        hand_over(&mut command, &inner);
        command
    }

    /// How much of this there is room for.
    pub(crate) fn room(&self, of: Room) -> u64 {
        let statistics = rustix::fs::statvfs(self.outside_path()).unwrap();
        match of {
            Room::Bytes => statistics.f_bavail * statistics.f_frsize,
            Room::Inodes => statistics.f_favail,
        }
    }

    /// Fills it up, so that there is room for so much more and nothing beyond. A file of its own takes what is to be taken.
    pub(crate) fn leave(&self, of: Room, left: u64) {
        let ballast = self.outside_path().join("ballast");
        fs::create_dir(&ballast).unwrap();
        let file = fs::File::create(ballast.join("bytes")).unwrap();
        match of {
            Room::Bytes => {
                let surplus = self.room(of).checked_sub(left).unwrap();
                if surplus > 0 {
                    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, surplus).unwrap();
                }
            }
            Room::Inodes => {
                let surplus = self.room(of).checked_sub(left).unwrap();
                (0..surplus).for_each(|number| drop(fs::File::create(ballast.join(number.to_string())).unwrap()));
            }
        }
        assert_eq!(self.room(of), left);
    }

    /// Takes away what filled it up.
    pub(crate) fn make_room(&self) {
        fs::remove_dir_all(self.outside_path().join("ballast")).unwrap();
    }

    /// Makes a folder on it.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        let made = self.command(Path::new("/")).args(["mkdir", "--mode=700"]).arg(&path).status();
        assert!(made.unwrap().success());
        path
    }

    /// Shows what is at `from` at `to` as well, to those who see it.
    pub(crate) fn bind(&self, from: &Path, to: &Path) {
        let bound = self.command(Path::new("/")).args(["mount", "--bind"]).args([from, to]).status();
        assert!(bound.unwrap().success());
    }

    /// The beginning of a command that sees it.
    fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.holder.id())).args(self.options);
        command.arg(format!("--wdns={}", folder.display())).arg("--");
        command.stdin(Stdio::null());
        command
    }
}

/// Gives a command that runs another one what that is: its program, arguments and variables.
pub(crate) fn hand_over(outer: &mut Command, inner: &Command) {
    outer.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
