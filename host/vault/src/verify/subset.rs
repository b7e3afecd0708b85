//! [`Subset`]: the packs that one verification of several reads.

use std::collections::BTreeMap;

use rand::seq::SliceRandom as _;

use crate::{format::index_file::IndexBlob, id::ObjectId, verify::packs::expected_size};

/// Some of the packs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Subset {
    /// The part `number`, counted from 1, of `of` parts of about the same number of packs. Which pack is in which part depends on the pack's name only: whoever
    /// verifies all parts, be it a day after the other, has verified all packs that were there all the time.
    Part {
        /// From 1.
        number: u32,
        /// How many parts there are.
        of: u32,
    },
    /// Packs chosen at random, of at least this share (0 to 1) of the bytes.
    Share(f64),
    /// Packs chosen at random, of at least so many bytes.
    Bytes(u64),
}

impl Subset {
    /// The packs in it.
    pub(super) fn of(self, packs: &BTreeMap<ObjectId, Vec<IndexBlob>>) -> Vec<ObjectId> {
        match self {
            Self::Part { number, of } => packs.keys().copied().filter(|id| part(id, of) == number).collect(),
            Self::Share(share) => some(packs, share_of(packs.values().map(|blobs| expected_size(blobs)).sum(), share)),
            Self::Bytes(bytes) => some(packs, bytes),
        }
    }
}

/// The part that a pack is in, from 1.
fn part(id: &ObjectId, of: u32) -> u32 {
    let [a, b, c, d, ..] = *id.as_bytes();
    u32::from_be_bytes([a, b, c, d]) % of.max(1) + 1
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of bytes need not be exact"
)]
fn share_of(bytes: u64, share: f64) -> u64 {
    (bytes as f64 * share.clamp(0.0, 1.0)).ceil() as u64
}

/// Packs in random order until they have so many bytes; one at least.
fn some(packs: &BTreeMap<ObjectId, Vec<IndexBlob>>, bytes: u64) -> Vec<ObjectId> {
    let mut order: Vec<_> = packs.iter().collect();
    order.shuffle(&mut rand::rng());
    let mut chosen = Vec::new();
    let mut size = 0;
    for (id, blobs) in order {
        if size >= bytes.max(1) {
            break;
        }
        size += expected_size(blobs);
        chosen.push(*id);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::BlobKind;

    /// A hundred packs of 1,000 bytes and a little.
    fn packs() -> BTreeMap<ObjectId, Vec<IndexBlob>> {
        let blob = IndexBlob {
            id: ObjectId::of(b"x"),
            kind: BlobKind::Data,
            offset: 0,
            length: 1000,
            uncompressed_length: None,
        };
        (0..100_u32)
            .map(|number| (ObjectId::of(&number.to_le_bytes()), vec![blob]))
            .collect()
    }

    #[test]
    fn all_parts_together_are_all_packs_each_once() {
        let packs = packs();
        for of in [1, 2, 7, 300] {
            let mut all: Vec<ObjectId> = (1..=of).flat_map(|number| Subset::Part { number, of }.of(&packs)).collect();
            all.sort_unstable();
            assert!(all.iter().eq(packs.keys()), "{of} parts");
        }
    }

    #[test]
    fn shares_and_sizes_are_reached_and_not_by_much_exceeded() {
        let packs = packs();
        for (subset, packs_read) in [
            (Subset::Share(0.05), 5),
            (Subset::Share(1.0), 100),
            (Subset::Bytes(10_000), 10),
            (Subset::Bytes(1), 1),
            (Subset::Bytes(u64::MAX), 100),
        ] {
            let read = subset.of(&packs).len();
            assert!(read == packs_read, "{subset:?}: {read}");
        }
        assert!(Subset::Bytes(1).of(&BTreeMap::new()).is_empty());
    }
}
