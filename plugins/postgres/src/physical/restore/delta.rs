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
    snapshot::Entry,
    types::Fact,
};

use super::{
    Plan,
    contents::Contents,
    existing::{Surplus, Survey, require_a_cluster, require_no_server, sync_below},
    patch::{open, patch},
    targets::{Target, Targets},
    writer::copy,
};
use crate::physical::layout::{self, Archive};

/// Paths that a rehearsal names at most.
const NAMED: usize = 1000;

/// What was done, or would be.
#[derive(Debug, Default)]
struct Tally {
    created: u64,
    updated: u64,
    replaced: u64,
    unchanged: u64,
    compared: u64,
    written: u64,
}

/// What became of a file.
pub(super) enum Brought {
    /// It was made, and has no attributes yet.
    Anew(File),
    /// It was there, and has these attributes.
    There(Stat),
    /// It would have been made or written.
    Rehearsed,
}

/// What differs between a snapshot and the cluster that is there, as it is being made good.
pub(super) struct Delta {
    contents: Contents,
    surplus: Vec<Surplus>,
    /// Of the surplus, what is where the snapshot has a folder.
    in_the_way: Vec<Vec<u8>>,
    /// Where other file systems are mounted.
    mounted: Vec<(Archive, Vec<u8>)>,
    tally: Tally,
    /// Whether nothing is written.
    pub(super) is_rehearsal: bool,
}

impl Delta {
    /// Looks at what is there; an error where it may not be written over.
    pub(super) fn prepare(plan: &Plan, targets: &Targets, is_rehearsal: bool) -> Result<Self> {
        require_a_cluster(targets)?;
        let contents = Contents::read()?;
        let (mut surplus, mut mounted) = (Vec::new(), Vec::new());
        for (archive, target) in targets.all() {
            let survey = Survey::of(archive, target, &contents)?;
            target.require_space(plan.bytes_in(archive), survey.bytes)?;
            surplus.extend(survey.surplus);
            mounted.extend(survey.mounted.into_iter().map(|path| (archive, path)));
        }
        let wants_a_folder = |path: &Vec<u8>| contents.file_type(path) == Some(FileType::Directory);
        let in_the_way = surplus.iter().map(Surplus::in_snapshot).filter(wants_a_folder).collect();
        Ok(Self {
            contents,
            surplus,
            in_the_way,
            mounted,
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
            disable(data)?;
        }
        for (archive, target) in targets.all() {
            let mut of_target = self.surplus.iter().filter(|surplus| surplus.archive == archive);
            of_target.try_for_each(|surplus| surplus.remove(&target.folder))?;
        }
        Ok(())
    }

    /// Makes durable what is on other file systems than the targets' own.
    pub(super) fn sync(&self, targets: &Targets) -> Result<()> {
        for (archive, target) in targets.all() {
            let mut of_target = self.mounted.iter().filter(|(of, _)| *of == archive);
            of_target.try_for_each(|(_, path)| sync_below(&target.folder, path))?;
        }
        Ok(())
    }

    /// What is at `path`, if it is of that type: anything else is gone, or would be.
    fn find(&self, entry: &Entry, folder: &Folder, path: &[u8], file_type: FileType) -> Result<Option<Stat>> {
        if self.is_cleared(entry) {
            return Ok(None);
        }
        match folder.stat(path) {
            Ok(stat) => Ok(Some(stat).filter(|stat| stat.file_type == file_type)),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the entry is below what a rehearsal only says it would remove.
    fn is_cleared(&self, entry: &Entry) -> bool {
        self.is_rehearsal && self.in_the_way.iter().any(|path| layout::below(&entry.path, path).is_some())
    }

    /// Brings the file at `path` to what the entry has.
    pub(super) fn file(&mut self, entry: &Entry, folder: &Folder, path: &[u8]) -> Result<Brought> {
        match self.find(entry, folder, path, FileType::Regular)? {
            None => {
                self.tally.created += 1;
                self.anew(entry, folder, path)
            }
            // Another of its names may be outside of the cluster.
            Some(stat) if stat.links > 1 => self.replace(entry, folder, path),
            Some(stat) => self.amend(entry, folder, path, stat),
        }
    }

    fn anew(&mut self, entry: &Entry, folder: &Folder, path: &[u8]) -> Result<Brought> {
        self.tally.written += entry.size;
        if self.is_rehearsal {
            return Ok(Brought::Rehearsed);
        }
        copy(entry, folder, path).map(Brought::Anew)
    }

    fn replace(&mut self, entry: &Entry, folder: &Folder, path: &[u8]) -> Result<Brought> {
        self.tally.updated += 1;
        self.tally.replaced += 1;
        if !self.is_rehearsal {
            folder.remove_file(path)?;
        }
        self.anew(entry, folder, path)
    }

    /// What is the same is not even opened for writing: not everybody who may read a file, such as a key, may write it.
    fn amend(&mut self, entry: &Entry, folder: &Folder, path: &[u8], stat: Stat) -> Result<Brought> {
        let Some(file) = open(folder, path, OpenMode::Read)? else {
            return self.replace(entry, folder, path);
        };
        if stat.size == entry.size && self.agrees(entry, &file)? {
            self.tally.unchanged += 1;
            return Ok(Brought::There(stat));
        }
        let patched = patch(entry, &file, folder, path, self.is_rehearsal)?;
        self.tally.compared += patched.compared;
        let Some(written) = patched.written else {
            return self.replace(entry, folder, path);
        };
        self.tally.written += written;
        if written == 0 && stat.size == entry.size {
            self.tally.unchanged += 1;
        } else {
            self.tally.updated += 1;
        }
        if self.is_rehearsal {
            return Ok(Brought::Rehearsed);
        }
        file.stat().map(Brought::There)
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

    /// The link at `path`, if it leads to `target`; one that does not is out of the way then.
    pub(super) fn link(&mut self, entry: &Entry, folder: &Folder, path: &[u8], target: &[u8]) -> Result<Option<Stat>> {
        let Some(stat) = self.find(entry, folder, path, FileType::Symlink)? else {
            self.tally.created += 1;
            return Ok(None);
        };
        if folder.read_link(path)? == target {
            self.tally.unchanged += 1;
            return Ok(Some(stat));
        }
        self.tally.updated += 1;
        if !self.is_rehearsal {
            folder.remove_file(path)?;
        }
        Ok(None)
    }

    /// The folder at `path`, if there is one.
    pub(super) fn folder(&mut self, entry: &Entry, folder: &Folder, path: &[u8]) -> Result<Option<Stat>> {
        let found = self.find(entry, folder, path, FileType::Directory)?;
        match &found {
            Some(_) => self.tally.unchanged += 1,
            None => self.tally.created += 1,
        }
        Ok(found)
    }

    /// What it came to; a rehearsal also names what would be removed.
    pub(super) fn facts(&self) -> Vec<Fact> {
        let removed: u64 = self.surplus.iter().map(|surplus| surplus.entries).sum();
        let Tally {
            created,
            updated,
            replaced,
            unchanged,
            compared,
            written,
        } = self.tally;
        let mut facts = vec![
            Fact::new("created", created),
            Fact::new("updated", updated),
            Fact::new("replaced", replaced),
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

/// As a snapshot would have it.
fn told(surplus: &Surplus) -> String {
    let path = surplus.in_snapshot();
    let path = String::from_utf8_lossy(&path);
    match surplus.entries {
        1 => format!("{path} ({} bytes)", surplus.bytes),
        entries => format!("{path} ({entries} entries, {} bytes)", surplus.bytes),
    }
}

/// Puts the file aside without which no server starts, for good, before anything else changes. A server that starts has its lock before it reads that file: the
/// lock of one that still found it is there afterwards, and it gets the file back.
fn disable(data: &Target) -> Result<()> {
    require_no_server(data)?;
    move_control(&data.folder, layout::CONTROL, layout::CONTROL_ASIDE)?;
    require_no_server(data).or_else(|running| {
        move_control(&data.folder, layout::CONTROL_ASIDE, layout::CONTROL)?;
        Err(running)
    })
}

fn move_control(data: &Folder, from: &[u8], to: &[u8]) -> Result<()> {
    let moved = match data.rename(from, to) {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
        moved => moved.and_then(|()| data.sync(layout::GLOBAL)),
    };
    moved.context(|| format!("renaming {} failed", String::from_utf8_lossy(from)))
}
