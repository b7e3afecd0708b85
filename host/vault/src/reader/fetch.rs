//! Getting blobs out of packs: neighbours in one request, checked on a thread that may compute.
//!
//! A [`Window`] is a stretch of content, of one file or of several. Its blobs stand in packs in about the order of the content, not quite (they were
//! compressed by several threads) and not all in one pack: so a window is fetched pack by pack, in the order of the packs, and put in order afterwards.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{
    access,
    buffers::{self, ChunkBuffers},
    error::{ReadError, StoreError},
    id::ObjectId,
    index::Location,
    reader::{
        open::open,
        request::{GAP, Request, SCATTERED_GAP, requests},
    },
    vault::Core,
};

/// Bytes of memory that a window takes at most, unless a single blob is larger or its owner says otherwise.
const WINDOW: u64 = 4 << 20;
/// Blobs in a window.
const WINDOW_BLOBS: usize = 4096;

/// Blobs that are fetched together, in the order of the content.
pub(crate) struct Window {
    pub(super) blobs: Vec<(ObjectId, Location)>,
    bytes: u64,
    /// Bytes of memory that it takes at most.
    limit: u64,
    /// Bytes between two blobs of one request at most.
    gap: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self::up_to(WINDOW)
    }
}

impl Window {
    /// One that takes so many bytes of memory at most, unless a single blob is larger.
    pub(super) fn up_to(limit: u64) -> Self {
        Self {
            blobs: Vec::new(),
            bytes: 0,
            limit,
            gap: GAP,
        }
    }

    /// One that somebody else has bounded, of blobs in no order.
    pub(crate) fn scattered(blobs: Vec<(ObjectId, Location)>) -> Self {
        Self {
            bytes: blobs.iter().map(|(_, location)| memory(location)).sum(),
            blobs,
            limit: u64::MAX,
            gap: SCATTERED_GAP,
        }
    }

    /// Adds the blob that comes next in the content; says whether there was room.
    pub(crate) fn add(&mut self, id: ObjectId, location: Location) -> bool {
        let bytes = memory(&location);
        let fits = self.blobs.is_empty() || self.bytes + bytes <= self.limit && self.blobs.len() < WINDOW_BLOBS;
        if fits {
            self.bytes += bytes;
            self.blobs.push((id, location));
        }
        fits
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// Bytes of memory that its contents take.
    pub(super) fn content(&self) -> u64 {
        self.blobs.iter().map(|(_, location)| content(location)).sum()
    }

    /// Its blobs, each once.
    pub(super) fn distinct(&self) -> Vec<(ObjectId, Location)> {
        let mut blobs = self.blobs.clone();
        blobs.sort_unstable_by_key(|(id, _)| *id);
        blobs.dedup_by_key(|(id, _)| *id);
        blobs
    }

    /// Contents that came in any order, in that of the blobs.
    pub(super) fn in_order(&self, contents: &HashMap<ObjectId, Bytes>) -> Result<Vec<Bytes>, ReadError> {
        let content = |(id, _): &(ObjectId, Location)| {
            let content = contents.get(id).cloned();
            content.ok_or_else(|| ReadError::Internal(format!("the blob {id} was asked for and did not come")))
        };
        self.blobs.iter().map(content).collect()
    }
}

/// What a blob takes: as it is stored and, where it is compressed, its content beside that.
fn memory(location: &Location) -> u64 {
    match location.uncompressed {
        Some(_) => u64::from(location.length) + content(location),
        None => content(location),
    }
}

/// What a blob's content takes: a buffer or, where it is not compressed, what it was stored in.
fn content(location: &Location) -> u64 {
    match location.uncompressed {
        Some(length) => buffers::size_for(length as usize) as u64,
        None => u64::from(location.length),
    }
}

/// Fetches a window; returns the content of its blobs in order.
pub(crate) async fn fetch(core: Arc<Core>, buffers: Arc<ChunkBuffers>, window: Window) -> Result<Vec<Bytes>, ReadError> {
    let concurrency = core.concurrency();
    let mut contents: HashMap<ObjectId, Bytes> = HashMap::with_capacity(window.blobs.len());
    let mut fetched = stream::iter(requests(&window.blobs, window.gap))
        .map(|request| fetch_request(&core, &buffers, request))
        .buffer_unordered(concurrency);
    while let Some(part) = fetched.try_next().await? {
        contents.extend(part);
    }
    window.in_order(&contents)
}

/// The contents of a request's blobs, from one replica that has all of them.
pub(super) async fn fetch_request(
    core: &Arc<Core>,
    buffers: &Arc<ChunkBuffers>,
    request: Request,
) -> Result<Vec<(ObjectId, Bytes)>, ReadError> {
    let request = Arc::new(request);
    let open = |stored| open_request(Arc::clone(core), Arc::clone(buffers), Arc::clone(&request), stored);
    access::get_good(&*core.store, &request.key(), Some(request.range()), open).await
}

/// The blobs of a request in what one replica has of the pack.
async fn open_request(
    core: Arc<Core>,
    buffers: Arc<ChunkBuffers>,
    request: Arc<Request>,
    stored: Result<Bytes, StoreError>,
) -> Result<Vec<(ObjectId, Bytes)>, ReadError> {
    let stored = request.cut(stored)?;
    let owned = Arc::clone(&core);
    let opened = core.crew.run(move |tools| open(&owned, &buffers, stored, tools)).await;
    let opened = opened.map_err(ReadError::Internal)?;
    match opened.damaged.into_iter().next() {
        Some((blob, reason)) => Err(request.corrupt(Some(blob), reason)),
        None => Ok(opened.contents),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_room_for_any_one_blob_and_a_bound_for_more() {
        let location = Location {
            pack: ObjectId::of(b"pack"),
            offset: 0,
            length: 8 << 20,
            uncompressed: None,
        };
        let mut window = Window::default();
        assert!(window.add(ObjectId::of(b"blob"), location));
        assert!(!window.add(ObjectId::of(b"blob"), location));
        assert_eq!(window.bytes, 8 << 20);
    }
}
