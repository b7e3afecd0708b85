//! The write-ahead log in a backup: which segments there must be ([`Segments`]), and whether they are what they say.

use std::collections::BTreeMap;

use bulkhead_postgres_client::{Lsn, TimelineId};

use super::manifest::WalRange;
use crate::segment::SegmentName;

/// Log that cannot bring the backup to a consistent state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WalError {
    #[error("the manifest names no range of the log")]
    NoRange,
    #[error("segment {0} of the write-ahead log is missing")]
    Missing(String),
    #[error("segment {name} of the write-ahead log has {size} bytes, not {expected}")]
    Size { name: String, size: u64, expected: u64 },
    #[error("segment {0} of the write-ahead log begins with a page of another cluster or place")]
    Foreign(String),
}

/// The segments that were seen.
#[derive(Debug)]
pub(crate) struct Segments {
    size: u64,
    system_identifier: u64,
    /// By number: the newest timeline's.
    seen: BTreeMap<u64, TimelineId>,
}

impl Segments {
    /// None yet. `size` passes [`is_segment_size`](crate::segment::is_segment_size).
    pub(crate) fn new(size: u64, system_identifier: u64) -> Self {
        Self {
            size,
            system_identifier,
            seen: BTreeMap::new(),
        }
    }

    /// Adds the file called `name` in `pg_wal` with its size and first [`HEAD`](crate::segment::HEAD) bytes. Files that aren't segments are ignored.
    pub(crate) fn add(&mut self, name: &[u8], size: u64, head: &[u8]) -> Result<(), WalError> {
        let Some(segment) = SegmentName::parse(name, self.size) else {
            return Ok(());
        };
        let file_name = || segment.file_name(self.size);
        if size != self.size {
            return Err(WalError::Size {
                name: file_name(),
                size,
                expected: self.size,
            });
        }
        if !segment.is_first_page(head, self.size, self.system_identifier) {
            return Err(WalError::Foreign(file_name()));
        }
        let newest = self.seen.entry(segment.number).or_insert(segment.timeline);
        *newest = segment.timeline.max(*newest);
        Ok(())
    }

    /// Checks that every segment of `ranges` was seen, on its timeline or, where that ends within it, on a later one.
    pub(crate) fn cover(&self, ranges: &[WalRange]) -> Result<(), WalError> {
        if ranges.is_empty() {
            return Err(WalError::NoRange);
        }
        for range in ranges {
            let last = Lsn(range.end.0.saturating_sub(1)).segment(self.size);
            // Stops at the first that is missing, so an absurd range of a hostile server costs nothing.
            for number in range.start.segment(self.size)..=last {
                if self.seen.get(&number).is_none_or(|&timeline| timeline < range.timeline) {
                    return Err(WalError::Missing(
                        SegmentName {
                            number,
                            timeline: range.timeline,
                        }
                        .file_name(self.size),
                    ));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::segment::HEAD;

    const SIZE: u64 = 16 << 20;
    const SYSTEM: u64 = 7_000_000_000_000_000_001;

    fn head(number: u64, system: u64) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        head[8..16].copy_from_slice(&(number * SIZE).to_le_bytes());
        head[24..32].copy_from_slice(&system.to_le_bytes());
        head[32..36].copy_from_slice(&u32::try_from(SIZE).unwrap().to_le_bytes());
        head
    }

    fn range(start: u64, end: u64) -> WalRange {
        WalRange {
            timeline: TimelineId(2),
            start: Lsn(start),
            end: Lsn(end),
        }
    }

    #[test]
    fn every_segment_must_be_there_whole_and_of_this_cluster() {
        let mut segments = Segments::new(SIZE, SYSTEM);
        segments.add(b"000000020000000000000003", SIZE, &head(3, SYSTEM)).unwrap();
        assert_eq!(segments.cover(&[range(3 * SIZE + 40, 4 * SIZE)]), Ok(()), "the end is exclusive");
        assert_eq!(
            segments.cover(&[range(3 * SIZE + 40, 4 * SIZE + 1)]),
            Err(WalError::Missing("000000020000000000000004".into()))
        );
        assert_eq!(
            segments.cover(&[range(0, u64::MAX)]),
            Err(WalError::Missing("000000020000000000000000".into()))
        );
        assert_eq!(segments.cover(&[]), Err(WalError::NoRange));
        let four = b"000000020000000000000004";
        assert!(matches!(
            segments.add(four, 5, &head(4, SYSTEM)),
            Err(WalError::Size { size: 5, .. })
        ));
        assert!(matches!(segments.add(four, SIZE, &head(4, SYSTEM + 1)), Err(WalError::Foreign(_))));
        assert!(matches!(segments.add(four, SIZE, &head(3, SYSTEM)), Err(WalError::Foreign(_))));
        assert!(matches!(segments.add(four, SIZE, &[]), Err(WalError::Foreign(_))));
    }

    #[test]
    fn an_older_timeline_does_not_stand_in() {
        let mut segments = Segments::new(SIZE, SYSTEM);
        segments.add(b"000000010000000000000003", SIZE, &head(3, SYSTEM)).unwrap();
        assert!(segments.cover(&[range(3 * SIZE, 3 * SIZE + 9)]).is_err());
        segments.add(b"000000030000000000000003", SIZE, &head(3, SYSTEM)).unwrap();
        assert_eq!(segments.cover(&[range(3 * SIZE, 3 * SIZE + 9)]), Ok(()), "a later one continues it");
    }
}
