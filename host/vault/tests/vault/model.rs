//! [`Model`]: a tree as a test states it. It is made at random, written into a vault or onto a disk, and read back from either, so that what any tool
//! made of it can be compared with what was meant.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    fmt, fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use bulkhead_model::{EntryMetadata, ExtendedAttribute, NodeType, Timestamp};
use bulkhead_vault::{ObjectId, Piece, RESERVED_FOLDER, SnapshotEntry, SnapshotReader, SnapshotWriter, WriteError};
use bytes::Bytes;
use futures_util::future::try_join_all;
use rand::{rngs::StdRng, seq::SliceRandom};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use crate::support::path;

/// Entries that are written at once.
const AT_ONCE: usize = 5;
/// Bytes that are written in one call.
const PIECE: usize = 64 << 10;

/// An entry of a tree.
#[derive(Clone)]
pub(crate) struct Item {
    pub(crate) metadata: EntryMetadata,
    pub(crate) content: Vec<u8>,
}

/// Entries by their components, which is the order of a walk.
#[derive(Clone, Default)]
pub(crate) struct Model(pub(crate) BTreeMap<Vec<Vec<u8>>, Item>);

/// What must be the same wherever an entry is.
#[derive(PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) node_type: NodeType,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) modified: Timestamp,
    pub(crate) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) content: (usize, ObjectId),
    /// The first entry that is a link to the same file, if there are several.
    pub(crate) same_file: Option<Vec<u8>>,
}

impl fmt::Debug for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            node_type,
            mode,
            owner,
            modified,
            attributes,
            content,
            same_file,
        } = self;
        write!(
            formatter,
            "{node_type:?} {mode:o} {owner:?} {modified:?} {attributes:?} {} bytes {} same as {same_file:?}",
            content.0, content.1
        )
    }
}

/// A tree as it is compared: the path as text, so that a failure can be read.
pub(crate) type View = Vec<(String, Seen)>;

/// Fails with the first difference.
pub(crate) fn assert_same(found: &View, expected: &View, what: &str) {
    for (found, expected) in found.iter().zip(expected) {
        assert!(found == expected, "{what}:\n   found {found:?}\nexpected {expected:?}");
    }
    let names = |view: &View| view.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(found), names(expected), "{what}");
}

pub(crate) fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect()
}

impl Model {
    /// What of this tree any copy must show; Bulkhead's own entries are not part of it.
    pub(crate) fn view(&self) -> View {
        let mut first = HashMap::new();
        for (name, item) in self.0.iter().filter(|(_, item)| is_hard_linked(&item.metadata)) {
            first
                .entry((item.metadata.device, item.metadata.inode))
                .or_insert_with(|| name.join(&b'/'));
        }
        let seen = |(name, item): (&Vec<Vec<u8>>, &Item)| {
            let metadata = &item.metadata;
            let attributes = metadata.extended_attributes.iter();
            let mut attributes: Vec<_> = attributes.map(|found| (found.name.clone(), found.value.clone())).collect();
            attributes.sort();
            let seen = Seen {
                node_type: metadata.node_type.clone(),
                // A link's own mode is what the system says, not what anybody set.
                mode: if is_link(metadata) { 0o777 } else { metadata.mode },
                owner: (metadata.uid, metadata.gid),
                modified: metadata.modified.unwrap(),
                attributes,
                content: (item.content.len(), ObjectId::of(&item.content)),
                same_file: first
                    .get(&(metadata.device, metadata.inode))
                    .filter(|_| is_hard_linked(metadata))
                    .cloned(),
            };
            (name.join(&b'/').escape_ascii().to_string(), seen)
        };
        self.0
            .iter()
            .filter(|(name, _)| name[0] != RESERVED_FOLDER.as_bytes())
            .map(seen)
            .collect()
    }

    /// Without what `unwanted` names.
    pub(crate) fn without(&self, unwanted: impl Fn(&NodeType) -> bool) -> Self {
        let kept = self.0.iter().filter(|(_, item)| !unwanted(&item.metadata.node_type));
        Self(kept.map(|(name, item)| (name.clone(), item.clone())).collect())
    }

    /// Below a folder; those above it are left out.
    pub(crate) fn below(&self, folder: &[u8]) -> Self {
        let folder = components(folder);
        let inside = self.0.iter().filter_map(|(name, item)| {
            let inner = name.strip_prefix(&folder[..]).filter(|inner| !inner.is_empty());
            inner.map(|inner| (inner.to_vec(), item.clone()))
        });
        Self(inside.collect())
    }

    /// Writes all entries, in random order and several at once.
    pub(crate) async fn write(&self, writer: &SnapshotWriter, chance: &mut StdRng) {
        let mut items: Vec<_> = self.0.iter().collect();
        items.shuffle(chance);
        for group in items.chunks(AT_ONCE) {
            try_join_all(group.iter().map(|(name, item)| write_item(writer, name, item)))
                .await
                .unwrap();
        }
    }

    /// Makes the tree in an empty folder.
    pub(crate) fn make(&self, root: &Path) {
        let mut files: HashMap<(u64, u64), PathBuf> = HashMap::new();
        for (name, item) in &self.0 {
            let target = root.join(OsStr::from_bytes(&name.join(&b'/')));
            let metadata = &item.metadata;
            if is_hard_linked(metadata) {
                if let Some(first) = files.get(&(metadata.device, metadata.inode)) {
                    fs::hard_link(first, &target).unwrap();
                    continue;
                }
                files.insert((metadata.device, metadata.inode), target.clone());
            }
            make_node(&target, item);
        }
        // Folders' times last, those inside first: making something in a folder changes them.
        for (name, item) in self.0.iter().rev() {
            set_metadata(&root.join(OsStr::from_bytes(&name.join(&b'/'))), &item.metadata);
        }
    }

    /// What is in a folder.
    pub(crate) fn scan(root: &Path) -> Self {
        let mut found = Self::default();
        found.scan_folder(root, &mut Vec::new());
        found
    }

    fn scan_folder(&mut self, folder: &Path, name: &mut Vec<Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let metadata = read_metadata(&entry.path());
            let content = match metadata.node_type {
                NodeType::File => fs::read(entry.path()).unwrap(),
                _ => Vec::new(),
            };
            let folder = metadata.node_type == NodeType::Directory;
            name.push(entry.file_name().as_bytes().to_vec());
            self.0.insert(name.clone(), Item { metadata, content });
            if folder {
                self.scan_folder(&entry.path(), name);
            }
            name.pop();
        }
    }

    /// What is in a snapshot, read by us.
    pub(crate) async fn read(reader: &SnapshotReader) -> Self {
        let mut found = Self::default();
        let mut walk = reader.walk_content(&path(""), |_: &SnapshotEntry| true).await.unwrap();
        let mut last = Vec::new();
        while let Some(piece) = walk.next().await.unwrap() {
            match piece {
                Piece::Entry(entry) => {
                    last = components(entry.path.as_bytes());
                    let item = Item {
                        metadata: entry.metadata,
                        content: Vec::new(),
                    };
                    assert!(found.0.insert(last.clone(), item).is_none(), "{:?} twice", entry.path);
                }
                Piece::Content(content) => found.0.get_mut(&last).unwrap().content.extend_from_slice(&content),
                Piece::Gap(bytes) => unreachable!("{bytes} bytes were left out"),
            }
        }
        found
    }
}

fn is_link(metadata: &EntryMetadata) -> bool {
    matches!(metadata.node_type, NodeType::Symlink(_))
}

fn is_hard_linked(metadata: &EntryMetadata) -> bool {
    metadata.links > 1 && metadata.node_type == NodeType::File
}

async fn write_item(writer: &SnapshotWriter, name: &[Vec<u8>], item: &Item) -> Result<(), WriteError> {
    let name = path(name.join(&b'/'));
    if item.metadata.node_type != NodeType::File {
        return writer.add(name, item.metadata.clone()).await;
    }
    let mut entry = writer.create(name, item.metadata.clone()).await?;
    for piece in item.content.chunks(PIECE) {
        if piece.iter().all(|byte| *byte == 0) {
            entry.write_zeros(piece.len() as u64).await?;
        } else {
            entry.write(Bytes::copy_from_slice(piece)).await?;
        }
    }
    entry.finish().await.map(drop)
}

fn make_node(target: &Path, item: &Item) {
    let special = |kind, device| rustix::fs::mknodat(CWD, target, kind, Mode::from(0o600), device).unwrap();
    match &item.metadata.node_type {
        NodeType::File => fs::write(target, &item.content).unwrap(),
        NodeType::Directory => fs::create_dir(target).unwrap(),
        NodeType::Symlink(link) => symlink(OsStr::from_bytes(link), target).unwrap(),
        NodeType::Fifo => special(FileType::Fifo, 0),
        NodeType::Socket => make_socket(target),
        NodeType::CharacterDevice(device) => special(FileType::CharacterDevice, *device),
        NodeType::BlockDevice(device) => special(FileType::BlockDevice, *device),
    }
}

/// A socket's address has 108 bytes at most: it is bound in a short place, and moved.
fn make_socket(target: &Path) {
    let short = tempfile::tempdir_in(target.ancestors().skip(1).find(|above| above.as_os_str().len() < 60).unwrap()).unwrap();
    let bound = short.path().join("s");
    drop(UnixListener::bind(&bound).unwrap());
    fs::rename(bound, target).unwrap();
}

fn set_metadata(target: &Path, metadata: &EntryMetadata) {
    let owner = (rustix::fs::Uid::from_raw(metadata.uid), rustix::fs::Gid::from_raw(metadata.gid));
    rustix::fs::chownat(CWD, target, Some(owner.0), Some(owner.1), AtFlags::SYMLINK_NOFOLLOW).unwrap();
    if !is_link(metadata) {
        fs::set_permissions(target, fs::Permissions::from_mode(metadata.mode)).unwrap();
    }
    for attribute in &metadata.extended_attributes {
        rustix::fs::lsetxattr(target, &attribute.name[..], &attribute.value, XattrFlags::empty()).unwrap();
    }
    let modified = metadata.modified.unwrap();
    let time = Timespec {
        tv_sec: modified.seconds,
        tv_nsec: modified.nanoseconds.into(),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, target, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// An entry's metadata on disk.
pub(crate) fn read_metadata(target: &Path) -> EntryMetadata {
    let found = fs::symlink_metadata(target).unwrap();
    let kind = found.file_type();
    let node_type = if kind.is_dir() {
        NodeType::Directory
    } else if kind.is_symlink() {
        NodeType::Symlink(fs::read_link(target).unwrap().as_os_str().as_bytes().to_vec())
    } else if kind.is_fifo() {
        NodeType::Fifo
    } else if kind.is_socket() {
        NodeType::Socket
    } else if kind.is_char_device() {
        NodeType::CharacterDevice(found.rdev())
    } else if kind.is_block_device() {
        NodeType::BlockDevice(found.rdev())
    } else {
        NodeType::File
    };
    let time = |seconds, nanoseconds| {
        Some(Timestamp {
            seconds,
            nanoseconds: u32::try_from(nanoseconds).unwrap(),
        })
    };
    EntryMetadata {
        mode: found.mode() & 0o7777,
        uid: found.uid(),
        gid: found.gid(),
        modified: time(found.mtime(), found.mtime_nsec()),
        changed: time(found.ctime(), found.ctime_nsec()),
        device: found.dev(),
        inode: found.ino(),
        links: found.nlink(),
        extended_attributes: read_attributes(target),
        ..EntryMetadata::private(node_type)
    }
}

fn read_attributes(target: &Path) -> Vec<ExtendedAttribute> {
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(target, &mut names[..]).unwrap();
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let read = |name: &[u8]| {
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::lgetxattr(target, name, &mut value[..]).unwrap();
        value.truncate(length);
        ExtendedAttribute {
            name: name.to_vec(),
            value,
        }
    };
    names.map(read).collect()
}
