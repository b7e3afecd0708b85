//! What a snapshot has, for the comparison with what is there: [`Contents`].

use std::collections::BTreeMap;

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    directory::FileType,
    host::BEST_TRANSFER,
    metadata::NodeType,
    snapshot::{self, Entry},
};

use crate::physical::{
    layout,
    manifest::{Checksum, ManifestItem, ManifestReader},
};

/// What the snapshot has at a path.
struct Known {
    file_type: FileType,
    /// As the server's manifest states it; it leaves out the log.
    checksum: Option<Checksum>,
}

/// All of it, by path in the snapshot, with the manifest in PGDATA. About 100 bytes of memory for each entry.
pub(super) struct Contents(BTreeMap<Box<[u8]>, Known>);

impl Contents {
    /// That of the snapshot that is restored.
    pub(super) fn read() -> Result<Self> {
        let mut known = BTreeMap::new();
        for entry in snapshot::walk("")? {
            let entry = entry?;
            let found = Known {
                file_type: file_type(&entry)?,
                checksum: None,
            };
            known.insert(in_a_cluster(entry.path).into_boxed_slice(), found);
        }
        let mut contents = Self(known);
        contents.read_manifest()?;
        Ok(contents)
    }

    fn read_manifest(&mut self) -> Result<()> {
        let mut reader = snapshot::open(layout::MANIFEST)?;
        let mut manifest = ManifestReader::default();
        while let Some(part) = reader.read_bytes(BEST_TRANSFER)? {
            manifest.feed(&part, |item| {
                if let ManifestItem::File(file) = item
                    && let Some(known) = self.0.get_mut(layout::from_manifest(&file.path).as_slice())
                {
                    known.checksum = Some(file.checksum);
                }
                Ok::<_, Error>(())
            })?;
        }
        Ok(manifest.finish()?)
    }

    /// What is at a path; `None` where the snapshot has nothing.
    pub(super) fn file_type(&self, path: &[u8]) -> Option<FileType> {
        self.0.get(path).map(|known| known.file_type)
    }

    /// That of the file at a path, where the server stated one.
    pub(super) fn checksum(&self, path: &[u8]) -> Option<Checksum> {
        self.0.get(path).and_then(|known| known.checksum)
    }
}

/// Where an entry is in a restored cluster, in the words of a snapshot.
fn in_a_cluster(path: Vec<u8>) -> Vec<u8> {
    match path.as_slice() {
        layout::MANIFEST => layout::join(layout::DATA, layout::MANIFEST),
        _ => path,
    }
}

fn file_type(entry: &Entry) -> Result<FileType> {
    match &entry.metadata.node_type {
        NodeType::Directory => Ok(FileType::Directory),
        NodeType::File => Ok(FileType::Regular),
        NodeType::Symlink(_) => Ok(FileType::Symlink),
        other => Err(Error::new(ErrorKind::Corrupt, format!("a cluster has no entry of type {other:?}"))),
    }
}
