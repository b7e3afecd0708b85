//! The pages of a stored segment: each must lie where its header says ([`check`]).
//!
//! Source: PostgreSQL's `src/include/access/xlog_internal.h` (`XLogPageHeaderData`): a page's address is its second eight bytes; the first page's long header has
//! the size of pages behind that of segments. What follows the end of the log, and a switch to the next segment, is zeros.

use bulkhead_sdk::{
    Result,
    host::BEST_TRANSFER,
    snapshot::{self, Entry, EntryReader},
};

use super::{checkpoint::Checkpoint, layout};
use crate::segment::{HEAD, SegmentName};

/// Bytes of a page's header that are looked at.
const PAGE_HEAD: usize = 16;

/// What is wrong with a segment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PageError {
    #[error("{0} begins with a page of another cluster or place")]
    Foreign(String),
    #[error("{name} has a page at {offset} that belongs elsewhere")]
    Misplaced { name: String, offset: u64 },
}

/// Reads a segment, and compares its pages with their places. Of one of which only the beginning is there, it is not known how much that is: a server that hands
/// it over leaves behind it what the file had before. So only its first page is looked at.
pub(crate) fn check(entry: &Entry, segment: SegmentName, checkpoint: &Checkpoint) -> Result<std::result::Result<(), PageError>> {
    let size = checkpoint.wal_segment_size;
    let mut pages = Pages::new(segment, size, checkpoint.system_identifier);
    let mut reader: EntryReader = snapshot::open(&entry.path)?;
    let is_whole = !entry.path.ends_with(layout::PARTIAL_SUFFIX.as_bytes());
    let step = if is_whole { BEST_TRANSFER } else { HEAD };
    while let Some(part) = reader.read_bytes(step)? {
        let taken = pages.take(&part);
        if taken.is_err() || !is_whole && pages.page_size > 0 {
            return Ok(taken);
        }
    }
    Ok(Ok(()))
}

/// A segment as it is read.
struct Pages {
    segment: SegmentName,
    segment_size: u64,
    system_identifier: u64,
    /// Bytes of a page; 0 before the first one's header.
    page_size: usize,
    big_endian: bool,
    /// Where in the segment `rest` begins.
    offset: u64,
    /// What of a page has come.
    rest: Vec<u8>,
    /// Whether a page was not written.
    has_ended: bool,
}

impl Pages {
    fn new(segment: SegmentName, segment_size: u64, system_identifier: u64) -> Self {
        Self {
            segment,
            segment_size,
            system_identifier,
            page_size: 0,
            big_endian: false,
            offset: 0,
            rest: Vec::new(),
            has_ended: false,
        }
    }

    fn take(&mut self, part: &[u8]) -> std::result::Result<(), PageError> {
        self.rest.extend_from_slice(part);
        if self.page_size == 0 {
            if self.rest.len() < HEAD {
                return Ok(());
            }
            self.begin()?;
        }
        let whole = self.rest.len() / self.page_size * self.page_size;
        for page in self.rest[..whole].chunks(self.page_size) {
            let is_written = page[..PAGE_HEAD].iter().any(|&byte| byte != 0);
            self.has_ended |= !is_written;
            // What is not written yet is behind all that is.
            if is_written && (self.has_ended || !self.is_placed(page)) {
                return Err(PageError::Misplaced {
                    name: self.name(),
                    offset: self.offset,
                });
            }
            self.offset += page.len() as u64;
        }
        self.rest.drain(..whole);
        Ok(())
    }

    fn begin(&mut self) -> std::result::Result<(), PageError> {
        let name = self.name();
        let foreign = || PageError::Foreign(name.clone());
        if !self.segment.is_first_page(&self.rest, self.segment_size, self.system_identifier) {
            return Err(foreign());
        }
        let size: [u8; 4] = self.rest.get(36..HEAD).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
        let (little, big) = (u32::from_le_bytes(size), u32::from_be_bytes(size));
        // PostgreSQL's pages of the log have 1 to 64 KiB.
        let fits = |size: &u32| size.is_power_of_two() && (1 << 10..=1 << 16).contains(size);
        self.big_endian = !fits(&little);
        let size = [little, big].into_iter().find(fits).ok_or_else(foreign)?;
        self.page_size = usize::try_from(size).map_err(|_| foreign())?;
        Ok(())
    }

    fn is_placed(&self, page: &[u8]) -> bool {
        let head = &page[..PAGE_HEAD];
        let address: [u8; 8] = head[8..].try_into().unwrap_or_default();
        let address = if self.big_endian {
            u64::from_be_bytes(address)
        } else {
            u64::from_le_bytes(address)
        };
        address == self.segment.start(self.segment_size).0 + self.offset
    }

    fn name(&self) -> String {
        self.segment.file_name(self.segment_size)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use bulkhead_postgres_client::TimelineId;

    use super::*;

    const SIZE: u64 = 1 << 20;
    const PAGE: usize = 8192;

    /// Segment 3 of a log, with pages as far as `written`.
    fn segment(written: usize) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(SIZE).unwrap()];
        for page in 0..written {
            let address = 3 * SIZE + (page * PAGE) as u64;
            bytes[page * PAGE + 8..page * PAGE + 16].copy_from_slice(&address.to_le_bytes());
        }
        bytes[24..32].copy_from_slice(&7_u64.to_le_bytes());
        bytes[32..36].copy_from_slice(&u32::try_from(SIZE).unwrap().to_le_bytes());
        bytes[36..40].copy_from_slice(&u32::try_from(PAGE).unwrap().to_le_bytes());
        bytes
    }

    fn checked(bytes: &[u8], piece: usize) -> std::result::Result<(), PageError> {
        let name = SegmentName {
            number: 3,
            timeline: TimelineId(1),
        };
        let mut pages = Pages::new(name, SIZE, 7);
        bytes.chunks(piece).try_for_each(|part| pages.take(part))
    }

    #[test]
    fn each_page_lies_where_it_says() {
        for piece in [1 << 18, 1000, 39] {
            assert_eq!(checked(&segment(128), piece), Ok(()));
            assert_eq!(checked(&segment(5), piece), Ok(()), "zeros follow the end");
            let mut swapped = segment(128);
            swapped[5 * PAGE + 9] ^= 1;
            let misplaced = checked(&swapped, piece);
            assert!(
                matches!(misplaced, Err(PageError::Misplaced { offset: 40960, .. })),
                "{misplaced:?}"
            );
        }
        let mut hole = segment(128);
        hole[5 * PAGE..6 * PAGE].fill(0);
        assert!(matches!(checked(&hole, 1000), Err(PageError::Misplaced { offset: 49152, .. })));
        let mut foreign = segment(128);
        foreign[24] ^= 1;
        assert!(matches!(checked(&foreign, 4096), Err(PageError::Foreign(_))));
    }
}
