//! SIGINT and SIGTERM: the first asks the operation to end cleanly, the second ends the process.

use bulkhead_runtime::Cancellation;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{exit::Exit, output::Output};

/// Listens from now on.
pub(crate) fn listen(cancellation: Cancellation, output: Output) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        tracing::warn!("cannot listen to signals; an interrupted run leaves a lock behind");
        return;
    };
    tokio::spawn(async move {
        next(&mut interrupt, &mut terminate).await;
        output.note("interrupted: ending cleanly; once more to quit at once");
        cancellation.cancel();
        next(&mut interrupt, &mut terminate).await;
        std::process::exit(Exit::Cancelled as i32);
    });
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
