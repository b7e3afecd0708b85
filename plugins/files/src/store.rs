//! What is at a path, read: [`look`]. A file is open by then, so that what cannot be read is known before an entry begins.

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    directory::{ExtendedAttribute, File, FileType, Folder, OpenMode, Stat},
    entries::{self, EntryWriter, Finished},
    host::BEST_TRANSFER,
    metadata::{Metadata, NodeType},
};

/// A file that is open, with its first bytes.
pub(crate) struct Opened {
    file: File,
    before: Stat,
    attributes: Vec<ExtendedAttribute>,
    first: Option<Vec<u8>>,
}

/// What came of a file.
pub(crate) struct Stored {
    pub(crate) finished: Finished,
    /// Whether it changed while it was read.
    pub(crate) changed: bool,
}

impl Opened {
    /// Opens the file at `path`.
    pub(crate) fn open(folder: &Folder, path: &[u8]) -> Result<Self> {
        let file = folder.open_file(path, OpenMode::Read)?;
        Ok(Self {
            before: file.stat()?,
            attributes: attributes(folder, path)?,
            first: file.read_at(0, BEST_TRANSFER)?,
            file,
        })
    }

    /// Stores it as `entry`.
    pub(crate) fn store(self, entry: &[u8]) -> Result<Stored> {
        let writer = entries::create(entry, &described(NodeType::File, &self.before, self.attributes))?;
        let finished = content(&self.file, writer, self.first)?;
        let after = self.file.stat()?;
        let same = |stat: &Stat| (stat.size, stat.modified, stat.changed);
        let changed = same(&self.before) != same(&after) || finished.size != self.before.size;
        Ok(Stored { finished, changed })
    }
}

fn content(file: &File, mut writer: EntryWriter, first: Option<Vec<u8>>) -> Result<Finished> {
    let mut next = first;
    let mut offset = 0;
    while let Some(part) = next {
        offset += part.len() as u64;
        if part.iter().all(|byte| *byte == 0) {
            writer.write_zeros(part.len() as u64)?;
        } else {
            writer.write_bytes(&part)?;
        }
        next = file.read_at(offset, BEST_TRANSFER)?;
    }
    writer.finish()
}

/// The metadata of a node without content.
pub(crate) fn metadata(folder: &Folder, path: &[u8], stat: &Stat) -> Result<Metadata> {
    let node_type = match stat.file_type {
        FileType::Regular => NodeType::File,
        FileType::Directory => NodeType::Directory,
        FileType::Symlink => NodeType::Symlink(folder.read_link(path)?),
        FileType::Fifo => NodeType::Fifo,
        FileType::Socket => NodeType::Socket,
        FileType::CharacterDevice => NodeType::CharacterDevice(stat.raw_device),
        FileType::BlockDevice => NodeType::BlockDevice(stat.raw_device),
    };
    Ok(described(node_type, stat, attributes(folder, path)?))
}

/// Extended attributes, where the file system has any.
fn attributes(folder: &Folder, path: &[u8]) -> Result<Vec<ExtendedAttribute>> {
    match folder.extended_attributes(path) {
        Err(Error {
            kind: ErrorKind::Unsupported,
            ..
        }) => Ok(Vec::new()),
        attributes => attributes,
    }
}

fn described(node_type: NodeType, stat: &Stat, extended_attributes: Vec<ExtendedAttribute>) -> Metadata {
    Metadata {
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
        modified: Some(stat.modified),
        changed: Some(stat.changed),
        device: stat.device,
        inode: stat.inode,
        links: stat.links,
        extended_attributes,
        ..Metadata::new(node_type)
    }
}
