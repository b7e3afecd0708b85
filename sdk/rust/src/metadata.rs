//! What an entry is beside its bytes.

pub use crate::directory::ExtendedAttribute;
use crate::types::Timestamp;

/// What kind of node an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NodeType {
    /// A byte stream.
    File,
    /// A folder.
    Directory,
    /// A symbolic link with its target.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character device with its number.
    CharacterDevice(u64),
    /// A block device with its number.
    BlockDevice(u64),
}

/// What an entry is beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// File, folder, link, …
    pub node_type: NodeType,
    /// Permission bits with set-uid, set-gid and sticky (`0o7777`).
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Name of the owner, where known.
    pub user: Option<String>,
    /// Name of the group, where known.
    pub group: Option<String>,
    /// Modification time; `None` stands for the time of the run.
    pub modified: Option<Timestamp>,
    /// Change time of the inode.
    pub changed: Option<Timestamp>,
    /// Device that the file was on; 0 where unknown.
    pub device: u64,
    /// Inode; 0 where unknown.
    pub inode: u64,
    /// Number of hard links; 0 where unknown.
    pub links: u64,
    /// Extended attributes.
    pub extended_attributes: Vec<ExtendedAttribute>,
}

impl Metadata {
    /// A node that only its owner may touch (0600, folders 0700), of the run's time.
    #[must_use]
    pub fn new(node_type: NodeType) -> Self {
        let mode = if node_type == NodeType::Directory { 0o700 } else { 0o600 };
        Self {
            node_type,
            mode,
            uid: 0,
            gid: 0,
            user: None,
            group: None,
            modified: None,
            changed: None,
            device: 0,
            inode: 0,
            links: 0,
            extended_attributes: Vec::new(),
        }
    }

    /// A byte stream, 0600.
    #[must_use]
    pub fn file() -> Self {
        Self::new(NodeType::File)
    }

    /// A folder, 0700.
    #[must_use]
    pub fn directory() -> Self {
        Self::new(NodeType::Directory)
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(target: impl Into<Vec<u8>>) -> Self {
        Self::new(NodeType::Symlink(target.into()))
    }

    /// Sets the permission bits.
    #[must_use]
    pub fn with_mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the numeric owner and group.
    #[must_use]
    pub fn with_owner(mut self, uid: u32, gid: u32) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    /// Sets the modification time.
    #[must_use]
    pub fn with_modified(mut self, modified: Timestamp) -> Self {
        self.modified = Some(modified);
        self
    }
}
