//! PostgreSQL's frontend/backend protocol, version 3, as Bulkhead's plugins need it: one blocking connection, no async, no client library.
//!
//! The main type is [`Session`]: an authenticated connection over a [`Transport`], which is a connection of the SDK in a plugin and a script in
//! tests. Below it the layers are pure and know nothing of each other: [`wire`] turns bytes into messages and back, [`auth`] computes what a
//! server asks for, [`ServerReport`] is a parsed `ErrorResponse`. Whatever a server sends, memory stays bounded: a message other than `CopyData`
//! has a limit, `CopyData` is handed on in pieces as it arrives, and no length is believed before its bytes are here.
//!
//! Source of truth: PostgreSQL's documentation, chapter "Frontend/Backend Protocol", for versions 13 to 17.

pub mod auth;
mod connect;
mod error;
mod explain;
mod lsn;
mod replication;
mod report;
mod session;
mod streaming;
mod transport;
pub mod wire;

pub use connect::{ConnectOptions, connect};
pub use error::{ClientError, Violation};
pub use lsn::{Lsn, ParseLsnError};
pub use replication::{SystemIdentity, TimelineId};
pub use report::{ServerReport, Severity};
pub use session::{AuthenticationMethod, CopyEvent, Encryption, ResultSet, Session};
pub use streaming::{NextTimeline, StreamDecoder, StreamMessage};
pub use transport::Transport;
