//! Writing snapshots: entries in, in any order and several at once; packs, index files and, last, a snapshot out.
//!
//! ```text
//! EntryWriter ─ cuts ─▶ Queue ─▶ worker threads: hash, look up, compress, encrypt ─▶ Packer ─▶ Uploads ─▶ store
//!  (any task)                                                                                    │
//! SnapshotWriter::commit: trees, the same way ───────────────────────────────────────────────────┘ index, snapshot
//! ```
//!
//! One [`run::Run`] holds what they share. Every wait in it ends at once when the run fails: memory is handed out by semaphores that are closed
//! then, threads sleep on condition variables that are notified then, and calls to the store race the failure.

mod buffers;
mod commit;
mod content;
mod entry_writer;
mod keep;
mod packer;
mod poison;
mod queue;
mod records;
mod run;
mod snapshot_writer;
mod spool;
mod tree_writer;
mod trees;
mod uploads;
mod workshop;

pub(crate) use buffers::SEGMENT;
pub use entry_writer::EntryWriter;
pub(crate) use run::Run;
pub use snapshot_writer::{BeginSnapshot, CommittedSnapshot, RunStats, SnapshotWriter};
pub(crate) use tree_writer::TreeWriter;
pub(crate) use uploads::flush_index;
pub(crate) use workshop::Workshop;
