//! Chunks that were needed last: [`Recent`].

use std::collections::VecDeque;

use bytes::Bytes;

use crate::buffers;

/// Bytes of memory of the chunks that are kept, unless a single one is larger. Who reads a file in another order than its own, as a database is walked in the
/// order of its keys, comes back to a chunk soon; without it here, each jump fetches, decrypts and decompresses one.
const KEPT: usize = 16 << 20;

/// The last chunks of one file that somebody read at offsets, by their number. The last one used is the last one.
#[derive(Default)]
pub(crate) struct Recent {
    chunks: VecDeque<(usize, Bytes)>,
    bytes: usize,
}

impl Recent {
    /// The chunk of this number, if it is kept.
    pub(crate) fn get(&mut self, number: usize) -> Option<Bytes> {
        // The last one first: reads of a few bytes stay in one chunk for long.
        let position = self.chunks.iter().rposition(|(kept, _)| *kept == number)?;
        let found = self.chunks.remove(position)?;
        let content = found.1.clone();
        self.chunks.push_back(found);
        Some(content)
    }

    /// Keeps a chunk that was not there. Those that nobody wanted for longest make room for it.
    pub(crate) fn put(&mut self, number: usize, content: Bytes) {
        self.bytes += buffers::size_for(content.len());
        self.chunks.push_back((number, content));
        while self.bytes > KEPT && self.chunks.len() > 1 {
            let Some((_, oldest)) = self.chunks.pop_front() else { return };
            self.bytes -= buffers::size_for(oldest.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(mebibytes: usize) -> Bytes {
        vec![0; mebibytes << 20].into()
    }

    fn numbers(recent: &Recent) -> Vec<usize> {
        recent.chunks.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn the_chunks_that_were_read_last_are_kept_within_their_bytes() {
        let mut recent = Recent::default();
        (0..5).for_each(|number| recent.put(number, chunk(4)));
        assert_eq!(numbers(&recent), [1, 2, 3, 4]);
        assert_eq!(recent.get(1).map(|content| content.len()), Some(4 << 20));
        assert!(recent.get(0).is_none());
        recent.put(5, chunk(1));
        assert_eq!((numbers(&recent), recent.bytes), (vec![3, 4, 1, 5], 13 << 20));
    }

    #[test]
    fn what_a_buffer_takes_counts_and_the_last_chunk_stays_however_large() {
        let mut recent = Recent::default();
        // Of more than 4 MiB, each sits in a buffer of 8 MiB and a bit.
        recent.put(0, chunk(5));
        recent.put(1, chunk(5));
        assert_eq!(numbers(&recent), [1]);
        recent.put(2, chunk(20));
        assert_eq!((numbers(&recent), recent.bytes), (vec![2], 20 << 20));
        recent.put(3, chunk(1));
        assert_eq!((numbers(&recent), recent.bytes), (vec![3], 1 << 20));
    }
}
