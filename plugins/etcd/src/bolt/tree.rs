//! The figures of a stored file of any size, by walking its tree: [`Database::summarize`].
//!
//! They are those of the [scanner](super::Scanner), which is faster, because it reads the file in its own order, and has bounds, because it remembers pages
//! until it knows which of them belong to the tree. Here nothing is remembered but the way down.

use bulkhead_sdk::{
    Result,
    digest::{Algorithm, digest},
    progress,
};

use super::{
    crc::Joined,
    database::{Database, ReadAt},
    scanner::Summary,
};

/// Leaves between two reports of progress.
const REPORTED: u64 = 4096;

impl<R: ReadAt> Database<R> {
    /// Reads every page of the tree.
    ///
    /// # Errors
    /// `Corrupt` where the tree is not sound; `Limit` for a value larger than any that is read; those of the reader.
    pub fn summarize(&mut self) -> Result<Summary> {
        let (mut joined, mut keys, mut revision) = (Joined::default(), 0, 0);
        let (mut visited, mut leaves, size) = (0, 0_u64, self.size());
        for (name, bucket) in self.buckets()? {
            append(&mut joined, &name);
            let mut last = 0;
            self.each_leaf(&bucket, &mut visited, &mut |database, place| {
                let leaf = database.leaf(&place)?;
                append(&mut joined, leaf.content()?);
                keys += u64::from(leaf.count());
                last = leaf.leading();
                leaves += 1;
                if leaves.is_multiple_of(REPORTED) {
                    progress::report("walking the tree", leaves, None);
                }
                Ok(())
            })?;
            if name == b"key" {
                revision = last;
            }
        }
        let hash = joined.crc();
        Ok(Summary {
            hash,
            revision,
            keys,
            size,
        })
    }
}

fn append(joined: &mut Joined, data: &[u8]) {
    let crc = digest(Algorithm::Crc32c, data).try_into().map_or(0, u32::from_be_bytes);
    joined.append(crc, data.len() as u64);
}
