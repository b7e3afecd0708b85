//! Writes entries into their places: [`Writer`].

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    directory::{Attributes, File, Folder, OpenMode, Stat},
    host::BEST_TRANSFER,
    metadata::{Metadata, NodeType},
    progress,
    snapshot::{self, Entry},
    source::{RestoreRequest, RestoreResult},
    types::{Fact, Finding},
};

use super::{
    Moment,
    delta::{Brought, Delta},
    link, place,
    targets::Targets,
};
use crate::{
    config::Owner,
    physical::{
        layout::{self, Place},
        recovery,
    },
};

/// Makes the server a standby.
pub(super) const STANDBY_SIGNAL: &str = "standby.signal";

/// Has the server recover, and open for writing at the end.
const RECOVERY_SIGNAL: &str = "recovery.signal";

pub(super) struct Writer {
    targets: Targets,
    owner: Owner,
    /// For a restore over what is there.
    delta: Option<Delta>,
    /// Whether the system refused to give a file away.
    refused: bool,
    result: RestoreResult,
    total: u64,
    reported: u64,
}

impl Writer {
    /// Writes `total` bytes into `targets`.
    pub(super) fn new(targets: Targets, owner: Owner, delta: Option<Delta>, total: u64) -> Self {
        Self {
            targets,
            owner,
            delta,
            refused: false,
            result: RestoreResult::default(),
            total,
            reported: 0,
        }
    }

    /// Whether nothing is written.
    fn is_rehearsal(&self) -> bool {
        self.delta.as_ref().is_some_and(|delta| delta.is_rehearsal)
    }

    /// Writes an entry; the file without which no server starts is left for [`Writer::enable`].
    pub(super) fn write(&mut self, entry: &Entry) -> Result<()> {
        let place = place(entry)?;
        let Some((folder, path)) = self.targets.locate(place) else {
            return Ok(());
        };
        match &entry.metadata.node_type {
            NodeType::Directory => {
                let there = match &mut self.delta {
                    Some(delta) => delta.folder(entry, folder, path)?,
                    None => None,
                };
                if !self.is_rehearsal() {
                    if !path.is_empty() {
                        make_parents(folder, path).and_then(|()| create_folder(folder, path))?;
                    }
                    let refused = self.give(&entry.metadata, there.as_ref(), |change| folder.set_attributes(path, change))?;
                    self.note(refused)?;
                }
            }
            NodeType::File if place == Place::Data(layout::CONTROL) => return Ok(()),
            NodeType::File => {
                if !self.is_rehearsal() {
                    make_parents(folder, path)?;
                }
                let brought = match &mut self.delta {
                    Some(delta) => delta.file(entry, folder, path)?,
                    None => Brought::Anew(copy(entry, folder, path)?),
                };
                let refused = match brought {
                    Brought::Anew(file) => self.give(&entry.metadata, None, |change| file.set_attributes(change))?,
                    Brought::There(_) if self.is_rehearsal() => None,
                    Brought::There(stat) => self.give(&entry.metadata, Some(&stat), |change| folder.set_attributes(path, change))?,
                    Brought::Rehearsed => None,
                };
                self.note(refused)?;
            }
            NodeType::Symlink(target) => self.link(entry, place, target)?,
            other => {
                return Err(Error::new(ErrorKind::Corrupt, format!("a cluster has no entry of type {other:?}")));
            }
        }
        self.count(entry);
        Ok(())
    }

    fn link(&mut self, entry: &Entry, place: Place<'_>, original: &[u8]) -> Result<()> {
        let target = self.link_target(place, original);
        let Some((folder, path)) = self.targets.locate(place) else {
            return Ok(());
        };
        let there = match &mut self.delta {
            Some(delta) => delta.link(entry, folder, path, &target)?,
            None => None,
        };
        if self.is_rehearsal() {
            return Ok(());
        }
        if there.is_none() {
            make_parents(folder, path)?;
            folder.create_symlink(path, target)?;
        }
        let refused = give(self.owner_for(&entry.metadata), Attributes::default(), there.as_ref(), |change| {
            folder.set_attributes(path, change)
        })?;
        self.note(refused)
    }

    fn count(&mut self, entry: &Entry) {
        self.result.entries += 1;
        self.result.bytes += entry.size;
        if self.result.bytes - self.reported >= 4 << 20 {
            self.reported = self.result.bytes;
            progress::report("restoring", self.result.bytes, Some(self.total));
        }
    }

    /// Sets an entry's mode, time and owner on what is new, or what differs of them from what is there; says if the system refused the owner.
    fn give(&self, metadata: &Metadata, there: Option<&Stat>, set: impl Fn(&Attributes) -> Result<()>) -> Result<Option<Error>> {
        give(self.owner_for(metadata), mode_and_time(metadata), there, set)
    }

    /// Writes the file without which no server starts, when all else is durable: what was cut off before does not start.
    pub(super) fn enable(&mut self, entry: &Entry) -> Result<()> {
        let Some(data) = self.targets.data.as_ref().filter(|_| !self.is_rehearsal()) else {
            return Ok(());
        };
        self.sync()?;
        make_parents(&data.folder, layout::CONTROL)?;
        let beside = [layout::CONTROL, b".bulkhead"].concat();
        remove_if_there(&data.folder, &beside)?;
        let file = copy(entry, &data.folder, &beside)?;
        let refused = self.give(&entry.metadata, None, |change| file.set_attributes(change))?;
        file.sync()?;
        data.folder.rename(&beside, layout::CONTROL)?;
        remove_if_there(&data.folder, layout::CONTROL_ASIDE)?;
        self.note(refused)?;
        self.count(entry);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.targets.sync()?;
        self.delta.as_ref().map_or(Ok(()), |delta| delta.sync(&self.targets))
    }

    /// An owner that the system refused is an error, unless the owner is only wanted where it may be.
    fn note(&mut self, refused: Option<Error>) -> Result<()> {
        match refused {
            Some(error) if self.owner != Owner::Auto => Err(error),
            Some(_) => {
                self.refused = true;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A tablespace's link points to where the tablespace goes now; any other stays as it was.
    fn link_target(&self, place: Place<'_>, original: &[u8]) -> Vec<u8> {
        let Place::Data(path) = place else { return original.to_vec() };
        let target = link(path).and_then(|oid| self.targets.tablespaces.get(&oid));
        target.map_or(original, |target| target.path()).to_vec()
    }

    fn owner_for(&self, metadata: &Metadata) -> Option<(u32, u32)> {
        match self.owner {
            Owner::Auto if self.refused => None,
            Owner::Auto | Owner::Original => Some((metadata.uid, metadata.gid)),
            Owner::Current => None,
            Owner::Fixed { uid, gid } => Some((uid, gid)),
        }
    }

    /// Gives a folder its time again, which what was written into it changed.
    pub(super) fn settle(&self, entry: &Entry) -> Result<()> {
        let Some(modified) = entry.metadata.modified.filter(|_| entry.metadata.node_type == NodeType::Directory) else {
            return Ok(());
        };
        let Some((folder, path)) = self.targets.locate(place(entry)?) else {
            return Ok(());
        };
        if folder.stat(path)?.modified == modified {
            return Ok(());
        }
        let change = Attributes {
            modified: Some(modified),
            ..Attributes::default()
        };
        folder.set_attributes(path, &change)
    }

    /// Makes an empty file that tells the server what to do at its start.
    pub(super) fn signal(&mut self, name: &str) -> Result<()> {
        let Some(data) = &self.targets.data else { return Ok(()) };
        let file = match data.folder.open_file(name, OpenMode::Create) {
            // A backup of a standby has its own.
            Err(error) if error.kind == ErrorKind::AlreadyExists => return Ok(()),
            file => file?,
        };
        let like = snapshot::stat(layout::join(layout::DATA, b"PG_VERSION")).ok();
        if let Some((uid, gid)) = like.and_then(|entry| self.owner_for(&entry.metadata)) {
            file.set_attributes(&Attributes {
                uid: Some(uid),
                gid: Some(gid),
                ..Attributes::default()
            })?;
        }
        Ok(())
    }

    /// Has the server bring the cluster to a moment when it is started.
    pub(super) fn recovery(&mut self, moment: &Moment) -> Result<()> {
        let Some(data) = &self.targets.data else { return Ok(()) };
        recovery::append(&data.folder, &moment.settings)?;
        if moment.standby {
            return self.signal(STANDBY_SIGNAL);
        }
        // Where both are there, a server becomes a standby.
        remove_if_there(&data.folder, STANDBY_SIGNAL.as_bytes())?;
        self.signal(RECOVERY_SIGNAL)
    }

    pub(super) fn finish(mut self, request: &RestoreRequest) -> Result<RestoreResult> {
        progress::report("syncing to disk", self.result.bytes, Some(self.total));
        if !self.is_rehearsal() {
            self.sync()?;
        }
        let places = self.targets.all().map(|(_, target)| Fact::new("restored-to", &target.location));
        self.result.facts.extend(places);
        self.result.facts.extend(self.delta.iter().flat_map(Delta::facts));
        progress::report("restored", self.result.bytes, Some(self.total));
        if self.refused {
            self.result.findings.push(
                Finding::warning(
                    "owner-not-restored",
                    "the restored files belong to whoever Bulkhead runs as, not to their original owner",
                )
                .with_hint("run the restore as root, or give the files to the server's user: chown -R postgres: PGDATA"),
            );
        }
        if !request.paths.is_empty() {
            self.result.findings.push(
                Finding::info(
                    "partial-restore",
                    "only a part of the cluster was restored: PostgreSQL does not start from it",
                )
                .with_hint("restore without paths for a cluster that starts"),
            );
        }
        Ok(self.result)
    }
}

fn mode_and_time(metadata: &Metadata) -> Attributes {
    Attributes {
        mode: Some(metadata.mode),
        modified: metadata.modified,
        ..Attributes::default()
    }
}

/// Sets attributes, with the owner if there is one to set, where they differ from what is there; says if the system refused that owner, and then has set the
/// others.
fn give(
    owner: Option<(u32, u32)>,
    attributes: Attributes,
    there: Option<&Stat>,
    set: impl Fn(&Attributes) -> Result<()>,
) -> Result<Option<Error>> {
    let set = |wanted: &Attributes| match there.map_or_else(|| wanted.clone(), |stat| differing(wanted, stat)) {
        nothing if nothing == Attributes::default() => Ok(()),
        change => set(&change),
    };
    let Some((uid, gid)) = owner else {
        return set(&attributes).map(|()| None);
    };
    let with_owner = Attributes {
        uid: Some(uid),
        gid: Some(gid),
        ..attributes.clone()
    };
    match set(&with_owner) {
        Err(error) if error.kind == ErrorKind::PermissionDenied => {
            set(&attributes)?;
            Ok(Some(explain_owner(error, uid, gid)))
        }
        other => other.map(|()| None),
    }
}

/// What of the attributes is not as it is there.
fn differing(wanted: &Attributes, there: &Stat) -> Attributes {
    Attributes {
        mode: wanted.mode.filter(|mode| *mode != there.mode),
        uid: wanted.uid.filter(|uid| *uid != there.uid),
        gid: wanted.gid.filter(|gid| *gid != there.gid),
        modified: wanted.modified.filter(|modified| *modified != there.modified),
    }
}

fn explain_owner(error: Error, uid: u32, gid: u32) -> Error {
    if error.kind != ErrorKind::PermissionDenied || error.hint.is_some() {
        return error;
    }
    error
        .context(format!("giving a restored file to {uid}:{gid} failed"))
        .with_setting("owner")
        .with_hint("run the restore as root, or set `owner = \"current\"`")
}

/// Folders of a partial restore whose own entries aren't selected.
fn make_parents(folder: &Folder, path: &[u8]) -> Result<()> {
    let Some(end) = path.iter().rposition(|&byte| byte == b'/') else {
        return Ok(());
    };
    match folder.stat(&path[..end]) {
        Ok(_) => Ok(()),
        Err(error) if error.kind == ErrorKind::NotFound => folder.create_folders(&path[..end], 0o700),
        Err(error) => Err(error),
    }
}

fn create_folder(folder: &Folder, path: &[u8]) -> Result<()> {
    match folder.create_folder(path, 0o700) {
        Err(error) if error.kind == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn remove_if_there(folder: &Folder, path: &[u8]) -> Result<()> {
    match folder.remove_file(path) {
        Err(error) if error.kind != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes an entry's content into a new file.
pub(super) fn copy(entry: &Entry, folder: &Folder, path: &[u8]) -> Result<File> {
    let mut reader = snapshot::open(&entry.path)?;
    let mut file = folder.open_file(path, OpenMode::Create)?;
    let mut bytes = 0;
    while let Some(part) = reader.read_bytes(BEST_TRANSFER)? {
        file.write_bytes(&part)?;
        bytes += part.len() as u64;
    }
    require_whole(entry, bytes)?;
    Ok(file)
}

/// Sees that the snapshot held as much as it states.
pub(super) fn require_whole(entry: &Entry, bytes: u64) -> Result<()> {
    if bytes == entry.size {
        return Ok(());
    }
    let message = format!("the snapshot states {} bytes and holds {bytes}", entry.size);
    Err(Error::new(ErrorKind::Corrupt, message))
}
