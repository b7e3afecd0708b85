//! `cargo xtask lint`: what must hold of the source text.

use crate::console::Console;
use crate::error::Result;
use crate::process;

/// Check formatting, lints, documentation and dependencies.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Repair formatting instead of complaining about it.
    #[arg(long)]
    fix: bool,
}

/// What `deny.toml` allows to the workspace and `fuzz/` has no need of.
const UNUSED: [&str; 6] = [
    "--allow",
    "unused-wrapper",
    "--allow",
    "license-not-encountered",
    "--allow",
    "license-exception-not-encountered",
];

/// Runs all checks; the first that fails ends it.
pub(crate) fn run(console: &Console, arguments: &Arguments) -> Result<()> {
    let formatting: &[&str] = if arguments.fix {
        &["fmt", "--all"]
    } else {
        &["fmt", "--all", "--check"]
    };
    check(console, formatting)?;
    check(console, &[formatting, &["--manifest-path", "fuzz/Cargo.toml"]].concat())?;
    check(console, &["fetch", "--locked", "--manifest-path", "fuzz/Cargo.toml"])?;
    check(
        console,
        &["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"],
    )?;
    console.command("RUSTDOCFLAGS='--deny warnings' cargo doc --workspace --no-deps --locked");
    let mut documentation = process::cargo(["doc", "--quiet", "--workspace", "--no-deps", "--locked"]);
    process::run(documentation.env("RUSTDOCFLAGS", "--deny warnings"))?;
    if process::succeeds(&mut process::cargo(["deny", "--version"])) {
        // Advisories have to be fetched and change by themselves: no gate for a change of ours.
        let kinds = ["bans", "licenses", "sources"];
        check(console, &[&["deny", "check"], &kinds[..]].concat())?;
        check(
            console,
            &[&["deny", "--manifest-path", "fuzz/Cargo.toml", "check"], &UNUSED[..], &kinds].concat(),
        )
    } else {
        console.note("cargo-deny is not installed, so licences, bans and duplicates were not checked: cargo install cargo-deny --locked");
        Ok(())
    }
}

fn check(console: &Console, arguments: &[&str]) -> Result<()> {
    let mut command = process::cargo(arguments);
    console.command(&process::line(&command));
    process::run(&mut command)
}
