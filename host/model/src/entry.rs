//! Names and metadata of entries. Limits are those of the plugin ABI (`wit/`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest path of an entry, in bytes: Linux's `PATH_MAX`.
const MAX_PATH: usize = 4096;
/// Longest component of a path, in bytes: Linux's `NAME_MAX`.
const MAX_COMPONENT: usize = 255;

/// The path of an entry in a snapshot: relative, `/`-separated bytes without empty, `.` or `..` components. The empty path is the snapshot's root.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntryPath(Vec<u8>);

/// Why some bytes are not the path of an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryPathError {
    /// Longer than 4,096 bytes.
    #[error("the path has {0} bytes, more than {MAX_PATH}")]
    TooLong(usize),
    /// A component longer than 255 bytes.
    #[error("a component of the path has {0} bytes, more than {MAX_COMPONENT}")]
    ComponentTooLong(usize),
    /// An empty, `.` or `..` component, or a leading or trailing `/`.
    #[error("the path {0:?} has an empty, `.` or `..` component")]
    BadComponent(String),
    /// A zero byte.
    #[error("the path contains a zero byte")]
    ZeroByte,
}

impl EntryPath {
    /// Checks `bytes` and takes them as a path.
    ///
    /// # Errors
    /// When a rule of the ABI is broken.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, EntryPathError> {
        let bytes = bytes.into();
        if bytes.len() > MAX_PATH {
            return Err(EntryPathError::TooLong(bytes.len()));
        }
        if bytes.contains(&0) {
            return Err(EntryPathError::ZeroByte);
        }
        if !bytes.is_empty() {
            for component in bytes.split(|byte| *byte == b'/') {
                match component {
                    b"" | b"." | b".." => return Err(EntryPathError::BadComponent(String::from_utf8_lossy(&bytes).into_owned())),
                    long if long.len() > MAX_COMPONENT => return Err(EntryPathError::ComponentTooLong(long.len())),
                    _ => {}
                }
            }
        }
        Ok(Self(bytes))
    }

    /// The bytes of the path.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components in order; none for the root.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|component| !component.is_empty())
    }

    /// Whether `self` is `ancestor` or lies below it.
    #[must_use]
    pub fn starts_with(&self, ancestor: &EntryPath) -> bool {
        ancestor.is_root()
            || self
                .0
                .strip_prefix(ancestor.as_bytes())
                .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(formatter)
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.0), formatter)
    }
}

/// A point in time since the Unix epoch; `nanoseconds` always counts forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp {
    /// Seconds, negative before 1970.
    pub seconds: i64,
    /// Below 1,000,000,000.
    pub nanoseconds: u32,
}

/// What kind of node an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// One extended attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtendedAttribute {
    /// Its full name (`user.comment`).
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// What an entry is beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryMetadata {
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

impl EntryMetadata {
    /// Metadata of a private node (0600, folders 0700) of the run's time.
    #[must_use]
    pub fn private(node_type: NodeType) -> Self {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_could_escape_or_confuse_are_refused() {
        for bad in ["/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\0b"] {
            assert!(EntryPath::new(bad).is_err(), "{bad:?}");
        }
        assert!(EntryPath::new("a".repeat(256)).is_err());
        assert!(EntryPath::new("a/".repeat(2048) + "abc").is_err());
    }

    #[test]
    fn odd_bytes_are_fine() {
        for good in [&b""[..], b"a", b"a/b", b"\xff\xfe/...", b"with space/\n", b"..a/b.."] {
            assert!(EntryPath::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_prefix_of_a_name_is_not_an_ancestor() -> Result<(), EntryPathError> {
        assert!(EntryPath::new("a/b")?.starts_with(&EntryPath::new("a")?));
        assert!(!EntryPath::new("ab")?.starts_with(&EntryPath::new("a")?));
        assert!(EntryPath::new("ab")?.starts_with(&EntryPath::default()));
        Ok(())
    }
}
