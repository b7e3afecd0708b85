//! Pages that are to be taken from another file than the database: [`Overlay`], read from a write-ahead log or a hot rollback journal.

use std::{collections::BTreeMap, ops::Range};

use bulkhead_sdk::{Result, directory::File, host::BEST_TRANSFER};

/// Pages of a database that a second file has, and the size that goes with them. Takes 12 bytes a page, and a little for their order.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    /// Where each page's content begins.
    places: BTreeMap<u32, u64>,
    /// Pages of the database, where the second file says so.
    pub(crate) pages: Option<u32>,
}

impl Overlay {
    /// The content of page `page` (counted from 1) begins at `offset`.
    pub(crate) fn put(&mut self, page: u32, offset: u64) {
        self.places.insert(page, offset);
    }

    /// How many pages it has.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Those of a range of pages, in order.
    pub(crate) fn range(&self, pages: Range<u32>) -> impl Iterator<Item = (u32, u64)> {
        self.places.range(pages).map(|(page, offset)| (*page, *offset))
    }
}

/// A file from front to end in pieces of the caller's choice.
pub(crate) struct Sequence<'f> {
    file: &'f File,
    /// Where `buffer` begins in the file.
    begin: u64,
    buffer: Vec<u8>,
}

impl<'f> Sequence<'f> {
    pub(crate) fn new(file: &'f File) -> Self {
        Self {
            file,
            begin: 0,
            buffer: Vec::new(),
        }
    }

    /// `length` bytes at `offset`, which does not go back far; `None` where the file ends before.
    pub(crate) fn at(&mut self, offset: u64, length: usize) -> Result<Option<&[u8]>> {
        let inside = |this: &Self| offset >= this.begin && offset + length as u64 <= this.begin + this.buffer.len() as u64;
        if !inside(self) {
            self.buffer = self.file.read_at(offset, BEST_TRANSFER.max(length))?.unwrap_or_default();
            self.begin = offset;
        }
        let skip = usize::try_from(offset - self.begin).unwrap_or(usize::MAX);
        Ok(self.buffer.get(skip..).and_then(|rest| rest.get(..length)))
    }
}
