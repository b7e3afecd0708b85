//! Writing a cluster back into granted directories: [`restore`].
//!
//! First everything is written; then folders get their times again, which writing into them has changed; and last the file systems are synced, which takes
//! a fraction of what a sync of each file does.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt,
    directory::{self, Attributes, File, Folder, OpenMode},
    host::BEST_TRANSFER,
    metadata::{Metadata, NodeType},
    progress,
    snapshot::{self, Entry},
    source::{RestoreRequest, RestoreResult},
    types::{Fact, Finding},
};

use super::{
    layout::{self, Place},
    recovery,
};
use crate::config::{Owner, Recovery, RestoreOptions};

/// Makes the server a standby.
const STANDBY_SIGNAL: &str = "standby.signal";

/// Has the server recover, and open for writing at the end.
const RECOVERY_SIGNAL: &str = "recovery.signal";

/// The grant for PGDATA.
const DATA_GRANT: &str = "data";

/// Restores what `request` selects.
pub(crate) fn restore(request: &RestoreRequest) -> Result<RestoreResult> {
    let options: RestoreOptions = request.options()?;
    let owner = options.owner()?;
    let recovery = options
        .recovery
        .as_ref()
        .map(|recovery| Moment::make(recovery, request))
        .transpose()?;
    let plan = Plan::make(request)?;
    let targets = Targets::open(&plan)?;
    let mut writer = Writer {
        targets,
        owner,
        refused: false,
        result: RestoreResult::default(),
        total: plan.bytes,
        reported: 0,
    };
    for entry in selected(request)? {
        let entry = entry?;
        writer
            .write(&entry)
            .context(|| format!("restoring {} failed", String::from_utf8_lossy(&entry.path)))?;
    }
    if options.standby {
        writer.signal(STANDBY_SIGNAL)?;
    }
    if let Some(moment) = &recovery {
        writer.recovery(moment)?;
    }
    for entry in selected(request)? {
        let entry = entry?;
        writer
            .settle(&entry)
            .context(|| format!("restoring the time of {} failed", String::from_utf8_lossy(&entry.path)))?;
    }
    writer.finish(request)
}

/// To which moment the server brings the cluster, and how: known to be writable before anything is written.
struct Moment {
    settings: String,
    standby: bool,
}

impl Moment {
    fn make(recovery: &Recovery, request: &RestoreRequest) -> Result<Self> {
        if !request.paths.is_empty() {
            return Err(Error::config("recovery", "a part of a cluster cannot be brought to a moment").with_hint("restore without paths"));
        }
        Ok(Self {
            settings: recovery::lines(&recovery.settings)?,
            standby: recovery.standby,
        })
    }
}

/// The snapshot's entries that are asked for.
fn selected(request: &RestoreRequest) -> Result<impl Iterator<Item = Result<Entry>>> {
    Ok(snapshot::walk("")?.filter(|entry| entry.as_ref().map_or(true, |entry| request.selects(&entry.path))))
}

/// What will be written, known before anything is.
#[derive(Debug, Default)]
struct Plan {
    /// Bytes in all.
    bytes: u64,
    /// Bytes in PGDATA and in each tablespace; a key is there if anything is written there.
    data: Option<u64>,
    tablespaces: BTreeMap<u32, u64>,
    /// Tablespaces whose links are written.
    links: BTreeSet<u32>,
}

impl Plan {
    fn make(request: &RestoreRequest) -> Result<Self> {
        let mut plan = Self::default();
        for entry in selected(request)? {
            let entry = entry?;
            plan.bytes += entry.size;
            match place(&entry)? {
                Place::Data(path) => {
                    *plan.data.get_or_insert(0) += entry.size;
                    if let (NodeType::Symlink(_), Some(oid)) = (&entry.metadata.node_type, link(path)) {
                        plan.links.insert(oid);
                    }
                }
                Place::Manifest => *plan.data.get_or_insert(0) += entry.size,
                Place::Tablespace(oid, _) => *plan.tablespaces.entry(oid).or_default() += entry.size,
                Place::Tablespaces => {}
            }
        }
        if plan.data.is_none() && plan.tablespaces.is_empty() {
            return Err(
                Error::new(ErrorKind::NotFound, "the snapshot has nothing at the paths that were asked for")
                    .with_hint("bulkhead ls lists what it has; paths begin with `data/` or `tablespaces/`"),
            );
        }
        Ok(plan)
    }

    /// Tablespaces that need a grant.
    fn wanted(&self) -> BTreeSet<u32> {
        self.tablespaces.keys().chain(&self.links).copied().collect()
    }
}

fn place(entry: &Entry) -> Result<Place<'_>> {
    Place::of(&entry.path).ok_or_else(|| {
        let path = String::from_utf8_lossy(&entry.path);
        Error::new(
            ErrorKind::Corrupt,
            format!("the snapshot has an entry that is no part of a cluster: {path}"),
        )
    })
}

/// The OID, if `path` in PGDATA is a link to a tablespace.
fn link(path: &[u8]) -> Option<u32> {
    layout::below(path, layout::LINKS).and_then(layout::oid)
}

fn grant_name(oid: u32) -> String {
    format!("tablespace-{oid}")
}

/// A granted folder and where it is on the host.
struct Target {
    folder: Folder,
    location: String,
}

struct Targets {
    data: Option<Target>,
    tablespaces: BTreeMap<u32, Target>,
}

impl Targets {
    /// Opens what the plan needs; all of it must be granted, empty and large enough.
    fn open(plan: &Plan) -> Result<Self> {
        let grants: BTreeMap<String, String> = directory::grants().into_iter().map(|grant| (grant.name, grant.location)).collect();
        let missing: Vec<String> = plan
            .wanted()
            .into_iter()
            .map(grant_name)
            .filter(|name| !grants.contains_key(name))
            .collect();
        if !missing.is_empty() {
            let lines: Vec<String> = missing
                .iter()
                .map(|name| format!("directory.{name} = {{ path = \"…\", access = \"read-write\" }}"))
                .collect();
            return Err(Error::new(
                ErrorKind::NotGranted,
                format!("the cluster has tablespaces without a place to go: {}", missing.join(", ")),
            )
            .with_hint(format!("grant each an empty folder in the restore target: {}", lines.join("; "))));
        }
        let open = |name: &str, bytes: u64| {
            let location = grants.get(name).cloned().unwrap_or_default();
            let target = Target {
                folder: directory::open(name)?,
                location,
            };
            target.require_empty(name)?;
            target.require_space(name, bytes)?;
            Ok::<_, Error>(target)
        };
        let data = plan.data.map(|bytes| open(DATA_GRANT, bytes)).transpose()?;
        let mut tablespaces = BTreeMap::new();
        for oid in plan.wanted() {
            let name = grant_name(oid);
            let target = open(&name, plan.tablespaces.get(&oid).copied().unwrap_or(0))?;
            if !target.location.starts_with('/') {
                return Err(Error::new(
                    ErrorKind::Config,
                    format!("directory `{name}` has the relative path `{}`", target.location),
                )
                .with_hint("write an absolute path: PostgreSQL takes no other for a tablespace"));
            }
            tablespaces.insert(oid, target);
        }
        Ok(Self { data, tablespaces })
    }

    /// The folder for an entry and the path in it; `None` for what has no place in a cluster.
    fn locate<'a>(&'a self, place: Place<'a>) -> Option<(&'a Folder, &'a [u8])> {
        match place {
            Place::Data(path) => Some((&self.data.as_ref()?.folder, path)),
            Place::Manifest => Some((&self.data.as_ref()?.folder, layout::MANIFEST)),
            Place::Tablespace(oid, path) => Some((&self.tablespaces.get(&oid)?.folder, path)),
            Place::Tablespaces => None,
        }
    }
}

impl Target {
    fn require_empty(&self, name: &str) -> Result<()> {
        match self.folder.list("")?.next() {
            None => Ok(()),
            Some(found) => {
                let found = found?;
                let first = String::from_utf8_lossy(&found.name).into_owned();
                Err(Error::new(
                    ErrorKind::Conflict,
                    format!("directory `{name}` ({}) is not empty: it has `{first}`", self.location),
                )
                .with_hint("restore into an empty folder, or move away what is there"))
            }
        }
    }

    fn require_space(&self, name: &str, bytes: u64) -> Result<()> {
        let available = self.folder.space()?.available;
        if available >= bytes {
            return Ok(());
        }
        let message = format!(
            "directory `{name}` ({}) has {available} bytes free, the restore needs {bytes}",
            self.location
        );
        Err(Error::new(ErrorKind::StorageFull, message).with_hint("free space there, or restore into another file system"))
    }
}

struct Writer {
    targets: Targets,
    owner: Owner,
    /// Whether the system refused to give a file away.
    refused: bool,
    result: RestoreResult,
    total: u64,
    reported: u64,
}

impl Writer {
    fn write(&mut self, entry: &Entry) -> Result<()> {
        let place = place(entry)?;
        let Some((folder, path)) = self.targets.locate(place) else {
            return Ok(());
        };
        let metadata = &entry.metadata;
        match &metadata.node_type {
            NodeType::Directory => {
                if !path.is_empty() {
                    make_parents(folder, path).and_then(|()| create_folder(folder, path))?;
                }
                let refused = give(self.owner_for(metadata), mode_and_time(metadata), |change| {
                    folder.set_attributes(path, change)
                })?;
                self.note(refused)?;
            }
            NodeType::File => {
                make_parents(folder, path)?;
                let (file, bytes) = copy(entry, folder, path)?;
                let refused = give(self.owner_for(metadata), mode_and_time(metadata), |change| {
                    file.set_attributes(change)
                })?;
                self.note(refused)?;
                self.result.bytes += bytes;
            }
            NodeType::Symlink(target) => {
                make_parents(folder, path)?;
                folder.create_symlink(path, self.link_target(place, target))?;
                let refused = give(self.owner_for(metadata), Attributes::default(), |change| {
                    folder.set_attributes(path, change)
                })?;
                self.note(refused)?;
            }
            other => {
                return Err(Error::new(ErrorKind::Corrupt, format!("a cluster has no entry of type {other:?}")));
            }
        }
        self.result.entries += 1;
        if self.result.bytes - self.reported >= 4 << 20 {
            self.reported = self.result.bytes;
            progress::report("restoring", self.result.bytes, Some(self.total));
        }
        Ok(())
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
        target.map_or_else(
            || original.to_vec(),
            |target| target.location.trim_end_matches('/').as_bytes().to_vec(),
        )
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
    fn settle(&self, entry: &Entry) -> Result<()> {
        let Some(modified) = entry.metadata.modified.filter(|_| entry.metadata.node_type == NodeType::Directory) else {
            return Ok(());
        };
        let Some((folder, path)) = self.targets.locate(place(entry)?) else {
            return Ok(());
        };
        let change = Attributes {
            modified: Some(modified),
            ..Attributes::default()
        };
        folder.set_attributes(path, &change)
    }

    /// Makes an empty file that tells the server what to do at its start.
    fn signal(&mut self, name: &str) -> Result<()> {
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
    fn recovery(&mut self, moment: &Moment) -> Result<()> {
        let Some(data) = &self.targets.data else { return Ok(()) };
        recovery::append(&data.folder, &moment.settings)?;
        if moment.standby {
            return self.signal(STANDBY_SIGNAL);
        }
        // Where both are there, a server becomes a standby.
        match data.folder.remove_file(STANDBY_SIGNAL) {
            Err(error) if error.kind != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.signal(RECOVERY_SIGNAL)
    }

    fn finish(mut self, request: &RestoreRequest) -> Result<RestoreResult> {
        progress::report("syncing to disk", self.result.bytes, Some(self.total));
        // A target was empty, so nothing else is mounted below it: its file system is all that was written to.
        for target in self.targets.data.iter().chain(self.targets.tablespaces.values()) {
            target
                .folder
                .sync_file_system()
                .context(|| format!("syncing {} to disk failed", target.location))?;
            self.result.facts.push(Fact::new("restored-to", &target.location));
        }
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

/// Sets attributes, with the owner if there is one to set; says if the system refused that owner, and then has set the others.
fn give(owner: Option<(u32, u32)>, attributes: Attributes, set: impl Fn(&Attributes) -> Result<()>) -> Result<Option<Error>> {
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

fn copy(entry: &Entry, folder: &Folder, path: &[u8]) -> Result<(File, u64)> {
    let mut reader = snapshot::open(&entry.path)?;
    let mut file = folder.open_file(path, OpenMode::Create)?;
    let mut bytes = 0;
    while let Some(part) = reader.read_bytes(BEST_TRANSFER)? {
        file.write_bytes(&part)?;
        bytes += part.len() as u64;
    }
    if bytes == entry.size {
        Ok((file, bytes))
    } else {
        Err(Error::new(
            ErrorKind::Corrupt,
            format!("the snapshot states {} bytes and holds {bytes}", entry.size),
        ))
    }
}
