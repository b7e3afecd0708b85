//! Where a cluster goes: [`Targets`], one granted folder for PGDATA and one for each tablespace.

use std::collections::BTreeMap;

use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt,
    directory::{self, Folder},
};

use super::Plan;
use crate::physical::layout::{self, Archive, Place};

/// The grant for PGDATA.
const DATA_GRANT: &str = "data";

fn grant_name(oid: u32) -> String {
    format!("tablespace-{oid}")
}

/// A granted folder and where it is on the host.
pub(super) struct Target {
    pub(super) folder: Folder,
    pub(super) location: String,
    /// The grant's.
    name: String,
}

/// All that are needed.
pub(super) struct Targets {
    pub(super) data: Option<Target>,
    pub(super) tablespaces: BTreeMap<u32, Target>,
}

impl Targets {
    /// Opens what the plan needs; all of it must be granted.
    pub(super) fn open(plan: &Plan) -> Result<Self> {
        let grants: BTreeMap<String, String> = directory::grants().into_iter().map(|grant| (grant.name, grant.location)).collect();
        require_granted(plan, &grants)?;
        let open = |name: String| {
            let location = grants.get(&name).cloned().unwrap_or_default();
            Target::open(name, location)
        };
        let data = plan.data.map(|_| open(DATA_GRANT.to_owned())).transpose()?;
        let mut tablespaces = BTreeMap::new();
        for oid in plan.wanted() {
            let target = open(grant_name(oid))?;
            target.require_absolute()?;
            tablespaces.insert(oid, target);
        }
        Ok(Self { data, tablespaces })
    }

    /// Each with what it is for.
    pub(super) fn all(&self) -> impl Iterator<Item = (Archive, &Target)> {
        let tablespaces = self.tablespaces.iter().map(|(oid, target)| (Archive::Tablespace(*oid), target));
        self.data.iter().map(|target| (Archive::Base, target)).chain(tablespaces)
    }

    /// The folder for an entry and the path in it; `None` for what has no place in a cluster.
    pub(super) fn locate<'a>(&'a self, place: Place<'a>) -> Option<(&'a Folder, &'a [u8])> {
        match place {
            Place::Data(path) => Some((&self.data.as_ref()?.folder, path)),
            Place::Manifest => Some((&self.data.as_ref()?.folder, layout::MANIFEST)),
            Place::Tablespace(oid, path) => Some((&self.tablespaces.get(&oid)?.folder, path)),
            Place::Tablespaces => None,
        }
    }

    /// Makes everything durable.
    pub(super) fn sync(&self) -> Result<()> {
        self.all().try_for_each(|(_, target)| {
            let synced = target.folder.sync_file_system();
            synced.context(|| format!("syncing {} to disk failed", target.location))
        })
    }
}

fn require_granted(plan: &Plan, grants: &BTreeMap<String, String>) -> Result<()> {
    let wanted = plan.wanted().into_iter().map(grant_name);
    let missing: Vec<String> = wanted.filter(|name| !grants.contains_key(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = missing
        .iter()
        .map(|name| format!("directory.{name} = {{ path = \"…\", access = \"read-write\" }}"))
        .collect();
    Err(Error::new(
        ErrorKind::NotGranted,
        format!("the cluster has tablespaces without a place to go: {}", missing.join(", ")),
    )
    .with_hint(format!("grant each a folder in the restore target: {}", lines.join("; "))))
}

impl Target {
    fn open(name: String, location: String) -> Result<Self> {
        Ok(Self {
            folder: directory::open(&name)?,
            location,
            name,
        })
    }

    fn require_absolute(&self) -> Result<()> {
        if self.location.starts_with('/') {
            return Ok(());
        }
        let message = format!("directory `{}` has the relative path `{}`", self.name, self.location);
        Err(Error::new(ErrorKind::Config, message).with_hint("write an absolute path: PostgreSQL takes no other for a tablespace"))
    }

    /// As a link leads there.
    pub(super) fn path(&self) -> &[u8] {
        self.location.trim_end_matches('/').as_bytes()
    }

    /// For errors.
    pub(super) fn told(&self) -> String {
        format!("directory `{}` ({})", self.name, self.location)
    }

    pub(super) fn is_empty(&self) -> Result<bool> {
        Ok(self.folder.list("")?.next().transpose()?.is_none())
    }

    pub(super) fn require_empty(&self) -> Result<()> {
        let Some(found) = self.folder.list("")?.next().transpose()? else {
            return Ok(());
        };
        let message = format!("{} is not empty: it has `{}`", self.told(), String::from_utf8_lossy(&found.name));
        Err(Error::new(ErrorKind::Conflict, message)
            .with_hint("restore into an empty folder, or move away what is there; a cluster that is there is brought up to the snapshot with `--delta`"))
    }

    /// Sees that `bytes` fit, of which `there` are taken up already.
    pub(super) fn require_space(&self, bytes: u64, there: u64) -> Result<()> {
        let available = self.folder.space()?.available;
        let needed = bytes.saturating_sub(there);
        if available >= needed {
            return Ok(());
        }
        let message = format!("{} has {available} bytes free, the restore needs {needed}", self.told());
        Err(Error::new(ErrorKind::StorageFull, message).with_hint("free space there, or restore into another file system"))
    }
}
