//! Getting blobs out of packs: neighbours in one request, checked on a thread that may compute.
//!
//! A [`Window`] is a stretch of content, of one file or of several. Its blobs stand in packs in about the order of the content, not quite (they were
//! compressed by several threads) and not all in one pack: so a window is fetched pack by pack, in the order of the packs, and put in order afterwards.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{
    access, blob,
    buffers::{self, Borrowed, ChunkBuffers},
    crew::Tools,
    error::{Corruption, ReadError, StoreError},
    id::ObjectId,
    index::Location,
    vault::Core,
};

/// Bytes of memory that a window takes at most, unless a single blob is larger.
pub(crate) const WINDOW: usize = 4 << 20;
/// Blobs in a window.
const WINDOW_BLOBS: usize = 4096;
/// Bytes between two blobs that are fetched and thrown away, rather than making a request of their own.
const GAP: u64 = 16 << 10;
/// The same between blobs of many small files that are scattered over packs: what a request costs a sink next door, and more so one that is far away, is more than to
/// read this.
pub(crate) const SCATTERED_GAP: u64 = 64 << 10;
/// Bytes of one request, unless a single blob is larger: several are on their way at once.
const REQUEST: u64 = 4 << 20;
/// Bytes of content up to which blobs share a buffer: those of small files.
const SHARED: u64 = 64 << 10;

/// Blobs that are fetched together, in the order of the content.
pub(crate) struct Window {
    blobs: Vec<(ObjectId, Location)>,
    bytes: u64,
    /// Bytes between two blobs of one request at most.
    gap: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            blobs: Vec::new(),
            bytes: 0,
            gap: GAP,
        }
    }
}

impl Window {
    /// One that somebody else has bounded, of blobs in no order.
    pub(crate) fn scattered(blobs: Vec<(ObjectId, Location)>) -> Self {
        Self {
            bytes: blobs.iter().map(|(_, location)| memory(location)).sum(),
            blobs,
            gap: SCATTERED_GAP,
        }
    }

    /// Adds the blob that comes next in the content; says whether there was room.
    pub(crate) fn add(&mut self, id: ObjectId, location: Location) -> bool {
        let bytes = memory(&location);
        let fits = self.blobs.is_empty() || self.bytes + bytes <= WINDOW as u64 && self.blobs.len() < WINDOW_BLOBS;
        if fits {
            self.bytes += bytes;
            self.blobs.push((id, location));
        }
        fits
    }

    /// Bytes of memory that it takes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }
}

/// What a blob takes: as it is stored and, where it is compressed, its content beside that.
fn memory(location: &Location) -> u64 {
    let stored = u64::from(location.length);
    match location.uncompressed {
        Some(length) => stored + buffers::size_for(length as usize) as u64,
        None => stored,
    }
}

/// One request: blobs that stand close to each other in a pack.
struct Request {
    pack: ObjectId,
    start: u64,
    end: u64,
    blobs: Vec<(ObjectId, Location)>,
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
    let content = |(id, _): &(ObjectId, Location)| {
        let content = contents.get(id).cloned();
        content.ok_or_else(|| ReadError::Internal(format!("the blob {id} was asked for and did not come")))
    };
    window.blobs.iter().map(content).collect()
}

/// The requests that get all blobs, each once; those that are no further apart than `gap` in one.
fn requests(blobs: &[(ObjectId, Location)], gap: u64) -> Vec<Request> {
    let mut sorted = blobs.to_vec();
    sorted.sort_unstable_by_key(|(id, location)| (location.pack, location.offset, *id));
    sorted.dedup_by_key(|(id, _)| *id);
    let mut requests: Vec<Request> = Vec::new();
    for (id, location) in sorted {
        let start = u64::from(location.offset);
        let end = start + u64::from(location.length);
        match requests.last_mut() {
            Some(last) if last.pack == location.pack && start >= last.end && start - last.end <= gap && end - last.start <= REQUEST => {
                last.end = end;
                last.blobs.push((id, location));
            }
            _ => requests.push(Request {
                pack: location.pack,
                start,
                end,
                blobs: vec![(id, location)],
            }),
        }
    }
    requests
}

async fn fetch_request(core: &Arc<Core>, buffers: &Arc<ChunkBuffers>, request: Request) -> Result<Vec<(ObjectId, Bytes)>, ReadError> {
    let request = Arc::new(request);
    let key = access::pack_key(&request.pack);
    let range = request.start..request.end;
    let open = |stored| open_request(Arc::clone(core), Arc::clone(buffers), Arc::clone(&request), stored);
    access::get_good(&*core.store, &key, Some(range), open).await
}

/// The blobs of a request in what one replica has of the pack.
async fn open_request(
    core: Arc<Core>,
    buffers: Arc<ChunkBuffers>,
    request: Arc<Request>,
    stored: Result<Bytes, StoreError>,
) -> Result<Vec<(ObjectId, Bytes)>, ReadError> {
    let only = (request.blobs.len() == 1).then(|| request.blobs[0].0);
    let pack = request.pack;
    let corrupt = |blob, reason| Corruption {
        object: access::pack_key(&pack),
        blob,
        reason,
    };
    let stored = stored.map_err(|error| blob::damaged_pack(error, only))?;
    if stored.len() as u64 != request.end - request.start {
        let reason = format!("{} bytes were read instead of {}", stored.len(), request.end - request.start);
        return Err(corrupt(only, reason).into());
    }
    let owned = Arc::clone(&core);
    let opened = core.crew.run(move |tools| open(&owned, &buffers, &request, stored, tools)).await;
    let opened = opened.map_err(ReadError::Internal)?;
    Ok(opened.map_err(|(blob, reason)| corrupt(Some(blob), reason))?)
}

/// Opens the blobs of a request. What is not compressed stays where it is, small contents share a buffer.
fn open(
    core: &Core,
    buffers: &Arc<ChunkBuffers>,
    request: &Request,
    stored: Bytes,
    tools: &mut Tools,
) -> Result<Vec<(ObjectId, Bytes)>, (ObjectId, String)> {
    let mut stored = blob::own(stored);
    let mut contents = Vec::with_capacity(request.blobs.len());
    let mut plain = Vec::new();
    let mut small = SmallContents::new(request);
    for (id, location) in &request.blobs {
        let begin = (u64::from(location.offset) - request.start) as usize;
        let range = begin..begin + location.length as usize;
        let part = &mut stored[range.clone()];
        let failed = |reason| (*id, reason);
        match location.uncompressed {
            None => {
                let within = blob::open_plain(&core.key, id, part).map_err(failed)?;
                plain.push((*id, range.start + within.start..range.start + within.end));
            }
            Some(length) if u64::from(length) <= SHARED => {
                small.open(core, id, location, part, tools).map_err(failed)?;
            }
            Some(length) => {
                let mut content = Borrowed {
                    bytes: buffers.take(length as usize),
                    home: Arc::clone(buffers),
                };
                blob::open_into(&core.key, id, location, part, &mut content.bytes, tools).map_err(failed)?;
                contents.push((*id, Bytes::from_owner(content)));
            }
        }
    }
    let stored = stored.freeze();
    contents.extend(plain.into_iter().map(|(id, range)| (id, stored.slice(range))));
    contents.extend(small.finish());
    Ok(contents)
}

/// Contents of small blobs, one behind the other.
struct SmallContents {
    all: Vec<u8>,
    one: Vec<u8>,
    ends: Vec<(ObjectId, usize)>,
}

impl SmallContents {
    fn new(request: &Request) -> Self {
        let small = request.blobs.iter().filter_map(|(_, location)| location.uncompressed);
        let lengths = small.filter(|length| u64::from(*length) <= SHARED);
        Self {
            all: Vec::with_capacity(lengths.map(|length| length as usize).sum()),
            one: Vec::new(),
            ends: Vec::new(),
        }
    }

    fn open(&mut self, core: &Core, id: &ObjectId, location: &Location, stored: &mut [u8], tools: &mut Tools) -> Result<(), String> {
        self.one.clear();
        self.one.reserve(location.content_length() as usize);
        blob::open_into(&core.key, id, location, stored, &mut self.one, tools)?;
        self.all.extend_from_slice(&self.one);
        self.ends.push((*id, self.all.len()));
        Ok(())
    }

    fn finish(self) -> impl Iterator<Item = (ObjectId, Bytes)> {
        let mut rest = Bytes::from(self.all);
        let mut begin = 0;
        self.ends.into_iter().map(move |(id, end)| {
            let content = rest.split_to(end - begin);
            begin = end;
            (id, content)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(name: u8, pack: u8, offset: u32, length: u32) -> (ObjectId, Location) {
        let location = Location {
            pack: ObjectId::of(&[pack]),
            offset,
            length,
            uncompressed: None,
        };
        (ObjectId::of(&[name]), location)
    }

    #[test]
    fn neighbours_are_one_request_in_whatever_order_they_are_needed() {
        let far = 1000 + GAP as u32 + 1;
        let blobs = [
            blob(2, 1, 300, 100),
            blob(1, 1, 0, 300),
            blob(1, 1, 0, 300),
            blob(3, 1, 500, 500),
            blob(4, 2, 0, 10),
            blob(5, 1, far, 10),
        ];
        let mut ranges: Vec<_> = requests(&blobs, GAP)
            .iter()
            .map(|request| (request.start, request.end, request.blobs.len()))
            .collect();
        ranges.sort_unstable();
        assert_eq!(ranges, [(0, 10, 1), (0, 1000, 3), (far.into(), u64::from(far) + 10, 1)]);
    }

    #[test]
    fn what_is_scattered_is_read_with_what_stands_between_up_to_a_bound() {
        let apart = 50 << 10;
        let blobs: Vec<_> = (0..200_u8).map(|number| blob(number, 1, u32::from(number) * apart, 100)).collect();
        assert_eq!(requests(&blobs, GAP).len(), 200);
        let requests = requests(&blobs, SCATTERED_GAP);
        assert!(requests.iter().all(|request| request.end - request.start <= REQUEST));
        assert_eq!(requests.len(), 3, "9.7 MiB");
    }

    #[test]
    fn a_window_has_room_for_any_one_blob_and_a_bound_for_more() {
        let mut window = Window::default();
        let (id, location) = blob(1, 1, 0, 8 << 20);
        assert!(window.add(id, location));
        assert!(!window.add(id, location));
        assert_eq!(window.bytes(), 8 << 20);
    }
}
