//! The bytes of a database file, at any offset: [`Pages`]; and the first of them, [`Header`].
//!
//! Source: SQLite, "Database File Format", section 1.3.

use bulkhead_sdk::{Error, ErrorKind, Result, host::MAX_TRANSFER, snapshot::EntryReader};

/// What every database begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// Bytes of the header.
pub(crate) const HEADER: usize = 100;

/// A database file as it stands at one moment.
pub trait Pages {
    /// Bytes in all.
    fn size(&self) -> u64;

    /// Bytes at an offset, at most as many as a transfer has; fewer than `length` only at the end.
    ///
    /// # Errors
    /// What reading failed with.
    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>>;
}

/// A database in a snapshot.
impl Pages for EntryReader {
    fn size(&self) -> u64 {
        self.size()
    }

    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        Ok(self.read_at(offset, length.min(MAX_TRANSFER))?.unwrap_or_default())
    }
}

/// How changes reach a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In place, with what was there in a rollback journal.
    Rollback,
    /// Through a write-ahead log.
    Wal,
}

/// What a database's first page begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Bytes of a page, a power of two from 512 to 65,536.
    pub(crate) page_size: u32,
    pub(crate) mode: Mode,
}

impl Header {
    /// Reads it.
    ///
    /// # Errors
    /// `SourceDamaged`: it is no database; `Unsupported`: it is one of a later SQLite.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let (Some(bytes), true) = (bytes.get(..HEADER), bytes.starts_with(MAGIC)) else {
            return Err(Error::new(ErrorKind::SourceDamaged, "it is no SQLite database: its header is missing").with_hint(
                "leave it out with `exclude`, or let the plugin `files` back it up; encrypted databases (SQLCipher, SEE) have no header that can be read",
            ));
        };
        let page_size = match u16::from_be_bytes([bytes[16], bytes[17]]) {
            1 => 65_536,
            size => u32::from(size),
        };
        if !page_size.is_power_of_two() || page_size < 512 {
            let message = format!("it is no SQLite database: its header tells pages of {page_size} bytes");
            return Err(
                Error::new(ErrorKind::SourceDamaged, message).with_hint("restore it, or let `sqlite3 … .recover` read what is left of it")
            );
        }
        match bytes[19] {
            1 => Ok(Mode::Rollback),
            2 => Ok(Mode::Wal),
            version => Err(Error::unsupported(format!(
                "its format has the read version {version}, which this plugin does not know"
            ))),
        }
        .map(|mode| Self { page_size, mode })
    }
}

/// Big-endian, as all of SQLite's files are; the caller has checked that it is there.
pub(crate) fn number(bytes: &[u8], offset: usize) -> u32 {
    bytes
        .get(offset..offset + 4)
        .map_or(0, |bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn header(page_size: u16, version: u8) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[..16].copy_from_slice(MAGIC);
        bytes[16..18].copy_from_slice(&page_size.to_be_bytes());
        (bytes[18], bytes[19]) = (version, version);
        bytes
    }

    #[test]
    fn a_header_tells_pages_and_mode() {
        let (page_size, mode) = (65_536, Mode::Wal);
        assert_eq!(Header::parse(&header(1, 2)).unwrap(), Header { page_size, mode });
        assert_eq!(Header::parse(&header(512, 1)).unwrap().mode, Mode::Rollback);
        for (bytes, kind) in [
            (header(1000, 1), ErrorKind::SourceDamaged),
            (header(256, 1), ErrorKind::SourceDamaged),
            (header(4096, 3), ErrorKind::Unsupported),
            (header(4096, 1)[..99].to_vec(), ErrorKind::SourceDamaged),
            (vec![7; 4096], ErrorKind::SourceDamaged),
        ] {
            assert_eq!(Header::parse(&bytes).unwrap_err().kind, kind);
        }
    }
}
