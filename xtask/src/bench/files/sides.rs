//! Bulkhead and its peers, each with an empty repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use bulkhead_test_support::{Scratch, run};

use super::super::Context;
use super::super::measure::{Cost, Job};
use super::super::vault::VaultSide;
use crate::error::Result;
use crate::process::bytes_below;

/// In the order of [`all`].
pub(super) const NAMES: [&str; 4] = ["bulkhead", "restic", "rustic", "borg"];

/// Somebody who can back a tree up and restore it.
pub(super) trait Side {
    fn back_up(&self, tree: &Path) -> Result<Cost>;
    /// Restores the last snapshot into an empty folder.
    fn restore(&self, target: &Path) -> Result<Cost>;
    /// Where the tree is in that folder.
    fn place(&self, target: &Path, tree: &Path) -> PathBuf;
    /// Removes all snapshots but the last, and what only they needed.
    fn prune(&self) -> Result<Cost>;
    fn stored_bytes(&self) -> Result<u64>;
}

/// Everybody, with an empty repository.
pub(super) fn all(context: &Context, tree: &Path) -> Result<Vec<Box<dyn Side>>> {
    let pipeline = format!(
        "[pipeline.tree]\nplugin = \"files\"\nvault = \"main\"\nretention = {{ last = 1 }}\ndirectory.tree = {{ path = \"{}\", access = \"read-only\" }}\n",
        tree.display()
    );
    let ours = VaultSide::new(context, &pipeline)?;
    // Compiles the plugin where that has not been done.
    ours.run(&["check"])?;
    Ok(vec![
        Box::new(ours),
        Box::new(Peer::new(Program::Restic)?),
        Box::new(Peer::new(Program::Rustic)?),
        Box::new(Peer::new(Program::Borg)?),
    ])
}

/// What is measured.
pub(super) fn versions(context: &Context) -> Result<Vec<(&'static str, String)>> {
    let version = |program: &Path, argument: &str| -> Result<String> {
        let output = run(Command::new(program).arg(argument))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    Ok(vec![
        ("bulkhead", version(&context.binary, "--version")?),
        ("restic", version(Path::new("restic"), "version")?),
        ("rustic", version(Path::new("rustic"), "--version")?),
        ("borg", version(Path::new("borg"), "--version")?),
    ])
}

impl Side for VaultSide {
    fn back_up(&self, _tree: &Path) -> Result<Cost> {
        self.run(&["run", "tree"])
    }

    fn restore(&self, target: &Path) -> Result<Cost> {
        self.run(&["restore", "tree", "--into", &target.join("restored").display().to_string()])
    }

    fn place(&self, target: &Path, _tree: &Path) -> PathBuf {
        target.join("restored/tree")
    }

    fn prune(&self) -> Result<Cost> {
        let forgotten = self.run(&["forget", "tree", "--yes"])?;
        Ok(forgotten.then(self.run(&["prune", "main", "--grace", "0s", "--yes"])?))
    }

    fn stored_bytes(&self) -> Result<u64> {
        VaultSide::stored_bytes(self)
    }
}

/// A peer's program.
#[derive(Clone, Copy)]
enum Program {
    Restic,
    Rustic,
    Borg,
}

/// A peer with a repository of its own.
struct Peer {
    program: Program,
    scratch: Scratch,
}

impl Peer {
    fn new(program: Program) -> Result<Self> {
        let peer = Self {
            program,
            scratch: Scratch::new()?,
        };
        peer.scratch.private_file("password", "benchmark")?;
        let arguments: &[&str] = match program {
            Program::Restic => &["init", "--repository-version", "2"],
            Program::Rustic => &["init"],
            Program::Borg => &["init", "--encryption", "repokey"],
        };
        run(&mut peer.command(arguments))?;
        Ok(peer)
    }

    /// A command on the repository.
    fn command(&self, arguments: &[&str]) -> Command {
        let (repository, password) = (self.scratch.join("repository"), self.scratch.join("password"));
        let mut command = Command::new(match self.program {
            Program::Restic => "restic",
            Program::Rustic => "rustic",
            Program::Borg => "borg",
        });
        command
            .args(arguments)
            .env("XDG_CACHE_HOME", self.scratch.join("cache"))
            .env("XDG_CONFIG_HOME", self.scratch.join("config"))
            .env("RESTIC_REPOSITORY", &repository)
            .env("RESTIC_PASSWORD_FILE", &password)
            .env("RUSTIC_REPOSITORY", &repository)
            .env("RUSTIC_PASSWORD_FILE", &password)
            .env("BORG_REPO", &repository)
            .env("BORG_PASSPHRASE", "benchmark")
            .env("BORG_BASE_DIR", self.scratch.join("borg"));
        command
    }

    fn job(&self, arguments: &[&str]) -> Result<Cost> {
        Job::command(self.command(arguments)).run()
    }
}

impl Side for Peer {
    fn back_up(&self, tree: &Path) -> Result<Cost> {
        let tree = tree.display().to_string();
        match self.program {
            Program::Restic => self.job(&["backup", "--quiet", &tree]),
            Program::Rustic => self.job(&["backup", "--log-level", "error", "--no-progress", &tree]),
            Program::Borg => self.job(&["create", "--compression", "zstd,3", "::{now:%Y-%m-%dT%H:%M:%S.%f}", &tree]),
        }
    }

    fn restore(&self, target: &Path) -> Result<Cost> {
        let into = target.display().to_string();
        match self.program {
            Program::Restic => self.job(&["restore", "--quiet", "latest", "--target", &into]),
            Program::Rustic => self.job(&["restore", "--log-level", "error", "--no-progress", "latest", &into]),
            Program::Borg => {
                let listed = run(&mut self.command(&["list", "--short", "--last", "1"]))?;
                let last = format!("::{}", String::from_utf8_lossy(&listed.stdout).trim());
                let mut extract = self.command(&["extract", &last]);
                extract.current_dir(target);
                Job::command(extract).run()
            }
        }
    }

    fn place(&self, target: &Path, tree: &Path) -> PathBuf {
        target.join(tree.strip_prefix("/").unwrap_or(tree))
    }

    fn prune(&self) -> Result<Cost> {
        match self.program {
            Program::Restic => self.job(&["forget", "--quiet", "--keep-last", "1", "--prune"]),
            Program::Rustic => self.job(&[
                "forget",
                "--log-level",
                "error",
                "--no-progress",
                "--keep-last",
                "1",
                "--prune",
                "--instant-delete",
            ]),
            Program::Borg => Ok(self.job(&["prune", "--keep-last", "1"])?.then(self.job(&["compact"])?)),
        }
    }

    fn stored_bytes(&self) -> Result<u64> {
        bytes_below(&self.scratch.join("repository"))
    }
}
