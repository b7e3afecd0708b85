//! [`Nearby`]: folders are read with those that stand around them.
//!
//! A walk enters one folder after the other, and needs each before it knows the next one. They were stored by a walk, too, so that most stand close to
//! each other in a pack: one request for each of them is what takes the time where the store is far away.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Mutex},
};

use bytes::Bytes;

use crate::{
    access,
    error::{ReadError, StoreError},
    format::node::{self, Node},
    id::ObjectId,
    index::{BlobKind, Location},
    sync::{lock, read},
    vault::Core,
};

/// Bytes of a pack that are read at once: some hundred folders of usual size.
const PIECE: u64 = 128 << 10;
/// Bytes of pieces that are kept.
const KEPT: usize = 4 << 20;
/// What a piece takes beside its bytes, and in time to look through: there are packs with a single small folder.
const OF_A_PIECE: usize = 512;

/// Pieces of packs with folders in them, those used last.
#[derive(Default)]
pub(crate) struct Nearby(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// Last used last.
    pieces: VecDeque<Piece>,
    /// What they take.
    bytes: usize,
}

/// A part of a pack as it is stored.
#[derive(Clone)]
struct Piece {
    pack: ObjectId,
    start: u64,
    bytes: Bytes,
}

impl Piece {
    /// What it takes to keep it.
    fn cost(&self) -> usize {
        self.bytes.len() + OF_A_PIECE
    }

    /// What stands at `location`, if it is within.
    fn part(&self, location: &Location) -> Option<Bytes> {
        let start = u64::from(location.offset).checked_sub(self.start)? as usize;
        let end = start + location.length as usize;
        (self.pack == location.pack && end <= self.bytes.len()).then(|| self.bytes.slice(start..end))
    }
}

impl Nearby {
    /// Reads a tree.
    pub(crate) async fn load_tree(&self, core: &Arc<Core>, id: &ObjectId) -> Result<Vec<Node>, ReadError> {
        let location = core.locate(BlobKind::Tree, id, || "a folder".to_owned())?;
        let opened = match self.kept(&location) {
            Some(stored) => open(Arc::clone(core), *id, location, Ok(stored)).await,
            None => self.fetch(core, id, location).await,
        };
        match opened {
            // What stands around it may be what is damaged.
            Err(ReadError::Corrupt(damage)) => {
                tracing::warn!("a folder is fetched anew: {damage}");
                core.load_tree(id).await
            }
            opened => opened,
        }
    }

    async fn fetch(&self, core: &Arc<Core>, id: &ObjectId, location: Location) -> Result<Vec<Node>, ReadError> {
        let key = access::pack_key(&location.pack);
        let range = range_around(&location, read(&core.index).end_of_pack(BlobKind::Tree, id));
        let opening = |stored: Result<Bytes, StoreError>| {
            let core = Arc::clone(core);
            let piece = stored.map(|bytes| Piece {
                pack: location.pack,
                start: range.start,
                bytes,
            });
            async move {
                let part = piece.as_ref().map(|piece| piece.part(&location).unwrap_or_default());
                let nodes = open(core, *id, location, part.map_err(Clone::clone)).await?;
                Ok((nodes, piece.ok()))
            }
        };
        let (nodes, piece) = access::get_good(&*core.store, &key, Some(range.clone()), opening).await?;
        // A large folder has a piece for itself, and is entered once.
        if u64::from(location.length) <= PIECE {
            piece.into_iter().for_each(|piece| self.keep(piece));
        }
        Ok(nodes)
    }

    fn kept(&self, location: &Location) -> Option<Bytes> {
        let pieces = &mut lock(&self.0).pieces;
        let (position, part) = pieces
            .iter()
            .enumerate()
            .find_map(|(position, piece)| Some((position, piece.part(location)?)))?;
        let used = pieces.remove(position)?;
        pieces.push_back(used);
        Some(part)
    }

    /// Keeps a piece. Those that nobody wanted for longest make room for it.
    fn keep(&self, piece: Piece) {
        let mut kept = lock(&self.0);
        kept.bytes += piece.cost();
        kept.pieces.push_back(piece);
        while kept.bytes > KEPT {
            let Some(oldest) = kept.pieces.pop_front() else { return };
            kept.bytes -= oldest.cost();
        }
    }
}

async fn open(core: Arc<Core>, id: ObjectId, location: Location, stored: Result<Bytes, StoreError>) -> Result<Vec<Node>, ReadError> {
    core.open_tree(id, location, node::decode_tree, stored).await
}

/// The piece of a pack, whose blobs end at `end`, that a blob is in.
fn range_around(location: &Location, end: Option<u64>) -> Range<u64> {
    let (begin, stop) = (u64::from(location.offset), u64::from(location.offset) + u64::from(location.length));
    let start = begin - begin % PIECE;
    let piece_end = (start + PIECE).min(end.unwrap_or(stop));
    start..piece_end.max(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u32, length: u32) -> Location {
        Location {
            pack: ObjectId::of(b"pack"),
            offset,
            length,
            uncompressed: None,
        }
    }

    #[test]
    fn a_piece_has_the_whole_folder_and_ends_with_the_pack() {
        let piece = PIECE as u32;
        assert_eq!(range_around(&at(10, 20), Some(1000)), 0..1000);
        assert_eq!(range_around(&at(piece + 10, 20), Some(10 * PIECE)), PIECE..2 * PIECE);
        assert_eq!(range_around(&at(piece - 10, 20), Some(10 * PIECE)), 0..PIECE + 10);
        assert_eq!(range_around(&at(10, 2 * piece), None), 0..2 * PIECE + 10);
    }

    fn piece(start: u32, length: usize) -> Piece {
        Piece {
            pack: ObjectId::of(b"pack"),
            start: start.into(),
            bytes: vec![0; length].into(),
        }
    }

    #[test]
    fn those_that_are_used_stay() {
        let nearby = Nearby::default();
        let (length, room) = (PIECE as u32, KEPT / (PIECE as usize + OF_A_PIECE));
        let keep = |number: usize| nearby.keep(piece(number as u32 * length, length as usize));
        (0..room).for_each(keep);
        assert!(nearby.kept(&at(0, 100)).is_some());
        keep(room);
        assert!(nearby.kept(&at(50, 50)).is_some());
        assert!(nearby.kept(&at(length, 100)).is_none());
        assert!(nearby.kept(&at(2 * length, 100)).is_some());
        assert!(nearby.kept(&at(2 * length, length + 1)).is_none());
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes_however_long_a_piece_is() {
        let (nearby, large) = (Nearby::default(), 3 << 20);
        (0..10).for_each(|number| nearby.keep(piece(number * large, large as usize)));
        assert_eq!(lock(&nearby.0).pieces.len(), 1);
        assert!(nearby.kept(&at(9 * large, 100)).is_some());
        nearby.keep(piece(0, KEPT));
        let kept = lock(&nearby.0);
        assert_eq!((kept.pieces.len(), kept.bytes), (0, 0));
    }
}
