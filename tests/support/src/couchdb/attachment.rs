//! Attachments as CouchDB keeps them: [`Attachment`]. Those of compressible types are compressed, and their digest is that of what is kept.

use base64::Engine as _;
use md5::{Digest as _, Md5};

/// An attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attachment {
    pub(super) content_type: String,
    /// What is kept.
    pub(super) bytes: Vec<u8>,
    pub(super) is_compressed: bool,
    /// Before it was compressed.
    pub(super) length: usize,
    pub(super) revpos: u64,
    digest: String,
}

impl Attachment {
    /// Keeps `bytes` as the server does that gets them uncompressed.
    pub(super) fn new(content_type: &str, bytes: &[u8], revpos: u64) -> Self {
        let is_compressed = content_type.starts_with("text/") || content_type == "application/json";
        let kept = if is_compressed { gzip(bytes) } else { bytes.to_vec() };
        Self::kept(content_type, kept, is_compressed, bytes.len(), revpos)
    }

    /// Keeps `bytes` as they are; uncompressed they are `length`.
    pub(super) fn kept(content_type: &str, bytes: Vec<u8>, is_compressed: bool, length: usize, revpos: u64) -> Self {
        Self {
            content_type: content_type.to_owned(),
            digest: format!("md5-{}", base64::engine::general_purpose::STANDARD.encode(Md5::digest(&bytes))),
            bytes,
            is_compressed,
            length,
            revpos,
        }
    }

    /// "md5-…"
    pub(super) fn digest(&self) -> &str {
        &self.digest
    }

    /// As it was uploaded.
    pub(super) fn plain(&self) -> Vec<u8> {
        if self.is_compressed {
            gunzip(&self.bytes)
        } else {
            self.bytes.clone()
        }
    }
}

/// Bytes of a block that is stored as it is.
const BLOCK: usize = 65_535;
/// RFC 1952: magic, deflate, no flags, no time, no extra flags, Unix.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];

/// A gzip file (RFC 1952) whose blocks are stored as they are (RFC 1951, 3.2.4): what matters is that it is another file than what is in it.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut file = HEAD.to_vec();
    let mut blocks = bytes.chunks(BLOCK).peekable();
    if blocks.peek().is_none() {
        file.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        file.push(u8::from(blocks.peek().is_none()));
        file.extend(length.to_le_bytes());
        file.extend((!length).to_le_bytes());
        file.extend(block);
    }
    file.extend(crc32(bytes).to_le_bytes());
    file.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    file
}

/// What is in such a file.
fn gunzip(file: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = &file[HEAD.len()..];
    loop {
        let (is_last, length) = (rest[0] == 1, usize::from(u16::from_le_bytes([rest[1], rest[2]])));
        bytes.extend(&rest[5..5 + length]);
        rest = &rest[5 + length..];
        if is_last {
            return bytes;
        }
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_comes_back() {
        for length in [0, 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            let bytes = vec![7; length];
            assert_eq!(gunzip(&gzip(&bytes)), bytes);
        }
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
