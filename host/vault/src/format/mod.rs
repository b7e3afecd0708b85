//! The documents of restic's repository format, one module each: how they are written, read and encoded.

pub(crate) mod config;
pub(crate) mod document;
pub(crate) mod index_file;
pub(crate) mod key_file;
pub(crate) mod lock_file;
pub(crate) mod node;
pub(crate) mod pack;
pub(crate) mod quote;
pub(crate) mod snapshot_file;
pub(crate) mod time;
