//! A restore over the cluster that is there: [`Delta`] removes what the snapshot does not have, and writes only what differs.
//!
//! A file is compared by its size and by the checksum that the server's manifest states, not by its time: clusters copy times around, and a file that is
//! written twice in a second keeps its. The log is not in the manifest, so it is compared with the snapshot's own bytes. Before anything else changes, the file
//! goes without which no server starts; it is written last.

use bulkhead_sdk::{
    ErrorKind, Result, ResultExt,
    digest::{Algorithm, Hasher},
    directory::{File, FileType, Folder, OpenMode, Stat},
    host::BEST_TRANSFER,
    snapshot::{self, Entry},
    types::Fact,
};

use super::{
    Plan,
    contents::Contents,
    existing::{Surplus, Survey, require_a_cluster},
    targets::Targets,
    writer::{copy, require_whole},
};
use crate::physical::layout;

/// A page of PostgreSQL's by default: of a file that differs, such parts are written that do.
const BLOCK: usize = 8 << 10;

/// Paths that a rehearsal names at most.
const NAMED: usize = 1000;

/// What was done, or would be.
#[derive(Debug, Default)]
struct Tally {
    created: u64,
    updated: u64,
    unchanged: u64,
    compared: u64,
    written: u64,
}

/// What differs between a snapshot and the cluster that is there, as it is being made good.
pub(super) struct Delta {
    contents: Contents,
    surplus: Vec<Surplus>,
    tally: Tally,
    /// Whether nothing is written.
    pub(super) is_rehearsal: bool,
}

impl Delta {
    /// Looks at what is there; an error where it may not be written over.
    pub(super) fn prepare(plan: &Plan, targets: &Targets, is_rehearsal: bool) -> Result<Self> {
        require_a_cluster(targets)?;
        let contents = Contents::read()?;
        let mut surplus = Vec::new();
        for (archive, target) in targets.all() {
            let survey = Survey::of(archive, target, &contents)?;
            target.require_space(plan.bytes_in(archive), survey.bytes)?;
            surplus.extend(survey.surplus);
        }
        Ok(Self {
            contents,
            surplus,
            tally: Tally::default(),
            is_rehearsal,
        })
    }

    /// Makes it a cluster that does not start, and removes what the snapshot does not have.
    pub(super) fn clear(&self, targets: &Targets) -> Result<()> {
        if self.is_rehearsal {
            return Ok(());
        }
        if let Some(data) = &targets.data {
            disable(&data.folder).context(|| format!("removing {} failed", String::from_utf8_lossy(layout::CONTROL)))?;
        }
        for (archive, target) in targets.all() {
            let mut of_target = self.surplus.iter().filter(|surplus| surplus.archive == archive);
            of_target.try_for_each(|surplus| surplus.remove(&target.folder))?;
        }
        Ok(())
    }

    /// Brings the file at `path` to what the entry has; `None` where nothing is to be written to it.
    pub(super) fn file(&mut self, entry: &Entry, folder: &Folder, path: &[u8]) -> Result<Option<File>> {
        match find(folder, path, FileType::Regular)? {
            None => {
                self.tally.created += 1;
                self.anew(entry, folder, path)
            }
            // Another of its names may be outside of the cluster.
            Some(stat) if stat.links > 1 => {
                self.tally.updated += 1;
                if !self.is_rehearsal {
                    folder.remove_file(path)?;
                }
                self.anew(entry, folder, path)
            }
            Some(stat) => self.amend(entry, folder, path, stat.size),
        }
    }

    fn anew(&mut self, entry: &Entry, folder: &Folder, path: &[u8]) -> Result<Option<File>> {
        self.tally.written += entry.size;
        if self.is_rehearsal {
            return Ok(None);
        }
        copy(entry, folder, path).map(Some)
    }

    fn amend(&mut self, entry: &Entry, folder: &Folder, path: &[u8], size: u64) -> Result<Option<File>> {
        let mode = if self.is_rehearsal { OpenMode::Read } else { OpenMode::Modify };
        let file = folder.open_file(path, mode)?;
        let is_same = size == entry.size && self.agrees(entry, &file)?;
        let written = if is_same { 0 } else { self.patch(entry, &file)? };
        if size > entry.size && !self.is_rehearsal {
            file.set_size(entry.size)?;
        }
        self.tally.written += written;
        if written == 0 && size == entry.size {
            self.tally.unchanged += 1;
        } else {
            self.tally.updated += 1;
        }
        Ok((!self.is_rehearsal).then_some(file))
    }

    /// Whether the file has the checksum that the server stated of the entry.
    fn agrees(&mut self, entry: &Entry, file: &File) -> Result<bool> {
        let Some(checksum) = self.contents.checksum(&entry.path) else {
            return Ok(false);
        };
        let mut hasher = Hasher::new(Algorithm::Crc32c);
        let mut offset = 0;
        while let Some(part) = file.read_at(offset, BEST_TRANSFER)? {
            hasher.update(&part);
            offset += part.len() as u64;
        }
        self.tally.compared += offset;
        let digest = <[u8; 4]>::try_from(hasher.finish());
        Ok(digest.is_ok_and(|digest| checksum.is(u32::from_be_bytes(digest))))
    }

    /// Writes the parts of a file that differ from the entry's content; bytes that were written.
    fn patch(&mut self, entry: &Entry, file: &File) -> Result<u64> {
        let mut reader = snapshot::open(&entry.path)?;
        let (mut offset, mut written) = (0, 0);
        while let Some(part) = reader.read_bytes(BEST_TRANSFER)? {
            let there = file.read_at(offset, part.len())?.unwrap_or_default();
            self.tally.compared += there.len() as u64;
            let mut at = offset;
            for block in part.chunks(BLOCK) {
                let begin = usize::try_from(at - offset).unwrap_or(usize::MAX);
                if there.get(begin..begin + block.len()) != Some(block) {
                    if !self.is_rehearsal {
                        file.write_at(at, block)?;
                    }
                    written += block.len() as u64;
                }
                at += block.len() as u64;
            }
            offset = at;
        }
        require_whole(entry, offset).map(|()| written)
    }

    /// Whether the link at `path` leads to `target`; one that does not is out of the way then.
    pub(super) fn has_link(&mut self, folder: &Folder, path: &[u8], target: &[u8]) -> Result<bool> {
        if find(folder, path, FileType::Symlink)?.is_none() {
            self.tally.created += 1;
            return Ok(false);
        }
        if folder.read_link(path)? == target {
            self.tally.unchanged += 1;
            return Ok(true);
        }
        self.tally.updated += 1;
        if !self.is_rehearsal {
            folder.remove_file(path)?;
        }
        Ok(false)
    }

    /// Notes whether there is a folder at `path`.
    pub(super) fn note_folder(&mut self, folder: &Folder, path: &[u8]) -> Result<()> {
        match find(folder, path, FileType::Directory)? {
            Some(_) => self.tally.unchanged += 1,
            None => self.tally.created += 1,
        }
        Ok(())
    }

    /// What it came to; a rehearsal also names what would be removed.
    pub(super) fn facts(&self) -> Vec<Fact> {
        let removed: u64 = self.surplus.iter().map(|surplus| surplus.entries).sum();
        let Tally {
            created,
            updated,
            unchanged,
            compared,
            written,
        } = self.tally;
        let mut facts = vec![
            Fact::new("created", created),
            Fact::new("updated", updated),
            Fact::new("unchanged", unchanged),
            Fact::new("removed", removed),
            Fact::new("bytes-compared", compared),
            Fact::new("bytes-written", written),
        ];
        if self.is_rehearsal {
            facts.extend(self.surplus.iter().take(NAMED).map(|surplus| Fact::new("remove", told(surplus))));
            let unnamed = self.surplus.len().saturating_sub(NAMED);
            facts.extend((unnamed > 0).then(|| Fact::new("remove", format!("{unnamed} more"))));
        }
        facts
    }
}

/// What is at `path`, if it is of that type: anything else is gone, or would be.
fn find(folder: &Folder, path: &[u8], file_type: FileType) -> Result<Option<Stat>> {
    match folder.stat(path) {
        Ok(stat) => Ok(Some(stat).filter(|stat| stat.file_type == file_type)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// As a snapshot would have it.
fn told(surplus: &Surplus) -> String {
    let path = layout::join(&surplus.archive.root(), &surplus.path);
    let path = String::from_utf8_lossy(&path);
    match surplus.entries {
        1 => format!("{path} ({} bytes)", surplus.bytes),
        entries => format!("{path} ({entries} entries, {} bytes)", surplus.bytes),
    }
}

/// Removes the file without which no server starts, for good, before anything else changes.
fn disable(data: &Folder) -> Result<()> {
    match data.remove_file(layout::CONTROL) {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| data.sync(layout::GLOBAL)),
    }
}
