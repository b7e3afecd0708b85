//! Running servers that refuse root as a user of their own.
//!
//! PostgreSQL does not start as root. Where the tests run as root, its commands run as Debian's user `postgres`; otherwise as whoever runs the tests.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::{Error, Result};

/// The user that a server runs as.
#[derive(Debug, Clone, Copy)]
pub struct ServerUser {
    /// `None`: the user of this process.
    switch_to: Option<(u32, u32)>,
}

impl ServerUser {
    /// This process's own user, or, for root, the system user `name`.
    pub fn unprivileged(name: &str) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self { switch_to: None });
        }
        let accounts = std::fs::read_to_string("/etc/passwd").map_err(Error::on_path("read", Path::new("/etc/passwd")))?;
        let ids = accounts.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == name).then_some(())?;
            Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
        });
        match ids {
            Some(ids) => Ok(Self { switch_to: Some(ids) }),
            None => Err(Error::Unusable(format!(
                "root cannot run this server, and there is no user `{name}`: apt-get install postgresql-15"
            ))),
        }
    }

    /// Makes `command` run as this user.
    pub fn apply<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        if let Some((uid, gid)) = self.switch_to {
            command.uid(uid).gid(gid);
        }
        // A working directory that this user may not enter would fail every command.
        command.current_dir("/")
    }

    /// Gives `path` to this user.
    pub fn own(&self, path: &Path) -> Result<()> {
        let Some((uid, gid)) = self.switch_to else { return Ok(()) };
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(Error::on_path("change the owner of", path))
    }

    /// Gives `path` and all below it to this user; symbolic links themselves, not what they point to.
    pub fn own_all(&self, path: &Path) -> Result<()> {
        let Some((uid, gid)) = self.switch_to else { return Ok(()) };
        std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(Error::on_path("change the owner of", path))?;
        if std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
            for entry in std::fs::read_dir(path).map_err(Error::on_path("list", path))? {
                self.own_all(&entry.map_err(Error::on_path("list", path))?.path())?;
            }
        }
        Ok(())
    }
}
