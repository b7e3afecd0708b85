//! Reading snapshots: folders as they are asked for, content ahead of its consumer.

mod ahead;
mod asked;
mod content_walk;
mod entry_reader;
mod fetch;
mod nearby;
mod open;
mod places;
mod recent;
mod request;
mod snapshot_reader;
mod together;
mod walk;

pub use content_walk::{Chunk, ContentFilter, ContentWalk, Piece, StoredContent, Wanted};
pub use entry_reader::EntryReader;
pub(crate) use fetch::{Window, fetch};
pub use snapshot_reader::{SnapshotEntry, SnapshotReader};
pub use together::GroupedWalk;
pub use walk::Walk;
pub(crate) use walk::{describe, join, subtree};
