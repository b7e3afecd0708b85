//! Databases that nobody here wrote: PostgreSQL's regression database, and schemas of applications, as `cargo xtask setup` fetches them.

use std::path::PathBuf;

use super::Cluster;
use crate::{Error, Result, Scratch, Tool, installed};

/// Below Cargo's `target/tools`.
const FOLDER: &str = "postgres-suite";

/// The program of Debian's clients that runs the suite.
const PG_REGRESS: &str = "/usr/lib/postgresql/15/lib/pgxs/src/test/regress/pg_regress";

impl Cluster {
    /// Runs PostgreSQL's regression suite; it leaves the database `regression`, with about everything that there is, whose functions in C are in a library of the suite's.
    /// Returns what it says at its end: a few tests may fail, because the server is not of the same minor version.
    pub fn run_regression_suite(&self) -> Result<String> {
        let suite = installed(FOLDER)?.join("regress");
        Tool::at(suite.join("regress.so"), "cargo xtask setup")?;
        let scratch = Scratch::new()?;
        // The server writes into it too.
        let output = scratch.folder("output")?;
        std::fs::create_dir(output.join("results")).map_err(Error::on_path("make", &output))?;
        self.installation().user().own_all(&output)?;
        let mut command = Tool::at(PG_REGRESS, "apt-get install postgresql-client-15")?.command(["--host=127.0.0.1", "--user=postgres"]);
        command.arg(format!("--port={}", self.port())).env("PGPASSWORD", self.password());
        for (option, path) in [
            ("inputdir", &suite),
            ("outputdir", &output),
            ("dlpath", &suite),
            ("schedule", &suite.join("parallel_schedule")),
            ("bindir", &PathBuf::from("/usr/lib/postgresql/15/bin")),
        ] {
            command.arg(format!("--{option}={}", path.display()));
        }
        let done = command
            .current_dir(&output)
            .output()
            .map_err(Error::io("cannot start pg_regress"))?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        let end = said
            .lines()
            .rev()
            .find(|line| line.contains("tests passed") || line.contains("tests failed"));
        match end {
            Some(end) => Ok(end.trim().to_owned()),
            None => Err(Error::failed("pg_regress".to_owned(), &done)),
        }
    }
}

/// Schemas of applications: the name of Debian's package, and its SQL.
pub fn application_schemas() -> Result<Vec<(String, String)>> {
    let folder = installed(FOLDER)?.join("schemas");
    let entries = std::fs::read_dir(&folder).map_err(Error::io(format!("cannot list {}: cargo xtask setup", folder.display())))?;
    let mut schemas = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::on_path("list", &folder))?.path();
        let sql = std::fs::read_to_string(&path).map_err(Error::on_path("read", &path))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        schemas.push((name, sql));
    }
    schemas.sort_unstable();
    Ok(schemas)
}
