//! `cargo xtask test`: every test of the workspace.

use crate::console::Console;
use crate::error::Result;
use crate::process;
use crate::setup::{self, Need};

/// Run every test: units, plugins, and black-box tests of the built binary against real servers.
///
/// Uses cargo-nextest where it is installed, and `cargo test` otherwise. Arguments go to either: `cargo xtask test -p bulkhead-vault`.
#[derive(clap::Args)]
#[command(disable_help_flag = false)]
pub(crate) struct Arguments {
    /// Arguments for the test runner; without `-p` among them, all packages are tested.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    runner: Vec<String>,
}

/// Builds the binary as the whole workspace sees it, and the tests beside it.
const WITH_TESTS: &[&str] = &["build", "--workspace", "--bins", "--tests", "--locked"];

/// Builds the binary that black-box tests drive, then runs the tests; documentation examples come first, so that the runner's summary is the last line.
pub(crate) fn run(console: &Console, arguments: &Arguments) -> Result<()> {
    setup::ensure(console, Need::Tests)?;
    let everything = !arguments
        .runner
        .iter()
        .any(|word| word.starts_with("-p") || word.starts_with("--package"));
    let selection: &[&str] = if everything { &["--workspace"] } else { &[] };
    // The binary by itself has fewer features of its dependencies than beside the tests: built alone first, half of them would be compiled twice.
    announced(
        console,
        if everything {
            WITH_TESTS
        } else {
            &["build", "--package", "bulkhead"]
        },
    )?;
    let chosen: Vec<&str> = arguments.runner.iter().map(String::as_str).collect();
    if !process::succeeds(&mut process::cargo(["nextest", "--version"])) {
        return announced(console, &[&["test", "--no-fail-fast"], selection, &chosen].concat());
    }
    if arguments.runner.is_empty() {
        announced(console, &["test", "--quiet", "--doc", "--workspace"])?;
    }
    announced(console, &[&["nextest", "run", "--no-fail-fast"], selection, &chosen].concat())
}

fn announced(console: &Console, arguments: &[&str]) -> Result<()> {
    let mut command = process::cargo(arguments);
    console.command(&process::line(&command));
    process::run(&mut command)
}
