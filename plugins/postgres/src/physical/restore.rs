//! Writing a cluster back into granted directories: [`restore`].
//!
//! First everything is written; then folders get their times again, which writing into them has changed; and last the file systems are synced, which takes
//! a fraction of what a sync of each file does.
//!
//! `global/pg_control`, without which no server starts, is written after everything else is durable: what is left of a restore that was cut off does not look like
//! a cluster.

mod contents;
mod delta;
mod existing;
mod patch;
mod targets;
mod writer;

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt,
    metadata::NodeType,
    snapshot::{self, Entry},
    source::{RestoreRequest, RestoreResult},
};

use self::{delta::Delta, targets::Targets, writer::Writer};
use super::{
    layout::{self, Archive, Place},
    recovery,
};
use crate::config::{self, Recovery, RestoreOptions};

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
    let delta = prepare(&options.delta, request, &plan, &targets)?;
    let is_rehearsal = delta.as_ref().is_some_and(|delta| delta.is_rehearsal);
    let mut writer = Writer::new(targets, owner, delta, plan.bytes);
    let mut control = None;
    for entry in selected(request)? {
        let entry = entry?;
        writer
            .write(&entry)
            .context(|| format!("restoring {} failed", String::from_utf8_lossy(&entry.path)))?;
        if place(&entry)? == Place::Data(layout::CONTROL) {
            control = Some(entry);
        }
    }
    if !is_rehearsal {
        complete(&mut writer, &options, recovery.as_ref(), control.as_ref())?;
        for entry in selected(request)? {
            let entry = entry?;
            writer
                .settle(&entry)
                .context(|| format!("restoring the time of {} failed", String::from_utf8_lossy(&entry.path)))?;
        }
    }
    writer.finish(request)
}

/// Sees that what is there may be written over, and removes of it what has to go.
fn prepare(option: &Option<config::Delta>, request: &RestoreRequest, plan: &Plan, targets: &Targets) -> Result<Option<Delta>> {
    let Some(option) = option else {
        for (archive, target) in targets.all() {
            target.require_empty()?;
            target.require_space(plan.bytes_in(archive), 0)?;
        }
        return Ok(None);
    };
    if !request.paths.is_empty() {
        let error = Error::config("delta", "a part of a cluster cannot be restored over one that is there");
        return Err(error.with_hint("restore without paths"));
    }
    let delta = Delta::prepare(plan, targets, option.dry_run)?;
    delta.clear(targets)?;
    Ok(Some(delta))
}

/// Says what the server does at its start, and then lets it start.
fn complete(writer: &mut Writer, options: &RestoreOptions, moment: Option<&Moment>, control: Option<&Entry>) -> Result<()> {
    if options.standby {
        writer.signal(writer::STANDBY_SIGNAL)?;
    }
    if let Some(moment) = moment {
        writer.recovery(moment)?;
    }
    match control {
        Some(control) => writer
            .enable(control)
            .context(|| format!("restoring {} failed", String::from_utf8_lossy(&control.path))),
        None => Ok(()),
    }
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

    /// Bytes of an archive.
    fn bytes_in(&self, archive: Archive) -> u64 {
        match archive {
            Archive::Base => self.data.unwrap_or(0),
            Archive::Tablespace(oid) => self.tablespaces.get(&oid).copied().unwrap_or(0),
        }
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
