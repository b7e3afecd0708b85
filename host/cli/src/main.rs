//! The command line of Bulkhead, and its composition root: the only place that reads the environment, prints, and knows every part.

mod arguments;
mod commands;
mod descriptors;
mod error;
mod exit;
mod logging;
mod output;
mod session;
mod signals;

use std::{panic::catch_unwind, process::ExitCode};

use clap::Parser as _;

use arguments::{Arguments, Command};
use exit::Exit;
use session::Session;

/// glibc's allocator is up to twenty times slower on some paths between guest and host.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let (arguments, asks_for_log) = match Arguments::try_parse() {
        Ok(arguments) => {
            let asks_for_log = matches!(arguments.command, Command::WalFetch(_));
            (Ok(arguments), asks_for_log)
        }
        Err(error) => (Err(error), std::env::args_os().any(|word| word == "wal-fetch")),
    };
    let exit = match arguments {
        Ok(arguments) => catch_unwind(|| work(arguments)).unwrap_or(Exit::Internal),
        Err(error) => {
            let told = error.print();
            if told.is_ok() && error.exit_code() == 0 {
                Exit::Ok
            } else {
                Exit::Usage
            }
        }
    };
    match exit {
        // Any other code up to 125 is the end of the log to PostgreSQL, which would open with less than there is.
        Exit::Ok | Exit::NotFound => exit,
        _ if asks_for_log => Exit::Undecided,
        _ => exit,
    }
    .into()
}

/// Carries the command out.
fn work(arguments: Arguments) -> Exit {
    let output = output::Output::new(&arguments.global);
    logging::start(&arguments.global, &output);
    descriptors::raise();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return output.fail(&error::CommandError::system("start the program's threads", &error));
        }
    };
    let exit = runtime.block_on(async {
        let session = Session::new(arguments.global, output.clone());
        signals::listen(session.cancellation.clone(), output.clone());
        let exit = match commands::dispatch(arguments.command, &session).await {
            Ok(exit) => exit,
            Err(error) => output.fail(&error),
        };
        match output.finish() {
            Ok(()) => exit,
            Err(error) => {
                output.complain(&error);
                exit.and(error.exit())
            }
        }
    });
    // What still blocks a thread has nothing left to say.
    runtime.shutdown_background();
    exit
}
