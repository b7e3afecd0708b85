//! Writes the content of one file: [`OpenFile`], with holes where there are zeros.

use std::os::fd::OwnedFd;

use bulkhead_runtime::WriteOut;
use bulkhead_vault::SnapshotEntry;
use rustix::{fs::FallocateFlags, io::Errno};

/// Zeros become holes in blocks of this size, which is that of no file system's block: fewer, larger pieces are faster to read again.
const BLOCK: usize = 32 << 10;

/// A file that is being written, from its beginning to its end.
pub(crate) struct OpenFile {
    pub(crate) entry: SnapshotEntry,
    pub(crate) file: OwnedFd,
    /// Where the next bytes belong.
    at: u64,
    /// Bytes that were there before; `None` for a new file.
    existing: Option<u64>,
    written: WriteOut,
}

impl OpenFile {
    /// `file` for the content of `entry`; with `existing` bytes in it, unless it is new.
    pub(crate) fn new(entry: SnapshotEntry, file: OwnedFd, existing: Option<u64>) -> Self {
        Self {
            entry,
            file,
            at: 0,
            existing,
            written: WriteOut::default(),
        }
    }

    /// The next bytes.
    pub(crate) fn write(&mut self, data: &[u8]) -> rustix::io::Result<()> {
        let mut rest = data;
        while !rest.is_empty() {
            let (length, is_hole) = stretch(self.at, rest);
            if is_hole {
                self.write_zeros(&rest[..length])?;
            } else {
                self.write_at(&rest[..length])?;
                self.written.wrote(&self.file, self.at, length as u64);
            }
            self.at += length as u64;
            rest = &rest[length..];
        }
        Ok(())
    }

    /// The next bytes are there already.
    pub(crate) fn skip(&mut self, bytes: u64) {
        self.at += bytes;
    }

    /// Whether it was there before.
    pub(crate) fn is_existing(&self) -> bool {
        self.existing.is_some()
    }

    /// Cuts off what is behind the end, or adds the zeros that it ends with.
    pub(crate) fn finish(self) -> Result<Self, (SnapshotEntry, Errno)> {
        if self.existing == Some(self.at) {
            return Ok(self);
        }
        match rustix::fs::ftruncate(&self.file, self.at) {
            Ok(()) => Ok(self),
            Err(error) => Err((self.entry, error)),
        }
    }

    fn write_at(&self, data: &[u8]) -> rustix::io::Result<()> {
        let mut written = 0;
        while written < data.len() {
            match rustix::io::pwrite(&self.file, &data[written..], self.at + written as u64) {
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Where nothing was, there are zeros anyway.
    fn write_zeros(&self, zeros: &[u8]) -> rustix::io::Result<()> {
        if self.existing.is_none_or(|existing| self.at >= existing) {
            return Ok(());
        }
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.file, punch, self.at, zeros.len() as u64) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.write_at(zeros),
            Err(error) => Err(error),
        }
    }
}

/// How many bytes at the beginning of `data` belong together, and whether they are a hole.
fn stretch(at: u64, data: &[u8]) -> (usize, bool) {
    let is_zero = |block: &[u8]| block.iter().all(|byte| *byte == 0);
    let first = (BLOCK - (at % BLOCK as u64) as usize).min(data.len());
    let is_hole = is_zero(&data[..first]);
    let following = data[first..].chunks(BLOCK).take_while(|block| is_zero(block) == is_hole);
    (first + following.map(<[u8]>::len).sum::<usize>(), is_hole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_one_kind_are_one_stretch() {
        let mut data = vec![0; 5 * BLOCK];
        data[2 * BLOCK + 5] = 1;
        assert_eq!(stretch(0, &data), (2 * BLOCK, true));
        assert_eq!(stretch(0, &data[2 * BLOCK..]), (BLOCK, false));
        assert_eq!(stretch(0, &data[3 * BLOCK..]), (2 * BLOCK, true));
        // Blocks are those of the file, wherever a chunk begins.
        assert_eq!(stretch(BLOCK as u64 - 10, &data[..100]), (100, true));
        assert_eq!(stretch(10, &[1; 3 * BLOCK]), (3 * BLOCK, false));
    }
}
