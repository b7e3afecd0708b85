//! Chunks that were needed last: [`Recent`].

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{buffers, id::ObjectId};

/// Bytes of memory of the chunks that are kept, unless a single one is larger. Who reads a file in another order than its own, as a database is walked in the
/// order of its keys, comes back to a chunk soon; without it here, each jump fetches, decrypts and decompresses one.
const KEPT: usize = 16 << 20;

/// The last chunks that somebody read at offsets, of whatever files of a snapshot. The last one used is the last one.
#[derive(Default)]
pub(crate) struct Recent {
    chunks: VecDeque<(ObjectId, Bytes)>,
    bytes: usize,
}

impl Recent {
    /// This chunk, if it is kept.
    pub(crate) fn get(&mut self, id: ObjectId) -> Option<Bytes> {
        // The last one first: reads of a few bytes stay in one chunk for long.
        let position = self.chunks.iter().rposition(|(kept, _)| *kept == id)?;
        let found = self.chunks.remove(position)?;
        let content = found.1.clone();
        self.chunks.push_back(found);
        Some(content)
    }

    /// Keeps a chunk, unless somebody else did meanwhile. Those that nobody wanted for longest make room for it.
    pub(crate) fn put(&mut self, id: ObjectId, content: Bytes) {
        if self.get(id).is_some() {
            return;
        }
        self.bytes += buffers::size_for(content.len());
        self.chunks.push_back((id, content));
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

    fn id(number: u8) -> ObjectId {
        ObjectId::from([number; 32])
    }

    fn numbers(recent: &Recent) -> Vec<u8> {
        let number = |chunk: ObjectId| (0..=u8::MAX).find(|number| id(*number) == chunk);
        recent.chunks.iter().filter_map(|(chunk, _)| number(*chunk)).collect()
    }

    #[test]
    fn the_chunks_that_were_read_last_are_kept_within_their_bytes() {
        let mut recent = Recent::default();
        (0..5).for_each(|number| recent.put(id(number), chunk(4)));
        assert_eq!(numbers(&recent), [1, 2, 3, 4]);
        assert_eq!(recent.get(id(1)).map(|content| content.len()), Some(4 << 20));
        assert!(recent.get(id(0)).is_none());
        recent.put(id(5), chunk(1));
        assert_eq!((numbers(&recent), recent.bytes), (vec![3, 4, 1, 5], 13 << 20));
    }

    #[test]
    fn what_a_buffer_takes_counts_and_the_last_chunk_stays_however_large() {
        let mut recent = Recent::default();
        // Of more than 4 MiB, each sits in a buffer of 8 MiB and a bit.
        recent.put(id(0), chunk(5));
        recent.put(id(1), chunk(5));
        assert_eq!(numbers(&recent), [1]);
        recent.put(id(2), chunk(20));
        assert_eq!((numbers(&recent), recent.bytes), (vec![2], 20 << 20));
        recent.put(id(3), chunk(1));
        assert_eq!((numbers(&recent), recent.bytes), (vec![3], 1 << 20));
    }
}
