//! Entries and snapshots in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use super::{check_path, check_proof, lock};
use crate::{
    Error, ErrorKind, Result,
    digest::{Algorithm, digest},
    entries::Finished,
    host,
    metadata::{Metadata, NodeType},
    snapshot::{Entry, Info},
    types::{Proof, Timestamp},
};

/// A stored entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// What it is.
    pub metadata: Metadata,
    /// Its bytes; none for others than files.
    pub content: Vec<u8>,
}

/// A snapshot in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Its entries by path.
    pub entries: BTreeMap<Vec<u8>, StoredEntry>,
    /// What the source said about it.
    pub proof: Proof,
    /// What the source left in it.
    pub checkpoint: Option<Vec<u8>>,
}

impl Snapshot {
    /// Adds a file of mode 0600.
    #[must_use]
    pub fn file(mut self, path: impl AsRef<[u8]>, content: impl Into<Vec<u8>>) -> Self {
        self.entries.insert(
            path.as_ref().to_vec(),
            StoredEntry {
                metadata: Metadata::file(),
                content: content.into(),
            },
        );
        self
    }

    /// Leaves a checkpoint in it.
    #[must_use]
    pub fn checkpoint(mut self, checkpoint: impl Into<Vec<u8>>) -> Self {
        self.checkpoint = Some(checkpoint.into());
        self
    }
}

/// What is committed, and what is on its way there.
#[derive(Default)]
pub(super) struct Store(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    committed: Vec<Snapshot>,
    pending: BTreeMap<Vec<u8>, StoredEntry>,
    open: BTreeSet<Vec<u8>>,
    /// What came with a folder that was kept: another entry can take its place, once.
    kept: BTreeSet<Vec<u8>>,
    /// The path of an entry whose writer was dropped.
    aborted: Option<Vec<u8>>,
}

impl State {
    /// Whether a new entry may have this path.
    fn reserve(&self, path: &[u8]) -> Result<()> {
        check_path(path)?;
        let shown = String::from_utf8_lossy(path);
        if path.is_empty() || path == b".bulkhead" || path.starts_with(b".bulkhead/") {
            return Err(Error::new(ErrorKind::PermissionDenied, format!("the path {shown:?} is reserved")));
        }
        let is_taken = self.pending.contains_key(path) && !self.kept.contains(path);
        if is_taken || self.open.contains(path) {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("there is already an entry {shown:?}")));
        }
        Ok(())
    }

    fn take(&mut self, proof: &Proof, checkpoint: Option<&[u8]>) -> Result<()> {
        if let Some(path) = self.aborted.as_ref().or(self.open.first()) {
            let message = format!("the entry {:?} was not finished", String::from_utf8_lossy(path));
            return Err(Error::new(ErrorKind::Internal, message));
        }
        let files = self.pending.values().filter(|entry| entry.metadata.node_type == NodeType::File);
        let (entries, bytes) = files.fold((0, 0), |(entries, bytes), entry| (entries + 1, bytes + entry.content.len() as u64));
        check_proof(proof, entries, bytes)?;
        let entries = std::mem::take(&mut self.pending);
        self.kept.clear();
        self.committed.push(Snapshot {
            entries,
            proof: proof.clone(),
            checkpoint: checkpoint.map(<[u8]>::to_vec),
        });
        Ok(())
    }
}

fn not_found(path: &[u8]) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("there is no entry {:?}", String::from_utf8_lossy(path)),
    )
}

fn is_below(path: &[u8], ancestor: &[u8]) -> bool {
    ancestor.is_empty() || path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

impl Store {
    pub(super) fn snapshots(&self) -> Vec<Snapshot> {
        lock(&self.0).committed.clone()
    }

    pub(super) fn commit(&self, snapshot: Snapshot) {
        lock(&self.0).committed.push(snapshot);
    }

    pub(super) fn tamper(&self, change: impl FnOnce(&mut Snapshot)) {
        if let Some(snapshot) = lock(&self.0).committed.last_mut() {
            change(snapshot);
        }
    }

    /// Forgets what an earlier, failed run wrote; the number of snapshots.
    pub(super) fn begin(&self) -> usize {
        let mut state = lock(&self.0);
        state.pending.clear();
        state.open.clear();
        state.kept.clear();
        state.aborted = None;
        state.committed.len()
    }

    /// Ends a run that began with `before` snapshots: commits, unless the run has done so itself and nothing has come since.
    pub(super) fn end(&self, proof: &Proof, checkpoint: Option<&[u8]>, before: usize) -> Result<()> {
        let state = lock(&self.0);
        let last = state.committed.last().filter(|_| state.committed.len() > before);
        let unchanged = last.is_some_and(|last| checkpoint.is_none() || checkpoint == last.checkpoint.as_deref());
        let nothing_left = unchanged && state.pending.is_empty() && state.open.is_empty() && state.aborted.is_none();
        drop(state);
        if nothing_left {
            return check_proof(proof, 0, 0);
        }
        self.finish(proof, checkpoint).map(drop)
    }

    /// Commits what was written; the number of the snapshot.
    pub(super) fn finish(&self, proof: &Proof, checkpoint: Option<&[u8]>) -> Result<usize> {
        let mut state = lock(&self.0);
        state.take(proof, checkpoint)?;
        Ok(state.committed.len())
    }

    pub(super) fn create(&self, path: &[u8], metadata: &Metadata, digest: Option<Algorithm>) -> Result<Writer> {
        let mut state = lock(&self.0);
        state.reserve(path)?;
        state.open.insert(path.to_vec());
        state.kept.remove(path);
        let entry = StoredEntry {
            metadata: metadata.clone(),
            content: Vec::new(),
        };
        Ok(Writer {
            state: Arc::clone(&self.0),
            path: path.to_vec(),
            entry: Mutex::new(Some(entry)),
            digest,
        })
    }

    pub(super) fn add(&self, path: &[u8], metadata: &Metadata) -> Result<()> {
        let mut state = lock(&self.0);
        state.reserve(path)?;
        state.kept.remove(path);
        state.pending.insert(
            path.to_vec(),
            StoredEntry {
                metadata: metadata.clone(),
                content: Vec::new(),
            },
        );
        Ok(())
    }

    pub(super) fn keep(&self, path: &[u8]) -> Result<Finished> {
        let mut state = lock(&self.0);
        state.reserve(path)?;
        let parent = state.committed.last().ok_or_else(|| not_found(path))?;
        let kept: Vec<_> = parent
            .entries
            .iter()
            .filter(|(at, _)| is_below(at, path))
            .map(|(at, entry)| (at.clone(), entry.clone()))
            .collect();
        if kept.is_empty() {
            return Err(not_found(path));
        }
        let files = kept.iter().filter(|(_, entry)| entry.metadata.node_type == NodeType::File);
        let finished = files.fold(Finished::default(), |kept, (_, entry)| Finished {
            entries: kept.entries + 1,
            size: kept.size + entry.content.len() as u64,
            digest: None,
        });
        let within = kept.iter().map(|(at, _)| at.clone()).filter(|at| at != path);
        state.kept.extend(within);
        state.pending.extend(kept);
        Ok(finished)
    }

    pub(super) fn info(&self) -> Info {
        let state = lock(&self.0);
        let last = state.committed.last();
        Info {
            id: format!("{:064x}", state.committed.len()),
            time: Timestamp::now(),
            facts: last.map(|snapshot| snapshot.proof.facts.clone()).unwrap_or_default(),
            checkpoint: last.and_then(|snapshot| snapshot.checkpoint.clone()),
        }
    }

    /// Entries of the last snapshot at and below `path`.
    pub(super) fn entries(&self, path: &[u8]) -> Result<Vec<Entry>> {
        check_path(path)?;
        let state = lock(&self.0);
        let all = state.committed.last().ok_or_else(|| not_found(path))?.entries.iter();
        let mut found: Vec<Entry> = all
            .filter(|(at, _)| is_below(at, path))
            .map(|(at, entry)| Entry {
                path: at.clone(),
                metadata: entry.metadata.clone(),
                size: entry.content.len() as u64,
            })
            .collect();
        found.sort_by(|a, b| a.path.split(|byte| *byte == b'/').cmp(b.path.split(|byte| *byte == b'/')));
        if found.is_empty() && !path.is_empty() {
            Err(not_found(path))
        } else {
            Ok(found)
        }
    }

    pub(super) fn open(&self, path: &[u8]) -> Result<Reader> {
        let state = lock(&self.0);
        let entry = state
            .committed
            .last()
            .and_then(|snapshot| snapshot.entries.get(path))
            .ok_or_else(|| not_found(path))?;
        Ok(Reader {
            content: entry.content.clone(),
            position: Mutex::new(0),
        })
    }
}

/// An entry being written.
pub(super) struct Writer {
    state: Arc<Mutex<State>>,
    path: Vec<u8>,
    /// Taken by `finish`.
    entry: Mutex<Option<StoredEntry>>,
    digest: Option<Algorithm>,
}

impl Writer {
    fn append(&self, write: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        if let Some(entry) = lock(&self.entry).as_mut() {
            write(&mut entry.content);
        }
        Ok(())
    }
}

impl host::EntryWriter for Writer {
    fn write(&self, data: &[u8]) -> Result<()> {
        self.append(|content| content.extend_from_slice(data))
    }

    fn write_zeros(&self, length: u64) -> Result<()> {
        let length = usize::try_from(length).map_err(|_| Error::new(ErrorKind::Limit, "too many zeros"))?;
        self.append(|content| content.resize(content.len() + length, 0))
    }

    fn finish(self: Box<Self>) -> Result<Finished> {
        let Some(entry) = lock(&self.entry).take() else {
            return Ok(Finished::default());
        };
        let finished = Finished {
            entries: 1,
            size: entry.content.len() as u64,
            digest: self.digest.map(|algorithm| digest(algorithm, &entry.content)),
        };
        let mut state = lock(&self.state);
        state.open.remove(&self.path);
        state.pending.insert(self.path.clone(), entry);
        drop(state);
        Ok(finished)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if lock(&self.entry).is_some() {
            lock(&self.state).aborted = Some(self.path.clone());
        }
    }
}

/// A stored entry being read.
pub(super) struct Reader {
    content: Vec<u8>,
    position: Mutex<usize>,
}

/// Up to `max` bytes of `content` at `offset`.
pub(super) fn slice(content: &[u8], offset: usize, max: u32) -> Option<Vec<u8>> {
    let rest = content.get(offset..).filter(|rest| !rest.is_empty())?;
    Some(rest[..rest.len().min(max as usize)].to_vec())
}

impl host::EntryReader for Reader {
    fn size(&self) -> u64 {
        self.content.len() as u64
    }

    fn read(&self, max: u32) -> Result<Option<Vec<u8>>> {
        let mut position = lock(&self.position);
        let data = slice(&self.content, *position, max);
        *position += data.as_ref().map_or(0, Vec::len);
        Ok(data)
    }

    fn read_at(&self, offset: u64, max: u32) -> Result<Option<Vec<u8>>> {
        Ok(slice(&self.content, usize::try_from(offset).unwrap_or(usize::MAX), max))
    }
}

/// A list handed out in one page.
pub(super) struct OnePage<T>(pub(super) Mutex<Vec<T>>);

impl host::Walk for OnePage<Entry> {
    fn next(&self) -> Result<Vec<Entry>> {
        Ok(std::mem::take(&mut *lock(&self.0)))
    }
}
