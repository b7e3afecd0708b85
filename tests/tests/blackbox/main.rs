//! Bulkhead from the outside: its binary, real servers, real plugins, and plain `restic` as the witness.
//!
//! [`world::World`] is a scratch installation that already holds one good snapshot, so that every test of something going wrong ends with the
//! assertion that what was there before still restores.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod archive;
mod commits;
mod configuration;
mod copying;
mod couchdb;
mod crafted;
mod credentials;
mod damage;
mod demo;
mod diff;
mod disk;
mod durability;
mod etcd;
mod etcd_failures;
mod fabric_ca;
mod fault_matrix;
mod files;
mod find;
mod full;
mod gdrive;
mod help;
mod history;
mod holding;
mod hostile;
mod interruption;
mod json;
mod keys;
mod killed;
mod logical;
mod lost_objects;
mod maintenance;
mod mounting;
mod output;
mod plugins;
mod postgres;
mod postgres_incremental;
mod redis;
mod replicas;
mod restic;
mod restoring;
mod retention;
mod s3;
mod s3_locks;
mod s3_roles;
mod server_desk;
mod silent_sink;
mod sinks;
mod sqlite;
mod stats;
mod status;
mod verification;
mod wal;
mod wal_push;
mod world;
