//! The server's `backup_manifest`: [`ManifestReader`] reads it as it arrives, without keeping it.
//!
//! A manifest is JSON, about 150 bytes for a file, so that of a large cluster is bigger than a plugin's memory. PostgreSQL writes it with one object a line
//! (`src/backend/backup/backup_manifest.c`, unchanged from version 13 to 17), and its own checksum is defined by lines: SHA-256 of all but the
//! last. So this reader goes by lines, each parsed as JSON and at most [`MAX_LINE`] long, and refuses what doesn't have this shape.

use bulkhead_postgres_client::{Lsn, TimelineId};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// The longest line, in bytes: a path of 4,096 bytes is 8,192 hexadecimal digits.
pub(crate) const MAX_LINE: usize = 64 << 10;

/// A manifest that cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("line {0} of the backup manifest is longer than {MAX_LINE} bytes")]
    LongLine(u64),
    #[error("line {0} of the backup manifest is not what PostgreSQL writes there")]
    Line(u64),
    #[error("the backup manifest has version {0}, this plugin knows 1 and 2")]
    Version(u32),
    #[error("the backup manifest lists a file with a checksum of type {0}, this plugin knows CRC32C")]
    Algorithm(String),
    #[error("the backup manifest ends early")]
    Truncated,
    #[error("the backup manifest does not match its own SHA-256")]
    Checksum,
}

/// A file that the server has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ManifestFile {
    /// Relative to PGDATA; a tablespace's files are below `pg_tblspc/<oid>`.
    pub(crate) path: Vec<u8>,
    pub(crate) size: u64,
    pub(crate) checksum: Checksum,
}

/// CRC-32C in the server's byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checksum([u8; 4]);

impl Checksum {
    /// As most servers write it.
    #[cfg(test)]
    pub(crate) fn of(crc: u32) -> Self {
        Self(crc.to_le_bytes())
    }

    /// A checksum in the same byte order as this one, which is that of `own`.
    pub(crate) fn like(self, own: u32, crc: u32) -> Self {
        if self.0 == own.to_le_bytes() {
            Self(crc.to_le_bytes())
        } else {
            Self(crc.to_be_bytes())
        }
    }

    /// As a manifest has it.
    pub(crate) fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// Whether it is `crc`. The manifest has the server's bytes in memory: little endian, but for servers on s390x and their like.
    pub(crate) fn is(self, crc: u32) -> bool {
        crc.to_le_bytes() == self.0 || crc.to_be_bytes() == self.0
    }
}

/// The log that a restore needs to become consistent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WalRange {
    pub(crate) timeline: TimelineId,
    pub(crate) start: Lsn,
    /// Exclusive.
    pub(crate) end: Lsn,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ManifestItem {
    File(ManifestFile),
    WalRange(WalRange),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Start,
    Head,
    Files,
    BetweenSections,
    WalRanges,
    Checksum,
    End,
}

/// Takes a manifest in pieces of any size.
#[derive(Debug)]
pub(crate) struct ManifestReader {
    section: Section,
    line: Vec<u8>,
    number: u64,
    hash: Sha256,
}

impl Default for ManifestReader {
    fn default() -> Self {
        Self {
            section: Section::Start,
            line: Vec::new(),
            number: 1,
            hash: Sha256::new(),
        }
    }
}

impl ManifestReader {
    /// Reads on; every file and log range goes to `each`.
    pub(crate) fn feed<E: From<ManifestError>>(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(ManifestItem) -> Result<(), E>,
    ) -> Result<(), E> {
        self.feed_lines(bytes, |_, item| item.map_or(Ok(()), &mut each))
    }

    /// Reads on; every line goes to `each`, with its end and with the file or log range that it has.
    pub(crate) fn feed_lines<E: From<ManifestError>>(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(&[u8], Option<ManifestItem>) -> Result<(), E>,
    ) -> Result<(), E> {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            if self.line.len() + part.len() > MAX_LINE {
                return Err(ManifestError::LongLine(self.number).into());
            }
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let item = self.read_line(&line)?;
                each(&line, item)?;
                self.number += 1;
                self.line = line;
                self.line.clear();
            }
        }
        Ok(())
    }

    /// Checks that the manifest is whole.
    pub(crate) fn finish(&self) -> Result<(), ManifestError> {
        if self.section == Section::End && self.line.is_empty() {
            Ok(())
        } else {
            Err(ManifestError::Truncated)
        }
    }

    fn read_line(&mut self, line: &[u8]) -> Result<Option<ManifestItem>, ManifestError> {
        let text = line.trim_ascii();
        if self.section == Section::Checksum {
            return self.check(text).map(|()| None);
        }
        self.hash.update(line);
        let (section, item) = match (self.section, text) {
            (Section::Start, text) => (self.version(text)?, None),
            (Section::Head, text) if text.starts_with(b"\"System-Identifier\":") => (Section::Head, None),
            (Section::Head, b"\"Files\": [") => (Section::Files, None),
            (Section::Files | Section::WalRanges, b"") => (self.section, None),
            (Section::Files, b"],") => (Section::BetweenSections, None),
            (Section::Files, text) => (Section::Files, Some(ManifestItem::File(self.file(text)?))),
            (Section::BetweenSections, b"\"WAL-Ranges\": [") => (Section::WalRanges, None),
            (Section::WalRanges, b"],") => (Section::Checksum, None),
            (Section::WalRanges, text) => (Section::WalRanges, Some(ManifestItem::WalRange(self.range(text)?))),
            _ => return Err(ManifestError::Line(self.number)),
        };
        self.section = section;
        Ok(item)
    }

    fn wrong(&self) -> ManifestError {
        ManifestError::Line(self.number)
    }

    fn version(&self, text: &[u8]) -> Result<Section, ManifestError> {
        let value = text
            .strip_prefix(b"{ \"PostgreSQL-Backup-Manifest-Version\": ")
            .and_then(|rest| rest.strip_suffix(b","));
        match value
            .and_then(|value| str::from_utf8(value).ok()?.parse().ok())
            .ok_or_else(|| self.wrong())?
        {
            1 | 2 => Ok(Section::Head),
            other => Err(ManifestError::Version(other)),
        }
    }

    fn file(&self, text: &[u8]) -> Result<ManifestFile, ManifestError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Line {
            path: Option<String>,
            #[serde(rename = "Encoded-Path")]
            encoded_path: Option<String>,
            size: u64,
            #[serde(rename = "Checksum-Algorithm")]
            algorithm: Option<String>,
            checksum: Option<String>,
        }
        let line: Line = self.json(text)?;
        let path = match (line.path, line.encoded_path) {
            (Some(path), None) => path.into_bytes(),
            (None, Some(digits)) => hex::decode(digits).map_err(|_| self.wrong())?,
            _ => return Err(self.wrong()),
        };
        let (Some(algorithm), Some(digits)) = (line.algorithm, line.checksum) else {
            return Err(self.wrong());
        };
        if algorithm != "CRC32C" {
            return Err(ManifestError::Algorithm(algorithm.chars().take(32).collect()));
        }
        let mut checksum = [0; 4];
        hex::decode_to_slice(digits, &mut checksum).map_err(|_| self.wrong())?;
        Ok(ManifestFile {
            path,
            size: line.size,
            checksum: Checksum(checksum),
        })
    }

    fn range(&self, text: &[u8]) -> Result<WalRange, ManifestError> {
        #[derive(Deserialize)]
        struct Line {
            #[serde(rename = "Timeline")]
            timeline: u32,
            #[serde(rename = "Start-LSN")]
            start: String,
            #[serde(rename = "End-LSN")]
            end: String,
        }
        let line: Line = self.json(text)?;
        let lsn = |text: &str| text.parse().map_err(|_| self.wrong());
        Ok(WalRange {
            timeline: TimelineId(line.timeline),
            start: lsn(&line.start)?,
            end: lsn(&line.end)?,
        })
    }

    fn json<'a, T: Deserialize<'a>>(&self, text: &'a [u8]) -> Result<T, ManifestError> {
        serde_json::from_slice(text.strip_suffix(b",").unwrap_or(text)).map_err(|_| self.wrong())
    }

    fn check(&mut self, text: &[u8]) -> Result<(), ManifestError> {
        let digits = text
            .strip_prefix(b"\"Manifest-Checksum\": \"")
            .and_then(|rest| rest.strip_suffix(b"\"}"));
        let stated = hex::decode(digits.ok_or_else(|| self.wrong())?).map_err(|_| self.wrong())?;
        self.section = Section::End;
        if self.hash.finalize_reset().as_slice() == stated {
            Ok(())
        } else {
            Err(ManifestError::Checksum)
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn manifest(files: &str) -> String {
        let head = format!(
            "{{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [{files}\n],\n\"WAL-Ranges\": [\n\
             {{ \"Timeline\": 1, \"Start-LSN\": \"0/2000028\", \"End-LSN\": \"0/2000100\" }}\n],\n"
        );
        let checksum = hex::encode(Sha256::digest(&head));
        format!("{head}\"Manifest-Checksum\": \"{checksum}\"}}\n")
    }

    const FILES: &str = "\n{ \"Path\": \"a\", \"Size\": 3, \"Last-Modified\": \"2026-01-01 00:00:00 GMT\", \"Checksum-Algorithm\": \"CRC32C\", \
                         \"Checksum\": \"8a744722\" },\n{ \"Encoded-Path\": \"ff2f61\", \"Size\": 0, \"Last-Modified\": \"\", \
                         \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"00000000\" }";

    fn read(text: &[u8], size: usize) -> Result<Vec<ManifestItem>, ManifestError> {
        let mut reader = ManifestReader::default();
        let mut items = Vec::new();
        for piece in text.chunks(size) {
            reader.feed(piece, |item| {
                items.push(item);
                Ok::<_, ManifestError>(())
            })?;
        }
        reader.finish().map(|()| items)
    }

    #[test]
    fn reads_what_postgres_writes_in_pieces_of_any_size() {
        let text = manifest(FILES);
        let expected = [
            ManifestItem::File(ManifestFile {
                path: b"a".to_vec(),
                size: 3,
                checksum: Checksum([0x8a, 0x74, 0x47, 0x22]),
            }),
            ManifestItem::File(ManifestFile {
                path: b"\xff/a".to_vec(),
                size: 0,
                checksum: Checksum([0; 4]),
            }),
            ManifestItem::WalRange(WalRange {
                timeline: TimelineId(1),
                start: Lsn(0x200_0028),
                end: Lsn(0x200_0100),
            }),
        ];
        for size in [1, 7, 64, 10_000] {
            assert_eq!(
                read(text.as_bytes(), size),
                Ok(expected.iter().map(clone).collect()),
                "pieces of {size}"
            );
        }
        assert_eq!(read(manifest("").as_bytes(), 100).unwrap().len(), 1, "no files");
    }

    fn clone(item: &ManifestItem) -> ManifestItem {
        match item {
            ManifestItem::File(file) => ManifestItem::File(file.clone()),
            ManifestItem::WalRange(range) => ManifestItem::WalRange(*range),
        }
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_noticed() {
        let text = manifest(FILES).into_bytes();
        for end in 0..text.len() {
            assert!(read(&text[..end], 64).is_err(), "cut at {end}");
        }
        for place in 0..text.len() {
            let mut changed = text.clone();
            changed[place] ^= 1;
            assert!(
                read(&changed, 64).is_err(),
                "changed at {place}: {:?}",
                String::from_utf8_lossy(&changed)
            );
        }
    }

    #[test]
    fn compares_checksums_in_either_byte_order() {
        let checksum = Checksum([1, 2, 3, 4]);
        assert!(checksum.is(0x0403_0201) && checksum.is(0x0102_0304) && !checksum.is(0x0201_0403));
    }

    #[test]
    fn refuses_endless_lines_and_foreign_checksums() {
        assert_eq!(read(&[b'x'; MAX_LINE + 1], 1000), Err(ManifestError::LongLine(1)));
        let foreign = FILES.replace("CRC32C", "SHA256");
        assert_eq!(
            read(manifest(&foreign).as_bytes(), 100),
            Err(ManifestError::Algorithm("SHA256".into()))
        );
        assert!(matches!(
            read(b"{ \"PostgreSQL-Backup-Manifest-Version\": 3,\n", 100),
            Err(ManifestError::Version(3))
        ));
    }
}
