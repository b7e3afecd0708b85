//! The manifest of a snapshot that an incremental backup has brought up to date: [`ManifestWriter`].
//!
//! It is the server's, line by line, but for the files that were stored whole where the server sent what changed of them, and for the checksum of it all. Where
//! nothing was sent so, what comes out is what came in.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::manifest::ManifestFile;

/// How the last line begins.
const CHECKSUM: &[u8] = b"\"Manifest-Checksum\"";

/// Writes a manifest from the lines of another.
#[derive(Debug, Default)]
pub(crate) struct ManifestWriter {
    hash: Sha256,
}

impl ManifestWriter {
    /// What is written for `line`, which a [`ManifestReader`](super::manifest::ManifestReader) has read, where `instead` is what the snapshot has for its file.
    pub(crate) fn line(&mut self, line: &[u8], instead: Option<&ManifestFile>) -> Vec<u8> {
        if line.starts_with(CHECKSUM) {
            let checksum = hex::encode(self.hash.finalize_reset());
            return format!("\"Manifest-Checksum\": \"{checksum}\"}}\n").into_bytes();
        }
        let written = instead.map_or_else(|| line.to_vec(), |file| file_line(line, file));
        self.hash.update(&written);
        written
    }
}

/// The line of `file`, with the time and the comma of `line`.
fn file_line(line: &[u8], file: &ManifestFile) -> Vec<u8> {
    #[derive(Deserialize, Default)]
    struct Line {
        #[serde(rename = "Last-Modified", default)]
        modified: String,
    }
    let text = line.trim_ascii();
    let (text, comma) = text.strip_suffix(b",").map_or((text, ""), |text| (text, ","));
    let modified = serde_json::from_slice::<Line>(text).unwrap_or_default().modified;
    let path = str::from_utf8(&file.path).map_or_else(
        |_| format!("\"Encoded-Path\": \"{}\"", hex::encode(&file.path)),
        |path| format!("\"Path\": {}", serde_json::Value::from(path)),
    );
    let written = format!(
        "{{ {path}, \"Size\": {}, \"Last-Modified\": {}, \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"{}\" }}{comma}\n",
        file.size,
        serde_json::Value::from(modified),
        file.checksum.to_hex()
    );
    written.into_bytes()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::physical::manifest::{Checksum, ManifestError, ManifestItem, ManifestReader};

    fn manifest() -> String {
        let head = "{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": 7,\n\"Files\": [\n\
                    { \"Path\": \"base/5/INCREMENTAL.1259\", \"Size\": 12, \"Last-Modified\": \"2026-01-01 00:00:00 GMT\", \
                    \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"8a744722\" },\n\
                    { \"Path\": \"PG_VERSION\", \"Size\": 3, \"Last-Modified\": \"2026-01-01 00:00:00 GMT\", \
                    \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"8a744723\" }\n],\n\"WAL-Ranges\": [\n\
                    { \"Timeline\": 1, \"Start-LSN\": \"0/2000028\", \"End-LSN\": \"0/2000100\" }\n],\n";
        format!("{head}\"Manifest-Checksum\": \"{}\"}}\n", hex::encode(Sha256::digest(head)))
    }

    fn rewrite(text: &str, instead: Option<&ManifestFile>) -> String {
        let (mut reader, mut writer) = (ManifestReader::default(), ManifestWriter::default());
        let mut written = Vec::new();
        let read = reader.feed_lines(text.as_bytes(), |line, item| {
            let changed = matches!(&item, Some(ManifestItem::File(file)) if file.path.starts_with(b"base"));
            written.extend(writer.line(line, instead.filter(|_| changed)));
            Ok::<_, ManifestError>(())
        });
        read.unwrap();
        reader.finish().unwrap();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn without_changes_it_is_what_came() {
        assert_eq!(rewrite(&manifest(), None), manifest());
    }

    #[test]
    fn a_whole_file_takes_the_place_of_what_changed_of_it() {
        let whole = ManifestFile {
            path: b"base/5/1259".to_vec(),
            size: 8192,
            checksum: Checksum::of(0x0403_0201),
        };
        let written = rewrite(&manifest(), Some(&whole));
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(
            lines[3],
            "{ \"Path\": \"base/5/1259\", \"Size\": 8192, \"Last-Modified\": \"2026-01-01 00:00:00 GMT\", \"Checksum-Algorithm\": \"CRC32C\", \
             \"Checksum\": \"01020304\" },"
        );
        assert_eq!(lines[4], manifest().lines().nth(4).unwrap());
        // It is a manifest that agrees with itself.
        assert_eq!(rewrite(&written, None), written);
    }
}
