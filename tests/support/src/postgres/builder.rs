//! How a cluster is to be made: [`Builder`].

use std::path::{Path, PathBuf};

use super::cluster::{Cluster, Place};
use super::configuration::{authentication_rules, setting, user_map};
use super::{Certificates, Installation};
use crate::{Error, Result, Scratch, random_secret, run};

/// What a new cluster should be like. The defaults are a primary with TLS, SCRAM, data checksums and `wal_level = replica`.
#[derive(Debug, Clone)]
pub struct Builder {
    settings: Vec<(String, String)>,
    rules: Vec<String>,
    tls: bool,
    checksums: bool,
    wal_segment_mebibytes: u32,
    major: u32,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            settings: Vec::new(),
            rules: Vec::new(),
            tls: true,
            checksums: true,
            wal_segment_mebibytes: 16,
            major: 15,
        }
    }
}

impl Builder {
    /// A server setting (`max_wal_senders`, …), given on its command line.
    #[must_use]
    pub fn setting(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.settings.push(setting(name, value));
        self
    }

    /// A line of `pg_hba.conf` before all others; the first that matches decides.
    #[must_use]
    pub fn rule(mut self, line: impl Into<String>) -> Self {
        self.rules.push(line.into());
        self
    }

    /// Another major version than Debian's: one of [`Installation::OTHERS`].
    #[must_use]
    pub fn major(mut self, major: u32) -> Self {
        self.major = major;
        self
    }

    /// No TLS.
    #[must_use]
    pub fn without_tls(mut self) -> Self {
        self.tls = false;
        self
    }

    /// No data checksums.
    #[must_use]
    pub fn without_checksums(mut self) -> Self {
        self.checksums = false;
        self
    }

    /// Size of a WAL segment in MiB, a power of two from 1 to 1,024. Small ones make small backups.
    #[must_use]
    pub fn wal_segment_mebibytes(mut self, size: u32) -> Self {
        self.wal_segment_mebibytes = size;
        self
    }

    /// Makes the cluster in a scratch folder of its own and starts it.
    pub fn start(self) -> Result<Cluster> {
        let place = Place::new(Installation::of_major(self.major)?, self.tls)?;
        let password = random_secret()?;
        self.initialize(&place, &password)?;
        Cluster::start_in(place, password, self.settings)
    }

    /// Starts a server on a data directory that is there already (a restored one), as the superuser `postgres` with `password`. The directory
    /// must belong to the server's user; it stays where it is and is not removed.
    pub fn adopt(self, data_directory: &Path, password: &str) -> Result<Cluster> {
        let mut place = Place::new(Installation::of_major(self.major)?, self.tls)?;
        place.data_directory = data_directory.to_owned();
        Cluster::start_in(place, password.to_owned(), self.settings)
    }

    fn initialize(&self, place: &Place, password: &str) -> Result<()> {
        let password_file = place.scratch.private_file("initial-password", password)?;
        place.installation.user().own(&password_file)?;
        let mut initdb = place
            .installation
            .server_program("initdb", ["--username=postgres", "--auth=scram-sha-256", "--no-sync"])?;
        initdb.args(["--encoding=UTF8", "--locale=C.UTF-8"]);
        if place.installation.major() >= 14 {
            initdb.arg("--no-instructions");
        }
        initdb.arg(format!("--wal-segsize={}", self.wal_segment_mebibytes));
        initdb
            .arg("--pwfile")
            .arg(&password_file)
            .arg("--pgdata")
            .arg(&place.data_directory);
        if self.checksums {
            initdb.arg("--data-checksums");
        }
        run(&mut initdb)?;
        remove(&password_file)?;
        write_into(&place.data_directory.join("pg_hba.conf"), &authentication_rules(&self.rules))?;
        write_into(&place.data_directory.join("pg_ident.conf"), &user_map(&["postgres"]))
    }
}

impl Place {
    /// A scratch folder with room for a cluster: folders of the server's user for data and sockets, and certificates.
    pub(super) fn new(installation: Installation, tls: bool) -> Result<Self> {
        let scratch = Scratch::new()?;
        let server_folder = |name: &str| -> Result<PathBuf> {
            let path = scratch.folder(name)?;
            installation.user().own(&path)?;
            Ok(path)
        };
        let sockets = server_folder("sockets")?;
        let tablespaces = server_folder("tablespaces")?;
        let logs = server_folder("logs")?;
        let data_directory = server_folder("server")?.join("data");
        let certificates = match tls {
            true => Some(Certificates::create(scratch.folder("certificates")?, installation.user())?),
            false => None,
        };
        Ok(Self {
            installation,
            sockets,
            tablespaces,
            log: logs.join("postgresql.log"),
            data_directory,
            certificates,
            scratch,
        })
    }
}

/// Replaces a file's content, keeping its owner and mode.
fn write_into(path: &Path, content: &str) -> Result<()> {
    std::fs::write(path, content).map_err(Error::on_path("write", path))
}

fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).map_err(Error::on_path("remove", path))
}
