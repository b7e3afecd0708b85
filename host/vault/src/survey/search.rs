//! [`Search`]: entries of many snapshots that are looked for, each told once with the snapshots that have it.
//!
//! All snapshots are walked together: of a folder at one path, each distinct version is read once. What is held is one folder's hits, the names of the folders still
//! to come, and the versions that are read ahead; not the number of snapshots nor that of entries matters.

use std::collections::{HashMap, HashSet, VecDeque};

use bulkhead_model::{EntryMetadata, EntryPath, NodeType};
use sha2::{Digest as _, Sha256};

use crate::{
    error::ReadError,
    format::node::Node,
    id::ObjectId,
    index::BlobKind,
    reader::{SnapshotEntry, describe, join, subtree},
    record::RESERVED_FOLDER,
    snapshots::SnapshotInfo,
    survey::{
        Appearances, is_damage,
        lookahead::{Load, Lookahead},
    },
    sync::read,
    vault::{Core, Vault},
};

/// Steps that are looked through for folders to read ahead.
const AHEAD: usize = 1024;

/// The name of a stored blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Blob {
    /// What it is.
    pub kind: BlobKind,
    /// SHA-256 of its content.
    pub id: ObjectId,
}

/// An entry that was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// As the newest of the snapshots has it; the others differ in times, hard links or extended attributes at most.
    pub entry: SnapshotEntry,
    /// The snapshots that have it, by their place in the list that was searched.
    pub snapshots: Appearances,
    /// Those of the blobs looked for that it consists of, in their order.
    pub blobs: Vec<Blob>,
}

/// What a search comes upon.
#[derive(Debug, Clone)]
pub enum Found {
    /// An entry.
    Entry(Box<Hit>),
    /// A folder that is damaged: what is in it was not searched.
    Unreadable {
        /// Its path.
        path: EntryPath,
        /// What is wrong.
        error: ReadError,
        /// The snapshots that have this folder.
        snapshots: Appearances,
    },
}

/// Why nothing could be searched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// No index names it.
    #[error("no index names a {what} that begins with {prefix:?}")]
    NotFound {
        /// "pack", "blob", "tree".
        what: &'static str,
        /// What was asked for.
        prefix: String,
    },
    /// Not an id.
    #[error("{0:?} is not the beginning of an id: hexadecimal digits in lower case")]
    Malformed(String),
    /// Reading the index failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What is looked for.
enum Wanted {
    Entries(Box<dyn FnMut(&SnapshotEntry) -> bool + Send>),
    Blobs(HashSet<Blob>),
}

/// A search in progress.
pub struct Search {
    lookahead: Lookahead,
    wanted: Wanted,
    /// What comes next last.
    steps: Vec<Step>,
}

enum Step {
    Tell(Found),
    LookInto(Folder),
}

/// A folder and its versions, in the order in which they appeared.
struct Folder {
    path: EntryPath,
    versions: VecDeque<(Load, Appearances)>,
}

impl Vault {
    /// Searches `snapshots`, which come in the order of their times, for entries that are `wanted`. Bulkhead's own folder is left out.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn search(
        &self,
        snapshots: &[SnapshotInfo],
        wanted: impl FnMut(&SnapshotEntry) -> bool + Send + 'static,
    ) -> Result<Search, ReadError> {
        self.begin_search(snapshots, Wanted::Entries(Box::new(wanted))).await
    }

    /// Searches `snapshots` for the entries that consist of any of `blobs`: files of data, folders of trees.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn search_blobs(&self, snapshots: &[SnapshotInfo], blobs: HashSet<Blob>) -> Result<Search, ReadError> {
        self.begin_search(snapshots, Wanted::Blobs(blobs)).await
    }

    async fn begin_search(&self, snapshots: &[SnapshotInfo], wanted: Wanted) -> Result<Search, ReadError> {
        self.core.refresh_index().await?;
        let mut roots = Level::default();
        for (number, snapshot) in (0..).zip(snapshots) {
            let root = Node {
                name: Box::default(),
                metadata: EntryMetadata {
                    modified: Some(snapshot.time),
                    ..EntryMetadata::private(NodeType::Directory)
                },
                size: 0,
                content: Box::default(),
                subtree: Some(snapshot.tree),
            };
            let blobs = wanted.blobs_of(&root);
            let appearances = Appearances::one(number);
            roots.folder(Box::default(), snapshot.tree, &appearances);
            if !blobs.is_empty() {
                roots.hit(describe(EntryPath::default(), root).0, blobs, &appearances);
            }
        }
        let mut search = Search {
            lookahead: Lookahead::new(self.core.clone()),
            wanted,
            steps: Vec::new(),
        };
        search.steps.extend(roots.into_steps(&EntryPath::default())?);
        Ok(search)
    }

    /// The blobs of `kind` whose name begins with `prefix`. A whole id is taken as it is: what no index names may still be referred to.
    ///
    /// # Errors
    /// [`SearchError`].
    pub async fn blobs_named(&self, kind: BlobKind, prefix: &str) -> Result<Vec<Blob>, SearchError> {
        check_prefix(prefix)?;
        if let Ok(id) = prefix.parse() {
            return Ok(vec![Blob { kind, id }]);
        }
        self.core.refresh_index().await?;
        let index = read(&self.core.index);
        let named = index
            .blobs()
            .filter(|(of, id, _)| *of == kind && id.to_string().starts_with(prefix));
        let blobs: Vec<Blob> = named.map(|(kind, id, _)| Blob { kind, id }).collect();
        let what = match kind {
            BlobKind::Data => "blob",
            BlobKind::Tree => "tree",
        };
        some(blobs, what, prefix)
    }

    /// The blobs that index files say are in the packs whose name begins with `prefix`; also those that are in another pack as well.
    ///
    /// # Errors
    /// [`SearchError`].
    pub async fn blobs_of_pack(&self, prefix: &str) -> Result<Vec<Blob>, SearchError> {
        check_prefix(prefix)?;
        let mut blobs = Vec::new();
        self.core
            .each_index_file(|file| {
                let packs = file.packs.iter().chain(&file.packs_to_delete);
                let named = packs.filter(|pack| pack.id.to_string().starts_with(prefix));
                blobs.extend(named.flat_map(|pack| &pack.blobs).map(|blob| Blob {
                    kind: blob.kind,
                    id: blob.id,
                }));
            })
            .await?;
        some(blobs, "pack", prefix)
    }
}

fn check_prefix(prefix: &str) -> Result<(), SearchError> {
    if !prefix.is_empty() && prefix.len() <= 64 && prefix.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        Ok(())
    } else {
        Err(SearchError::Malformed(prefix.to_owned()))
    }
}

fn some(blobs: Vec<Blob>, what: &'static str, prefix: &str) -> Result<Vec<Blob>, SearchError> {
    let prefix = prefix.to_owned();
    if blobs.is_empty() {
        Err(SearchError::NotFound { what, prefix })
    } else {
        Ok(blobs)
    }
}

impl Search {
    /// The next thing that is found, in the order of paths (a folder before what is in it) and at one path oldest first; `None` at the end.
    ///
    /// # Errors
    /// When the store fails; damage is among what is found.
    pub async fn next(&mut self) -> Result<Option<Found>, ReadError> {
        loop {
            match self.steps.pop() {
                None => return Ok(None),
                Some(Step::Tell(found)) => return Ok(Some(found)),
                Some(Step::LookInto(folder)) => self.look_into(folder).await?,
            }
        }
    }

    async fn look_into(&mut self, mut folder: Folder) -> Result<(), ReadError> {
        let mut level = Level::default();
        while let Some((load, appearances)) = folder.versions.pop_front() {
            let later = self.steps.iter_mut().rev().take(AHEAD).filter_map(Step::versions).flatten();
            self.lookahead.fill(folder.versions.iter_mut().chain(later).map(|(load, _)| load));
            match self.lookahead.take(load).await {
                Ok(nodes) => {
                    for node in nodes {
                        level.look_at(&folder.path, node, &appearances, &mut self.wanted)?;
                    }
                }
                Err(error) if is_damage(&error) => level.told.push(Found::Unreadable {
                    path: folder.path.clone(),
                    error,
                    snapshots: appearances,
                }),
                Err(error) => return Err(error),
            }
        }
        self.steps.extend(level.into_steps(&folder.path)?);
        Ok(())
    }
}

impl Step {
    fn versions(&mut self) -> Option<&mut VecDeque<(Load, Appearances)>> {
        match self {
            Self::LookInto(folder) => Some(&mut folder.versions),
            Self::Tell(_) => None,
        }
    }
}

impl Wanted {
    fn blobs_of(&self, node: &Node) -> Vec<Blob> {
        let Self::Blobs(wanted) = self else { return Vec::new() };
        let data = node.content.iter().map(|id| Blob {
            kind: BlobKind::Data,
            id: *id,
        });
        let tree = node.subtree.map(|id| Blob { kind: BlobKind::Tree, id });
        data.chain(tree).filter(|blob| wanted.contains(blob)).collect()
    }
}

/// What all versions of one folder come to.
#[derive(Default)]
struct Level {
    told: Vec<Found>,
    /// By name and what is the same in several snapshots.
    hits: HashMap<(Box<[u8]>, ObjectId), Hit>,
    /// By name and tree.
    folders: HashMap<(Box<[u8]>, ObjectId), Appearances>,
}

impl Level {
    fn look_at(&mut self, folder: &EntryPath, node: Node, appearances: &Appearances, wanted: &mut Wanted) -> Result<(), ReadError> {
        if folder.is_root() && &*node.name == RESERVED_FOLDER.as_bytes() && matches!(wanted, Wanted::Entries(_)) {
            return Ok(());
        }
        let path = join(folder, &node.name)?;
        match subtree(&node, &path) {
            Ok(Some(tree)) => self.folder(node.name.clone(), tree, appearances),
            Ok(None) => {}
            Err(error) => self.told.push(Found::Unreadable {
                path: path.clone(),
                error,
                snapshots: appearances.clone(),
            }),
        }
        let blobs = wanted.blobs_of(&node);
        let entry = describe(path, node).0;
        let is_hit = match wanted {
            Wanted::Entries(wanted) => wanted(&entry),
            Wanted::Blobs(_) => !blobs.is_empty(),
        };
        if is_hit {
            self.hit(entry, blobs, appearances);
        }
        Ok(())
    }

    fn folder(&mut self, name: Box<[u8]>, tree: ObjectId, appearances: &Appearances) {
        self.folders.entry((name, tree)).or_default().add(appearances);
    }

    fn hit(&mut self, entry: SnapshotEntry, blobs: Vec<Blob>, appearances: &Appearances) {
        let name = entry.path.components().next_back().unwrap_or_default().into();
        let hit = self.hits.entry((name, sameness(&entry, &blobs))).or_insert_with(|| Hit {
            entry: entry.clone(),
            snapshots: Appearances::default(),
            blobs,
        });
        if hit.snapshots.last() < appearances.last() {
            hit.entry = entry;
        }
        hit.snapshots.add(appearances);
    }

    /// What is to be told and looked into, the first last.
    fn into_steps(self, path: &EntryPath) -> Result<Vec<Step>, ReadError> {
        let mut steps: Vec<(Order, Step)> = Vec::new();
        for ((name, _), hit) in self.hits {
            let first = hit.snapshots.first();
            steps.push(((name, false, first), Step::Tell(Found::Entry(Box::new(hit)))));
        }
        let mut folders: HashMap<Box<[u8]>, Vec<(ObjectId, Appearances)>> = HashMap::new();
        for ((name, tree), appearances) in self.folders {
            folders.entry(name).or_default().push((tree, appearances));
        }
        for (name, mut versions) in folders {
            versions.sort_unstable_by_key(|(tree, appearances)| (appearances.first(), *tree));
            let folder = Folder {
                path: if name.is_empty() { path.clone() } else { join(path, &name)? },
                versions: versions
                    .into_iter()
                    .map(|(tree, appearances)| (Load::new(tree), appearances))
                    .collect(),
            };
            steps.push(((name, true, None), Step::LookInto(folder)));
        }
        steps.sort_by(|left, right| right.0.cmp(&left.0));
        let told = self.told.into_iter().rev().map(Step::Tell);
        Ok(steps.into_iter().map(|(_, step)| step).chain(told).collect())
    }
}

/// By name, entries before folders, and entries by the first snapshot that has them.
type Order = (Box<[u8]>, bool, Option<usize>);

/// Entries of one path for which this is equal are the same to an operator: in kind, content, mode and owner. Not in time, which a source may not know.
fn sameness(entry: &SnapshotEntry, blobs: &[Blob]) -> ObjectId {
    let metadata = &entry.metadata;
    let mut digest = Sha256::new();
    let (kind, number, target): (u8, u64, &[u8]) = match &metadata.node_type {
        NodeType::File => (0, 0, &[]),
        NodeType::Directory => (1, 0, &[]),
        NodeType::Symlink(target) => (2, 0, target),
        NodeType::Fifo => (3, 0, &[]),
        NodeType::Socket => (4, 0, &[]),
        NodeType::CharacterDevice(number) => (5, *number, &[]),
        NodeType::BlockDevice(number) => (6, *number, &[]),
    };
    digest.update([kind]);
    for field in [
        number,
        entry.size,
        metadata.mode.into(),
        metadata.uid.into(),
        metadata.gid.into(),
        target.len() as u64,
    ] {
        digest.update(field.to_le_bytes());
    }
    digest.update(target);
    digest.update(entry.content.as_ref().map_or(&[][..], |id| id.as_bytes()));
    // Of a folder that is looked for as a blob, each is one of its own.
    blobs.iter().for_each(|blob| digest.update(blob.id.as_bytes()));
    ObjectId::from(<[u8; 32]>::from(digest.finalize()))
}

impl Core {
    /// Reads every index file once more and hands it to `each`; those that have gone since they were listed are left out.
    async fn each_index_file(
        self: &std::sync::Arc<Self>,
        mut each: impl FnMut(&crate::format::index_file::IndexFile),
    ) -> Result<(), ReadError> {
        let files = crate::access::list_sizes(&*self.store, "index/").await?;
        self.read_index_files(files, |_, file| each(file)).await.map(drop)
    }
}
