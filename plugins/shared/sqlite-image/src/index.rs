//! What the programs that have a write-ahead log open agree on: [`read`], from its index (`-shm`).
//!
//! Source: SQLite, "WAL-mode File Format", section 2.1. The index is in the byte order of the machine: here little-endian, which all are that WebAssembly runs fast on.

use bulkhead_sdk::{Error, Result, directory::File};

use crate::wal::Until;

const VERSION: u32 = 3_007_000;
/// Bytes of each of the two copies of the header.
const HEADER: usize = 48;
/// Bytes of a header that its checksum is over.
const CHECKED: usize = 40;

/// Up to where the log counts; `None` while somebody writes the header.
///
/// # Errors
/// `Unsupported`: the index is of another byte order, or of a later SQLite.
pub(crate) fn read(index: &File) -> Result<Option<Until>> {
    let bytes = index.read_at(0, 2 * HEADER)?.unwrap_or_default();
    let Some((first, second)) = bytes.split_at_checked(HEADER).filter(|(_, second)| second.len() == HEADER) else {
        return Ok(None);
    };
    let is_whole = first == second && first[12] != 0 && sums(&first[..CHECKED]) == [word(first, 40), word(first, 44)];
    if !is_whole {
        return Ok(None);
    }
    if word(first, 0) != VERSION {
        let message = format!(
            "the index of its write-ahead log has the version {}, which this plugin does not know",
            word(first, 0)
        );
        return Err(Error::unsupported(message));
    }
    // Salts are kept as the log has them, which is big-endian.
    let salt = |offset: usize| u32::from_be_bytes([first[offset], first[offset + 1], first[offset + 2], first[offset + 3]]);
    Ok(Some(Until::Frame {
        last: word(first, 16),
        salts: [salt(32), salt(36)],
    }))
}

fn word(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes([bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]])
}

fn sums(bytes: &[u8]) -> [u32; 2] {
    bytes.chunks_exact(8).fold([0_u32; 2], |[first, second], pair| {
        let first = first.wrapping_add(word(pair, 0)).wrapping_add(second);
        [first, second.wrapping_add(word(pair, 4)).wrapping_add(first)]
    })
}
