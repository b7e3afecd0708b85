//! PostgreSQL's databases as SQL, read from the catalogs and with `COPY`; no `pg_dump`. The plugin `postgres` has it as its mode `logical`, `fabric-ca` stores with it the database
//! of a CA; what they say of a server and of their snapshots is [`Settings`].
//!
//! # What happens
//! [`backup()`] reads roles and tablespaces, and then one database after the other: it locks the tables against change, begins a transaction with one exported
//! snapshot (`REPEATABLE READ`), and in it reads the catalogs (`catalog/`), sorts what it found by what depends on what (`sort.rs`), and streams each
//! table's rows. The statements themselves are written by queries, a file for each kind of object in `catalog/sql`: the server knows best how its names
//! are quoted and its expressions spelled. *Tables are locked before the snapshot is taken*: functions such as `pg_get_constraintdef` look at the catalogs as they
//! are now, not as they were in the snapshot, so nothing may change in between.
//!
//! With several connections (`parallel.rs`), further instances read rows in the same snapshot; in a restore they put rows into tables and make indexes (`together.rs`).
//!
//! Every row of every catalog that describes an object must be accounted for, by itself or by what it is part of (`catalog/links.rs`). What is left is of a kind that this
//! code doesn't know, and fails the run.
//!
//! # What is in a snapshot
//! | entry | what it is |
//! |---|---|
//! | `globals.sql` | roles, memberships, settings, tablespaces and their privileges |
//! | `databases/<name>/database.sql` | the database itself, with its settings and privileges |
//! | `databases/<name>/pre-data.sql` | everything up to empty tables |
//! | `databases/<name>/data/<schema>.<table>.copy` | rows, between the `COPY` statement that takes them and its end mark |
//! | `databases/<name>/sequences.sql`, `large-objects.sql` | values of sequences, content of large objects |
//! | `databases/<name>/post-data.sql` | constraints, indexes, triggers, rules, policies, privileges, … |
//! | `index.jsonl` | all of it in the order of a restore: a record a line, with the place of each statement |
//!
//! psql alone replays them, in this order; [`render()`] makes one script of them. [`restore()`] does the same over the wire, record by record, so that an error names its object. Whoever knows what is in the tables sees
//! the rows as they pass, and reads them again from a snapshot ([`rows`]).

mod backup;
mod catalog;
mod check;
mod clean;
mod connection;
mod data;
mod database;
mod globals;
mod index;
mod large_objects;
mod layout;
mod names;
mod options;
mod parallel;
mod plan;
mod render;
mod replay;
mod restore;
pub mod rows;
mod script;
mod selection;
mod server;
mod session;
mod settings;
mod sort;
mod together;
mod verify;

use std::io::Write;

use bulkhead_sdk::{
    Error, Result,
    source::{BackupResult, RenderRequest, RestoreRequest, RestoreResult},
    types::Finding,
};

pub use connection::{Connection, Purpose, open};
pub use layout::Layout;
pub use options::{Content, Jobs, LiveOptions, Parts};
use rows::Observer;
pub use settings::{Login, Settings};

/// Looks at what would make a backup fail.
///
/// # Errors
/// Those of reaching the server and logging in. What else a backup would stumble over is a finding.
pub fn check(settings: &Settings) -> Result<Vec<Finding>> {
    check::check(settings).map_err(rights)
}

/// Reads roles and databases into entries. `observer` sees every row.
///
/// # Errors
/// Those of the server; what storing or `observer` fails with.
pub fn backup<'a>(settings: &'a Settings, observer: Option<&'a mut dyn Observer>) -> Result<BackupResult> {
    backup::backup(settings, observer).map_err(rights)
}

/// Replays entries into a live server: what `request` and `options` select. Nothing is written before the whole index was read, and the target looked at.
///
/// # Errors
/// `NotGranted`: no server; `Conflict`: something is in the way; `Corrupt`; those of the server, with the object that they are about.
pub fn restore(settings: &Settings, request: &RestoreRequest, options: &LiveOptions) -> Result<RestoreResult> {
    restore::restore(settings, request, options).map_err(rights)
}

/// Carries out a part of a backup or restore that another instance, with the same settings, has started.
///
/// # Errors
/// Those of the operation that it is a part of.
pub fn run_part(settings: &Settings, work: &[u8]) -> Result<Vec<u8>> {
    parallel::run(settings, work).map_err(rights)
}

/// Whether a stored dump is whole.
///
/// # Errors
/// What keeps it from being looked at. Damage is a finding.
pub fn verify(layout: &Layout) -> Result<Vec<Finding>> {
    verify::verify(layout)
}

/// Writes a stored dump as one script for psql: what `request` selects, everything, whole databases, or roles and tablespaces.
///
/// # Errors
/// `NotFound`: nothing is selected; `Corrupt`: what was written until then is a script that psql fails on; `Unsupported`: a database whose name psql cannot be told.
pub fn render(layout: &Layout, request: &RenderRequest, into: &mut dyn Write) -> Result<()> {
    render::render(layout, request, into)
}

/// The client's own advice on a missing right is for replication.
fn rights(error: Error) -> Error {
    if error.hint.as_deref().is_some_and(|hint| hint.contains("REPLICATION")) && error.causes.iter().any(|cause| cause == "SQLSTATE 42501")
    {
        return error.with_hint("GRANT the role SELECT on what it may not read (pg_read_all_data from PostgreSQL 14 on); a restore, and large objects of others, need a superuser");
    }
    error
}
