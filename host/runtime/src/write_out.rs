//! [`WriteOut`]: what is written to a file goes to the disk while more is being written.
//!
//! Else the disk rests until the end, when everything is synced, and whoever has written waits for all of it.

use std::num::NonZeroU64;
use std::os::fd::AsFd;

use rustix::fs::Advice;

/// Bytes that go to the disk together. Smaller files are left to the sync at the end, which orders them as the disk likes them best.
const PIECE: u64 = 4 << 20;

/// Bytes of a file that follow each other, were written and not sent to the disk yet.
#[derive(Debug, Default)]
pub struct WriteOut {
    begin: u64,
    end: u64,
}

impl WriteOut {
    /// Takes note of what was written, and has the disk begin with it when there is enough. May wait where the disk has more than it can take.
    pub fn wrote(&mut self, file: impl AsFd, offset: u64, length: u64) {
        if offset != self.end {
            self.begin = offset;
        }
        self.end = offset.saturating_add(length);
        if let Some(bytes) = NonZeroU64::new(self.end - self.begin).filter(|bytes| bytes.get() >= PIECE) {
            // Linux begins to write what is to be dropped, and keeps what it has begun to write. A file system that does otherwise loses no more than time.
            let _heard = rustix::fs::fadvise(file, self.begin, Some(bytes), Advice::DontNeed);
            self.begin = self.end;
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn pieces_are_sent_as_they_are_complete_and_begin_anew_behind_a_gap() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let mut written = WriteOut::default();
        let mut left = |offset, length| {
            written.wrote(&file, offset, length);
            (written.begin, written.end)
        };
        assert_eq!(left(0, PIECE - 1), (0, PIECE - 1));
        assert_eq!(left(PIECE - 1, 10), (PIECE + 9, PIECE + 9));
        assert_eq!(left(PIECE + 9, 5), (PIECE + 9, PIECE + 14));
        assert_eq!(left(10 * PIECE, 5), (10 * PIECE, 10 * PIECE + 5));
        assert_eq!(left(3, 5), (3, 8));
    }
}
