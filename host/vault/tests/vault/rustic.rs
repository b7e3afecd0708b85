//! [`Rustic`]: `rustic_core` on a folder, with a backend that owes nothing to ours.

use std::{
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bulkhead_model::{EntryMetadata, ExtendedAttribute, NodeType, Timestamp};
use bytes::Bytes;
use rustic_core::{
    BackupOptions, BytesList, Credentials, ErrorKind, FileType, Id, IndexedFullStatus, LocalDestination, LsOptions, OpenStatus, PathList,
    ReadBackend, Repository, RepositoryBackends, RepositoryOptions, RestoreOptions, RusticError, RusticResult, SnapshotOptions,
    WriteBackend,
    repofile::{Metadata, Node, NodeType as RusticType, SnapshotFile},
};

use crate::{
    model::{Item, Model, components},
    support::PASSWORD,
};

/// rustic on a repository in a folder.
pub(crate) struct Rustic {
    pub(crate) repository: PathBuf,
}

impl Rustic {
    fn open(&self) -> Repository<OpenStatus> {
        let backends = RepositoryBackends::new(
            Arc::new(Folder {
                root: self.repository.clone(),
            }),
            None,
        );
        let options = RepositoryOptions::default().no_cache(true);
        let repository = Repository::new(&options, &backends).unwrap();
        repository.open(&Credentials::password(PASSWORD)).unwrap()
    }

    /// A snapshot, in a repository whose index has been read.
    fn snapshot(&self, id: &str) -> (Repository<IndexedFullStatus>, Node) {
        let repository = self.open().to_indexed().unwrap();
        let root = repository.node_from_snapshot_path(id, |_| true).unwrap();
        (repository, root)
    }

    /// All entries of a snapshot, with their content.
    pub(crate) fn read(&self, id: &str) -> Model {
        let (repository, root) = self.snapshot(id);
        let mut found = Model::default();
        for entry in repository.ls(&root, &LsOptions::default()).unwrap() {
            let (name, node) = entry.unwrap();
            let mut content = Vec::new();
            if node.is_file() {
                repository.dump(&node, &mut content).unwrap();
                assert_eq!(content.len() as u64, node.meta.size, "{name:?}");
            }
            let metadata = metadata(&node);
            found.0.insert(components(name.as_os_str().as_bytes()), Item { metadata, content });
        }
        found
    }

    /// One file's content, wherever it is to go.
    pub(crate) fn dump(&self, id: &str, name: &str, into: &mut impl std::io::Write) {
        let (repository, _) = self.snapshot(id);
        let node = repository.node_from_snapshot_path(&format!("{id}:{name}"), |_| true).unwrap();
        repository.dump(&node, into).unwrap();
    }

    /// Restores a snapshot into a new folder.
    pub(crate) fn restore(&self, id: &str, target: &Path) {
        let (repository, root) = self.snapshot(id);
        let entries = repository.ls(&root, &LsOptions::default()).unwrap();
        let destination = LocalDestination::new(target.to_str().unwrap(), true, false).unwrap();
        let options = RestoreOptions::default().numeric_id(true);
        let plan = repository.prepare_restore(&options, entries.clone(), &destination, false).unwrap();
        repository.restore(plan, &options, entries, &destination).unwrap();
    }

    /// Backs a folder up, as the snapshot's root.
    pub(crate) fn backup(&self, folder: &Path) -> SnapshotFile {
        let repository = self.open().to_indexed_ids().unwrap();
        let options = BackupOptions::default().as_path(PathBuf::from("/"));
        let source = PathList::from_string(folder.to_str().unwrap()).unwrap();
        let snapshot = SnapshotOptions::default().to_snapshot().unwrap();
        repository.backup(&options, &source, snapshot).unwrap()
    }
}

/// A node's metadata in our terms.
fn metadata(node: &Node) -> EntryMetadata {
    let Metadata {
        mode,
        mtime,
        ctime,
        uid,
        gid,
        user,
        group,
        inode,
        device_id,
        links,
        extended_attributes,
        ..
    } = node.meta.clone();
    let node_type = match &node.node_type {
        RusticType::File => NodeType::File,
        RusticType::Dir => NodeType::Directory,
        link @ RusticType::Symlink { .. } => NodeType::Symlink(link.to_link().as_os_str().as_bytes().to_vec()),
        RusticType::Dev { device } => NodeType::BlockDevice(*device),
        RusticType::Chardev { device } => NodeType::CharacterDevice(*device),
        RusticType::Fifo => NodeType::Fifo,
        RusticType::Socket => NodeType::Socket,
    };
    let time = |time: rustic_core::jiff::Timestamp| Timestamp {
        seconds: time.as_nanosecond().div_euclid(1_000_000_000) as i64,
        nanoseconds: time.as_nanosecond().rem_euclid(1_000_000_000) as u32,
    };
    EntryMetadata {
        // restic leaves a mode out that has no bit set.
        mode: crate::support::mode_from_go(mode.unwrap_or_default()),
        uid: uid.unwrap(),
        gid: gid.unwrap(),
        user,
        group,
        modified: mtime.map(time),
        changed: ctime.map(time),
        device: device_id,
        inode,
        links,
        extended_attributes: extended_attributes
            .into_iter()
            .map(|attribute| ExtendedAttribute {
                name: attribute.name.into_bytes(),
                value: attribute.value.unwrap_or_default(),
            })
            .collect(),
        ..EntryMetadata::private(node_type)
    }
}

/// A repository in a folder, as rustic asks for it.
struct Folder {
    root: PathBuf,
}

impl Folder {
    fn path(&self, kind: FileType, id: &Id) -> PathBuf {
        let id = id.to_hex();
        match kind {
            FileType::Config => self.root.join("config"),
            FileType::Pack => self.root.join("data").join(&id.as_str()[..2]).join(id.as_str()),
            _ => self.root.join(kind.dirname()).join(id.as_str()),
        }
    }
}

fn backend<T>(result: std::io::Result<T>) -> RusticResult<T> {
    result.map_err(|error| RusticError::with_source(ErrorKind::Backend, "The folder failed.", error))
}

fn collect(folder: &Path, found: &mut Vec<(Id, u32)>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), found)?;
        } else if let Ok(id) = entry.file_name().to_string_lossy().parse() {
            found.push((id, u32::try_from(entry.metadata()?.len()).unwrap()));
        }
    }
    Ok(())
}

impl ReadBackend for Folder {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        let mut found = Vec::new();
        match kind {
            FileType::Config => found.push((
                Id::default(),
                u32::try_from(backend(fs::metadata(self.root.join("config")))?.len()).unwrap(),
            )),
            FileType::Pack => backend(collect(&self.root.join("data"), &mut found))?,
            _ => backend(collect(&self.root.join(kind.dirname()), &mut found))?,
        }
        Ok(found)
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        backend(fs::read(self.path(kind, id))).map(Bytes::from)
    }

    fn read_partial(&self, kind: FileType, id: &Id, _cacheable: bool, offset: u32, length: u32) -> RusticResult<Bytes> {
        let content = fs::File::open(self.path(kind, id)).and_then(|file| {
            let mut content = vec![0; length as usize];
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut content, offset.into())?;
            Ok(content)
        });
        backend(content).map(Bytes::from)
    }

    fn warmup_path(&self, kind: FileType, id: &Id) -> String {
        self.path(kind, id).display().to_string()
    }
}

impl WriteBackend for Folder {
    fn write_bytes(&self, kind: FileType, id: &Id, _cacheable: bool, content: BytesList) -> RusticResult<()> {
        let content: Vec<u8> = content.slice().iter().flat_map(|part| part.iter().copied()).collect();
        backend(fs::write(self.path(kind, id), content))
    }

    fn remove(&self, kind: FileType, id: &Id, _cacheable: bool) -> RusticResult<()> {
        backend(fs::remove_file(self.path(kind, id)))
    }
}
