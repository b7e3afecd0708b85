//! Through the trees, in the order of a snapshot: [`backup`].

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    directory::{self, FileType, Folder, Stat},
    entries,
    metadata::{Metadata, NodeType},
    progress,
    source::BackupResult,
    types::Proof,
};

use crate::{
    config::Config,
    names::Names,
    parent::Parent,
    report::Report,
    select::Selection,
    store::{self, Opened},
};

/// Nodes between two reports of progress.
const REPORT_EVERY: u64 = 64;

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
}

/// What is at a path, read as far as it can fail to be.
enum Node {
    /// With the names in it that are to be visited.
    Folder(Metadata, Names),
    /// As the parent has it.
    Unchanged,
    File(Box<Opened>),
    Other(Metadata),
    /// A file that nobody asked for.
    Unwanted,
}

impl Tree<'_> {
    /// Goes through all of it, without recursion: folders may be nested deeper than a sandbox's stack is.
    fn walk(&mut self) -> Result<()> {
        let mut path = Vec::new();
        let mut levels = Vec::new();
        levels.extend(self.visit(&path)?.map(|names| Level { path: 0, names }));
        while let Some(level) = levels.last_mut() {
            path.truncate(level.path);
            let Some(name) = level.names.next() else {
                levels.pop();
                continue;
            };
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            let names = self.visit(&path)?;
            levels.extend(names.map(|names| Level { path: path.len(), names }));
        }
        Ok(())
    }

    /// Stores what is at `path`; the names in it, where it is a folder.
    fn visit(&mut self, path: &[u8]) -> Result<Option<Names>> {
        let entry = match path {
            [] => self.name.to_vec(),
            path => [self.name, b"/", path].concat(),
        };
        if self.selection.leaves_out(&entry) {
            return Ok(None);
        }
        self.tell();
        match self.look(path, &entry) {
            Ok(node) => self.store(path, &entry, node),
            Err(error) => self.skip(&entry, error).map(|()| None),
        }
    }

    fn look(&mut self, path: &[u8], entry: &[u8]) -> Result<Node> {
        let stat = self.folder.stat(path)?;
        match stat.file_type {
            FileType::Directory => {
                let names = self.names(path, entry, &stat)?;
                Ok(Node::Folder(store::metadata(&self.folder, path, &stat)?, names))
            }
            FileType::Regular if !self.selection.wants(entry) => Ok(Node::Unwanted),
            FileType::Regular if !self.config.read_all && self.parent.has(entry, &stat)? => Ok(Node::Unchanged),
            FileType::Regular => Ok(Node::File(Box::new(Opened::open(&self.folder, path)?))),
            _ => Ok(Node::Other(store::metadata(&self.folder, path, &stat)?)),
        }
    }

    /// The names in a folder that are to be visited.
    fn names(&mut self, path: &[u8], entry: &[u8], stat: &Stat) -> Result<Names> {
        if self.config.one_file_system && stat.device != self.device {
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

    fn store(&mut self, path: &[u8], entry: &[u8], node: Node) -> Result<Option<Names>> {
        match node {
            Node::Folder(metadata, names) => {
                self.report.folders += 1;
                entries::add(entry, &metadata)?;
                return Ok(Some(names));
            }
            Node::Other(metadata) => {
                match metadata.node_type {
                    NodeType::Symlink(_) => self.report.links += 1,
                    _ => self.report.others += 1,
                }
                entries::add(entry, &metadata)?;
            }
            Node::Unchanged => self.keep(path, entry)?,
            Node::File(opened) => self.file(entry, *opened)?,
            Node::Unwanted => {}
        }
        Ok(None)
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
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Corrupt) => match Opened::open(&self.folder, path) {
                Ok(opened) => self.file(entry, opened),
                Err(error) => self.skip(entry, error),
            },
            Err(error) => Err(error),
        }
    }

    fn file(&mut self, entry: &[u8], opened: Opened) -> Result<()> {
        let stored = opened.store(entry)?;
        self.report.files += 1;
        self.report.read += stored.finished.size;
        self.proof.count(&stored.finished);
        if stored.changed {
            self.report.changed.add(entry);
        }
        Ok(())
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
                let name = String::from_utf8_lossy(entry).into_owned();
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
