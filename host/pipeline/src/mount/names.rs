//! The names in a mounted vault: [`Names`], from inode numbers to entries.
//!
//! ```text
//! snapshots/2026-11-21T08:00:00Z-3f2a91c4/…
//! pipelines/shop/latest ─▶ ../../snapshots/…
//! ```
//!
//! An inode's number says where it is: the number of its folder, and its place in that. So an entry takes no memory for having been seen, a folder only a
//! few words, and what is in folders is kept for those that were looked into last; it is read again when it is needed again, and is then the same,
//! because snapshots never change.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use bulkhead_model::{EntryMetadata, EntryPath, NodeType, Timestamp};
use bulkhead_vault::{EntryReader, ReadError, SnapshotInfo, SnapshotReader, Vault};

use crate::clock;

/// Entries of folders that are kept.
const KEPT_ENTRIES: usize = 200_000;
/// Snapshots that are kept open; each has up to 28 MiB of buffers, content and folders as they are stored.
const OPEN_SNAPSHOTS: usize = 3;
/// Links that a path may lead through, as Linux has it.
const MAX_LINKS: usize = 40;
/// The root's number.
pub(crate) const ROOT: u64 = 1;

/// Something in a folder.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) name: Box<[u8]>,
    pub(crate) metadata: EntryMetadata,
    pub(crate) size: u64,
}

/// Why a name leads nowhere.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NameError {
    /// There is nothing.
    #[error("it does not exist")]
    Missing,
    /// It is no folder.
    #[error("it is no folder")]
    NotAFolder,
    /// It can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What is in a folder.
#[derive(Clone)]
enum Contents {
    /// Made up by us.
    Fixed(Arc<Vec<Item>>),
    /// In a snapshot.
    Stored { snapshot: usize, path: EntryPath },
}

struct Folder {
    contents: Contents,
    /// Its own number, and that of the folder above.
    inode: u64,
    parent: u64,
}

#[derive(Default)]
struct Folders {
    all: Vec<Folder>,
    by_inode: HashMap<u64, usize>,
}

/// What is in the folders that were looked into last.
#[derive(Default)]
struct Kept {
    folders: VecDeque<(usize, Arc<Vec<Item>>)>,
    entries: usize,
}

/// All names of a mounted vault.
pub(crate) struct Names {
    vault: Vault,
    snapshots: Vec<SnapshotInfo>,
    folders: Mutex<Folders>,
    kept: Mutex<Kept>,
    open: Mutex<VecDeque<(usize, SnapshotReader)>>,
}

impl Names {
    /// Of these snapshots, the oldest first.
    pub(crate) fn new(vault: Vault, snapshots: Vec<SnapshotInfo>) -> Self {
        let mut folders = Folders::default();
        let newest = snapshots.last().map_or_else(clock::now, |snapshot| snapshot.time);
        let mut named: Vec<(String, usize)> = snapshots.iter().enumerate().map(|(at, info)| (folder_name(info), at)).collect();
        named.sort_unstable();
        let pipelines = pipelines(&snapshots);
        // The folder that has the root in it, so that the root is an entry as all are.
        folders.add(vec![folder("", newest)], 0, 0);
        folders.add(vec![folder("pipelines", newest), folder("snapshots", newest)], ROOT, ROOT);
        let in_pipelines = pipelines.iter().map(|(name, _)| folder(name, newest)).collect();
        folders.add(in_pipelines, inode(1, 0), ROOT);
        let listed = named.iter().map(|(name, at)| folder(name, snapshots[*at].time)).collect();
        folders.add(listed, inode(1, 1), ROOT);
        for (at, (_, links)) in pipelines.into_iter().enumerate() {
            folders.add(links, inode(2, at), inode(1, 0));
        }
        for (place, (_, snapshot)) in named.into_iter().enumerate() {
            let contents = Contents::Stored {
                snapshot,
                path: EntryPath::default(),
            };
            folders.add_contents(contents, inode(3, place), inode(1, 1));
        }
        Self {
            vault,
            snapshots,
            folders: Mutex::new(folders),
            kept: Mutex::default(),
            open: Mutex::default(),
        }
    }

    /// The entry called `name` in a folder, and its number.
    pub(crate) async fn lookup(&self, parent: u64, name: &[u8]) -> Result<(u64, Item), NameError> {
        let (number, items) = self.list(parent).await?;
        let at = items
            .binary_search_by(|item| (*item.name).cmp(name))
            .map_err(|_| NameError::Missing)?;
        Ok((inode(number, at), items[at].clone()))
    }

    /// The entry with this number.
    pub(crate) async fn item(&self, number: u64) -> Result<Item, NameError> {
        let (folder, at) = place(number).ok_or(NameError::Missing)?;
        let items = self.items(folder).await?;
        items.get(at).cloned().ok_or(NameError::Missing)
    }

    /// What is in a folder, with the folder's place.
    pub(crate) async fn list(&self, number: u64) -> Result<(usize, Arc<Vec<Item>>), NameError> {
        let known = lock(&self.folders).by_inode.get(&number).copied();
        let folder = match known {
            Some(folder) => folder,
            None => self.enter(number).await?,
        };
        Ok((folder, self.items(folder).await?))
    }

    /// What a path leads to from the root, and its number; links are followed where they stay within the vault.
    pub(crate) async fn resolve(&self, path: &[u8]) -> Result<(u64, Item), NameError> {
        let mut left: VecDeque<Vec<u8>> = components(path);
        let mut at: Vec<(u64, Item)> = vec![(ROOT, self.item(ROOT).await?)];
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if name == b".." {
                // The root is above itself.
                at.truncate(at.len().saturating_sub(1).max(1));
                continue;
            }
            let parent = at.last().map_or(ROOT, |(number, _)| *number);
            let (number, item) = self.lookup(parent, &name).await?;
            match &item.metadata.node_type {
                // An absolute one is of the system that was backed up.
                NodeType::Symlink(target) if target.first() == Some(&b'/') || links == MAX_LINKS => return Err(NameError::Missing),
                NodeType::Symlink(target) => {
                    links += 1;
                    let mut behind = components(target);
                    behind.append(&mut left);
                    left = behind;
                }
                _ => at.push((number, item)),
            }
        }
        at.pop().ok_or(NameError::Missing)
    }

    /// The number of the folder above a folder.
    pub(crate) fn parent(&self, folder: usize) -> u64 {
        lock(&self.folders).all.get(folder).map_or(ROOT, |folder| folder.parent)
    }

    /// Opens the file with this number.
    pub(crate) async fn open(&self, number: u64) -> Result<EntryReader, NameError> {
        let item = self.item(number).await?;
        let (folder, _) = place(number).ok_or(NameError::Missing)?;
        let (snapshot, path) = self.stored(folder, &item.name)?;
        Ok(self.reader(snapshot).await?.open(&path).await?)
    }

    /// Notes a folder that was not looked into before.
    async fn enter(&self, number: u64) -> Result<usize, NameError> {
        let item = self.item(number).await?;
        if item.metadata.node_type != NodeType::Directory {
            return Err(NameError::NotAFolder);
        }
        let (folder, _) = place(number).ok_or(NameError::Missing)?;
        let (snapshot, path) = self.stored(folder, &item.name)?;
        let mut folders = lock(&self.folders);
        let parent = folders.all.get(folder).map_or(ROOT, |folder| folder.inode);
        Ok(match folders.by_inode.get(&number) {
            Some(folder) => *folder,
            None => folders.add_contents(Contents::Stored { snapshot, path }, number, parent),
        })
    }

    /// Where the entry `name` of a folder is stored.
    fn stored(&self, folder: usize, name: &[u8]) -> Result<(usize, EntryPath), NameError> {
        let folders = lock(&self.folders);
        match folders.all.get(folder).map(|folder| &folder.contents) {
            Some(Contents::Stored { snapshot, path }) => {
                let separator: &[u8] = if path.is_root() { b"" } else { b"/" };
                let path = EntryPath::new([path.as_bytes(), separator, name].concat()).map_err(|_| NameError::Missing)?;
                Ok((*snapshot, path))
            }
            _ => Err(NameError::Missing),
        }
    }

    async fn items(&self, folder: usize) -> Result<Arc<Vec<Item>>, NameError> {
        let contents = lock(&self.folders).all.get(folder).map(|folder| folder.contents.clone());
        let (snapshot, path) = match contents.ok_or(NameError::Missing)? {
            Contents::Fixed(items) => return Ok(items),
            Contents::Stored { snapshot, path } => (snapshot, path),
        };
        if let Some(items) = lock(&self.kept).get(folder) {
            return Ok(items);
        }
        let mut walk = self.reader(snapshot).await?.walk(&path).await?;
        let mut items = Vec::new();
        while let Some(entry) = walk.next().await? {
            // The walk begins with the folder itself.
            if entry.path == path {
                continue;
            }
            walk.skip_below();
            items.push(Item {
                name: entry.path.components().next_back().unwrap_or_default().into(),
                metadata: entry.metadata,
                size: entry.size,
            });
        }
        let items = Arc::new(items);
        lock(&self.kept).put(folder, Arc::clone(&items));
        Ok(items)
    }

    async fn reader(&self, snapshot: usize) -> Result<SnapshotReader, ReadError> {
        {
            let mut open = lock(&self.open);
            if let Some(at) = open.iter().position(|(known, _)| *known == snapshot)
                && let Some(found) = open.remove(at)
            {
                open.push_back(found.clone());
                return Ok(found.1);
            }
        }
        let reader = self.vault.read(self.snapshots[snapshot].id).await?;
        let mut open = lock(&self.open);
        open.push_back((snapshot, reader.clone()));
        if open.len() > OPEN_SNAPSHOTS {
            open.pop_front();
        }
        Ok(reader)
    }
}

impl Folders {
    fn add(&mut self, items: Vec<Item>, inode: u64, parent: u64) -> usize {
        self.add_contents(Contents::Fixed(Arc::new(items)), inode, parent)
    }

    fn add_contents(&mut self, contents: Contents, inode: u64, parent: u64) -> usize {
        let number = self.all.len();
        self.all.push(Folder { contents, inode, parent });
        self.by_inode.insert(inode, number);
        number
    }
}

impl Kept {
    fn get(&mut self, folder: usize) -> Option<Arc<Vec<Item>>> {
        // The one that was used last is asked for again and again, and stands last.
        let at = self.folders.iter().rposition(|(known, _)| *known == folder)?;
        let found = self.folders.remove(at)?;
        let items = Arc::clone(&found.1);
        self.folders.push_back(found);
        Some(items)
    }

    /// The last one stays, however large.
    fn put(&mut self, folder: usize, items: Arc<Vec<Item>>) {
        if self.folders.iter().rev().any(|(known, _)| *known == folder) {
            return;
        }
        // An empty folder takes something, too.
        self.entries += items.len() + 1;
        self.folders.push_back((folder, items));
        while self.entries > KEPT_ENTRIES && self.folders.len() > 1 {
            if let Some((_, items)) = self.folders.pop_front() {
                self.entries -= items.len() + 1;
            }
        }
    }
}

/// The number of the entry at a place in a folder.
pub(crate) fn inode(folder: usize, at: usize) -> u64 {
    (folder as u64) << 32 | (at as u64 + 1)
}

fn place(inode: u64) -> Option<(usize, usize)> {
    let at = (inode & 0xffff_ffff).checked_sub(1)?;
    Some(((inode >> 32) as usize, at as usize))
}

/// The names in a path, without those that lead nowhere.
fn components(path: &[u8]) -> VecDeque<Vec<u8>> {
    let names = path.split(|byte| *byte == b'/');
    names.filter(|name| !name.is_empty() && *name != b".").map(<[u8]>::to_vec).collect()
}

fn folder_name(snapshot: &SnapshotInfo) -> String {
    let id = snapshot.id.to_string();
    format!("{}-{}", clock::rfc3339(snapshot.time), &id[..8])
}

/// For each pipeline links to its snapshots, and to the latest one.
fn pipelines(snapshots: &[SnapshotInfo]) -> Vec<(String, Vec<Item>)> {
    let mut found: std::collections::BTreeMap<String, Vec<Item>> = std::collections::BTreeMap::new();
    for snapshot in snapshots {
        // A name that can't be one is not shown; its snapshots are, among all.
        let Some(pipeline) = snapshot.pipeline.as_ref().filter(|name| is_name(name)) else {
            continue;
        };
        let links = found.entry(pipeline.clone()).or_default();
        links.retain(|link| &*link.name != b"latest");
        links.push(link(&folder_name(snapshot), snapshot));
        links.push(link("latest", snapshot));
    }
    let mut found: Vec<(String, Vec<Item>)> = found.into_iter().collect();
    for (_, links) in &mut found {
        links.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    }
    found
}

fn is_name(name: &str) -> bool {
    EntryPath::new(name).is_ok_and(|path| path.components().count() == 1)
}

fn link(name: &str, snapshot: &SnapshotInfo) -> Item {
    let target = format!("../../snapshots/{}", folder_name(snapshot));
    Item {
        name: name.as_bytes().into(),
        size: target.len() as u64,
        metadata: EntryMetadata {
            mode: 0o777,
            modified: Some(snapshot.time),
            ..EntryMetadata::private(NodeType::Symlink(target.into_bytes()))
        },
    }
}

fn folder(name: &str, time: Timestamp) -> Item {
    Item {
        name: name.as_bytes().into(),
        size: 0,
        metadata: EntryMetadata {
            mode: 0o555,
            modified: Some(time),
            ..EntryMetadata::private(NodeType::Directory)
        },
    }
}

/// What a thread that panicked left is as good as before: nothing here is changed in two steps.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_number_says_where_its_entry_is() {
        assert_eq!(inode(0, 0), ROOT);
        for (folder, at) in [(0, 0), (7, 0), (7, 123_456), (u32::MAX as usize, 5)] {
            assert_eq!(place(inode(folder, at)), Some((folder, at)));
        }
        assert_eq!(place(7 << 32), None);
    }

    #[test]
    fn folders_are_kept_within_a_number_of_entries() {
        let mut kept = Kept::default();
        let items = |count| {
            Arc::new(vec![
                folder(
                    "x",
                    Timestamp {
                        seconds: 0,
                        nanoseconds: 0
                    }
                );
                count
            ])
        };
        kept.put(1, items(KEPT_ENTRIES / 2));
        kept.put(2, items(KEPT_ENTRIES / 4));
        assert!(kept.get(1).is_some());
        kept.put(3, items(KEPT_ENTRIES / 2));
        assert!(kept.get(2).is_none() && kept.get(3).is_some());
        kept.put(4, items(KEPT_ENTRIES * 2));
        assert!(kept.get(3).is_none() && kept.get(4).is_some());
        assert_eq!(kept.entries, KEPT_ENTRIES * 2 + 1);
    }

    #[test]
    fn pipelines_have_links_to_their_snapshots() {
        let snapshot = |seconds, pipeline: &str, content: &[u8]| SnapshotInfo {
            id: bulkhead_vault::ObjectId::of(content),
            time: Timestamp { seconds, nanoseconds: 0 },
            host: String::new(),
            pipeline: Some(pipeline.to_owned()),
            paths: Vec::new(),
            tags: Vec::new(),
            original: None,
            recorded: None,
            parent: None,
            tree: bulkhead_vault::ObjectId::of(b""),
        };
        let found = pipelines(&[snapshot(0, "shop", b"a"), snapshot(60, "shop", b"b"), snapshot(0, "../evil", b"c")]);
        assert_eq!(found.len(), 1);
        let (name, links) = &found[0];
        let names: Vec<_> = links.iter().map(|link| String::from_utf8_lossy(&link.name)).collect();
        assert_eq!(name, "shop");
        assert_eq!(names, ["1970-01-01T00:00:00Z-ca978112", "1970-01-01T00:01:00Z-3e23e816", "latest"]);
        let NodeType::Symlink(target) = &links[2].metadata.node_type else {
            unreachable!()
        };
        assert_eq!(
            String::from_utf8(target.clone()).unwrap(),
            "../../snapshots/1970-01-01T00:01:00Z-3e23e816"
        );
    }
}
