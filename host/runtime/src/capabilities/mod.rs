//! What a plugin can do in the world, as plain asynchronous Rust: no type of wasmtime appears here.
//!
//! Each capability is made of the grants and limits of one operation and answers in the ABI's own words ([`Fault`](bulkhead_model::Fault)). The
//! bindings of an ABI version sit on top and only translate.

mod budget;
pub mod content;
pub mod digest;
pub mod directory;
pub mod endpoint;
pub mod entries;
mod granted;
pub mod http;
pub mod log;
pub(crate) mod redact;
pub mod secrets;
pub mod snapshot;

pub use budget::Budget;
pub use granted::Granted;
pub(crate) use granted::grant_hint;

/// Most bytes that one call moves.
pub const MAX_TRANSFER: usize = 1 << 20;

/// Refuses what is longer than one call may move.
///
/// # Errors
/// `limit`.
pub fn check_transfer(length: usize) -> Result<(), bulkhead_model::Fault> {
    if length <= MAX_TRANSFER {
        return Ok(());
    }
    let message = format!("one call moves at most {MAX_TRANSFER} bytes, not {length}");
    Err(bulkhead_model::Fault::new(bulkhead_model::FaultKind::Limit, message))
}

/// The least of what was asked for and what one call may move; never 0.
pub(crate) fn transfer_size(max: u32) -> usize {
    usize::try_from(max).unwrap_or(MAX_TRANSFER).clamp(1, MAX_TRANSFER)
}
