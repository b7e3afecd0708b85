//! Sizes and times of a vault in use.

use std::{path::PathBuf, thread::available_parallelism};

use crate::{chunker::MAX_CHUNK, writer::SEGMENT};

/// Threads that are worth having unless told otherwise.
pub(crate) const MOST_THREADS: usize = 8;

/// How a vault is made.
#[derive(Debug, Clone, Default)]
pub struct InitOptions {
    /// The name of this host, for the key file.
    pub host: Option<String>,
}

/// How a vault is used. Values out of bounds are moved into them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultOptions {
    /// zstd level of data and trees: -7 to 22. Default 1. A PostgreSQL data directory of 951 MiB (pgbench, and a table of text with two indexes) takes
    /// 142 MiB and 3.9 s of CPU at level 1, hashing and encryption included; 142 MiB and 4.6 s at level 3. Rows as text: 253 MiB of 1 GiB and 6.1 s;
    /// 278 MiB and 13.2 s.
    pub compression_level: i32,
    /// Threads that hash, compress and encrypt in one run: 1 to 64; each takes 4 MiB beside the content, up to 9 for a large chunk. Default: the
    /// machine's parallelism, 8 at most: what these do is more than one stream can be cut.
    pub threads: usize,
    /// Bytes at which a pack is complete: 1 MiB to 128 MiB. Default 16 MiB.
    pub pack_size: usize,
    /// Bytes of packs being filled or stored, in all; at least one pack and a chunk. Default 36 MiB: two on their way, one being filled.
    pub pack_memory: usize,
    /// Bytes of buffers with content that was cut and waits to be processed, in all; at least 9 MiB, one chunk. Default 16 MiB.
    pub content_memory: usize,
    /// Bytes of entries' content that wait for the end of their chunk, in all, beyond 128 KiB of each entry. When they are used up, chunks are cut
    /// early: correct, but they deduplicate less well. Default 24 MiB.
    pub partial_memory: usize,
    /// Bytes that a reader may hold ahead of its consumer, as they are stored; a walk over content 4 MiB for each request that the store is worth running at once, up to
    /// 32 MiB, where that is more. Gaps in requests add a third at most. Beside them, content that is opened ahead takes up to 12 MiB, or a single chunk. Default 12 MiB.
    pub read_ahead: usize,
    /// A folder of this machine for what a run's list of entries has beyond 8 MiB: in a file without a name, encrypted under a key of that run. Without one, or where no file
    /// can be made in it, all of it stays in memory: 150 bytes of an entry instead of 40. Default: none.
    pub scratch: Option<PathBuf>,
}

impl Default for VaultOptions {
    fn default() -> Self {
        Self {
            compression_level: 1,
            threads: available_parallelism().map_or(2, usize::from).min(MOST_THREADS),
            pack_size: 16 << 20,
            pack_memory: 36 << 20,
            content_memory: 16 << 20,
            partial_memory: 24 << 20,
            read_ahead: 12 << 20,
            scratch: None,
        }
    }
}

impl VaultOptions {
    /// Moves every value into its bounds.
    pub(crate) fn bounded(self) -> Self {
        let pack_size = self.pack_size.clamp(1 << 20, 128 << 20);
        Self {
            compression_level: self.compression_level.clamp(-7, 22),
            threads: self.threads.clamp(1, 64),
            pack_size,
            pack_memory: self.pack_memory.clamp(pack_size + MAX_CHUNK + SEGMENT, 4 << 30),
            content_memory: self.content_memory.clamp(MAX_CHUNK + (1 << 20), 1 << 30),
            partial_memory: self.partial_memory.min(1 << 30),
            read_ahead: self.read_ahead.clamp(1 << 20, 1 << 30),
            scratch: self.scratch,
        }
    }
}
