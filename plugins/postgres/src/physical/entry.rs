//! Entries of files as they arrive: [`Entry`].

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    digest::Algorithm,
    entries::{self, EntryWriter, Finished},
    host::BEST_TRANSFER,
    metadata::Metadata,
};

/// An entry whose bytes go to the host in pieces of its favourite size: the server sends 32 KiB at a time.
#[derive(Debug)]
pub(crate) struct Entry {
    writer: EntryWriter,
    buffer: Vec<u8>,
}

impl Entry {
    pub(crate) fn create(path: &[u8], metadata: &Metadata) -> Result<Self> {
        Ok(Self {
            writer: entries::create_with_digest(path, metadata, Algorithm::Crc32c)?,
            buffer: Vec::new(),
        })
    }

    pub(crate) fn write(&mut self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            if self.buffer.is_empty() && data.len() >= BEST_TRANSFER {
                let (whole, rest) = data.split_at(BEST_TRANSFER);
                self.writer.write_bytes(whole)?;
                data = rest;
                continue;
            }
            let (part, rest) = data.split_at(data.len().min(BEST_TRANSFER - self.buffer.len()));
            self.buffer.extend_from_slice(part);
            data = rest;
            if self.buffer.len() == BEST_TRANSFER {
                self.flush()?;
            }
        }
        Ok(())
    }

    pub(crate) fn write_zeros(&mut self, length: u64) -> Result<()> {
        if length == 0 {
            return Ok(());
        }
        self.flush()?;
        self.writer.write_zeros(length)
    }

    fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.writer.write_bytes(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// What was stored, and its CRC-32C as the host has it.
    pub(crate) fn finish(mut self) -> Result<(Finished, u32)> {
        self.flush()?;
        let finished = self.writer.finish()?;
        let crc = crc_of(finished.digest.as_deref().unwrap_or_default())?;
        Ok((finished, crc))
    }
}

/// The number in a digest of CRC-32C.
pub(crate) fn crc_of(digest: &[u8]) -> Result<u32> {
    let digest = digest
        .try_into()
        .map_err(|_| Error::new(ErrorKind::Internal, "the host computed no CRC-32C of four bytes"))?;
    Ok(u32::from_be_bytes(digest))
}
