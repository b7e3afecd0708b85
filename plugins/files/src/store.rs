//! Reading and storing a node: a small file as the host has read it, [`read`] and [`whole`]; a large one in parts, [`Opened`], open before its entry begins,
//! so that what cannot be read is known by then.

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    directory::{ExtendedAttribute, File, FileType, Folder, Node, OpenMode, Stat},
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
        put(&mut writer, &part)?;
        next = file.read_at(offset, BEST_TRANSFER)?;
    }
    writer.finish()
}

fn put(writer: &mut EntryWriter, part: &[u8]) -> Result<()> {
    if part.iter().all(|byte| *byte == 0) {
        writer.write_zeros(part.len() as u64)
    } else {
        writer.write_bytes(part)
    }
}

/// What was read of a node.
pub(crate) enum Read {
    /// All of a file.
    File(Metadata, Vec<u8>),
    /// A file without its content, which is large or was changing.
    InPart,
    /// A folder, which has more to it.
    Folder,
    /// Another node, which has no content.
    Other(Metadata),
}

/// Sorts what the host has read. A link without its target is refused: stored empty, it would be another one.
pub(crate) fn read(node: Node) -> Result<Read> {
    let Node {
        stat,
        extended_attributes,
        target,
        content,
    } = node;
    let without_target = || Error::new(ErrorKind::Internal, "the host has read a symbolic link without its target");
    let node_type = match stat.file_type {
        FileType::Regular => NodeType::File,
        FileType::Directory => return Ok(Read::Folder),
        FileType::Symlink => NodeType::Symlink(target.ok_or_else(without_target)?),
        FileType::Fifo => NodeType::Fifo,
        FileType::Socket => NodeType::Socket,
        FileType::CharacterDevice => NodeType::CharacterDevice(stat.raw_device),
        FileType::BlockDevice => NodeType::BlockDevice(stat.raw_device),
    };
    let metadata = described(node_type, &stat, extended_attributes);
    Ok(match (stat.file_type, content) {
        (FileType::Regular, Some(content)) => Read::File(metadata, content),
        (FileType::Regular, None) => Read::InPart,
        _ => Read::Other(metadata),
    })
}

/// Stores a file that is in memory.
pub(crate) fn whole(entry: &[u8], metadata: &Metadata, content: &[u8]) -> Result<Finished> {
    let mut writer = entries::create(entry, metadata)?;
    content.chunks(BEST_TRANSFER).try_for_each(|part| put(&mut writer, part))?;
    writer.finish()
}

/// The metadata of a folder.
pub(crate) fn folder(folder: &Folder, path: &[u8], stat: &Stat) -> Result<Metadata> {
    Ok(described(NodeType::Directory, stat, attributes(folder, path)?))
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
