//! Content that a seed and a number determine, so that a test knows it without keeping it.

use bulkhead_sdk::{
    Result,
    directory::{Folder, OpenMode},
    entries::{self, Finished},
    prelude::*,
};

use crate::{Config, path};

/// Bytes of one write.
const PIECE: usize = 256 << 10;

/// Marsaglia's xorshift64: fast, and not compressible.
struct Bytes {
    state: u64,
    left: u64,
}

impl Bytes {
    fn new(config: &Config, number: u32) -> Self {
        let state = (config.seed << 32 | u64::from(number)).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        Self {
            state,
            left: config.entry_size,
        }
    }

    fn word(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}

impl Iterator for Bytes {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let length = usize::try_from(self.left.min(PIECE as u64)).unwrap_or(PIECE);
        self.left -= length as u64;
        let mut piece: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| self.word().to_le_bytes()).collect();
        piece.truncate(length);
        (length > 0).then_some(piece)
    }
}

/// What entry `number` contains.
#[must_use]
pub fn of(config: &Config, number: u32) -> Vec<u8> {
    Bytes::new(config, number).flatten().collect()
}

/// Writes entry `number`.
pub(crate) fn write(config: &Config, number: u32) -> Result<Finished> {
    let mut entry = entries::create(path(number), &Metadata::file())?;
    Bytes::new(config, number).try_for_each(|piece| entry.write_bytes(&piece))?;
    entry.finish()
}

/// Whether entry `number` of the snapshot is what [`write`] wrote.
pub(crate) fn is_intact(config: &Config, number: u32) -> Result<bool> {
    let mut stored = snapshot::open(path(number))?;
    let mut content = Vec::new();
    while let Some(piece) = stored.read_bytes(PIECE)? {
        content.extend_from_slice(&piece);
    }
    Ok(content == of(config, number))
}

/// Copies the entry at `path` into `target`; its bytes.
pub(crate) fn restore(target: &Folder, path: &[u8]) -> Result<u64> {
    let mut stored = snapshot::open(path)?;
    let mut file = target.open_file(path, OpenMode::Create)?;
    while let Some(piece) = stored.read_bytes(PIECE)? {
        file.write_bytes(&piece)?;
    }
    file.sync()?;
    Ok(stored.size())
}
