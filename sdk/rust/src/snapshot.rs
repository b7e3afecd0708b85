//! Reading the stored snapshot that a restore, verification or listing is about.

use std::io::{self, BufRead, Read};

use crate::{
    Result,
    host::{self, BEST_TRANSFER, MAX_TRANSFER},
    metadata::Metadata,
    types::{Fact, Timestamp},
};

/// The snapshot itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Its id, in hex.
    pub id: String,
    /// When it was taken.
    pub time: Timestamp,
    /// Facts of its proof.
    pub facts: Vec<Fact>,
    /// The checkpoint that the plugin left in it.
    pub checkpoint: Option<Vec<u8>>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path.
    pub path: Vec<u8>,
    /// What it is.
    pub metadata: Metadata,
    /// Bytes of content; 0 for others than files.
    pub size: u64,
}

/// Entries in order of their paths, a folder before what is in it.
pub struct Walk {
    inner: Box<dyn host::Walk>,
    page: std::vec::IntoIter<Entry>,
    ended: bool,
}

impl std::fmt::Debug for Walk {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Walk")
    }
}

impl Iterator for Walk {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(entry) = self.page.next() {
            return Some(Ok(entry));
        }
        if self.ended {
            return None;
        }
        match self.inner.next() {
            Ok(page) => {
                self.ended = page.is_empty();
                self.page = page.into_iter();
                self.page.next().map(Ok)
            }
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }
}

/// The content of an entry: sequential through [`Read`] and [`BufRead`] (buffered, so small reads are cheap), or at offsets.
pub struct EntryReader {
    inner: Box<dyn host::EntryReader>,
    buffer: Vec<u8>,
    position: usize,
}

impl EntryReader {
    /// Bytes in all.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.inner.size()
    }

    /// The next bytes in sequence, at least one and at most `max` of them (0 counts as 1), without a copy; `None` at the end.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn read_bytes(&mut self, max: usize) -> Result<Option<Vec<u8>>> {
        let max = max.max(1);
        if self.position < self.buffer.len() {
            let end = self.buffer.len().min(self.position.saturating_add(max));
            let bytes = self.buffer[self.position..end].to_vec();
            self.position = end;
            return Ok(Some(bytes));
        }
        self.inner.read(transfer(max))
    }

    /// Bytes at an offset; fewer than `max` (at most 1 MiB) only at the end, `None` beyond it. Does not move the sequential position.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn read_at(&self, offset: u64, max: usize) -> Result<Option<Vec<u8>>> {
        self.inner.read_at(offset, transfer(max))
    }
}

impl std::fmt::Debug for EntryReader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "EntryReader({} bytes)", self.size())
    }
}

impl Read for EntryReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(into.len());
        into[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for EntryReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position >= self.buffer.len() {
            self.buffer = self.inner.read(transfer(BEST_TRANSFER))?.unwrap_or_default();
            self.position = 0;
        }
        Ok(&self.buffer[self.position..])
    }

    fn consume(&mut self, count: usize) {
        self.position = self.buffer.len().min(self.position + count);
    }
}

/// `max` as the ABI wants it.
pub(crate) fn transfer(max: usize) -> u32 {
    u32::try_from(max.min(MAX_TRANSFER)).unwrap_or(u32::MAX)
}

/// The snapshot that this operation is about.
#[must_use]
pub fn info() -> Info {
    host::with_host(|host| host.snapshot_info())
}

/// Entries at and below `path`; the empty path is the whole snapshot.
///
/// # Errors
/// `NotFound`.
pub fn walk(path: impl AsRef<[u8]>) -> Result<Walk> {
    let inner = host::with_host(|host| host.walk_snapshot(path.as_ref()))?;
    Ok(Walk {
        inner,
        page: Vec::new().into_iter(),
        ended: false,
    })
}

/// One entry.
///
/// # Errors
/// `NotFound`.
pub fn stat(path: impl AsRef<[u8]>) -> Result<Entry> {
    host::with_host(|host| host.snapshot_entry(path.as_ref()))
}

/// Opens an entry's content.
///
/// # Errors
/// `NotFound`.
pub fn open(path: impl AsRef<[u8]>) -> Result<EntryReader> {
    let inner = host::with_host(|host| host.open_entry(path.as_ref()))?;
    Ok(EntryReader {
        inner,
        buffer: Vec::new(),
        position: 0,
    })
}
