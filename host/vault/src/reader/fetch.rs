//! Getting blobs out of packs: neighbours in one request, checked on a thread that may compute.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    access, blob,
    buffers::{Borrowed, ChunkBuffers},
    error::{Corruption, ReadError},
    id::ObjectId,
    index::Location,
    vault::Core,
};

/// Buffers are made in multiples of this, and smaller ones exactly.
const STEP: usize = 1 << 20;

/// Blobs of one pack, in the order of the content, that are fetched together.
pub(crate) struct Group {
    /// The pack.
    pub(crate) pack: ObjectId,
    /// Where the range begins and ends.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// The blobs.
    pub(crate) blobs: Vec<(ObjectId, Location)>,
    /// Bytes of content in them.
    pub(crate) content: u64,
}

impl Group {
    /// A group of one.
    pub(crate) fn new(id: ObjectId, location: Location) -> Self {
        let start = u64::from(location.offset);
        let content = location.content_length();
        Self {
            pack: location.pack,
            start,
            end: start + u64::from(location.length),
            blobs: vec![(id, location)],
            content,
        }
    }

    /// Adds the blob that follows in the content, if it follows in the pack as well and the group stays within `limit` bytes of content and of pack.
    pub(crate) fn extend(&mut self, id: ObjectId, location: Location, limit: u64) -> bool {
        let end = self.end + u64::from(location.length);
        let content = self.content + location.content_length();
        let fits = location.pack == self.pack && u64::from(location.offset) == self.end && end - self.start <= limit && content <= limit;
        if fits {
            self.end = end;
            self.content = content;
            self.blobs.push((id, location));
        }
        fits
    }
}

/// Bytes of a buffer for this blob: in steps, so that it will do for others as well.
fn buffer_size(location: &Location) -> usize {
    let exact = location.content_length() as usize;
    if exact < STEP { exact } else { exact.next_multiple_of(STEP) }
}

/// Fetches a group and opens its blobs into `buffers`.
pub(crate) async fn fetch(core: Arc<Core>, buffers: Arc<ChunkBuffers>, group: Group) -> Result<Vec<Bytes>, ReadError> {
    let key = access::pack_key(&group.pack);
    let only = (group.blobs.len() == 1).then(|| group.blobs[0].0);
    let stored = access::get(&*core.store, &key, Some(group.start..group.end)).await;
    let stored = stored.map_err(|error| blob::damaged_pack(error, only))?;
    if stored.len() as u64 != group.end - group.start {
        let reason = format!("{} bytes were read instead of {}", stored.len(), group.end - group.start);
        return Err(Corruption {
            object: key,
            blob: only,
            reason,
        }
        .into());
    }
    let open = move || {
        let mut stored = blob::own(stored);
        let mut contents = Vec::with_capacity(group.blobs.len());
        for (id, location) in &group.blobs {
            let begin = (u64::from(location.offset) - group.start) as usize;
            let part = &mut stored[begin..begin + location.length as usize];
            let mut content = Borrowed {
                bytes: buffers.take(buffer_size(location)),
                home: Arc::clone(&buffers),
            };
            let opened = blob::open_into(&core.key, id, location, part, &mut content.bytes);
            opened.map_err(|reason| Corruption {
                object: key.clone(),
                blob: Some(*id),
                reason,
            })?;
            contents.push(Bytes::from_owner(content));
        }
        Ok(contents)
    };
    tokio::task::spawn_blocking(open)
        .await
        .unwrap_or_else(|error| Err(ReadError::Internal(error.to_string())))
}
