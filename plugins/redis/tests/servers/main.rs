//! The plugin against real servers and against servers that misbehave, run natively: the same code that the sandbox runs.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod browse;
mod check;
mod failures;
mod live;
mod meanwhile;
mod modules;
mod nodes;
mod redirections;
mod round_trip;
mod scan;
mod setup;
