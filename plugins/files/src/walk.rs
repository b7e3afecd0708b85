//! Through the trees, in the order of a snapshot: [`backup`].

use std::collections::VecDeque;

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    directory::{self, FileType, Folder, Node, Stat},
    entries::{self, Finished},
    host::MAX_TRANSFER,
    metadata::NodeType,
    progress,
    source::BackupResult,
    types::Proof,
};

use crate::{
    config::Config,
    names::Names,
    parent::Parent,
    report::{self, Report},
    select::Selection,
    store::{self, Opened, Read},
};

/// Nodes between two reports of progress.
const REPORT_EVERY: u64 = 64;
/// Names of a folder that are asked for at once.
const LOOK_AHEAD: usize = 512;

/// Backs up every tree that is granted.
pub(crate) fn backup(config: &Config, selection: &Selection) -> Result<BackupResult> {
    let mut proof = Proof::default();
    let mut report = Report::default();
    let mut grants = directory::grants();
    grants.sort_by(|left, right| left.name.cmp(&right.name));
    for grant in &grants {
        let folder = directory::open(&grant.name)?;
        let mut tree = Tree {
            config,
            selection,
            parent: Parent::of(&grant.name)?,
            name: grant.name.as_bytes(),
            device: folder.stat("")?.device,
            folder,
            proof: &mut proof,
            report: &mut report,
            nodes: 0,
        };
        tree.walk()?;
        if tree.parent.is_damaged() {
            tree.report.damaged.add(tree.name);
        }
    }
    report.facts(&mut proof);
    proof.complete = true;
    Ok(BackupResult {
        proof,
        findings: report.findings(),
        ..BackupResult::default()
    })
}

/// A tree in progress.
struct Tree<'a> {
    config: &'a Config,
    selection: &'a Selection,
    parent: Parent,
    /// The grant's.
    name: &'a [u8],
    device: u64,
    folder: Folder,
    proof: &'a mut Proof,
    report: &'a mut Report,
    nodes: u64,
}

/// A folder that is being gone through.
struct Level {
    /// Bytes of its path.
    path: usize,
    names: Names,
    /// The next of them, and what they stand for.
    found: VecDeque<Found>,
}

impl Level {
    fn new(path: usize, names: Names) -> Self {
        let found = VecDeque::new();
        Self { path, names, found }
    }

    /// What comes before the next folder.
    fn before_folder(&mut self) -> Vec<Found> {
        let is_folder = |found: &Found| matches!(&found.stat, Ok(stat) if stat.file_type == FileType::Directory);
        let end = self.found.iter().position(is_folder).unwrap_or(self.found.len());
        self.found.drain(..end).collect()
    }
}

/// A name in a folder, and what it stands for.
struct Found {
    name: Vec<u8>,
    stat: Result<Stat>,
}

impl Tree<'_> {
    /// Goes through all of it, without recursion: folders may be nested deeper than a sandbox's stack is.
    fn walk(&mut self) -> Result<()> {
        let mut path = Vec::new();
        let mut levels = Vec::new();
        let root = self.folder.stat("");
        levels.extend(self.enter(&path, root)?.map(|names| Level::new(0, names)));
        while let Some(level) = levels.last_mut() {
            path.truncate(level.path);
            if level.found.is_empty() && !self.look_ahead(&path, level)? {
                levels.pop();
                continue;
            }
            self.store(&path, level.before_folder())?;
            if let Some(folder) = level.found.pop_front() {
                path = below(&path, &folder.name);
                let names = self.enter(&path, folder.stat)?;
                levels.extend(names.map(|names| Level::new(path.len(), names)));
            }
        }
        Ok(())
    }

    /// The entry of what is at `path`.
    fn entry(&self, path: &[u8]) -> Vec<u8> {
        match path {
            [] => self.name.to_vec(),
            path => below(self.name, path),
        }
    }

    /// Finds what the next names that are not left out stand for; `false` where there are none.
    fn look_ahead(&mut self, path: &[u8], level: &mut Level) -> Result<bool> {
        let folder = self.entry(path);
        let mut names = Vec::new();
        while names.len() < LOOK_AHEAD
            && let Some(name) = level.names.next()
        {
            if !self.selection.leaves_out(&below(&folder, name)) {
                names.push(name.to_vec());
            }
        }
        if names.is_empty() {
            return Ok(false);
        }
        let stats = self.folder.stat_names(path, &names);
        // What keeps the folder from being read, keeps all that is in it.
        let stats = stats.unwrap_or_else(|error| vec![Err(error); names.len()]);
        let found = names.into_iter().zip(stats).map(|(name, stat)| Found { name, stat });
        level.found.extend(found);
        Ok(true)
    }

    /// Stores a folder; the names in it that are to be visited, unless it cannot be read.
    fn enter(&mut self, path: &[u8], stat: Result<Stat>) -> Result<Option<Names>> {
        let entry = self.entry(path);
        if self.selection.leaves_out(&entry) {
            return Ok(None);
        }
        self.tell();
        let read = stat.and_then(|stat| {
            let names = self.names(path, &entry, &stat)?;
            Ok((store::folder(&self.folder, path, &stat)?, names))
        });
        match read {
            Ok((metadata, names)) => {
                self.report.folders += 1;
                entries::add(&entry, &metadata)?;
                Ok(Some(names))
            }
            Err(error) => self.skip(&entry, error).map(|()| None),
        }
    }

    /// The names in a folder that are to be visited.
    fn names(&mut self, path: &[u8], entry: &[u8], stat: &Stat) -> Result<Names> {
        if self.is_elsewhere(stat) {
            self.report.mounts.add(entry);
            return Ok(Names::default());
        }
        let mut names = Names::default();
        for listed in self.folder.list(path)? {
            if !names.add(&listed?.name) {
                return Err(Error::new(ErrorKind::Limit, "a folder has more than 4 GiB of names"));
            }
        }
        if names.any(|name| self.selection.is_marker(name)) {
            self.report.marked.add(entry);
            return Ok(Names::default());
        }
        names.sort();
        Ok(names)
    }

    /// Whether it is on a file system that is not to be looked at.
    fn is_elsewhere(&self, stat: &Stat) -> bool {
        self.config.one_file_system && stat.device != self.device
    }

    /// Stores what was found in the folder at `path`, none of it folders.
    fn store(&mut self, path: &[u8], found: Vec<Found>) -> Result<()> {
        let mut names = Vec::new();
        for Found { name, stat } in found {
            self.tell();
            let at = below(path, &name);
            let entry = self.entry(&at);
            match stat {
                Ok(stat) if stat.file_type == FileType::Regular && !self.selection.wants(&entry) => {}
                Ok(stat) if self.is_elsewhere(&stat) => self.report.mounts.add(&entry),
                Ok(stat) if self.is_unchanged(&entry, &stat)? => self.keep(&at, &entry)?,
                Ok(_) => names.push(name),
                Err(error) => self.skip(&entry, error)?,
            }
        }
        self.read(path, &names)
    }

    fn is_unchanged(&mut self, entry: &[u8], stat: &Stat) -> Result<bool> {
        Ok(stat.file_type == FileType::Regular && !self.config.read_all && self.parent.has(entry, stat)?)
    }

    /// Reads and stores what is at `names` in the folder at `path`.
    fn read(&mut self, path: &[u8], mut names: &[Vec<u8>]) -> Result<()> {
        while !names.is_empty() {
            let nodes = self.folder.read_names(path, names, MAX_TRANSFER);
            let nodes = nodes.unwrap_or_else(|error| vec![Err(error); names.len()]);
            let (read, left) = names.split_at(nodes.len().min(names.len()));
            for (name, node) in read.iter().zip(nodes) {
                let path = below(path, name);
                let entry = self.entry(&path);
                match node {
                    Ok(node) => self.add(&path, &entry, node)?,
                    Err(error) => self.skip(&entry, error)?,
                }
            }
            names = left;
        }
        Ok(())
    }

    fn add(&mut self, path: &[u8], entry: &[u8], node: Node) -> Result<()> {
        match store::read(node)? {
            Read::File(metadata, content) => {
                let finished = store::whole(entry, &metadata, &content)?;
                self.count(&finished);
                Ok(())
            }
            Read::Other(metadata) => {
                match metadata.node_type {
                    NodeType::Symlink(_) => self.report.links += 1,
                    _ => self.report.others += 1,
                }
                entries::add(entry, &metadata)
            }
            Read::InPart => self.read_in_parts(path, entry),
            Read::Folder => {
                self.report.vanished.add(entry);
                Ok(())
            }
        }
    }

    /// Takes a file over from the parent; reads it all the same where the vault has lost some of it.
    fn keep(&mut self, path: &[u8], entry: &[u8]) -> Result<()> {
        match entries::keep(entry) {
            Ok(kept) => {
                self.report.files += 1;
                self.report.kept += 1;
                self.proof.count(&kept);
                Ok(())
            }
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Corrupt) => self.read_in_parts(path, entry),
            Err(error) => Err(error),
        }
    }

    /// Stores a file that is large, or is being written.
    fn read_in_parts(&mut self, path: &[u8], entry: &[u8]) -> Result<()> {
        let opened = match Opened::open(&self.folder, path) {
            Ok(opened) => opened,
            Err(error) => return self.skip(entry, error),
        };
        let stored = opened.store(entry)?;
        if stored.changed {
            self.report.changed.add(entry);
        }
        self.count(&stored.finished);
        Ok(())
    }

    /// Counts a file that was read.
    fn count(&mut self, finished: &Finished) {
        self.report.files += 1;
        self.report.read += finished.size;
        self.proof.count(finished);
    }

    /// What cannot be read fails the run, unless it has gone, or the config allows it.
    fn skip(&mut self, entry: &[u8], error: Error) -> Result<()> {
        match error.kind {
            ErrorKind::NotFound if entry != self.name => {
                self.report.vanished.add(entry);
                Ok(())
            }
            ErrorKind::PermissionDenied | ErrorKind::Io if self.selection.may_be_unreadable(entry) => {
                self.report.unreadable.add(entry);
                Ok(())
            }
            ErrorKind::PermissionDenied | ErrorKind::Io => {
                let name = report::in_words(entry);
                let hint = format!("let it be read, leave it out (`exclude = [\"/{name}\"]`), or allow it (`unreadable = [\"/{name}\"]`)");
                Err(error
                    .context(format!("{name} cannot be read"))
                    .with_setting("unreadable")
                    .with_hint(hint))
            }
            _ => Err(error),
        }
    }

    fn tell(&mut self) {
        self.nodes += 1;
        if self.nodes.is_multiple_of(REPORT_EVERY) {
            progress::report("reading files", self.proof.bytes, None);
        }
    }
}

/// The path of a name in a folder.
fn below(folder: &[u8], name: &[u8]) -> Vec<u8> {
    match folder {
        [] => name.to_vec(),
        folder => [folder, b"/", name].concat(),
    }
}
