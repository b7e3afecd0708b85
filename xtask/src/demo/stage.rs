//! The folder that the demo plays in: configuration, keys, vault and, in the end, the restored cluster.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bulkhead_test_support::Scratch;
use bulkhead_test_support::postgres::{Cluster, Installation};

use super::original::{BACKUP_ROLE, Original};
use crate::console::{Console, size};
use crate::error::{Error, Result};
use crate::process::{self, bytes_below};

/// What one backup took.
pub(super) struct Backup {
    pub(super) duration: Duration,
    /// Bytes by which the vault grew.
    pub(super) added: u64,
}

/// The scratch folder with all that `bulkhead` needs.
pub(super) struct Stage<'c> {
    console: &'c Console,
    scratch: Scratch,
    binary: PathBuf,
    installation: Installation,
}

impl<'c> Stage<'c> {
    /// Writes passwords and `bulkhead.toml`, and shows the latter.
    pub(super) fn prepare(console: &'c Console, scratch: Scratch, binary: PathBuf, original: &Original) -> Result<Self> {
        scratch.private_file("vault-password", bulkhead_test_support::random_secret()?)?;
        scratch.private_file("postgres-password", original.backup_password())?;
        let installation = original.cluster().installation();
        for folder in ["vault", "restored/data"] {
            scratch.folder(folder)?;
        }
        private(&scratch.join("vault"))?;
        // PostgreSQL insists on owning its folders, and on nobody else looking into them.
        for folder in ["restored", "restored/data"] {
            private(&scratch.join(folder))?;
            installation.user().own(&scratch.join(folder))?;
        }
        if let Some(certificates) = original.cluster().certificates() {
            let copied = std::fs::copy(certificates.authority_certificate(), scratch.join("ca.pem"));
            copied.map_err(Error::io("cannot copy the authority's certificate"))?;
        }
        let configuration = configuration(original)?;
        scratch.private_file("bulkhead.toml", &configuration)?;
        console.file("bulkhead.toml", &configuration);
        Ok(Self {
            console,
            scratch,
            binary,
            installation,
        })
    }

    /// The folder itself.
    pub(super) fn scratch(&self) -> &Scratch {
        &self.scratch
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

    /// Runs the pipeline once.
    pub(super) fn back_up(&self) -> Result<Backup> {
        let before = bytes_below(&self.scratch.join("vault"))?;
        let begin = Instant::now();
        self.bulkhead(&["run", "demo"])?;
        let backup = Backup {
            duration: begin.elapsed(),
            added: bytes_below(&self.scratch.join("vault"))?.saturating_sub(before),
        };
        self.console.success(&format!("the vault grew by {}", size(backup.added)));
        Ok(backup)
    }

    /// Restores the last snapshot through the plugin and lets PostgreSQL's own tool verify it.
    pub(super) fn restore(&self) -> Result<Duration> {
        let begin = Instant::now();
        self.bulkhead(&["restore", "demo", "--target", "elsewhere"])?;
        let duration = begin.elapsed();
        self.console.command("pg_verifybackup restored/data");
        self.installation.verify_backup(&self.scratch.join("restored/data"))?;
        self.console
            .success("every file has the size and checksum that the original server wrote into its manifest");
        Ok(duration)
    }

    /// Starts a server on the restored data directory.
    pub(super) fn start_restored(&self, password: &str) -> Result<Cluster> {
        self.console.command("pg_ctl start -D restored/data");
        let cluster = Cluster::builder().adopt(&self.scratch.join("restored/data"), password)?;
        self.console.success("it recovered from its WAL and accepts connections");
        Ok(cluster)
    }

    /// Writes everything that the restored cluster holds, as SQL.
    pub(super) fn dump(&self, restored: &Cluster, path: &Path) -> Result<()> {
        self.console.command("pg_dumpall > restored.sql");
        restored.dump_all(path).map_err(Into::into)
    }

    /// Tells how to go on by oneself.
    pub(super) fn explain_what_is_kept(&self) {
        self.console.note(&format!(
            "\nKept: {}\nTry:  cd {} && {} ls demo",
            self.scratch.path().display(),
            self.scratch.path().display(),
            self.binary.display(),
        ));
    }
}

/// The whole configuration. Relative paths start from the folder that it is in; PostgreSQL wants an absolute one for a tablespace.
fn configuration(original: &Original) -> Result<String> {
    Ok(format!(
        r#"version = 1

[vault.main]                                # an encrypted restic repository on one sink
key = {{ file = "vault-password" }}
sinks = ["disk"]

[sink.disk]
plugin = "local"
directory.root = {{ path = "vault", access = "read-write" }}

[pipeline.demo]                             # one source, the vault that it writes to, and what the plugin may touch
plugin = "postgres"
vault = "main"
config = {{ mode = "physical", user = "{BACKUP_ROLE}" }}
endpoint.server = {{ address = "{address}", tls = {{ mode = "verify-full", ca = "ca.pem" }} }}
secret.password = {{ file = "postgres-password", reveal = true }}

[pipeline.demo.target.elsewhere]            # a restore target, with grants of its own
directory.data = {{ path = "restored/data", access = "read-write" }}
directory.tablespace-{oid} = {{ path = "{location}", access = "read-write" }}
"#,
        address = original.cluster().address(),
        oid = original.tablespace_oid()?,
        location = original.tablespace().display(),
    ))
}

fn private(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let changed = std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700));
    changed.map_err(Error::io(format!("cannot change the mode of {}", folder.display())))
}
