//! What a hot rollback journal puts back into its database: [`read`].
//!
//! Source: SQLite, "Database File Format", section 3. A journal is hot when the program that wrote it ended in the middle of a transaction. SQLite then writes the old
//! pages back; a backup, which must not write, reads them in their place.

use bulkhead_sdk::{Error, Result, directory::File};

use crate::{
    overlay::{Overlay, Sequence},
    pages::number,
};

const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
/// Bytes of a header that say something; it takes a whole sector.
const HEADER: usize = 28;
/// In place of a count: as many records as there are.
const ALL: u32 = u32::MAX;

/// A journal's header.
struct Header {
    records: u32,
    nonce: u32,
    pages: u32,
    sector: u64,
    page_size: u32,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..HEADER).filter(|bytes| bytes.starts_with(&MAGIC))?;
        Some(Self {
            records: number(header, 8),
            nonce: number(header, 12),
            pages: number(header, 16),
            sector: u64::from(number(header, 20)),
            page_size: number(header, 24),
        })
    }
}

/// Reads a journal that is hot if it has a header; `None` where it has none: its transaction has ended.
///
/// # Errors
/// `Unsupported`: the transaction was one over several databases.
pub(crate) fn read(journal: &File, page_size: u32) -> Result<Option<Overlay>> {
    let size = journal.stat()?.size;
    let mut sequence = Sequence::new(journal);
    let mut overlay = Overlay::default();
    let mut offset = 0;
    while let Some(header) = Header::parse(sequence.at(offset, HEADER)?.unwrap_or_default()) {
        // What the first one says stands for all; SQLite refuses other sizes too.
        if header.page_size != page_size || !header.sector.is_power_of_two() || header.sector < 32 {
            break;
        }
        if overlay.pages.is_none() {
            refuse_several(journal, size)?;
            overlay.pages = Some(header.pages);
        }
        offset += header.sector;
        let record = 8 + u64::from(page_size);
        let records = match header.records {
            ALL => size.saturating_sub(offset) / record,
            records => u64::from(records),
        };
        for _ in 0..records {
            let bytes = sequence.at(offset, 8 + page_size as usize)?;
            let Some(page) = bytes.and_then(|bytes| valid(bytes, header.nonce)) else {
                return Ok(Some(overlay));
            };
            if page <= header.pages {
                overlay.put(page, offset + 4);
            }
            offset += record;
        }
        offset = offset.next_multiple_of(header.sector);
    }
    Ok(overlay.pages.is_some().then_some(overlay))
}

/// The page of a record that was written whole.
fn valid(record: &[u8], nonce: u32) -> Option<u32> {
    let (page, content, stored) = (number(record, 0), &record[4..record.len() - 4], number(record, record.len() - 4));
    let sampled = content.iter().rev().skip(199).step_by(200);
    // Each 200th byte from the end, but for the first of the page.
    let count = (content.len() - 1) / 200;
    let sum = sampled.take(count).fold(nonce, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    (page != 0 && sum == stored).then_some(page)
}

/// A journal that ends with the name of another one is part of a transaction over several databases: whether that one is there decides, and it may be anywhere.
fn refuse_several(journal: &File, size: u64) -> Result<()> {
    let end = size
        .checked_sub(MAGIC.len() as u64)
        .map(|offset| journal.read_at(offset, MAGIC.len()))
        .transpose()?;
    if size <= 512 || end.flatten().as_deref() != Some(&MAGIC) {
        return Ok(());
    }
    let message = "a transaction over several databases was cut short in it, and only SQLite can tell how that ended";
    Err(Error::unsupported(message).with_hint("open it once with `sqlite3`, or with the program that uses it, and run again"))
}
