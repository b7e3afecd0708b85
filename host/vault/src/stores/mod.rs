//! Stores without a sink plugin behind them: for tests, examples and measurements.

mod folder;
mod memory;

pub use folder::FolderStore;
pub use memory::MemoryStore;
