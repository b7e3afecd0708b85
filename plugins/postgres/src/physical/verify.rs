//! Whether a stored cluster is still what the server sent: [`verify`] reads every file and compares it with the manifest.

use std::collections::BTreeMap;

use bulkhead_sdk::{
    ErrorKind, Result,
    digest::{Algorithm, Hasher},
    host::BEST_TRANSFER,
    metadata::NodeType,
    progress, snapshot,
    types::Finding,
};

use super::{
    entry::crc_of,
    layout,
    manifest::{ManifestFile, ManifestItem, ManifestReader, WalRange},
    outcome::Named,
    wal::Segments,
};
use crate::segment::{HEAD, is_segment_size};

/// Compares all of the snapshot with its manifest.
pub(crate) fn verify() -> Result<Vec<Finding>> {
    let mut verification = Verification::begin()?;
    let mut reader = snapshot::open(layout::MANIFEST).map_err(|error| {
        error
            .context("the snapshot has no backup manifest")
            .with_hint("it was not taken by mode `physical`")
    })?;
    let mut manifest = ManifestReader::default();
    let mut ranges = Vec::new();
    let mut outcome = Ok(());
    while let Some(part) = reader.read_bytes(BEST_TRANSFER)? {
        outcome = manifest.feed(&part, |item| match item {
            ManifestItem::File(file) => verification.file(&file),
            ManifestItem::WalRange(range) => {
                ranges.push(range);
                Ok(())
            }
        });
        if outcome.is_err() {
            break;
        }
    }
    if let Err(error) = outcome.and_then(|()| Ok(manifest.finish()?)) {
        // A damaged manifest is what a verification is there to find; anything else keeps it from being made.
        if !matches!(error.kind, ErrorKind::Corrupt | ErrorKind::Unsupported) {
            return Err(error);
        }
        return Ok(vec![
            Finding::error("manifest-damaged", error.to_string()).with_hint("restore from another snapshot"),
        ]);
    }
    verification.finish(&ranges)
}

struct Verification {
    /// Sizes of stored files by path; those that the manifest has listed are gone.
    unlisted: BTreeMap<Vec<u8>, u64>,
    wrong: Named,
    agreed: u64,
    bytes: u64,
    total: u64,
}

impl Verification {
    fn begin() -> Result<Self> {
        let mut unlisted = BTreeMap::new();
        let mut total = 0;
        for entry in snapshot::walk("")? {
            let entry = entry?;
            if entry.metadata.node_type == NodeType::File && entry.path != layout::MANIFEST {
                total += entry.size;
                unlisted.insert(entry.path, entry.size);
            }
        }
        Ok(Self {
            unlisted,
            wrong: Named::default(),
            agreed: 0,
            bytes: 0,
            total,
        })
    }

    fn file(&mut self, file: &ManifestFile) -> Result<()> {
        let path = layout::from_manifest(&file.path);
        let name = || String::from_utf8_lossy(&path).into_owned();
        match self.unlisted.remove(&path) {
            None => self.wrong.push(|| format!("{} (missing)", name())),
            Some(size) if size != file.size => self.wrong.push(|| format!("{} ({size} bytes instead of {})", name(), file.size)),
            Some(_) => match self.checksum(&path) {
                Ok(crc) if file.checksum.is(crc) => self.agreed += 1,
                Ok(_) => self.wrong.push(|| format!("{} (checksum)", name())),
                Err(error) if error.kind == ErrorKind::Corrupt => self.wrong.push(|| format!("{} ({error})", name())),
                Err(error) => return Err(error),
            },
        }
        Ok(())
    }

    fn checksum(&mut self, path: &[u8]) -> Result<u32> {
        let mut reader = snapshot::open(path)?;
        let mut hasher = Hasher::new(Algorithm::Crc32c);
        while let Some(part) = reader.read_bytes(BEST_TRANSFER)? {
            hasher.update(&part);
            self.bytes += part.len() as u64;
        }
        progress::report("verifying", self.bytes, Some(self.total));
        crc_of(&hasher.finish())
    }

    fn finish(mut self, ranges: &[WalRange]) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        let wal_folder = layout::join(layout::DATA, layout::WAL);
        let (log, foreign): (Vec<_>, Vec<_>) = self
            .unlisted
            .iter()
            .partition(|(path, _)| layout::below(path, &wal_folder).is_some());
        for (path, _) in foreign {
            self.wrong
                .push(|| format!("{} (not in the manifest)", String::from_utf8_lossy(path)));
        }
        if !self.wrong.is_empty() {
            findings.push(
                Finding::error(
                    "files-damaged",
                    format!("stored files differ from the backup manifest: {}", self.wrong.list()),
                )
                .with_hint("restore from another snapshot; bulkhead verify tells which ones are whole"),
            );
        }
        if let Err(error) = verify_log(&log, ranges, &wal_folder) {
            if error.kind != ErrorKind::Corrupt {
                return Err(error);
            }
            findings.push(Finding::error("log-incomplete", error.to_string()).with_hint("restore from another snapshot"));
        }
        if findings.is_empty() {
            let message = format!(
                "{} files ({} bytes) agree with the server's manifest, and the log is complete",
                self.agreed, self.bytes
            );
            findings.push(Finding::info("manifest-verified", message));
        }
        Ok(findings)
    }
}

/// The segments know their own size and cluster: the first one says what the others must agree with.
fn verify_log(log: &[(&Vec<u8>, &u64)], ranges: &[WalRange], folder: &[u8]) -> Result<()> {
    let mut segments: Option<Segments> = None;
    for &(path, &size) in log {
        let name = layout::below(path, folder).unwrap_or_default();
        if !is_segment_size(size) {
            continue;
        }
        let head = snapshot::open(path)?.read_at(0, HEAD)?.unwrap_or_default();
        let system_identifier = head
            .get(24..32)
            .and_then(|bytes| <[u8; 8]>::try_from(bytes).ok())
            .map_or(0, u64::from_le_bytes);
        segments
            .get_or_insert_with(|| Segments::new(size, system_identifier))
            .add(name, size, &head)?;
    }
    // Without any segment, every size says the same: the first one is missing.
    Ok(segments.unwrap_or_else(|| Segments::new(16 << 20, 0)).cover(ranges)?)
}
