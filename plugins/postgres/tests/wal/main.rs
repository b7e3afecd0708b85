//! Mode `wal` against real PostgreSQL servers, run natively: the same code that the sandbox runs.
#![expect(clippy::unwrap_used, reason = "tests")]

mod check;
mod following;
mod gaps;
mod outages;
mod push;
mod recovery;
mod setup;
mod timelines;
