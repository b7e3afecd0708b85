//! The plugin against real etcd clusters, run natively: the same code that the sandbox runs. TLS, which the harness leaves out, is tested black box.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod check;
mod decoders;
mod failures;
mod live;
mod mutations;
mod round_trip;
mod scripted;
mod setup;
