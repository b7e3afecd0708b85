//! [`Census`]: what a vault holds, and which snapshots and pipelines cost how much of it.
//!
//! Every distinct folder is read once, or twice where several groups have it. What is held: four bytes for each blob of the index, and for each distinct folder
//! about fifty, with four for each folder in it.

use std::collections::{HashMap, HashSet};

use bulkhead_model::NodeType;

use crate::{
    access,
    error::ReadError,
    format::{
        node::Node,
        pack::{HEADER_FRAME, record_size_of},
    },
    index::{BlobKind, Location},
    snapshots::SnapshotInfo,
    survey::{
        Amount,
        reach::{Reach, Reached, Visitor},
    },
    sync::read,
    vault::Vault,
};

/// Objects of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Objects {
    /// How many.
    pub count: u64,
    /// Bytes in them.
    pub bytes: u64,
}

/// What a snapshot is, and what it cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SnapshotCost {
    /// Entries in it, Bulkhead's own left in, the root left out.
    pub entries: u64,
    /// Bytes of content that a restore writes, hard links each for itself.
    pub bytes: u64,
    /// What no snapshot before it has.
    pub added: Amount,
}

/// What a vault holds.
#[derive(Debug, Clone, Default)]
pub struct Census {
    /// For each snapshot, in the order given.
    pub snapshots: Vec<SnapshotCost>,
    /// For each group, what no snapshot of another group has.
    pub exclusive: Vec<Amount>,
    /// Blobs that snapshots have: content.
    pub data: Amount,
    /// Blobs that snapshots have: folders.
    pub trees: Amount,
    /// Packs.
    pub packs: Objects,
    /// Index files.
    pub index: Objects,
    /// Snapshot files.
    pub snapshot_files: Objects,
    /// Bytes of packs that no snapshot needs: blobs that nothing refers to, further copies of blobs, packs that no index names.
    pub unused: u64,
    /// Why folders could not be read; they are not counted, nor what is below them.
    pub unreadable: Vec<ReadError>,
    /// References to blobs that no index names.
    pub missing: u64,
}

/// What is known of a folder: what it holds itself, and the numbers of the folders in it.
struct Folder {
    entries: u64,
    bytes: u64,
    subtrees: Box<[u32]>,
    /// Entries and bytes with all that is below.
    total: Option<(u64, u64)>,
}

#[derive(Default)]
struct Counting {
    added: Amount,
    data: Amount,
    trees: Amount,
    folders: HashMap<u32, Folder>,
}

impl Visitor for Counting {
    fn blob(&mut self, kind: BlobKind, location: &Location) {
        self.added.add(location);
        match kind {
            BlobKind::Data => self.data.add(location),
            BlobKind::Tree => self.trees.add(location),
        }
    }

    fn folder(&mut self, number: usize, nodes: &[Node], subtrees: Vec<u32>) {
        let files = nodes.iter().filter(|node| node.metadata.node_type == NodeType::File);
        let folder = Folder {
            entries: nodes.len() as u64,
            bytes: files.map(|node| node.size).fold(0, u64::saturating_add),
            subtrees: subtrees.into(),
            total: None,
        };
        self.folders.insert(u32::try_from(number).unwrap_or(u32::MAX), folder);
    }
}

impl Counting {
    /// Entries and bytes in the folder of this number and below; what could not be read counts nothing.
    fn total(&mut self, root: u32) -> (u64, u64) {
        let mut waiting = vec![root];
        while let Some(&number) = waiting.last() {
            let Some(folder) = self.folders.get(&number).filter(|folder| folder.total.is_none()) else {
                waiting.pop();
                continue;
            };
            let known = |number: &u32| self.folders.get(number).map_or(Some((0, 0)), |folder| folder.total);
            let unknown: Vec<u32> = folder.subtrees.iter().copied().filter(|number| known(number).is_none()).collect();
            if !unknown.is_empty() {
                waiting.extend(unknown);
                continue;
            }
            let below = folder.subtrees.iter().filter_map(known);
            let total = below.fold((folder.entries, folder.bytes), |sum, (entries, bytes)| {
                (sum.0.saturating_add(entries), sum.1.saturating_add(bytes))
            });
            if let Some(folder) = self.folders.get_mut(&number) {
                folder.total = Some(total);
            }
            waiting.pop();
        }
        self.folders.get(&root).and_then(|folder| folder.total).unwrap_or_default()
    }
}

impl Vault {
    /// Counts what the vault holds. `snapshots` come in the order of their times, each with the number of its group, below `groups`; `progress` hears how many of
    /// them are done.
    ///
    /// # Errors
    /// [`ReadError`]; damage is in the result.
    pub async fn census(&self, snapshots: &[(SnapshotInfo, u32)], groups: u32, progress: impl Fn(usize)) -> Result<Census, ReadError> {
        let core = &self.core;
        core.refresh_index().await?;
        // The numbers of blobs stay the same.
        let _unchanged = core.refreshing.lock().await;
        let mut reach = Reach::new(core.clone());
        let mut counting = Counting::default();
        let mut costs = Vec::with_capacity(snapshots.len());
        for (done, (snapshot, group)) in snapshots.iter().enumerate() {
            progress(done);
            counting.added = Amount::default();
            reach.follow(snapshot.tree, *group, &mut counting).await?;
            let root = read(&core.index).number(BlobKind::Tree, &snapshot.tree);
            let root = root.and_then(|number| u32::try_from(number).ok());
            let (entries, bytes) = root.map(|root| counting.total(root)).unwrap_or_default();
            costs.push(SnapshotCost {
                entries,
                bytes,
                added: counting.added,
            });
        }
        let mut census = Census {
            snapshots: costs,
            data: counting.data,
            trees: counting.trees,
            packs: self.objects("data/").await?,
            index: self.objects("index/").await?,
            snapshot_files: self.objects("snapshots/").await?,
            ..Census::default()
        };
        self.share_out(&reach, groups, &mut census);
        census.missing = reach.missing;
        census.unreadable = reach.unreadable;
        Ok(census)
    }

    /// What each group has for itself, and what nobody needs.
    fn share_out(&self, reach: &Reach, groups: u32, census: &mut Census) {
        census.exclusive = vec![Amount::default(); groups as usize];
        let mut needed = 0;
        let mut packs = HashSet::new();
        for (number, (_, _, location)) in read(&self.core.index).blobs().enumerate() {
            let reached = reach.of(number);
            if reached == Reached::Nobody {
                continue;
            }
            needed += u64::from(location.length) + record_size_of(location.uncompressed.is_some()) as u64;
            if packs.insert(location.pack) {
                needed += HEADER_FRAME as u64;
            }
            if let Reached::One(group) = reached
                && let Some(amount) = census.exclusive.get_mut(group as usize)
            {
                amount.add(&location);
            }
        }
        census.unused = census.packs.bytes.saturating_sub(needed);
    }

    async fn objects(&self, prefix: &str) -> Result<Objects, ReadError> {
        let listed = access::list(&*self.core.store, prefix).await?;
        Ok(Objects {
            count: listed.len() as u64,
            bytes: listed.iter().map(|object| object.size).sum(),
        })
    }
}
