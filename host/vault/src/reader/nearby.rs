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
/// Pieces that are kept: 4 MiB, unless single folders are larger.
const KEPT: usize = 32;

/// Pieces of packs with folders in them, those used last.
#[derive(Default)]
pub(crate) struct Nearby(Mutex<VecDeque<Piece>>);

/// A part of a pack as it is stored.
#[derive(Clone)]
struct Piece {
    pack: ObjectId,
    start: u64,
    bytes: Bytes,
}

impl Piece {
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
            Err(ReadError::Corrupt(_)) => core.load_tree(id).await,
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
        piece.into_iter().for_each(|piece| self.keep(piece));
        Ok(nodes)
    }

    fn kept(&self, location: &Location) -> Option<Bytes> {
        let mut pieces = lock(&self.0);
        let (position, part) = pieces
            .iter()
            .enumerate()
            .find_map(|(position, piece)| Some((position, piece.part(location)?)))?;
        let used = pieces.remove(position)?;
        pieces.push_back(used);
        Some(part)
    }

    fn keep(&self, piece: Piece) {
        let mut pieces = lock(&self.0);
        pieces.push_back(piece);
        if pieces.len() > KEPT {
            pieces.pop_front();
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

    #[test]
    fn those_that_are_used_stay() {
        let nearby = Nearby::default();
        let bytes = Bytes::from(vec![0; 100]);
        let piece = |number: usize| Piece {
            pack: ObjectId::of(b"pack"),
            start: number as u64 * 1000,
            bytes: bytes.clone(),
        };
        (0..KEPT).for_each(|number| nearby.keep(piece(number)));
        assert!(nearby.kept(&at(0, 100)).is_some());
        nearby.keep(piece(KEPT));
        assert!(nearby.kept(&at(50, 50)).is_some());
        assert!(nearby.kept(&at(1000, 100)).is_none());
        assert!(nearby.kept(&at(2000, 101)).is_none());
    }
}
