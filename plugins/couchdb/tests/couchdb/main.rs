//! The plugin's logic against a server that answers as CouchDB does.
#![expect(clippy::unwrap_used, reason = "tests")]

mod broken_off;
mod browse;
mod failures;
mod incremental;
mod pouch;
mod requests;
mod restore;
mod round_trip;
mod setup;
