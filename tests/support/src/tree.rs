//! What is in a folder, in a form that two of them can be compared by: [`Tree`].

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::{Error, Result, sha256_of_file};

/// One file, folder or link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// File type and permission bits (`st_mode`).
    pub mode: u32,
    /// Bytes of a file, 0 for all else.
    pub size: u64,
    /// Seconds and nanoseconds since 1970.
    pub modified: (i64, i64),
    /// The SHA-256 of a file, the target of a link, nothing for all else.
    pub content: String,
}

/// Everything below a folder, by relative path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<PathBuf, Node>);

impl Tree {
    /// Reads all of `folder`.
    pub fn of(folder: &Path) -> Result<Self> {
        let mut nodes = BTreeMap::new();
        collect(folder, Path::new(""), &mut nodes)?;
        Ok(Self(nodes))
    }

    /// Paths and contents of the files alone.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<PathBuf, String> {
        let files = self.0.iter().filter(|(_, node)| node.mode & 0o170_000 == 0o100_000);
        files.map(|(path, node)| (path.clone(), node.content.clone())).collect()
    }

    /// Without what is at or below any of `paths`.
    #[must_use]
    pub fn without(mut self, paths: &[&str]) -> Self {
        self.0.retain(|path, _| !paths.iter().any(|excluded| path.starts_with(excluded)));
        self
    }
}

fn collect(root: &Path, below: &Path, nodes: &mut BTreeMap<PathBuf, Node>) -> Result<()> {
    let folder = root.join(below);
    for entry in std::fs::read_dir(&folder).map_err(Error::on_path("list", &folder))? {
        let entry = entry.map_err(Error::on_path("list", &folder))?;
        let (path, relative) = (entry.path(), below.join(entry.file_name()));
        let metadata = entry.metadata().map_err(Error::on_path("inspect", &path))?;
        let content = if metadata.is_symlink() {
            std::fs::read_link(&path)
                .map_err(Error::on_path("read", &path))?
                .display()
                .to_string()
        } else if metadata.is_file() {
            sha256_of_file(&path)?
        } else {
            String::new()
        };
        let size = if metadata.is_file() { metadata.len() } else { 0 };
        let node = Node {
            mode: metadata.mode(),
            size,
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            content,
        };
        nodes.insert(relative.clone(), node);
        if metadata.is_dir() {
            collect(root, &relative, nodes)?;
        }
    }
    Ok(())
}
