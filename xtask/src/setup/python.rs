//! Programs of the tests that are written in Python, each with all that it needs: into a folder of its own below Cargo's target folder, from files whose
//! hashes are pinned. Nothing is installed into the system; Debian's Python runs them.

use std::path::PathBuf;
use std::process::Command;

use crate::console::Console;
use crate::error::{Error, Result};
use crate::process;

/// A program, and where it goes.
pub(super) struct Program {
    pub(super) what: &'static str,
    /// It, and all that it needs, as pip reads it.
    packages: &'static str,
    /// Below `target/tools`.
    folder: &'static str,
}

/// All of them.
pub(super) const PROGRAMS: [Program; 2] = [
    // With its discovery documents: a witness of the tests' own server of Google Drive.
    Program {
        what: "Google's API client",
        packages: include_str!("google-client.txt"),
        folder: "google-client-2.202",
    },
    // A server of S3 that keeps versions and holds on to what is locked.
    Program {
        what: "moto",
        packages: include_str!("moto.txt"),
        folder: "moto-5.2",
    },
];

impl Program {
    fn folder(&self) -> PathBuf {
        process::target_folder().join("tools").join(self.folder)
    }

    /// Whether it has been installed.
    pub(super) fn is_present(&self) -> bool {
        self.folder().join("complete").is_file()
    }

    /// Downloads and unpacks it.
    pub(super) fn install(&self, console: &Console) -> Result<()> {
        let folder = self.folder();
        std::fs::create_dir_all(&folder).map_err(Error::io("cannot make a folder for a test's program"))?;
        let wanted = folder.join("requirements.txt");
        std::fs::write(&wanted, self.packages).map_err(Error::io("cannot write what pip is to install"))?;
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
        install.arg(&folder).arg("--requirement").arg(&wanted);
        console.command(&process::line(&install));
        process::run(&mut install)?;
        std::fs::write(folder.join("complete"), "").map_err(Error::io("cannot mark what was installed"))
    }
}
