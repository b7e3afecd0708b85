//! Reading snapshots: folders as they are asked for, content ahead of its consumer.

mod entry_reader;
mod fetch;
mod snapshot_reader;
mod walk;

pub use entry_reader::EntryReader;
pub use snapshot_reader::{SnapshotEntry, SnapshotReader};
pub use walk::Walk;
