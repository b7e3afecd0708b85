//! What one thread needs to turn content into a stored blob: a compressor and a buffer, both used again and again.

use zstd::{bulk::Compressor, zstd_safe::compress_bound};

use crate::{
    crypto::{MasterKey, NONCE, OVERHEAD},
    error::WriteError,
};

/// Bytes of the buffer that are kept for the next blob: one chunk in thirty is larger.
const KEPT: usize = 4 << 20;

/// A compressor and the buffer for its output.
pub(crate) struct Workshop {
    compressor: Compressor<'static>,
    message: Vec<u8>,
}

/// A blob as it goes into a pack.
pub(crate) struct SealedBlob<'w> {
    /// Nonce, ciphertext, tag.
    pub(crate) message: &'w [u8],
    /// Bytes of content, where it was worth compressing.
    pub(crate) uncompressed: Option<u32>,
}

impl Workshop {
    /// A workshop that compresses at `level`.
    pub(crate) fn new(level: i32) -> Result<Self, WriteError> {
        let compressor =
            Compressor::new(level).map_err(|error| WriteError::Internal(format!("compression could not be set up: {error}")))?;
        Ok(Self {
            compressor,
            message: Vec::new(),
        })
    }

    /// Compresses, if that makes it smaller, and encrypts.
    pub(crate) fn seal(&mut self, key: &MasterKey, content: &[u8]) -> Result<SealedBlob<'_>, WriteError> {
        let room = compress_bound(content.len()) + OVERHEAD;
        if self.message.len() > room.max(KEPT) {
            self.message = Vec::new();
        }
        if self.message.len() < room {
            self.message.resize(room, 0);
        }
        let compressed = self.compressor.compress_to_buffer(content, &mut self.message[NONCE..room]);
        let compressed = compressed.map_err(|error| WriteError::Internal(format!("a blob could not be compressed: {error}")))?;
        let uncompressed = u32::try_from(content.len()).ok().filter(|_| compressed < content.len());
        let length = if uncompressed.is_some() {
            compressed
        } else {
            self.message[NONCE..NONCE + content.len()].copy_from_slice(content);
            content.len()
        };
        let message = &mut self.message[..length + OVERHEAD];
        key.seal(message)
            .map_err(|_| WriteError::Internal("a blob could not be encrypted".to_owned()))?;
        Ok(SealedBlob { message, uncompressed })
    }
}
