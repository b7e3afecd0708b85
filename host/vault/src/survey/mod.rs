//! Looking at many snapshots at once: what is where since when, what differs, and what costs how much.
//!
//! Snapshots of one pipeline are mostly the same folders, and a folder is named by the hash of what is in it. So all of these read a folder that many
//! snapshots share once, not once for each.

mod appearances;
mod census;
mod comparison;
mod lookahead;
mod reach;
mod search;
mod totals;

pub use appearances::Appearances;
pub use census::{Census, Objects, SnapshotCost};
pub use comparison::{Change, Comparison, Difference};
pub use search::{Blob, Found, Hit, Search, SearchError};
pub use totals::{Amount, SharedData};

use crate::error::ReadError;

/// Whether the rest can be looked at in spite of `error`: stored content is damaged or missing, but the store answers.
fn is_damage(error: &ReadError) -> bool {
    matches!(error, ReadError::Corrupt(_) | ReadError::BlobMissing { .. })
}
