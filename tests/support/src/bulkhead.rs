//! The built binary, a folder with a configuration for it, and what it answered.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::{Error, Result, Scratch};

/// The `bulkhead` binary under test: `BULKHEAD_BIN` if set, else the one that Cargo built beside the running test or task.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("BULKHEAD_BIN") {
        return existing(path.into());
    }
    let test = std::env::current_exe().map_err(Error::io("cannot find the running program"))?;
    // Tests are in <target>/<profile>/deps, the binary in <target>/<profile>.
    let beside = test.ancestors().skip(1).take(2).map(|folder| folder.join("bulkhead"));
    match beside.into_iter().find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => existing(test.with_file_name("bulkhead")),
    }
}

fn existing(path: PathBuf) -> Result<PathBuf> {
    if path.is_file() {
        Ok(path)
    } else {
        Err(Error::missing(
            path,
            "run `cargo build --package bulkhead`, or name another with BULKHEAD_BIN",
        ))
    }
}

/// What a run of the binary ended with.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The binary with a `bulkhead.toml`, a local sink and a vault key in a scratch folder.
#[derive(Debug)]
pub struct Bulkhead {
    binary: PathBuf,
    scratch: Scratch,
}

impl Bulkhead {
    /// A new scratch folder with a vault password in `vault-password` and an empty folder `vault`; no configuration yet.
    pub fn new() -> Result<Self> {
        let scratch = Scratch::new()?;
        scratch.private_file("vault-password", crate::random_secret()?)?;
        let vault = scratch.folder("vault")?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&vault, private).map_err(Error::on_path("change the mode of", &vault))?;
        Ok(Self {
            binary: binary()?,
            scratch,
        })
    }

    /// The folder that commands run in.
    #[must_use]
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// The folder of the local sink: a restic repository.
    #[must_use]
    pub fn vault(&self) -> PathBuf {
        self.scratch.join("vault")
    }

    /// The file with the vault's password.
    #[must_use]
    pub fn vault_password_file(&self) -> PathBuf {
        self.scratch.join("vault-password")
    }

    /// Writes `bulkhead.toml`: a local vault named `main`, then `pipelines`.
    pub fn configure(&self, pipelines: &str) -> Result<()> {
        self.write_configuration(&format!("{}\n{pipelines}", self.vault_section()))
    }

    /// Writes `bulkhead.toml` as given.
    pub fn write_configuration(&self, text: &str) -> Result<()> {
        self.scratch.private_file("bulkhead.toml", text).map(drop)
    }

    /// The head of a configuration: version, the vault `main`, and its sink `disk`.
    #[must_use]
    pub fn vault_section(&self) -> String {
        let (password, vault) = (self.vault_password_file(), self.vault());
        format!(
            "version = 1\n\n[vault.main]\nkey = {{ file = {} }}\nsinks = [\"disk\"]\n\n\
             [sink.disk]\nplugin = \"local\"\ndirectory.root = {{ path = {}, access = \"read-write\" }}\n",
            quoted(&password),
            quoted(&vault),
        )
    }

    /// A command in the folder, without colour. Components are compiled into a cache beside the binary, which all tests share: compiling is slow, and
    /// the cache is keyed by content.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).current_dir(self.scratch.path()).stdin(Stdio::null());
        command
            .env("BULKHEAD_CACHE_DIR", self.binary.with_file_name("bulkhead-test-cache"))
            .env_remove("BULKHEAD_CONFIG");
        command.env("NO_COLOR", "1").env("LC_ALL", "C.UTF-8").env_remove("RUST_LOG");
        command
    }

    /// The same on a host of another name, which sees none of this one's processes as its own.
    pub fn command_on_host<A: AsRef<OsStr>>(&self, name: &str, arguments: impl IntoIterator<Item = A>) -> Command {
        let here = self.command(arguments);
        let mut there = Command::new("unshare");
        there.args([
            "--user",
            "--map-root-user",
            "--uts",
            "sh",
            "-c",
            "hostname \"$0\" && exec \"$@\"",
            name,
        ]);
        there.arg(here.get_program()).args(here.get_args());
        for (name, value) in here.get_envs() {
            match value {
                Some(value) => there.env(name, value),
                None => there.env_remove(name),
            };
        }
        there.current_dir(self.scratch.path()).stdin(Stdio::null());
        there
    }

    /// Runs it to its end.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Outcome> {
        let output = self.command(arguments).output().map_err(Error::on_path("start", &self.binary))?;
        Ok(output.into())
    }
}

/// A path as a TOML string.
fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}
