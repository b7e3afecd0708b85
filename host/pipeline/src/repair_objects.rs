//! `bulkhead repair objects`: giving a sink what it has lost, from another sink of the same vault.
//!
//! An object's name is the SHA-256 of its content, but for `config`, so nothing is taken for whole that is not. Nothing is removed, but what `prune` removes at the
//! same time would come back as index files without their packs: so the copying is done alone in the vault, after looking once more. A vault that this sink has
//! lost as a whole cannot be locked, and nobody can work in it either. Keys and snapshots that the first sink lacks may have been removed on purpose, and come
//! back only where that is asked for, or where it has none at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bulkhead_model::{Fault, FaultKind};
use bulkhead_vault::{MaintenanceError, ObjectStore as _, OpenError};
use futures_util::{StreamExt as _, stream};
use serde::Serialize;

use crate::{
    access::{AccessError, vault_site},
    maintenance::{MaintainError, failed},
    operation::Operation,
    replicate::{self, KINDS},
    store::SinkStore,
};

/// The one object whose name says nothing of its content.
const CONFIG: &str = "config";
/// Objects that are read or copied at once.
const CONCURRENT: usize = 4;

/// How a sink is looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct ObjectRepairOptions {
    /// Also read every object of the sink, rather than compare sizes only.
    pub read_data: bool,
    /// Also bring keys and snapshots back that the first sink lacks: they were lost there, or removed.
    pub removed: bool,
}

/// What is wrong with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// It is not there.
    Missing,
    /// It is not what its name says.
    Damaged,
}

/// An object that the sink has not, or not whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LostObject {
    /// Its key.
    pub object: String,
    /// What is wrong.
    pub loss: Loss,
    /// Bytes that it should have, as another sink says.
    pub bytes: u64,
    /// The sink that it was copied from, once it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copied_from: Option<String>,
    /// Why no sink has it whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What the repair of a sink does, or has done.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ObjectRepairReport {
    /// The vault.
    pub vault: String,
    /// The sink.
    pub sink: String,
    /// Whether it was done, or only planned.
    pub done: bool,
    /// Objects of the sink that were looked at.
    pub objects: u64,
    /// Bytes that were read of them.
    pub bytes_read: u64,
    /// Objects that are missing or damaged.
    pub lost: Vec<LostObject>,
    /// Keys that only further sinks have: they were removed from the first one, or lost there.
    pub removed_keys: u64,
    /// Snapshots that only further sinks have.
    pub removed_snapshots: u64,
    /// Other sinks that could not be asked, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unusable: BTreeMap<String, String>,
    #[serde(skip)]
    options: ObjectRepairOptions,
}

impl ObjectRepairReport {
    /// Whether some object could not be healed.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.lost.iter().any(|object| object.error.is_some())
    }
}

/// What [`repair_objects`] would do with the vault called `name`, on the sink that the operation reads from.
///
/// # Errors
/// See [`MaintainError`].
pub async fn plan_object_repair(
    operation: &Operation,
    name: &str,
    options: ObjectRepairOptions,
) -> Result<ObjectRepairReport, MaintainError> {
    operation.until_interrupted(None, plan(operation, name, options)).await?
}

/// Carries out a plan.
///
/// # Errors
/// See [`MaintainError`]. That no sink has an object whole is in the report.
pub async fn repair_objects(operation: &Operation, plan: ObjectRepairReport) -> Result<ObjectRepairReport, MaintainError> {
    operation.until_interrupted(None, carry_out(operation, plan)).await?
}

/// The sink to heal, and the others of its vault.
struct Place {
    sink: Arc<SinkStore>,
    others: Vec<Arc<SinkStore>>,
    is_first: bool,
}

async fn place(operation: &Operation, name: &str) -> Result<Place, MaintainError> {
    let vault = operation.vault_named(name)?;
    let sink = operation.sink_to_read(vault).await?;
    let mut others = Vec::new();
    for other in vault.sinks.iter().filter(|other| *other != sink.name()) {
        others.push(operation.sink_named(other).await?);
    }
    if others.is_empty() {
        return Err(MaintainError::OneSink {
            vault: name.to_owned(),
            site: vault_site(vault),
        });
    }
    let is_first = vault.sinks.first().is_some_and(|first| *first == sink.name());
    Ok(Place { sink, others, is_first })
}

#[tracing::instrument(name = "repair objects", skip(operation, options))]
async fn plan(operation: &Operation, name: &str, options: ObjectRepairOptions) -> Result<ObjectRepairReport, MaintainError> {
    let place = place(operation, name).await?;
    let mut report = ObjectRepairReport {
        vault: name.to_owned(),
        sink: place.sink.name().to_owned(),
        done: false,
        objects: 0,
        bytes_read: 0,
        lost: Vec::new(),
        removed_keys: 0,
        removed_snapshots: 0,
        unusable: BTreeMap::new(),
        options,
    };
    operation.progress.phase("comparing the sinks", None);
    let told = |source: Fault| MaintainError::Sink {
        action: "compare the sinks",
        sink: place.sink.site().clone(),
        source,
    };
    let mut has_keys = false;
    if let Some(bytes) = another_config(&place).await.map_err(told)? {
        report.lost.push(lost(CONFIG, Loss::Damaged, bytes));
    }
    for kind in KINDS {
        let here = listed(&place.sink, kind).await.map_err(told)?;
        let elsewhere = elsewhere(&place, kind, &mut report).await;
        has_keys |= kind == "keys/" && !here.is_empty();
        let restored = !place.is_first || options.removed || !has_keys;
        report.compare(kind, &here, &elsewhere, restored);
        report.look(operation, &place.sink, here, &elsewhere).await.map_err(told)?;
    }
    Ok(report)
}

/// Bytes of the `config` of another sink of the same vault, where it is another one. It is the same vault where they have a key in common.
async fn another_config(place: &Place) -> Result<Option<u64>, Fault> {
    let own = match place.sink.get(CONFIG, None).await {
        Err(fault) if fault.kind == FaultKind::NotFound => return Ok(None),
        own => own?,
    };
    for other in &place.others {
        match other.get(CONFIG, None).await {
            Ok(theirs) if theirs == own => return Ok(None),
            Ok(theirs) => {
                let (here, there) = (listed(&place.sink, "keys/").await?, listed(other, "keys/").await?);
                if here.is_empty() || here.keys().any(|key| there.contains_key(key)) {
                    return Ok(Some(theirs.len() as u64));
                }
                let fault = Fault::new(FaultKind::Conflict, format!("the sink `{}` holds another vault", other.name()));
                return Err(fault.hint("give each vault a place of its own"));
            }
            Err(_) => {}
        }
    }
    Ok(None)
}

/// Keys of objects, and their sizes. A sink that isn't there yet has none.
async fn listed(sink: &SinkStore, kind: &str) -> Result<BTreeMap<String, u64>, Fault> {
    let objects = match sink.list(kind).await {
        Err(fault) if fault.kind == FaultKind::NotFound => Vec::new(),
        objects => objects?,
    };
    Ok(objects.into_iter().map(|object| (object.key, object.size)).collect())
}

/// The objects of other sinks. Where they differ in size, that of the first one that says so counts: the content is checked when it is copied.
async fn elsewhere(place: &Place, kind: &str, report: &mut ObjectRepairReport) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    // A further sink follows the first one, where that can be asked.
    for other in &place.others {
        match other.list(kind).await {
            Ok(objects) if kind == CONFIG && objects.is_empty() => {
                report.unusable.insert(other.name().to_owned(), "it holds no vault".to_owned());
            }
            Ok(objects) => {
                for object in objects {
                    all.entry(object.key).or_insert(object.size);
                }
                if !place.is_first {
                    break;
                }
            }
            Err(fault) => {
                report.unusable.insert(other.name().to_owned(), fault.to_string());
            }
        }
    }
    all
}

impl ObjectRepairReport {
    /// Notes what is missing. `restored` says whether keys and snapshots that are missing are, too.
    fn compare(&mut self, kind: &str, here: &BTreeMap<String, u64>, elsewhere: &BTreeMap<String, u64>, restored: bool) {
        let missing = elsewhere.iter().filter(|(key, _)| !here.contains_key(*key));
        match kind {
            "keys/" if !restored => self.removed_keys += missing.count() as u64,
            "snapshots/" if !restored => self.removed_snapshots += missing.count() as u64,
            _ => self.lost.extend(missing.map(|(key, size)| lost(key, Loss::Missing, *size))),
        }
    }

    /// Looks at the objects that are there, and notes which are damaged: those of another size than elsewhere, or all of them.
    async fn look(
        &mut self,
        operation: &Operation,
        sink: &SinkStore,
        here: BTreeMap<String, u64>,
        elsewhere: &BTreeMap<String, u64>,
    ) -> Result<(), Fault> {
        self.objects += here.len() as u64;
        let all = self.options.read_data;
        let differs = |key: &str, size: u64| elsewhere.get(key).is_some_and(|other| *other != size);
        let doubtful = here.into_iter().filter(|(key, size)| key != CONFIG && (all || differs(key, *size)));
        let mut looks = stream::iter(doubtful)
            .map(async |(key, size)| {
                let good = replicate::get_good(sink, &key).await;
                (key, size, good.map(|body| body.size()))
            })
            .buffer_unordered(CONCURRENT);
        while let Some((key, size, good)) = looks.next().await {
            match good {
                Ok(bytes) => self.bytes_read += bytes,
                Err(fault) if matches!(fault.kind, FaultKind::Corrupt | FaultKind::NotFound | FaultKind::Io) => {
                    tracing::info!(sink = sink.name(), "{key} is damaged: {fault}");
                    let bytes = elsewhere.get(&key).copied().unwrap_or(size);
                    self.lost.push(lost(&key, Loss::Damaged, bytes));
                }
                Err(fault) => return Err(fault),
            }
            operation
                .progress
                .phase(&format!("reading the sink, {} bytes", self.bytes_read), None);
        }
        Ok(())
    }
}

fn lost(key: &str, loss: Loss, bytes: u64) -> LostObject {
    LostObject {
        object: key.to_owned(),
        loss,
        bytes,
        copied_from: None,
        error: None,
    }
}

async fn carry_out(operation: &Operation, report: ObjectRepairReport) -> Result<ObjectRepairReport, MaintainError> {
    let place = place(operation, &report.vault).await?;
    let vault = operation.vault_named(&report.vault)?;
    let lock = match operation.open_on(vault, &place.sink).await {
        Ok(opened) => {
            let locked = opened.lock_alone(&operation.host.name).await;
            Some(locked.map_err(|error| failed("copy objects", vault, error))?)
        }
        Err(error) if is_lost(&error) => None,
        Err(error) => return Err(error.into()),
    };
    let copied = copy_all(operation, &place, report).await;
    if let Some(lock) = lock {
        lock.release().await;
    }
    copied
}

/// Whether the vault can be opened by nobody.
fn is_lost(error: &AccessError) -> bool {
    matches!(error, AccessError::Open { source, .. } if matches!(
        **source,
        OpenError::NotAVault { .. } | OpenError::ConfigMissing { .. } | OpenError::NoKeys { .. } | OpenError::BadKey { .. } | OpenError::Corrupt(_)
    ))
}

async fn copy_all(operation: &Operation, place: &Place, mut report: ObjectRepairReport) -> Result<ObjectRepairReport, MaintainError> {
    still_holds(operation, &report).await?;
    report.done = true;
    if report.objects == 0 {
        place.sink.initialize().await.map_err(|source| MaintainError::Sink {
            action: "prepare the sink",
            sink: place.sink.site().clone(),
            source,
        })?;
    }
    let total = report.lost.len();
    let mut lacks = None;
    for (number, at) in order(&report.lost).into_iter().enumerate() {
        operation.progress.phase(&format!("copying, {number} of {total} objects"), None);
        let object = &mut report.lost[at];
        // What names other objects must not come before them.
        if let Some(lacked) = lacks
            .as_ref()
            .filter(|_| object.loss == Loss::Missing && !object.object.starts_with("data/"))
        {
            object.error = Some(format!("left out, since {lacked} could not be copied"));
            continue;
        }
        match repair_one(place, object).await {
            Ok(from) => object.copied_from = Some(from),
            Err(fault) => {
                object.error = Some(fault.to_string());
                lacks.get_or_insert_with(|| object.object.clone());
            }
        }
    }
    Ok(report)
}

/// Looks again at names and sizes, now that nobody else changes them.
async fn still_holds(operation: &Operation, report: &ObjectRepairReport) -> Result<(), MaintainError> {
    let options = ObjectRepairOptions {
        read_data: false,
        ..report.options
    };
    let now = plan(operation, &report.vault, options).await?;
    let missing = |report: &ObjectRepairReport| -> BTreeSet<String> {
        let missing = report.lost.iter().filter(|object| object.loss == Loss::Missing);
        missing.map(|object| object.object.clone()).collect()
    };
    if missing(&now) == missing(report) {
        return Ok(());
    }
    let vault = operation.vault_named(&report.vault)?;
    Err(failed("copy objects", vault, MaintenanceError::Changed))
}

/// What refers to others comes after them, and `config`, which makes a store a vault, last.
fn order(lost: &[LostObject]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..lost.len()).collect();
    let rank = |object: &str| {
        KINDS
            .iter()
            .skip(1)
            .position(|kind| object.starts_with(kind))
            .unwrap_or(KINDS.len())
    };
    order.sort_by_key(|number| rank(&lost[*number].object));
    order
}

/// Copies an object from the first sink that has it whole; which one that is.
async fn repair_one(place: &Place, object: &LostObject) -> Result<String, Fault> {
    let mut refused = None;
    for other in &place.others {
        match replicate::copy(other, &place.sink, &object.object).await {
            Ok(_) => return Ok(other.name().to_owned()),
            Err(fault) => {
                refused.get_or_insert(fault);
            }
        }
    }
    Err(refused.unwrap_or_else(|| Fault::new(FaultKind::NotFound, "no other sink was asked")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_becomes_a_vault_last() {
        let objects: Vec<_> = ["config", "snapshots/1", "data/00/1", "keys/1", "index/1"]
            .iter()
            .map(|key| lost(key, Loss::Missing, 1))
            .collect();
        let ordered: Vec<_> = order(&objects).into_iter().map(|number| &objects[number].object[..]).collect();
        assert_eq!(ordered, ["keys/1", "data/00/1", "index/1", "snapshots/1", "config"]);
    }
}
