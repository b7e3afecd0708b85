//! Opening blobs that were fetched: decrypted, decompressed and compared with their names, on a thread that may compute.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    blob,
    buffers::{Borrowed, ChunkBuffers},
    crew::Tools,
    id::ObjectId,
    reader::request::StoredBlob,
    vault::Core,
};

/// Bytes of content up to which blobs share a buffer: those of small files.
const SHARED: usize = 64 << 10;

/// A blob that is not what its name says, and why.
pub(super) type Damaged = (ObjectId, String);

/// What became of blobs, in no order.
#[derive(Default)]
pub(super) struct Opened {
    pub(super) contents: Vec<(ObjectId, Bytes)>,
    pub(super) damaged: Vec<Damaged>,
}

/// Opens blobs. What is not compressed stays where it is, small contents share a buffer.
pub(super) fn open(core: &Core, buffers: &Arc<ChunkBuffers>, stored: Vec<StoredBlob>, tools: &mut Tools) -> Opened {
    let mut opened = Opened::default();
    let mut small = SmallContents::new(&stored);
    for mut blob in stored {
        let id = blob.id;
        let content = match blob.location.uncompressed {
            Some(length) if length as usize <= SHARED => small.open(core, &mut blob, tools).map(|()| None),
            _ => open_one(core, buffers, blob, tools).map(Some),
        };
        match content {
            Ok(content) => opened.contents.extend(content.map(|content| (id, content))),
            Err(reason) => opened.damaged.push((id, reason)),
        }
    }
    opened.contents.extend(small.finish());
    opened
}

/// The content of a blob where it is, or in a buffer of its own.
fn open_one(core: &Core, buffers: &Arc<ChunkBuffers>, mut blob: StoredBlob, tools: &mut Tools) -> Result<Bytes, String> {
    let Some(length) = blob.location.uncompressed else {
        let within = blob::open_plain(&core.key, &blob.id, &mut blob.bytes)?;
        return Ok(blob.bytes.freeze().slice(within));
    };
    let mut content = Borrowed {
        bytes: buffers.take(length as usize),
        home: Arc::clone(buffers),
    };
    blob::open_into(&core.key, &blob.id, &blob.location, &mut blob.bytes, &mut content.bytes, tools)?;
    Ok(Bytes::from_owner(content))
}

/// Contents of small blobs, one behind the other.
struct SmallContents {
    all: Vec<u8>,
    one: Vec<u8>,
    ends: Vec<(ObjectId, usize)>,
}

impl SmallContents {
    fn new(stored: &[StoredBlob]) -> Self {
        let lengths = stored
            .iter()
            .filter_map(|blob| blob.location.uncompressed)
            .map(|length| length as usize);
        Self {
            all: Vec::with_capacity(lengths.filter(|length| *length <= SHARED).sum()),
            one: Vec::new(),
            ends: Vec::new(),
        }
    }

    fn open(&mut self, core: &Core, blob: &mut StoredBlob, tools: &mut Tools) -> Result<(), String> {
        self.one.clear();
        self.one.reserve(blob.location.content_length() as usize);
        blob::open_into(&core.key, &blob.id, &blob.location, &mut blob.bytes, &mut self.one, tools)?;
        self.all.extend_from_slice(&self.one);
        self.ends.push((blob.id, self.all.len()));
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
