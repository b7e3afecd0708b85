//! Google's own client of its APIs for Python, with its discovery documents: a witness of the tests' own server of Google Drive. Into a folder of its own
//! below Cargo's target folder, from files whose hashes are pinned.

use std::path::PathBuf;
use std::process::Command;

use crate::console::Console;
use crate::error::{Error, Result};
use crate::process;

pub(super) const WHAT: &str = "Google's API client";

/// It, and all that it needs.
const PACKAGES: &str = include_str!("google-client.txt");

fn folder() -> PathBuf {
    process::target_folder().join("tools/google-client-2.202")
}

/// Whether it has been installed.
pub(super) fn is_present() -> bool {
    folder().join("complete").is_file()
}

/// Downloads and unpacks it.
pub(super) fn install(console: &Console) -> Result<()> {
    let made = std::fs::create_dir_all(folder());
    made.map_err(Error::io("cannot make a folder for a test's client"))?;
    let wanted = folder().join("requirements.txt");
    std::fs::write(&wanted, PACKAGES).map_err(Error::io("cannot write what pip is to install"))?;
    let mut install = Command::new("python3");
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--root-user-action=ignore",
        "--no-deps",
        "--require-hashes",
    ]);
    // Which Python will run it is not for this one to say: the files are those for Debian's.
    install.args([
        "--only-binary=:all:",
        "--implementation=cp",
        "--python-version=3.11",
        "--platform=manylinux_2_34_x86_64",
        "--platform=manylinux_2_28_x86_64",
        "--platform=manylinux_2_17_x86_64",
        "--platform=manylinux2014_x86_64",
        "--target",
    ]);
    install.arg(folder()).arg("--requirement").arg(&wanted);
    console.command(&process::line(&install));
    process::run(&mut install)?;
    std::fs::write(folder().join("complete"), "").map_err(Error::io("cannot mark what was installed"))
}
