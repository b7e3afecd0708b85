//! Looking at many snapshots at once: what is where since when, what differs, and what costs how much.
//!
//! Snapshots of one pipeline are mostly the same folders, and a folder is named by the hash of what is in it. So all of these read a folder that many
//! snapshots share once, not once for each.

mod appearances;
mod lookahead;
mod search;

pub use appearances::Appearances;
pub use search::{Blob, Found, Hit, Search, SearchError};

use crate::error::ReadError;

/// Whether the rest can be looked at in spite of `error`: stored content is damaged or missing, but the store answers.
fn is_damage(error: &ReadError) -> bool {
    matches!(error, ReadError::Corrupt(_) | ReadError::BlobMissing { .. })
}
