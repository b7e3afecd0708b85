//! A small file system that any user can make: [`Disk`], in a mount namespace that lives as long as it does.

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

impl Disk {
    /// Of that size.
    pub(crate) fn of_mebibytes(size: u32) -> Self {
        let scratch = Scratch::new().unwrap();
        let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
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
                &format!("mount -t tmpfs -o size={size}m tmpfs \"$0\" && echo mounted && exec cat"),
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

    /// Runs a command of `bulkhead` that sees it.
    pub(crate) fn run(&self, bulkhead: &Bulkhead, arguments: &[&str]) -> Outcome {
        let inner = bulkhead.command(arguments);
        let mut command = self.command(bulkhead.scratch().path(), inner.get_program());
        command.args(inner.get_args());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.output().unwrap().into()
    }

    /// Makes a folder on it.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        let made = self.command(Path::new("/"), "mkdir".as_ref()).arg("--mode=700").arg(&path).status();
        assert!(made.unwrap().success());
        path
    }

    fn command(&self, folder: &Path, program: &std::ffi::OsStr) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.holder.id())).args(self.options);
        command.arg(format!("--wdns={}", folder.display())).arg("--").arg(program);
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
