//! A server that answers as Google Drive does, v3 of its API: [`Drive`], over TLS on a loopback port, or called directly.
//!
//! What it knows is taken from Google's documentation and from the discovery document of the API: names that are not unique, searches, partial answers
//! (`fields`), pages, resumable uploads with their `308`s and sessions that are forgotten, batches, the trash, quotas, shared drives, the documents in which
//! it refuses, and OAuth 2.0 with refresh tokens, service accounts and the flows that ask a person. Where Drive may behave in one way or another, it takes the
//! one that is harder on a client: pages that are not full, nothing of a shared drive for those who do not ask for it.
//!
//! It judges others, so others judge it: rclone and Google's own client work with it, in its tests.

mod fields;
mod files;
mod oauth;
mod query;
mod resource;
mod routes;
mod serve;
mod state;
mod uploads;

pub use oauth::{ServiceAccount, User};
pub use serve::{Fault, Served};
pub use state::{Content, Drive, File, State};

/// The kind of file that a folder is.
pub const FOLDER: &str = "application/vnd.google-apps.folder";
