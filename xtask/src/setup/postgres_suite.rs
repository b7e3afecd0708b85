//! What Debian's packages hold for the tests of PostgreSQL, and nobody wants installed: its own regression suite, and schemas of applications. A script of its own fetches it
//! below Cargo's target folder (`postgres-suite.sh`).

use std::path::PathBuf;
use std::process::Command;

use crate::console::Console;
use crate::error::Result;
use crate::process;

/// What people call it.
pub(super) const WHAT: &str = "PostgreSQL's regression suite, and schemas of applications";

/// What it runs.
const SCRIPT: &str = include_str!("postgres-suite.sh");

fn folder() -> PathBuf {
    process::target_folder().join("tools/postgres-suite")
}

/// Whether it is there to its end.
pub(super) fn is_present() -> bool {
    folder().join("complete").is_file()
}

/// Downloads, unpacks and compiles it.
pub(super) fn install(console: &Console) -> Result<()> {
    let folder = std::path::absolute(folder()).unwrap_or_else(|_| folder());
    console.command(&format!("sh postgres-suite.sh {}", folder.display()));
    process::run(Command::new("sh").args(["-c", SCRIPT, "postgres-suite.sh"]).arg(folder))
}
