//! A home back in its place, all of it or what is asked for: [`Restore`]. Each file is written beside its place, made durable and renamed; keys are readable by nobody else at
//! any moment, because a file is made with 0600 and gets its mode when it is whole.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt,
    directory::{self, Attributes, Folder},
    metadata::{Metadata, NodeType},
    progress,
    snapshot::{self, Entry},
    source::{RestoreRequest, RestoreResult},
    types::Finding,
};
use bulkhead_sqlite_image as sqlite;

use crate::{
    config::RestoreOptions,
    home::{self, HOME, shown},
    inventory::{self, Line, SQLITE},
    report,
};

/// The databases of the snapshot, and the CAs that they belong to.
fn databases() -> Result<BTreeMap<Vec<u8>, String>> {
    let mut databases = BTreeMap::new();
    for text in inventory::stored(inventory::HOME)? {
        if let Line::Authority {
            ca,
            database_type,
            database: Some(path),
            ..
        } = inventory::line(&text?)?
            && database_type == SQLITE
        {
            databases.entry(path.into_bytes()).or_insert(ca);
        }
    }
    Ok(databases)
}

/// What will be written into the granted directory, where nothing is in its way.
pub(super) struct Restore {
    folder: Folder,
    overwrite: bool,
    wanted: Vec<Entry>,
    databases: BTreeMap<Vec<u8>, String>,
    /// All of the snapshot.
    folders: Folders,
    /// Those that are ours, which get their attributes when all is in them.
    made: Folders,
    result: RestoreResult,
}

/// Folders, by their paths in the home.
type Folders = BTreeMap<Vec<u8>, Metadata>;

/// What of the home is asked for, and all its folders.
fn wanted(request: &RestoreRequest) -> Result<(Vec<Entry>, Folders)> {
    let (mut wanted, mut folders) = (Vec::new(), Folders::new());
    for entry in snapshot::walk(HOME)? {
        let entry = entry?;
        let Some(path) = inside(&entry.path) else { continue };
        if entry.metadata.node_type == NodeType::Directory {
            folders.insert(path.to_vec(), entry.metadata.clone());
        }
        if request.selects(&entry.path) {
            wanted.push(entry);
        }
    }
    Ok((wanted, folders))
}

/// The path in the home; `None` of what is no part of it.
fn inside(entry: &[u8]) -> Option<&[u8]> {
    match entry.strip_prefix(HOME.as_bytes())? {
        [] => Some(b""),
        rest => rest.strip_prefix(b"/"),
    }
}

impl Restore {
    /// What is to be written; `None` where that is nothing. What the restore goes back behind is told while it is still there.
    ///
    /// # Errors
    /// `NotGranted`; `Conflict`: something is in the way.
    pub(super) fn plan(options: &RestoreOptions, request: &RestoreRequest) -> Result<Option<Self>> {
        let (wanted, folders) = wanted(request)?;
        if wanted.is_empty() {
            return Ok(None);
        }
        let mut restore = Self {
            folder: directory::open(HOME)?,
            overwrite: options.overwrite,
            wanted,
            databases: databases()?,
            folders,
            made: Folders::new(),
            result: RestoreResult::default(),
        };
        restore.refuse_occupied()?;
        let databases = restore.databases.iter().filter(|(path, _)| request.selects(&home::entry(path)));
        restore.result.findings = report::since(&restore.folder, databases)?;
        Ok(Some(restore))
    }

    /// Writes it.
    pub(super) fn write(mut self) -> Result<RestoreResult> {
        for entry in std::mem::take(&mut self.wanted) {
            let name = shown(&entry.path);
            self.entry(&entry).context(|| format!("restoring {name} failed"))?;
        }
        self.finish()
    }

    fn refuse_occupied(&self) -> Result<()> {
        if self.overwrite {
            return Ok(());
        }
        for entry in &self.wanted {
            let path = inside(&entry.path).unwrap_or_default();
            if entry.metadata.node_type != NodeType::Directory && self.exists(path)? {
                let message = format!("there is already a {} in the home", shown(path));
                return Err(Error::new(ErrorKind::Conflict, message).with_hint(
                    "restore into an empty directory; or stop the server, and replace what is there with `config = { overwrite = true }` in the target",
                ));
            }
        }
        Ok(())
    }

    fn exists(&self, path: &[u8]) -> Result<bool> {
        match self.folder.stat(path) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
            found => found.map(|_| true),
        }
    }

    fn entry(&mut self, entry: &Entry) -> Result<()> {
        let path = inside(&entry.path).unwrap_or_default();
        if entry.metadata.node_type == NodeType::Directory {
            self.folder(path)?;
            self.made.insert(path.to_vec(), entry.metadata.clone());
            return Ok(());
        }
        self.folder(home::split(path).0)?;
        let mut written = 0;
        let count = &mut |bytes: u64| written += bytes;
        match &entry.metadata.node_type {
            NodeType::File if self.databases.contains_key(path) => sqlite::place(&self.folder, path, entry, self.overwrite, count)?,
            NodeType::File => sqlite::write(&self.folder, path, entry, count)?,
            NodeType::Symlink(target) => self.link(path, target, &entry.metadata)?,
            _ => {
                let message = format!("{} is no file, folder or link, and not restored", shown(path));
                self.result.findings.push(Finding::warning("not-restored", message));
                return Ok(());
            }
        }
        self.result.entries += 1;
        self.result.bytes += written;
        progress::report("writing the home", self.result.bytes, None);
        Ok(())
    }

    /// Makes a folder and those above it; each that was missing gets the attributes that it had.
    fn folder(&mut self, path: &[u8]) -> Result<()> {
        let mut missing = BTreeSet::new();
        let mut at = path;
        while !at.is_empty() && !self.exists(at)? {
            missing.insert(at.to_vec());
            at = home::split(at).0;
        }
        for path in missing {
            self.folder.create_folder(&path, 0o700)?;
            if let Some(metadata) = self.folders.get(&path) {
                self.made.insert(path, metadata.clone());
            }
        }
        Ok(())
    }

    fn link(&self, path: &[u8], target: &[u8], metadata: &Metadata) -> Result<()> {
        match self.folder.remove_file(path) {
            Err(error) if error.kind != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.folder.create_symlink(path, target)?;
        self.give(path, metadata)
    }

    /// To its owner, where that is allowed.
    fn give(&self, path: &[u8], metadata: &Metadata) -> Result<()> {
        let owner = Attributes {
            uid: Some(metadata.uid),
            gid: Some(metadata.gid),
            ..Attributes::default()
        };
        match self.folder.set_attributes(path, &owner) {
            // Only root gives files away; whoever restores owns it then.
            Err(error) if error.kind == ErrorKind::PermissionDenied => Ok(()),
            set => set,
        }
    }

    /// The attributes of folders, from the innermost out: whatever is made in one changes its time.
    fn finish(self) -> Result<RestoreResult> {
        for (path, metadata) in self.made.iter().rev() {
            self.give(path, metadata)?;
            self.folder.set_attributes(
                path,
                &Attributes {
                    mode: Some(metadata.mode),
                    modified: metadata.modified,
                    ..Attributes::default()
                },
            )?;
        }
        self.folder.sync_file_system()?;
        Ok(self.result)
    }
}
