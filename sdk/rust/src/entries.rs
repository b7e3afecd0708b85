//! Writing entries of the snapshot that this run will commit.
//!
//! Paths are bytes, relative and `/`-separated, unique in a snapshot; entries come in any order, up to 64 at once. Nothing is visible before the
//! snapshot is committed, and it is committed only if every writer was finished and the proof holds.

use std::io;

use crate::{
    Result,
    digest::Algorithm,
    host::{self, MAX_TRANSFER},
    metadata::Metadata,
    types::Proof,
};

/// An entry whose content is complete, or what was kept of the parent snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Finished {
    /// Entries with content: 1 for a writer, for a kept folder the files below it, 0 for what has no content.
    pub entries: u64,
    /// Bytes in them.
    pub size: u64,
    /// The digest that was asked for, of what the host stored.
    pub digest: Option<Vec<u8>>,
}

/// An entry being written. Dropping it without [`finish`](EntryWriter::finish) fails the run.
#[must_use = "an entry that is not finished fails the run"]
pub struct EntryWriter(Box<dyn host::EntryWriter>);

impl EntryWriter {
    /// Appends; blocks while the vault is slower than the source. Best in pieces of 256 KiB.
    ///
    /// # Errors
    /// `Cancelled`: the run has failed elsewhere, return at once. `Limit`.
    pub fn write_bytes(&mut self, data: &[u8]) -> Result<()> {
        data.chunks(MAX_TRANSFER).try_for_each(|part| self.0.write(part))
    }

    /// Appends `length` zero bytes: a hole.
    ///
    /// # Errors
    /// As [`EntryWriter::write_bytes`].
    pub fn write_zeros(&mut self, length: u64) -> Result<()> {
        self.0.write_zeros(length)
    }

    /// Ends the entry.
    ///
    /// # Errors
    /// As [`EntryWriter::write_bytes`].
    pub fn finish(self) -> Result<Finished> {
        self.0.finish()
    }
}

impl std::fmt::Debug for EntryWriter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("EntryWriter")
    }
}

/// Unbuffered: wrap it in a [`BufWriter`](io::BufWriter) for small writes.
impl io::Write for EntryWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_bytes(data)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins an entry with content.
///
/// # Errors
/// `AlreadyExists` (paths are unique), `Limit` (open entries), `Cancelled`.
pub fn create(path: impl AsRef<[u8]>, metadata: &Metadata) -> Result<EntryWriter> {
    host::with_host(|host| host.create_entry(path.as_ref(), metadata, None)).map(EntryWriter)
}

/// Begins an entry with content; the host computes `digest` as the bytes pass, and [`EntryWriter::finish`] returns it.
///
/// # Errors
/// As [`create`].
pub fn create_with_digest(path: impl AsRef<[u8]>, metadata: &Metadata, digest: Algorithm) -> Result<EntryWriter> {
    host::with_host(|host| host.create_entry(path.as_ref(), metadata, Some(digest))).map(EntryWriter)
}

/// Adds an entry without content: a folder, a link, a device.
///
/// # Errors
/// As [`create`].
pub fn add(path: impl AsRef<[u8]>, metadata: &Metadata) -> Result<()> {
    host::with_host(|host| host.add_entry(path.as_ref(), metadata))
}

/// Carries the entry at `path`, and all below it, forward from the parent snapshot, unread.
///
/// # Errors
/// `NotFound` where the parent has no such entry.
pub fn keep(path: impl AsRef<[u8]>) -> Result<Finished> {
    host::with_host(|host| host.keep_entry(path.as_ref()))
}

/// For a continuous source: commits what was finished so far as a snapshot of its own, and returns its id once it is durable. The next one starts
/// empty, with this one as its parent.
///
/// # Errors
/// `Conflict` where the proof does not hold; errors of the vault.
pub fn commit(proof: &Proof, checkpoint: Option<&[u8]>) -> Result<String> {
    host::with_host(|host| host.commit(proof, checkpoint))
}
