//! The words that every crate of the host shares: entries and their metadata, proofs, findings and plugin errors.
//!
//! Pure data, no I/O. The plugin runtime translates the ABI's types into these, the vault stores them, the pipeline compares them; so neither of
//! the first two knows the other.

mod entry;
mod fault;
mod proof;

pub use entry::{EntryMetadata, EntryPath, EntryPathError, ExtendedAttribute, NodeType, Timestamp};
pub use fault::{Fault, FaultKind};
pub use proof::{DigestAlgorithm, Fact, Finding, FinishedEntry, Proof, Severity};
