//! The plugin host against components: small ones as text, and the guest test plugins that misbehave on demand.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod cache;
mod directory;
mod endpoint;
mod http;
mod limits;
mod load;
mod memory;
mod rights;
mod setup;
mod sink;
mod source;
