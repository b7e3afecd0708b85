//! PostgreSQL's programs, and the user that they run as.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

use crate::user::ServerUser;
use crate::{Result, Tool, run};

/// Where Debian's `postgresql-15` puts its programs; `pg_ctl` and `pg_verifybackup` are nowhere else.
const BINARIES: &str = "/usr/lib/postgresql/15/bin";
const HINT: &str = "apt-get install postgresql-15 (or `cargo xtask setup`)";

/// Debian's PostgreSQL 15.
#[derive(Debug, Clone, Copy)]
pub struct Installation {
    user: ServerUser,
}

impl Installation {
    /// Finds it, or says how to install it.
    pub fn find() -> Result<Self> {
        Tool::at(Path::new(BINARIES).join("postgres"), HINT)?;
        Ok(Self {
            user: ServerUser::unprivileged("postgres")?,
        })
    }

    /// The user that servers run as: this process's own, or `postgres` where that is root.
    #[must_use]
    pub fn user(&self) -> ServerUser {
        self.user
    }

    /// The program `name` with `arguments`, to be run as this process's own user.
    pub fn client<A: AsRef<OsStr>>(&self, name: &str, arguments: impl IntoIterator<Item = A>) -> Result<Command> {
        Ok(Tool::at(Path::new(BINARIES).join(name), HINT)?.command(arguments))
    }

    /// The program `name` with `arguments`, to be run as the server's user.
    pub fn server_program<A: AsRef<OsStr>>(&self, name: &str, arguments: impl IntoIterator<Item = A>) -> Result<Command> {
        let mut command = self.client(name, arguments)?;
        self.user.apply(&mut command);
        Ok(command)
    }

    /// Runs `pg_verifybackup` on a restored data directory; its objections are the error.
    pub fn verify_backup(&self, data_directory: &Path) -> Result<Output> {
        run(&mut self.server_program("pg_verifybackup", [data_directory])?)
    }

    /// "postgres (PostgreSQL) 15.20 (Debian …)"
    pub fn version(&self) -> Result<String> {
        let output = run(&mut self.client("postgres", ["--version"])?)?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}
