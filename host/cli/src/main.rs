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

use std::process::ExitCode;

use clap::Parser as _;

use arguments::Arguments;
use session::Session;

/// glibc's allocator is up to twenty times slower on some paths between guest and host.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = output::Output::new(&arguments.global);
    logging::start(&arguments.global, &output);
    descriptors::raise();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return output
                .fail(&error::CommandError::system("start the program's threads", &error))
                .into();
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
    exit.into()
}
