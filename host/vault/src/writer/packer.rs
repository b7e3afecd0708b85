//! Packs being filled: one for content, one for trees ("in version 2, they must be stored in separate files").

use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use crate::{
    crypto::MasterKey,
    error::WriteError,
    format::{
        index_file::{IndexBlob, IndexPack},
        pack,
    },
    id::ObjectId,
    index::BlobKind,
    store::ObjectBody,
    sync::lock,
    writer::{
        buffers::{PackBuffer, PackMemory},
        workshop::SealedBlob,
    },
};

/// Blobs at which a pack is complete, whatever its size: restic reads headers of 16 MiB at most, about 400,000 blobs.
const MAX_BLOBS: usize = 100_000;

/// Fills packs.
pub(crate) struct Packer {
    data: Mutex<Option<OpenPack>>,
    trees: Mutex<Option<OpenPack>>,
    memory: Arc<PackMemory>,
    /// Bytes at which a pack is complete.
    target: usize,
    /// Bytes that a pack may not exceed.
    limit: u64,
}

/// A pack being filled.
struct OpenPack {
    buffer: PackBuffer,
    blobs: Vec<IndexBlob>,
    /// Bytes of its header so far.
    header: usize,
}

/// A complete pack.
pub(crate) struct SealedPack {
    /// What the store gets.
    pub(crate) body: ObjectBody,
    /// What the index gets.
    pub(crate) index: IndexPack,
}

/// Why a blob could not be packed.
pub(crate) enum PackError {
    /// The run has failed meanwhile.
    Closed,
    /// Larger than an object of the store may be.
    TooLarge(u64),
    /// A defect.
    Internal(String),
}

impl Packer {
    /// Packs of about `target` bytes, never above `limit`, filled in `memory`.
    pub(crate) fn new(memory: Arc<PackMemory>, target: usize, limit: u64) -> Self {
        Self {
            data: Mutex::default(),
            trees: Mutex::default(),
            memory,
            target,
            limit: limit.min(u64::from(u32::MAX)),
        }
    }

    fn open(&self, kind: BlobKind) -> &Mutex<Option<OpenPack>> {
        match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.trees,
        }
    }

    /// Adds a blob; waits for memory when all is in use. Returns packs that this completed: two when the blob did not fit into the pack before it.
    pub(crate) fn append(
        &self,
        key: &MasterKey,
        kind: BlobKind,
        id: ObjectId,
        blob: &SealedBlob<'_>,
    ) -> Result<Vec<SealedPack>, PackError> {
        let mut complete = Vec::new();
        let mut open = lock(self.open(kind));
        if open.as_ref().is_some_and(|pack| pack.size_with(blob) > self.limit) {
            complete.extend(open.take());
        }
        let mut pack = match open.take() {
            Some(pack) => pack,
            None => OpenPack {
                buffer: PackBuffer::new(&self.memory),
                blobs: Vec::new(),
                header: pack::HEADER_FRAME,
            },
        };
        if pack.size_with(blob) > self.limit {
            return Err(PackError::TooLarge(pack.size_with(blob)));
        }
        pack.push(kind, id, blob).ok_or(PackError::Closed)?;
        if pack.buffer.len() >= self.target || pack.blobs.len() >= MAX_BLOBS {
            complete.push(pack);
        } else {
            *open = Some(pack);
        }
        drop(open);
        complete.into_iter().map(|pack| pack.seal(key)).collect()
    }

    /// Completes the pack of this kind, if one was begun.
    pub(crate) fn flush(&self, key: &MasterKey, kind: BlobKind) -> Result<Option<SealedPack>, PackError> {
        let pack = lock(self.open(kind)).take();
        pack.map(|pack| pack.seal(key)).transpose()
    }

    /// Lets everyone go who waits for memory, and forgets what was begun.
    pub(crate) fn close(&self) {
        self.memory.close();
        drop(lock(&self.data).take());
        drop(lock(&self.trees).take());
    }
}

impl OpenPack {
    /// Bytes of the whole pack if `blob` were its last.
    fn size_with(&self, blob: &SealedBlob<'_>) -> u64 {
        // A compressed record is the longest; one more for the blob to come.
        (self.buffer.len() + blob.message.len() + self.header + pack::MAX_RECORD) as u64
    }

    /// `None` when the run has failed.
    fn push(&mut self, kind: BlobKind, id: ObjectId, blob: &SealedBlob<'_>) -> Option<()> {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let offset = number(self.buffer.len());
        self.buffer.append(blob.message)?;
        let blob = IndexBlob {
            id,
            kind,
            offset,
            length: number(blob.message.len()),
            uncompressed_length: blob.uncompressed,
        };
        self.header += pack::record_size(&blob);
        self.blobs.push(blob);
        Some(())
    }

    fn seal(self, key: &MasterKey) -> Result<SealedPack, PackError> {
        let header = pack::encode_header(key, &self.blobs).map_err(PackError::Internal)?;
        let mut parts = self.buffer.into_parts();
        parts.push(header.into());
        let mut sha256 = Sha256::new();
        parts.iter().for_each(|part| sha256.update(part));
        let sha256: [u8; 32] = sha256.finalize().into();
        let body = ObjectBody { parts, sha256 };
        Ok(SealedPack {
            body,
            index: IndexPack {
                id: ObjectId::from(sha256),
                time: None,
                size: None,
                blobs: self.blobs,
            },
        })
    }
}

impl PackError {
    /// As an error of the run.
    pub(crate) fn into_write_error(self, closed: WriteError, location: String, limit: u64) -> WriteError {
        match self {
            Self::Closed => closed,
            Self::TooLarge(size) => WriteError::ObjectTooLarge { location, size, limit },
            Self::Internal(reason) => WriteError::Internal(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_blobs_make_a_pack_in_linear_time() {
        let key = MasterKey::random();
        let packer = Packer::new(PackMemory::new(8 << 20), 128 << 20, 1 << 30);
        let message = [7; 48];
        let blob = SealedBlob {
            message: &message,
            uncompressed: None,
        };
        let begun = std::time::Instant::now();
        let mut packs = Vec::new();
        for number in 0..MAX_BLOBS {
            let Ok(appended) = packer.append(&key, BlobKind::Data, ObjectId::of(&number.to_le_bytes()), &blob) else {
                unreachable!("blob {number}");
            };
            packs.extend(appended);
        }
        assert_eq!(packs.len(), 1);
        assert_eq!(packs[0].index.blobs.len(), MAX_BLOBS);
        let size = MAX_BLOBS * message.len() + pack::header_size(&packs[0].index.blobs);
        assert_eq!(packs[0].body.size(), size as u64);
        // With a walk over all blobs at each append: minutes.
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    }
}
