//! Plain restic from Debian, the independent witness of everything that a vault promises.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::{Result, Tool, run};

/// restic on one local repository.
#[derive(Debug, Clone)]
pub struct Restic {
    tool: Tool,
    repository: PathBuf,
    password_file: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Restic {
    /// restic on the repository in the folder `repository`, which need not exist yet, with the password in `password_file`.
    pub fn new(repository: impl Into<PathBuf>, password_file: impl Into<PathBuf>) -> Result<Self> {
        let tool = Tool::find("restic", "apt-get install restic")?;
        Ok(Self {
            tool,
            repository: repository.into(),
            password_file: password_file.into(),
            environment: Vec::new(),
        })
    }

    /// restic on the repository at the root of the bucket of a server of S3, or below `prefix` in it.
    pub fn on_s3(server: &crate::s3::Server, prefix: &str, password_file: impl Into<PathBuf>) -> Result<Self> {
        let place = format!("s3:{}/vaults/{prefix}", server.url());
        let mut restic = Self::new(place.trim_end_matches('/'), password_file)?;
        restic.environment = vec![
            ("AWS_ACCESS_KEY_ID", server.access_key().to_owned()),
            ("AWS_SECRET_ACCESS_KEY", server.secret_key().to_owned()),
        ];
        Ok(restic)
    }

    /// A command with repository, password and no cache set.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.tool.command(["--no-cache", "--repo"]);
        command
            .arg(&self.repository)
            .arg("--password-file")
            .arg(&self.password_file)
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs restic; an unsuccessful end is an error with all its output.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Output> {
        run(&mut self.command(arguments))
    }

    /// Standard output of a successful run, as text.
    pub fn text<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.run(arguments)?.stdout).into_owned())
    }

    /// `restic check --read-data`: every byte of the repository.
    pub fn check(&self) -> Result<()> {
        self.run(["check", "--read-data"]).map(drop)
    }

    /// Restores `snapshot` into the folder `target`.
    pub fn restore(&self, snapshot: &str, target: &Path) -> Result<()> {
        self.run([
            OsStr::new("restore"),
            OsStr::new(snapshot),
            OsStr::new("--target"),
            target.as_os_str(),
        ])
        .map(drop)
    }
}
