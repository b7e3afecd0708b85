//! Running other programs: found or reported missing, with a clean environment, and their output in the error when they fail.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::{Error, Result};

/// A program that tests need, and where it comes from.
#[derive(Debug, Clone)]
pub struct Tool {
    path: PathBuf,
}

impl Tool {
    /// Finds `name` in `PATH`; `hint` tells how to install it.
    pub fn find(name: &str, hint: &'static str) -> Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|candidate| candidate.is_file())
            .map(|path| Self { path })
            .ok_or_else(|| Error::missing(name.into(), hint))
    }

    /// The program at `path`; `hint` tells how to install it.
    pub fn at(path: impl Into<PathBuf>, hint: &'static str) -> Result<Self> {
        let path = path.into();
        if path.is_file() {
            Ok(Self { path })
        } else {
            Err(Error::missing(path, hint))
        }
    }

    /// A program that `cargo xtask setup` puts at `path` below `tools` in Cargo's target folder.
    pub fn installed(path: impl AsRef<Path>) -> Result<Self> {
        Self::at(installed(path)?, "cargo xtask setup")
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A command that runs it with `arguments`. Variables that would redirect a client (`PG*`, `RESTIC_*`) do not reach it, and its messages are
    /// English.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.path);
        command.args(arguments).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("PG") || text.starts_with("RESTIC_") {
                command.env_remove(&name);
            }
        }
        command
    }
}

/// Where `cargo xtask setup` puts what is not of the system: `path` in the folder `tools` of Cargo's target folder.
pub fn installed(path: impl AsRef<Path>) -> Result<PathBuf> {
    let program = std::env::current_exe().map_err(Error::io("cannot find the running program"))?;
    let path = Path::new("tools").join(path);
    let found = program.ancestors().map(|folder| folder.join(&path)).find(|path| path.exists());
    Ok(found.unwrap_or_else(|| Path::new("target").join(path)))
}

/// Runs `command` to its end; an unsuccessful one is an error with everything it printed.
pub fn run(command: &mut Command) -> Result<Output> {
    let line = describe(command);
    let output = command.output().map_err(Error::io(format!("cannot start `{line}`")))?;
    if output.status.success() {
        Ok(output)
    } else {
        Err(Error::failed(line, &output))
    }
}

/// The command line, for messages.
pub(crate) fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
