//! `cargo xtask setup`: finds what building, testing and the demo need, and installs what is missing.
//!
//! Each [`Requirement`] is looked for first, so on a machine that has everything nothing happens and nobody is asked for root.

mod debian;
mod guest;
mod wheels;

use std::path::Path;
use std::process::Command;

use crate::console::Console;
use crate::error::{Error, Result};
use crate::process;

/// Find or install what is needed: C compiler, guest toolchain, PostgreSQL 15, Redis, etcd, restic.
///
/// Packages come from Debian; root is asked for (through sudo) only when one is missing. No database cluster is created, and one that is
/// there is left alone.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Also install cargo-nextest and cargo-deny; `cargo xtask test` and `cargo xtask lint` do without.
    #[arg(long)]
    tools: bool,
    /// Say what is missing, install nothing, and fail if anything is.
    #[arg(long)]
    check: bool,
}

/// Something that must be there.
struct Requirement {
    what: &'static str,
    purpose: &'static str,
    packages: &'static [&'static str],
    present: fn() -> bool,
}

/// What Debian packages provide.
const REQUIREMENTS: [Requirement; 7] = [
    Requirement {
        what: "C compiler",
        purpose: "zstd, ring and mimalloc",
        packages: &["gcc", "libc6-dev"],
        present: || in_path("cc"),
    },
    Requirement {
        what: "PostgreSQL 15",
        purpose: "the demo's and the tests' server",
        packages: &["postgresql-15", "postgresql-client-15"],
        present: || {
            Path::new("/usr/lib/postgresql/15/bin/postgres").exists() && Path::new("/usr/lib/postgresql/15/bin/pg_dumpall").exists()
        },
    },
    Requirement {
        what: "restic",
        purpose: "an independent reader of vaults",
        packages: &["restic"],
        present: || in_path("restic"),
    },
    Requirement {
        what: "etcd 3.4",
        purpose: "the tests' server and its own tools as witnesses",
        packages: &["etcd-server", "etcd-client"],
        present: || in_path("etcd") && in_path("etcdctl"),
    },
    Requirement {
        what: "openssl",
        purpose: "certificates of the tests' servers",
        packages: &["openssl"],
        present: || in_path("openssl"),
    },
    Requirement {
        what: "Redis 7.0",
        // The server is in this package too, by the name of a tool; the package `redis-server` would start one.
        purpose: "the tests' server",
        packages: &["redis-tools"],
        present: || in_path("redis-check-rdb"),
    },
    Requirement {
        what: "pip",
        purpose: "servers of other versions than Debian's",
        packages: &["python3-pip"],
        present: || process::succeeds(Command::new("python3").args(["-m", "pip", "--version"])),
    },
];

/// Runs the task by itself.
pub(crate) fn run(console: &Console, arguments: &Arguments) -> Result<()> {
    if arguments.check {
        return check(console);
    }
    ensure(console)?;
    for requirement in &REQUIREMENTS {
        console.success(&format!("{} ({})", requirement.what, requirement.purpose));
    }
    if let Ok(toolchain) = guest::find() {
        console.success(&format!("toolchain for plugins: {toolchain}"));
    }
    if arguments.tools {
        install_tool(console, "nextest")?;
        install_tool(console, "deny")?;
    }
    Ok(())
}

/// Installs a subcommand of cargo unless it is there.
fn install_tool(console: &Console, subcommand: &str) -> Result<()> {
    if process::succeeds(&mut process::cargo([subcommand, "--version"])) {
        return Ok(());
    }
    let mut install = process::cargo(["install", &format!("cargo-{subcommand}"), "--locked"]);
    console.command(&process::line(&install));
    process::run(&mut install)
}

/// Installs what is missing, silently when nothing is.
pub(crate) fn ensure(console: &Console) -> Result<()> {
    let missing = missing();
    if !missing.is_empty() {
        for requirement in &missing {
            console.note(&format!("{} is missing (for {}).", requirement.what, requirement.purpose));
        }
        let packages: Vec<&str> = missing.iter().flat_map(|requirement| requirement.packages).copied().collect();
        debian::install(console, &packages)?;
    }
    for wheel in wheels::WHEELS.iter().filter(|wheel| !wheel.is_present()) {
        console.note(&format!("{} is missing (for the tests).", wheel.what));
        wheel.install(console)?;
    }
    guest::ensure(console)
}

fn check(console: &Console) -> Result<()> {
    let mut absent: Vec<&str> = missing().iter().map(|requirement| requirement.what).collect();
    absent.extend(wheels::WHEELS.iter().filter(|wheel| !wheel.is_present()).map(|wheel| wheel.what));
    if guest::find().is_err() {
        absent.push("toolchain for plugins");
    }
    if absent.is_empty() {
        console.success("nothing is missing");
        return Ok(());
    }
    Err(Error::Missing {
        what: absent.join(", "),
        remedy: "cargo xtask setup".to_owned(),
    })
}

fn missing() -> Vec<&'static Requirement> {
    REQUIREMENTS.iter().filter(|requirement| !(requirement.present)()).collect()
}

/// Whether a program of that name is in `PATH`.
fn in_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// Standard output of a program that succeeded.
fn output_of(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
