//! Files of the write-ahead log: how they are called ([`SegmentName`]), and whether they are what they are called.
//!
//! Source: PostgreSQL's `src/include/access/xlog_internal.h` (names of segments, `XLogLongPageHeaderData`).

use bulkhead_postgres_client::{Lsn, TimelineId};

/// Bytes of a segment that say which one it is.
pub(crate) const HEAD: usize = 40;

/// The name of a segment file: timeline, and the segment's number in two halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentName {
    pub(crate) number: u64,
    pub(crate) timeline: TimelineId,
}

impl SegmentName {
    /// Parses 24 hexadecimal digits; `None` for whatever else lies in `pg_wal`.
    pub(crate) fn parse(name: &[u8], segment_size: u64) -> Option<Self> {
        let name = str::from_utf8(name)
            .ok()
            .filter(|name| name.len() == 24 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        let part = |range: std::ops::Range<usize>| u64::from_str_radix(&name[range], 16).ok();
        let number = part(8..16)?.checked_mul((1 << 32) / segment_size)?.checked_add(part(16..24)?)?;
        Some(Self {
            number,
            timeline: TimelineId(u32::try_from(part(0..8)?).ok()?),
        })
    }

    /// The segment of `timeline` that holds `position`.
    pub(crate) fn at(position: Lsn, timeline: TimelineId, segment_size: u64) -> Self {
        Self {
            number: position.segment(segment_size),
            timeline,
        }
    }

    /// Where it begins.
    pub(crate) fn start(self, segment_size: u64) -> Lsn {
        Lsn(self.number.saturating_mul(segment_size))
    }

    pub(crate) fn file_name(self, segment_size: u64) -> String {
        let in_a_log = (1 << 32) / segment_size;
        format!(
            "{:08X}{:08X}{:08X}",
            self.timeline.0,
            self.number / in_a_log,
            self.number % in_a_log
        )
    }

    /// Whether the file's first [`HEAD`] bytes are of this segment: compares address, system identifier and segment size in the first page's long
    /// header; integers are in the server's byte order.
    pub(crate) fn is_first_page(self, head: &[u8], segment_size: u64, system_identifier: u64) -> bool {
        let expected = FirstPage {
            address: self.number.wrapping_mul(segment_size),
            system_identifier,
            segment_size,
        };
        FirstPage::readings(head).contains(&expected)
    }
}

/// What the long header of a segment's first page says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FirstPage {
    /// Where it is in the log.
    address: u64,
    pub(crate) system_identifier: u64,
    /// Bytes.
    segment_size: u64,
}

impl FirstPage {
    /// What the head of a file of `size` bytes says, if that is the size that it says.
    pub(crate) fn read(head: &[u8], size: u64) -> Option<Self> {
        Self::readings(head).into_iter().find(|page| page.segment_size == size)
    }

    /// With little and with big endians.
    fn readings(head: &[u8]) -> [Self; 2] {
        let eight = |place: usize| bytes::<8>(head, place);
        let four = bytes::<4>(head, 32);
        [
            Self {
                address: u64::from_le_bytes(eight(8)),
                system_identifier: u64::from_le_bytes(eight(24)),
                segment_size: u32::from_le_bytes(four).into(),
            },
            Self {
                address: u64::from_be_bytes(eight(8)),
                system_identifier: u64::from_be_bytes(eight(24)),
                segment_size: u32::from_be_bytes(four).into(),
            },
        ]
    }
}

/// Zeros where there is nothing.
fn bytes<const N: usize>(content: &[u8], place: usize) -> [u8; N] {
    let found = content.get(place..place + N).and_then(|bytes| bytes.try_into().ok());
    found.unwrap_or([0; N])
}

/// Whether `size` can be that of a segment: a power of two from 1 MiB to 1 GiB.
pub(crate) fn is_segment_size(size: u64) -> bool {
    size.is_power_of_two() && (1 << 20..=1 << 30).contains(&size)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const SIZE: u64 = 16 << 20;

    #[test]
    fn names_go_back_and_forth() {
        let name = SegmentName::parse(b"0000000200000001000000FE", SIZE).unwrap();
        assert_eq!(
            name,
            SegmentName {
                number: 0x1FE,
                timeline: TimelineId(2)
            }
        );
        assert_eq!(name.file_name(SIZE), "0000000200000001000000FE");
        assert_eq!(SegmentName::parse(b"00000002.history", SIZE), None);
        assert_eq!(SegmentName::parse(b"0000000200000001000000FE.partial", SIZE), None);
    }
}
