//! Decides what a restore does with each entry, ahead of the one that does it: [`Decider`], asked by the vault's walk so that only what is needed
//! is fetched.

use std::{
    collections::HashSet,
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
};

use async_trait::async_trait;
use bulkhead_model::NodeType;
use bulkhead_vault::{Chunk, ContentFilter, ReadError, SnapshotEntry, StoredContent, Wanted};
use tokio::sync::Mutex;

use crate::{
    folder::{Action, Decision, Existing, FolderError, Found, Links, Shortfall, Skipped, Surplus},
    restore::patterns::{Selected, Selection},
};

/// Decides what is done with each entry.
pub(crate) struct Decider {
    selection: Selection,
    /// What is there, for a restore that looks at it. Away while it is looked at.
    existing: Option<Existing>,
    target: PathBuf,
    makes_devices: bool,
    links: Links,
    /// What is taken for gone.
    removed: HashSet<PathBuf>,
    skipped: Skipped,
}

/// Decisions in the order of the entries, and why there are no more.
pub(crate) type Decisions = mpsc::Receiver<Result<Decision, FolderError>>;

/// Why there is no decision.
enum Undecided {
    Read(ReadError),
    Folder(FolderError),
}

impl Decider {
    /// For a restore to `target`, with what is there.
    pub(crate) fn new(selection: Selection, existing: Option<Existing>, target: PathBuf, makes_devices: bool) -> Self {
        Self {
            selection,
            existing,
            target,
            makes_devices,
            links: Links::default(),
            removed: HashSet::new(),
            skipped: Skipped::default(),
        }
    }

    /// Decides as if this had been removed.
    pub(crate) fn suppose_removed(&mut self, surplus: &Surplus) {
        self.removed = surplus.items.iter().map(|item| item.path.clone()).collect();
    }

    /// What is done with a folder above what is restored.
    pub(crate) async fn passage(&mut self, entry: &SnapshotEntry) -> Result<Decision, FolderError> {
        let action = match self.find(entry, Vec::new()).await? {
            Found::Nothing => Action::Create,
            Found::Other => Action::Replace,
            Found::Same | Found::Changed(..) => Action::Keep,
        };
        let (decision, _) = without_content(action, 0);
        Ok(Decision {
            is_passage: true,
            ..decision
        })
    }

    /// Bytes that were compared, and what of entries that are as they should be could not be had.
    pub(crate) fn into_outcome(self) -> (u64, Vec<Skipped>) {
        let compared = self.existing.as_ref().map_or(0, |existing| existing.compared);
        let skipped = self.existing.map(|existing| existing.skipped);
        (compared, [Some(self.skipped), skipped].into_iter().flatten().collect())
    }

    async fn decide(&mut self, entry: &SnapshotEntry, content: &StoredContent<'_>) -> Result<(Decision, Wanted), Undecided> {
        let is_file = entry.metadata.node_type == NodeType::File;
        let bytes = if is_file { entry.size } else { 0 };
        let is_device = matches!(entry.metadata.node_type, NodeType::CharacterDevice(_) | NodeType::BlockDevice(_));
        if is_device && !self.makes_devices {
            self.skipped.add(Shortfall::Devices, &entry.path);
            return Ok(without_content(Action::Refuse, 0));
        }
        if let Some(action) = self.link(entry).await.map_err(Undecided::Folder)? {
            return Ok(without_content(action, 0));
        }
        let chunks = if is_file && self.existing.is_some() {
            content.chunks().map_err(Undecided::Read)?
        } else {
            Vec::new()
        };
        let found = self.find(entry, chunks.clone()).await.map_err(Undecided::Folder)?;
        let whole = |action| {
            let decision = Decision {
                action,
                bytes,
                writes: bytes,
                is_passage: false,
            };
            (decision, if is_file { Wanted::Content } else { Wanted::Entry })
        };
        let decided = match found {
            Found::Nothing => whole(Action::Create),
            Found::Other => whole(Action::Replace),
            Found::Same => without_content(Action::Keep, bytes),
            Found::Changed(id, _) if !is_file => without_content(Action::Update(id), 0),
            Found::Changed(id, differing) => {
                let written = chunks.iter().zip(&differing).filter(|(_, differs)| **differs);
                let decision = Decision {
                    action: Action::Update(id),
                    bytes,
                    writes: written.map(|(chunk, _)| chunk.length).sum(),
                    is_passage: false,
                };
                (decision, Wanted::Chunks(differing))
            }
        };
        self.links.note(entry, &decided.0.action);
        Ok(decided)
    }

    /// What is done with a further name of a file.
    async fn link(&mut self, entry: &SnapshotEntry) -> Result<Option<Action>, FolderError> {
        let Some((first, is_kept)) = self.links.first(entry).cloned() else {
            return Ok(None);
        };
        let path = entry.path.clone();
        let to = first.clone();
        let looked = self.look(entry, move |existing| {
            let is_link = is_kept && existing.same_file(&first, &path)?;
            Ok((is_link, existing.exists(&path)?))
        });
        Ok(Some(match looked.await? {
            Some((true, _)) => Action::Keep,
            Some((false, replace)) => Action::Link { to, replace },
            None => Action::Link { to, replace: false },
        }))
    }

    async fn find(&mut self, entry: &SnapshotEntry, chunks: Vec<Chunk>) -> Result<Found, FolderError> {
        if self.removed.contains(Path::new(OsStr::from_bytes(entry.path.as_bytes()))) {
            return Ok(Found::Nothing);
        }
        let wanted = entry.clone();
        let found = self.look(entry, move |existing| existing.find(&wanted, &chunks));
        Ok(found.await?.unwrap_or(Found::Nothing))
    }

    /// Looks at what is there, on a thread that may wait; `None` where nobody looks.
    async fn look<T: Send + 'static>(
        &mut self,
        entry: &SnapshotEntry,
        look: impl FnOnce(&mut Existing) -> rustix::io::Result<T> + Send + 'static,
    ) -> Result<Option<T>, FolderError> {
        let Some(mut existing) = self.existing.take() else {
            return Ok(None);
        };
        let looked = tokio::task::spawn_blocking(move || {
            let found = look(&mut existing);
            (existing, found)
        });
        let path = || self.target.join(entry.path.to_string());
        let (existing, found) = looked
            .await
            .map_err(|error| FolderError::new("compare", path(), std::io::Error::other(error)))?;
        let found = found.map_err(|error| FolderError::new("compare", path(), error))?;
        self.existing = Some(existing);
        Ok(Some(found))
    }
}

fn without_content(action: Action, bytes: u64) -> (Decision, Wanted) {
    let decision = Decision {
        action,
        bytes,
        writes: 0,
        is_passage: false,
    };
    (decision, Wanted::Entry)
}

/// Asks a [`Decider`] on behalf of a walk.
pub(crate) struct Filter {
    decider: Arc<Mutex<Decider>>,
    decisions: mpsc::Sender<Result<Decision, FolderError>>,
    /// Whether content is brought at all.
    brings_content: bool,
}

impl Filter {
    pub(crate) fn new(decider: Arc<Mutex<Decider>>, brings_content: bool) -> (Self, Decisions) {
        let (decisions, received) = mpsc::channel();
        let filter = Self {
            decider,
            decisions,
            brings_content,
        };
        (filter, received)
    }
}

#[async_trait]
impl ContentFilter for Filter {
    async fn wanted(&mut self, entry: &SnapshotEntry, content: StoredContent<'_>) -> Result<Wanted, ReadError> {
        let mut decider = self.decider.lock().await;
        let selected = decider.selection.of(entry.path.as_bytes());
        let decided = match selected {
            Selected::No => return Ok(Wanted::Nothing),
            Selected::Below if entry.metadata.node_type != NodeType::Directory => return Ok(Wanted::Nothing),
            Selected::Below => decider
                .passage(entry)
                .await
                .map(|decision| (decision, Wanted::Entry))
                .map_err(Undecided::Folder),
            Selected::Yes => decider.decide(entry, &content).await,
        };
        let (decision, wanted) = match decided {
            Ok((decision, wanted)) => (Ok(decision), wanted),
            Err(Undecided::Read(error)) => return Err(error),
            // It reaches whoever waits for the decision.
            Err(Undecided::Folder(error)) => (Err(error), Wanted::Entry),
        };
        // Nobody receives where the restore has ended.
        let _ = self.decisions.send(decision);
        Ok(if self.brings_content { wanted } else { Wanted::Entry })
    }
}
