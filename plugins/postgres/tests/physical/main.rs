//! Mode `physical` against real PostgreSQL servers, run natively: the same code that the sandbox runs.
#![expect(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

mod host;
mod round_trip;
mod setup;
