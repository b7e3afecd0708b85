//! The folders of a snapshot: copying each with what is in it, and proving that all of them have arrived.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use futures_util::{StreamExt, stream::FuturesUnordered};

use crate::{
    copy::Copier,
    error::{CopyError, ReadError, WriteError},
    format::node::Node,
    id::ObjectId,
    index::BlobKind,
    reader::Window,
    sync::read,
    vault::Core,
    writer::flush_index,
};

/// Folders that are read at once.
const FOLDERS_AT_ONCE: usize = 16;
/// Packs after which the index names them: so many are stored in vain, at most, when a copy is cut off.
const PACKS_WITHOUT_INDEX: u64 = 64;
/// Windows of content that are copied at once: each takes 4 MiB, or what one blob takes.
const WINDOWS_AT_ONCE: usize = 4;

/// What of a snapshot is still to be copied.
#[derive(Default)]
struct Work {
    /// Folders that were met.
    met: HashSet<ObjectId>,
    /// Those of them that are still to be read.
    folders: Vec<ObjectId>,
    /// Content that the target lacks and that is on its way.
    wanted: HashSet<ObjectId>,
    /// Content to be copied, of at most one folder beyond what is asked for.
    windows: VecDeque<Window>,
}

impl Work {
    fn meet(&mut self, folder: ObjectId, whole: &HashSet<ObjectId>) {
        if !whole.contains(&folder) && self.met.insert(folder) {
            self.folders.push(folder);
        }
    }

    /// The next window; the last one, which may get more, only where nothing can come any more.
    fn next_window(&mut self, is_last: bool) -> Option<Window> {
        let complete = self.windows.len() > 1 || is_last && self.folders.is_empty();
        complete.then(|| self.windows.pop_front()).flatten()
    }
}

impl Copier {
    /// Copies the folder `root` and all below it; returns the folders that were met.
    pub(super) async fn copy_folders(&self, root: ObjectId, progress: &(dyn Fn(u64) + Sync)) -> Result<HashSet<ObjectId>, CopyError> {
        let mut work = Work::default();
        work.meet(root, &self.whole);
        let mut indexed = self.stats().stored_bytes;
        let (mut reading, mut storing) = (FuturesUnordered::new(), FuturesUnordered::new());
        loop {
            // Folders wait for content, so that what is to be copied is never a long list.
            while reading.len() < FOLDERS_AT_ONCE && work.windows.len() <= WINDOWS_AT_ONCE {
                let Some(folder) = work.folders.pop() else { break };
                reading.push(self.copy_folder(folder));
            }
            while storing.len() < WINDOWS_AT_ONCE {
                let Some(window) = work.next_window(reading.is_empty()) else {
                    break;
                };
                storing.push(self.copy_content(window, progress));
            }
            tokio::select! {
                Some(stored) = storing.next() => {
                    let stored: Vec<ObjectId> = stored?;
                    stored.iter().for_each(|id| { work.wanted.remove(id); });
                    if self.stats().stored_bytes - indexed >= PACKS_WITHOUT_INDEX * self.run.options.pack_size as u64 {
                        indexed = self.stats().stored_bytes;
                        flush_index(&self.run).await?;
                    }
                }
                Some(nodes) = reading.next() => self.plan(&nodes?, &mut work)?,
                else => return Ok(work.met),
            }
        }
    }

    /// Copies the list of what is in a folder, byte for byte.
    async fn copy_folder(&self, folder: ObjectId) -> Result<Vec<Node>, CopyError> {
        let (nodes, json) = self.source.load_tree_with_json(&folder).await?;
        if self.run.lacks(BlobKind::Tree, folder) {
            self.store(BlobKind::Tree, vec![json.into()]).await?;
        }
        Ok(nodes)
    }

    /// Notes what is to be copied of a folder's content.
    fn plan(&self, nodes: &[Node], work: &mut Work) -> Result<(), ReadError> {
        for node in nodes {
            if let Some(folder) = node.subtree {
                work.meet(folder, &self.whole);
            }
            for id in &node.content {
                if work.wanted.contains(id) || !self.run.lacks(BlobKind::Data, *id) {
                    continue;
                }
                let location = self
                    .source
                    .locate(BlobKind::Data, id, || String::from_utf8_lossy(&node.name).into_owned())?;
                work.wanted.insert(*id);
                if !work.windows.back_mut().is_some_and(|window| window.add(*id, location)) {
                    let mut window = Window::default();
                    window.add(*id, location);
                    work.windows.push_back(window);
                }
            }
        }
        Ok(())
    }
}

/// Fails unless the folder `root` can be read, and all below it, and everything in them is in the index; what is below the folders `whole` is known to be.
pub(super) async fn check(core: &Arc<Core>, root: ObjectId, whole: &HashSet<ObjectId>) -> Result<(), WriteError> {
    let mut known = HashSet::from([root]);
    let mut waiting = vec![root];
    let mut reading = FuturesUnordered::new();
    loop {
        while reading.len() < FOLDERS_AT_ONCE {
            let Some(folder) = waiting.pop() else { break };
            reading.push(async move { core.load_tree(&folder).await });
        }
        let Some(nodes) = reading.next().await else { return Ok(()) };
        for node in &nodes? {
            let index = read(&core.index);
            if let Some(blob) = node.content.iter().find(|id| !index.has(BlobKind::Data, id)) {
                let of = String::from_utf8_lossy(&node.name).into_owned();
                return Err(ReadError::BlobMissing { blob: *blob, of }.into());
            }
            waiting.extend(node.subtree.filter(|folder| !whole.contains(folder) && known.insert(*folder)));
        }
    }
}
