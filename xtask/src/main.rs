//! Developer tasks: `cargo xtask demo` shows Bulkhead at work, `cargo xtask test` runs every test.
//!
//! One task is one module; [`console`] is the only one that prints, [`process`] the only one that starts programs.

mod bench;
mod binary;
mod console;
mod demo;
mod error;
mod fuzz;
mod lint;
mod process;
mod setup;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use console::Console;

/// Developer tasks of Bulkhead.
///
/// `demo` and `test` first look for what they need, and install what is missing on Debian 12: there is nothing to do before them.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Demo(demo::Arguments),
    Test(test::Arguments),
    Lint(lint::Arguments),
    Fuzz(fuzz::Arguments),
    Bench(bench::Arguments),
    Setup(setup::Arguments),
}

fn main() -> ExitCode {
    let console = Console::new();
    let done = match Arguments::parse().task {
        Task::Demo(arguments) => demo::run(&console, &arguments),
        Task::Test(arguments) => test::run(&console, &arguments),
        Task::Lint(arguments) => lint::run(&console, &arguments),
        Task::Fuzz(arguments) => fuzz::run(&console, &arguments),
        Task::Bench(arguments) => bench::run(&console, &arguments),
        Task::Setup(arguments) => setup::run(&console, &arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console.failure(&error);
            ExitCode::FAILURE
        }
    }
}
