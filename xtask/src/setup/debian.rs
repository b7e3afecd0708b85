//! Installing Debian packages, as root or through sudo.

use std::path::Path;
use std::process::Command;

use super::{in_path, output_of};
use crate::console::Console;
use crate::error::{Error, Result};
use crate::process;

/// Where postgresql-common reads further defaults for new clusters.
const CLUSTER_DEFAULTS: &str = "/etc/postgresql-common/createcluster.d";

/// Installs packages with apt, without recommended ones. What it runs as root is printed first.
///
/// Debian's `postgresql-15` makes and starts a cluster when it is installed for the first time. Nobody asked for one here, so a drop-in file says no for
/// as long as the installation takes. It concerns clusters that do not exist yet: no existing one is touched.
pub(super) fn install(console: &Console, packages: &[&str]) -> Result<()> {
    if !in_path("apt-get") {
        let remedy = format!(
            "This is no Debian: install what these Debian packages hold, then try again: {}",
            packages.join(" ")
        );
        return Err(Error::Missing {
            what: "apt-get".to_owned(),
            remedy,
        });
    }
    let install = format!("apt-get install --yes --no-install-recommends {}", packages.join(" "));
    let script = if packages.contains(&"postgresql-15") {
        without_cluster(&install)
    } else {
        install
    };
    as_root(console, &format!("export DEBIAN_FRONTEND=noninteractive\napt-get update\n{script}"))
}

/// `install`, with a drop-in that keeps the package from making a cluster; it goes again however the installation ends.
fn without_cluster(install: &str) -> String {
    let folder = if Path::new(CLUSTER_DEFAULTS).exists() {
        ""
    } else {
        "; rmdir --ignore-fail-on-non-empty \"$defaults\""
    };
    format!(
        "defaults={CLUSTER_DEFAULTS}\nmkdir -p \"$defaults\"\n\
         trap 'rm -f \"$defaults/bulkhead-setup.conf\"{folder}' EXIT\n\
         echo 'create_main_cluster = false' > \"$defaults/bulkhead-setup.conf\"\n{install}"
    )
}

/// Runs a shell script as root, each line printed before.
pub(super) fn as_root(console: &Console, script: &str) -> Result<()> {
    let root = output_of(Command::new("id").arg("-u")).is_some_and(|id| id == "0");
    if !root && !in_path("sudo") {
        let remedy = format!(
            "Root is needed, and there is no sudo. Let root run this, then try again:\n\n{}",
            indented(script)
        );
        return Err(Error::Missing {
            what: "the right to install packages".to_owned(),
            remedy,
        });
    }
    console.note(if root { "As root:" } else { "As root, through sudo:" });
    for line in script.lines() {
        console.command(line);
    }
    let mut command = Command::new(if root { "/bin/sh" } else { "sudo" });
    if !root {
        command.arg("/bin/sh");
    }
    process::run(command.args(["-e", "-c", script]))
}

fn indented(script: &str) -> String {
    script.lines().map(|line| format!("    {line}\n")).collect()
}
