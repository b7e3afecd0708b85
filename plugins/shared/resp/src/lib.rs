//! Redis' protocol, RESP2 and RESP3, as Bulkhead's plugins need it: one blocking connection, no async, no client library.
//!
//! The main type is [`Session`] over a [`Transport`], which is a connection of the SDK in a plugin and a script in tests. Replies come whole
//! ([`Session::call`], [`Session::receive`], bounded in bytes, elements and depth by [`Decoder`]) or, where they may be larger than memory, as the bytes
//! arrive ([`Session::bulk`]). What a server's error means to an operator is in `explain.rs`.
//!
//! Source document: "Redis serialization protocol specification" on redis.io.

mod decoder;
mod error;
mod explain;
mod session;
mod transport;
mod value;

pub use decoder::{Decoder, MAX_DEPTH, MAX_REPLY};
pub use error::{RespError, ServerError, Violation};
pub use explain::explain;
pub use session::{Bulk, Command, Session};
pub use transport::Transport;
pub use value::Value;
