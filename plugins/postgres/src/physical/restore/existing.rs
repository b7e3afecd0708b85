//! What is there before a restore over it: whether it may be written over ([`require_a_cluster`]), and what of it goes ([`Survey`]).

use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt,
    directory::{FileType, Folder, OpenMode, Stat},
    snapshot,
};

use super::{
    contents::Contents,
    targets::{Target, Targets},
};
use crate::physical::layout::{self, Archive};

/// Says which major version made a data directory.
const VERSION: &str = "PG_VERSION";

/// What a restore writes first, and a file system's own: where there is no more, there is nothing to lose.
const BEGINNING: [&[u8]; 3] = [layout::MANIFEST, VERSION.as_bytes(), LOST_AND_FOUND];

/// A server's, while it runs.
const LOCK: &str = "postmaster.pid";

/// A file system's own, where one is mounted.
const LOST_AND_FOUND: &[u8] = b"lost+found";

/// Bytes of a small file of a cluster's.
const SMALL: usize = 1 << 16;

/// Sees that what is there, if anything, is this cluster, and that no server runs on it.
pub(super) fn require_a_cluster(targets: &Targets) -> Result<()> {
    let Some(data) = &targets.data else { return Ok(()) };
    if !has_only_a_beginning(data)? {
        require_data_directory(data)?;
        require_no_server(data)?;
        require_same_system(data)?;
    }
    targets
        .tablespaces
        .iter()
        .try_for_each(|(oid, target)| require_tablespace(data, *oid, target))
}

fn has_only_a_beginning(data: &Target) -> Result<bool> {
    for entry in data.folder.list("")? {
        if !BEGINNING.contains(&&*entry?.name) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn conflict(message: String, hint: &str) -> Error {
    Error::new(ErrorKind::Conflict, message).with_hint(hint)
}

/// One of the snapshot's major version, as far as an interrupted restore had come with it: the manifest is what it writes first.
fn require_data_directory(data: &Target) -> Result<()> {
    let has = |name: &str| exists(&data.folder, name.as_bytes());
    if !has(VERSION)? || !(has("global")? || has("backup_manifest")?) {
        let message = format!("{} is not empty, and is no data directory of PostgreSQL", data.told());
        return Err(conflict(message, "name the right folder in the restore target, or empty this one"));
    }
    let found = data.folder.read(VERSION, SMALL)?;
    let wanted = read_entry(&layout::join(layout::DATA, VERSION.as_bytes()))?;
    if found.trim_ascii() == wanted.trim_ascii() {
        return Ok(());
    }
    let text = |version: &[u8]| String::from_utf8_lossy(version.trim_ascii()).into_owned();
    let message = format!(
        "{} is of PostgreSQL {}, the snapshot of PostgreSQL {}",
        data.told(),
        text(&found),
        text(&wanted)
    );
    Err(conflict(message, "restore into another folder, or empty this one"))
}

/// A sandbox sees no processes, so the file alone counts; a server that was killed leaves it behind.
pub(super) fn require_no_server(data: &Target) -> Result<()> {
    if !exists(&data.folder, LOCK.as_bytes())? {
        return Ok(());
    }
    let content = data.folder.read(LOCK, SMALL)?;
    let process = String::from_utf8_lossy(&content)
        .lines()
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned();
    let message = format!(
        "a server runs on {}, or was killed: it has `{LOCK}` of the process {process}",
        data.told()
    );
    Err(conflict(
        message,
        &format!("stop the server; where no process {process} is a server of this folder any more, remove `{LOCK}`"),
    ))
}

/// Where a restore over it was cut off, the file is aside. A first restore that was cut off left neither: whose cluster that is cannot be told.
fn require_same_system(data: &Target) -> Result<()> {
    let path = if exists(&data.folder, layout::CONTROL)? {
        layout::CONTROL
    } else if exists(&data.folder, layout::CONTROL_ASIDE)? {
        layout::CONTROL_ASIDE
    } else {
        return Ok(());
    };
    let found = data.folder.read(path, SMALL)?;
    let wanted = read_entry(&layout::join(layout::DATA, layout::CONTROL))?;
    if identifier(&found) == identifier(&wanted) {
        return Ok(());
    }
    let message = format!("{} is another cluster than the snapshot's", data.told());
    Err(conflict(
        message,
        "restore into another folder; or empty this one, if that cluster is not needed any more",
    ))
}

/// The system identifier: the first eight bytes, as all versions have it.
fn identifier(control: &[u8]) -> Option<&[u8]> {
    control.get(..8)
}

/// What is in a tablespace's folder must be this cluster's: its link leads there. Else it may be that of a server that runs elsewhere.
fn require_tablespace(data: &Target, oid: u32, target: &Target) -> Result<()> {
    if target.is_empty()? {
        return Ok(());
    }
    let link = layout::join(layout::LINKS, oid.to_string().as_bytes());
    let leads_there = match data.folder.read_link(&link) {
        Ok(path) => path == target.path(),
        Err(error) if error.kind == ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    if !leads_there {
        let message = format!(
            "{} is not empty, and is no tablespace of the cluster in {}",
            target.told(),
            data.told()
        );
        return Err(conflict(
            message,
            "name the folder of this cluster's tablespace in the restore target, or an empty one",
        ));
    }
    Ok(())
}

fn exists(folder: &Folder, path: &[u8]) -> Result<bool> {
    match folder.stat(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A small entry of the snapshot.
fn read_entry(path: &[u8]) -> Result<Vec<u8>> {
    Ok(snapshot::open(path)?.read_at(0, SMALL)?.unwrap_or_default())
}

/// What goes: a file or link, or a folder with all that is in it.
pub(super) struct Surplus {
    pub(super) archive: Archive,
    pub(super) path: Vec<u8>,
    /// Itself, and what is in it.
    pub(super) entries: u64,
    /// Of its files.
    pub(super) bytes: u64,
    is_folder: bool,
}

impl Surplus {
    /// Its path, as a snapshot would have it.
    pub(super) fn in_snapshot(&self) -> Vec<u8> {
        layout::join(&self.archive.root(), &self.path)
    }

    /// Removes it from its target's folder; what is gone already is no error.
    pub(super) fn remove(&self, folder: &Folder) -> Result<()> {
        let removed = if self.is_folder {
            remove_folder(folder, &self.path)
        } else {
            folder.remove_file(&self.path)
        };
        match removed {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            other => other.context(|| format!("removing {} failed", String::from_utf8_lossy(&self.path))),
        }
    }
}

fn remove_folder(folder: &Folder, path: &[u8]) -> Result<()> {
    for (name, stat) in children(folder, path)? {
        let inside = layout::join(path, &name);
        match stat.file_type {
            FileType::Directory => remove_folder(folder, &inside)?,
            _ => folder.remove_file(&inside)?,
        }
    }
    folder.remove_folder(path)
}

/// Makes what is in a folder durable, file by file: the folder is on another file system than the one that was granted.
pub(super) fn sync_below(folder: &Folder, path: &[u8]) -> Result<()> {
    for (name, stat) in children(folder, path)? {
        let inside = layout::join(path, &name);
        match stat.file_type {
            FileType::Directory if name == LOST_AND_FOUND => {}
            FileType::Directory => sync_below(folder, &inside)?,
            FileType::Regular => folder.open_file(&inside, OpenMode::Read)?.sync()?,
            _ => {}
        }
    }
    folder.sync(path)
}

/// Names in a folder, with what is there.
fn children(folder: &Folder, path: &[u8]) -> Result<Vec<(Vec<u8>, Stat)>> {
    let names: Vec<Vec<u8>> = folder
        .list(path)?
        .map(|entry| entry.map(|entry| entry.name))
        .collect::<Result<_>>()?;
    let stats = folder.stat_names(path, &names)?;
    let told = names.into_iter().zip(stats);
    told.map(|(name, stat)| stat.map(|stat| (name, stat))).collect()
}

/// What a target's folder has, beside a snapshot.
pub(super) struct Survey<'s> {
    target: &'s Target,
    archive: Archive,
    contents: &'s Contents,
    pub(super) surplus: Vec<Surplus>,
    /// Folders on which other file systems are mounted.
    pub(super) mounted: Vec<Vec<u8>>,
    /// Bytes of all files, those that go among them.
    pub(super) bytes: u64,
}

impl<'s> Survey<'s> {
    pub(super) fn of(archive: Archive, target: &'s Target, contents: &'s Contents) -> Result<Self> {
        let mut survey = Self {
            target,
            archive,
            contents,
            surplus: Vec::new(),
            mounted: Vec::new(),
            bytes: 0,
        };
        let device = target.folder.stat("")?.device;
        survey.folder(b"", device)?;
        Ok(survey)
    }

    fn folder(&mut self, path: &[u8], device: u64) -> Result<()> {
        for (name, stat) in children(&self.target.folder, path)? {
            let inside = if path.is_empty() { name } else { layout::join(path, &name) };
            let wanted = self.contents.file_type(&layout::join(&self.archive.root(), &inside));
            match (wanted, stat.file_type) {
                (None, _) if self.is_foreign(&inside) => {}
                (Some(FileType::Directory), FileType::Directory) => {
                    if stat.device != device {
                        self.mounted.push(inside.clone());
                    }
                    self.folder(&inside, stat.device)?;
                }
                (Some(FileType::Directory), FileType::Symlink) => return Err(self.leads_away(&inside)),
                (Some(wanted), found) if wanted == found => self.bytes += stat.size,
                _ => self.goes(inside, &stat)?,
            }
        }
        Ok(())
    }

    /// A folder of its own in the link's place would be on another disk than what was planned for it.
    fn leads_away(&self, path: &[u8]) -> Error {
        let folder = &self.target.folder;
        let to = folder.read_link(path).unwrap_or_default();
        let path = String::from_utf8_lossy(path);
        let message = format!(
            "`{path}` in {} is a symbolic link to {}, and a restore does not leave the folder that is granted",
            self.target.told(),
            String::from_utf8_lossy(&to)
        );
        let hint = format!(
            "mount that folder at `{path}`, or remove the link and let `{path}` be a folder in its place, which can be moved afterwards"
        );
        conflict(message, &hint)
    }

    /// What is not in the snapshot and stays all the same: a file system's own, a running server's, the restore's own, and in a tablespace's folder what servers
    /// of other versions have.
    fn is_foreign(&self, path: &[u8]) -> bool {
        let name = path.rsplit(|&byte| byte == b'/').next();
        let is_of_archive = match self.archive {
            Archive::Base => path == LOCK.as_bytes() || path == layout::CONTROL_ASIDE,
            Archive::Tablespace(_) => !path.contains(&b'/'),
        };
        name == Some(LOST_AND_FOUND) || is_of_archive
    }

    fn goes(&mut self, path: Vec<u8>, stat: &Stat) -> Result<()> {
        let is_folder = stat.file_type == FileType::Directory;
        let (entries, bytes) = if is_folder {
            self.inside(&path)?
        } else {
            (1, if stat.file_type == FileType::Regular { stat.size } else { 0 })
        };
        self.bytes += bytes;
        self.surplus.push(Surplus {
            archive: self.archive,
            path,
            entries,
            bytes,
            is_folder,
        });
        Ok(())
    }

    /// Entries and bytes of a folder that goes, itself among them.
    fn inside(&self, path: &[u8]) -> Result<(u64, u64)> {
        let mut total = (1, 0);
        for (name, stat) in children(&self.target.folder, path)? {
            let (entries, bytes) = match stat.file_type {
                FileType::Directory => self.inside(&layout::join(path, &name))?,
                FileType::Regular => (1, stat.size),
                _ => (1, 0),
            };
            total = (total.0 + entries, total.1 + bytes);
        }
        Ok(total)
    }
}
