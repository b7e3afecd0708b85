//! Installing Debian packages, as root or through sudo.

use std::path::Path;
use std::process::Command;

use super::{in_path, output_of};
use crate::console::Console;
use crate::error::{Error, Result};
use crate::process;

/// Where postgresql-common reads further defaults for new clusters.
const CLUSTER_DEFAULTS: &str = "/etc/postgresql-common/createcluster.d";

/// Whose packages start a server when they are installed, and at each boot from then on.
const SERVICES: [(&str, &str); 1] = [("etcd-server", "etcd")];

/// What maintainer scripts ask before they start a service (`invoke-rc.d`); 101 forbids it.
const POLICY: &str = "/usr/sbin/policy-rc.d";

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
    let services: Vec<&str> = SERVICES
        .iter()
        .filter(|(package, _)| packages.contains(package))
        .map(|(_, service)| *service)
        .collect();
    if !services.is_empty() {
        let (servers, others): (Vec<&str>, Vec<&str>) = packages
            .iter()
            .partition(|package| SERVICES.iter().any(|(server, _)| server == *package));
        let script = without_services(&servers, &services);
        as_root(console, &format!("export DEBIAN_FRONTEND=noninteractive\napt-get update\n{script}"))?;
        return if others.is_empty() { Ok(()) } else { install(console, &others) };
    }
    let install = format!("apt-get install --yes --no-install-recommends {}", packages.join(" "));
    let script = if packages.contains(&"postgresql-15") {
        without_cluster(&install)
    } else {
        install
    };
    as_root(console, &format!("export DEBIAN_FRONTEND=noninteractive\napt-get update\n{script}"))
}

/// Installs servers without starting them, now or at the next boot. Nobody asked for a service here: the tests start servers of their own.
fn without_services(packages: &[&str], services: &[&str]) -> String {
    let (packages, services) = (packages.join(" "), services.join(" "));
    format!(
        "policy={POLICY}\n\
         [ -e \"$policy\" ] || {{ trap 'rm -f \"$policy\"' EXIT; printf '#!/bin/sh\\nexit 101\\n' > \"$policy\"; chmod 755 \"$policy\"; }}\n\
         apt-get install --yes --no-install-recommends {packages}\n\
         [ ! -d /run/systemd/system ] || systemctl disable {services}"
    )
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
