//! Mode `physical` against real PostgreSQL servers, run natively: the same code that the sandbox runs.
#![expect(clippy::unwrap_used, reason = "tests")]

mod authentication;
mod check;
mod delta;
mod failures;
mod incremental;
mod restore;
mod round_trip;
mod setup;
mod tls;
mod verify;
