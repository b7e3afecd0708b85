//! gRPC for plugins: unary calls and server streams over an `endpoint` connection of the SDK, in the plugin's one thread.
//!
//! HTTP/2 is the `h2` crate, the one that hyper stands on: framing, HPACK and flow control that have met hostile peers before. It is written for an
//! async runtime; a plugin has none and needs none. [`Channel`] polls it from a loop that waits in one place only, the read of the connection, with a
//! deadline (`channel.rs` says how). Messages are `prost` types that a plugin declares by derive; there is no code generation.
//!
//! ```no_run
//! use std::time::Duration;
//! use bulkhead_grpc::{Channel, Options};
//! use bulkhead_sdk::{Result, endpoint};
//!
//! #[derive(Clone, PartialEq, prost::Message)]
//! struct Empty {}
//!
//! fn ping() -> Result<()> {
//!     let mut channel = Channel::connect(endpoint::open("server")?, Options::default())?;
//!     let _: Empty = channel.unary("/example.Health/Ping", &Empty {}, Duration::from_secs(10))?;
//!     Ok(())
//! }
//! ```
//!
//! # Bounds
//! What a peer can make this crate keep in memory: the connection's flow control window ([`Options::window`], 1 MiB), one message of
//! [`Options::max_message`] (4 MiB), and 64 KiB of headers. A compressed message is refused, as none is asked for.

mod call;
mod channel;
mod error;
mod framer;
mod pipe;
mod status;
mod transport;

pub use call::Call;
pub use channel::{Channel, Options};
pub use error::GrpcError;
pub use status::{Code, Status};
pub use transport::Transport;
