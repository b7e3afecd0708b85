//! What every demo plays in: [`Scene`], a scratch folder with a vault, and the binary that is shown.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bulkhead_test_support::Scratch;

use crate::console::{Console, size};
use crate::error::{Error, Result};
use crate::process::{self, bytes_below};

/// What one backup took.
pub(super) struct Backup {
    pub(super) duration: Duration,
    /// Bytes by which the vault grew.
    pub(super) added: u64,
}

/// The vault and its sink, as every demo describes them. Relative paths start from the folder that the configuration is in.
const VAULT: &str = r#"version = 1

[vault.main]                                # an encrypted restic repository on one sink
key = { file = "vault-password" }
sinks = ["disk"]

[sink.disk]
plugin = "local"
directory.root = { path = "vault", access = "read-write" }
"#;

/// A scratch folder and the binary that works in it.
pub(super) struct Scene<'c> {
    pub(super) console: &'c Console,
    scratch: Scratch,
    binary: PathBuf,
}

impl<'c> Scene<'c> {
    /// Makes the vault's folder and password.
    pub(super) fn new(console: &'c Console, scratch: Scratch, binary: PathBuf) -> Result<Self> {
        scratch.private_file("vault-password", bulkhead_test_support::random_secret()?)?;
        private(&scratch.folder("vault")?)?;
        Ok(Self { console, scratch, binary })
    }

    /// The folder itself.
    pub(super) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Writes `bulkhead.toml`, and shows it.
    pub(super) fn describe(&self, pipelines: &str) -> Result<()> {
        let configuration = format!("{VAULT}\n{pipelines}");
        self.scratch.private_file("bulkhead.toml", &configuration)?;
        self.console.file("bulkhead.toml", &configuration);
        Ok(())
    }

    /// Prints and runs a `bulkhead` command in the folder.
    pub(super) fn bulkhead(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.binary);
        command.args(arguments).current_dir(self.scratch.path());
        // Caches stay in the scratch folder, too.
        command
            .env("XDG_CACHE_HOME", self.scratch.join("cache"))
            .env("XDG_STATE_HOME", self.scratch.join("state"));
        self.console.command(&process::line(&command));
        process::run(&mut command)
    }

    /// Runs `bulkhead run` with what follows it, once.
    pub(super) fn back_up(&self, what: &str) -> Result<Backup> {
        let before = bytes_below(&self.scratch.join("vault"))?;
        let begin = Instant::now();
        self.bulkhead(&["run", what])?;
        let backup = Backup {
            duration: begin.elapsed(),
            added: bytes_below(&self.scratch.join("vault"))?.saturating_sub(before),
        };
        self.console.success(&format!("the vault grew by {}", size(backup.added)));
        Ok(backup)
    }

    /// Tells how to go on by oneself.
    pub(super) fn explain_what_is_kept(&self, pipeline: &str) {
        self.console.note(&format!(
            "\nKept: {}\nTry:  cd {} && {} ls {pipeline}",
            self.scratch.path().display(),
            self.scratch.path().display(),
            self.binary.display(),
        ));
    }
}

/// Lets only its owner look into a folder.
pub(super) fn private(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let changed = std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700));
    changed.map_err(Error::io(format!("cannot change the mode of {}", folder.display())))
}
