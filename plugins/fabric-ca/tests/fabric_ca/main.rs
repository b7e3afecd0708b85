//! The plugin on homes that OpenSSL and SQLite's shell have made as fabric-ca-server 1.5 lays them out, natively; both are witnesses too.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod api;
mod bad_input;
mod keys;
mod meanwhile;
mod postgres;
mod proof;
mod restore;
mod round_trip;
mod setup;
