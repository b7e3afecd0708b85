//! Mode `logical` against real PostgreSQL servers, run natively: the same code that the sandbox runs.
#![expect(clippy::unwrap_used, reason = "tests")]

mod clean;
mod corpus;
mod failures;
mod foreign;
mod majors;
mod oracle;
mod parallel;
mod parts_of;
mod pooler;
mod render;
mod round_trip;
mod selection;
mod setup;
