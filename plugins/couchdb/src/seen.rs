//! Which documents a run has read: [`Seen`]. One that changes while the feed is read appears in it again, and an entry is written once.

use std::{
    collections::HashSet,
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
};

/// Sets that grow one by one, so that no growing doubles all of it.
const SETS: usize = 256;

/// 64 bits of each id, some 10 to 20 bytes of memory. The hash is keyed anew in each run, so that nobody can choose ids that hide each other.
pub(crate) struct Seen {
    key: RandomState,
    sets: Vec<HashSet<u64, BuildHasherDefault<Ready>>>,
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self {
            key: RandomState::new(),
            sets: vec![HashSet::default(); SETS],
        }
    }

    /// Whether `id` is new.
    pub(crate) fn insert(&mut self, id: &str) -> bool {
        let hash = self.key.hash_one(id);
        let set = usize::from(hash.to_be_bytes()[0]) % SETS;
        self.sets[set].insert(hash)
    }
}

/// Takes a hash for what it is.
#[derive(Default, Clone)]
struct Ready(u64);

impl Hasher for Ready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash << 8 | u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        // The table takes its buckets from the low bits and its tags from the high ones, which all hashes of one set share.
        self.0 = hash.rotate_left(24);
    }
}
