//! Which documents a run has read: [`Seen`]. One that changes while the feed is read appears in it again, and an entry is written once.

use std::hash::{BuildHasher, RandomState};

/// Lists that are sorted and grow one by one: a new hash moves few others, and no growing copies all of them.
const LISTS: usize = 4096;

/// 64 bits of each id, some 9 bytes of memory. The hash is keyed anew in each run, so that nobody can choose ids that hide each other.
pub(crate) struct Seen {
    key: RandomState,
    lists: Vec<Vec<u64>>,
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self {
            key: RandomState::new(),
            lists: vec![Vec::new(); LISTS],
        }
    }

    /// Whether `id` is new.
    pub(crate) fn insert(&mut self, id: &str) -> bool {
        let hash = self.key.hash_one(id);
        let list = &mut self.lists[(hash >> 52) as usize % LISTS];
        let Err(place) = list.binary_search(&hash) else { return false };
        if list.len() == list.capacity() {
            list.reserve_exact(list.len() / 8 + 8);
        }
        list.insert(place, hash);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_is_new_once_and_takes_few_bytes() {
        let mut seen = Seen::new();
        let ids = || (0..300_000).map(|number| format!("document{number}"));
        assert!(ids().all(|id| seen.insert(&id)));
        assert!(!ids().any(|id| seen.insert(&id)));
        let bytes: usize = seen.lists.iter().map(|list| list.capacity() * size_of::<u64>()).sum();
        assert!(bytes < 300_000 * 10, "{bytes}");
    }
}
