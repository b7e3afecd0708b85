//! Mode `logical`: databases as SQL, read from the catalogs and with `COPY`; no `pg_dump`.
//!
//! # What happens
//! [`backup()`] reads roles and tablespaces, and then one database after the other: it locks the tables against change, begins a transaction with one exported
//! snapshot (`REPEATABLE READ`), and in it reads the catalogs ([`catalog`]), sorts what it found by what depends on what ([`sort`]), and streams each
//! table's rows. The statements themselves are written by queries, a file for each kind of object in `catalog/sql`: the server knows best how its names
//! are quoted and its expressions spelled. *Tables are locked before the snapshot is taken*: functions such as `pg_get_constraintdef` look at the catalogs as they
//! are now, not as they were in the snapshot, so nothing may change in between.
//!
//! Every row of every catalog that describes an object must be accounted for, by itself or by what it is part of ([`catalog::Links`]). What is left is of a kind that this
//! mode doesn't know, and fails the run.
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
//! psql alone replays them, in this order. [`restore()`] does the same over the wire, record by record, so that an error names its object.

mod backup;
mod catalog;
mod check;
mod data;
mod database;
mod globals;
mod index;
mod large_objects;
mod layout;
mod plan;
mod restore;
mod script;
mod selection;
mod server;
mod session;
mod sort;
mod verify;

use bulkhead_sdk::{
    Error, Result,
    source::{BackupResult, RestoreRequest, RestoreResult},
    types::Finding,
};

use crate::config::Config;
pub(crate) use verify::verify;

/// Looks at what would make a backup fail.
pub(crate) fn check(config: &Config) -> Result<Vec<Finding>> {
    check::check(config).map_err(rights)
}

/// Reads roles and databases into entries.
pub(crate) fn backup(config: &Config) -> Result<BackupResult> {
    backup::backup(config).map_err(rights)
}

/// Replays entries into a live server.
pub(crate) fn restore(config: &Config, request: &RestoreRequest) -> Result<RestoreResult> {
    restore::restore(config, request).map_err(rights)
}

/// The client's own advice on a missing right is for mode `physical`.
fn rights(error: Error) -> Error {
    if error.hint.as_deref().is_some_and(|hint| hint.contains("REPLICATION")) && error.causes.iter().any(|cause| cause == "SQLSTATE 42501")
    {
        return error.with_hint("GRANT the role SELECT on what it may not read (pg_read_all_data from PostgreSQL 14 on); a restore, and large objects of others, need a superuser");
    }
    error
}
