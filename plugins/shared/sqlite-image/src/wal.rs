//! What a write-ahead log adds to its database: [`read`].
//!
//! Source: SQLite, "Database File Format", section 4, and "WAL-mode File Format". A log is a header and frames, each a page with a header of its own. Checksums run
//! through all of them, and the header's salts are in each frame, so that frames of an earlier use of the file are told from those of this one.

use bulkhead_sdk::{Error, ErrorKind, Result, directory::File};

use crate::{
    overlay::{Overlay, Sequence},
    pages::number,
};

/// The first word, without its last bit, which is set where checksums are over big-endian words.
const MAGIC: u32 = 0x377f_0682;
const VERSION: u32 = 3_007_000;
const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// Up to where a log counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// The last commit that was written whole: what SQLite does after a crash.
    LastCommit,
    /// This frame, of the log with these salts: what the programs that have it open agree on.
    Frame { last: u32, salts: [u32; 2] },
}

/// Reads a log; its last transaction that counts tells the size.
///
/// # Errors
/// `SourceDamaged`: frames that the index speaks of are not there.
pub(crate) fn read(log: &File, page_size: u32, until: Until) -> Result<Overlay> {
    let mut overlay = Overlay::default();
    let mut sequence = Sequence::new(log);
    let Some(mut sums) = Checksums::of_header(sequence.at(0, HEADER)?.unwrap_or_default(), page_size, until) else {
        return match until {
            // The log of an earlier use, all of which is in the database.
            Until::LastCommit | Until::Frame { last: 0, .. } => Ok(overlay),
            Until::Frame { .. } => Err(damaged("its header is not the one that the index speaks of")),
        };
    };
    let frame_size = FRAME_HEADER + page_size as usize;
    let (mut offset, mut frame, mut pending) = (HEADER as u64, 0, Vec::new());
    while !matches!(until, Until::Frame { last, .. } if frame == last) {
        let valid = sequence.at(offset, frame_size)?.and_then(|bytes| sums.next(bytes));
        let Some((page, pages)) = valid else { break };
        pending.push((page, offset + FRAME_HEADER as u64));
        if pages != 0 {
            pending.drain(..).for_each(|(page, offset)| overlay.put(page, offset));
            overlay.pages = Some(pages);
        }
        offset += frame_size as u64;
        frame += 1;
    }
    match until {
        Until::Frame { last, .. } if frame != last || !pending.is_empty() => {
            Err(damaged(&format!("its index speaks of {last} frames, of which {frame} are whole")))
        }
        _ => Ok(overlay),
    }
}

fn damaged(message: &str) -> Error {
    Error::new(ErrorKind::SourceDamaged, format!("its write-ahead log is damaged: {message}"))
        .with_hint("end the programs that use it and open it with `sqlite3`, which recovers what there is; then run again")
}

/// The checksums that run through a log.
struct Checksums {
    sums: [u32; 2],
    salts: [u32; 2],
    big_endian: bool,
}

impl Checksums {
    /// Begins with a header; `None` where that is none, or another's.
    fn of_header(bytes: &[u8], page_size: u32, until: Until) -> Option<Self> {
        let magic = (bytes.len() == HEADER)
            .then(|| number(bytes, 0))
            .filter(|magic| magic & !1 == MAGIC)?;
        let mut this = Self {
            sums: [0; 2],
            salts: [number(bytes, 16), number(bytes, 20)],
            big_endian: magic & 1 == 1,
        };
        this.add(&bytes[..24]);
        let ours = match until {
            Until::LastCommit => true,
            Until::Frame { salts, .. } => salts == this.salts,
        };
        let valid = this.agrees(&bytes[24..]) && number(bytes, 4) == VERSION && number(bytes, 8) == page_size;
        (ours && valid).then_some(this)
    }

    /// A frame's page, and the pages of the database where it ends a transaction; `None` where the frame is not of this log.
    fn next(&mut self, frame: &[u8]) -> Option<(u32, u32)> {
        let (page, pages) = (number(frame, 0), number(frame, 4));
        self.add(&frame[..8]);
        self.add(&frame[FRAME_HEADER..]);
        let salts = [number(frame, 8), number(frame, 12)];
        (page != 0 && salts == self.salts && self.agrees(&frame[16..24])).then_some((page, pages))
    }

    fn add(&mut self, bytes: &[u8]) {
        let word = |bytes: &[u8]| {
            let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
            if self.big_endian {
                u32::from_be_bytes(bytes)
            } else {
                u32::from_le_bytes(bytes)
            }
        };
        let [mut first, mut second] = self.sums;
        for pair in bytes.chunks_exact(8) {
            first = first.wrapping_add(word(pair)).wrapping_add(second);
            second = second.wrapping_add(word(&pair[4..])).wrapping_add(first);
        }
        self.sums = [first, second];
    }

    fn agrees(&self, stored: &[u8]) -> bool {
        self.sums == [number(stored, 0), number(stored, 4)]
    }
}
