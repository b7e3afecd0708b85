//! Tags of snapshots. A snapshot's file is named by its content, so that a change makes a new one, which names the first of the line (`original`), as restic
//! does it; the old one goes when the new one is durable.

use serde_json::{Map, Value};

use crate::{
    error::MaintenanceError,
    hold::{self, Hold},
    id::ObjectId,
    lock::{Held, Lock, Share},
    maintenance::Stop,
    snapshots::{OUR_TAG, PIPELINE_TAG},
    vault::Vault,
    verification::VERIFIED_TAG,
};

/// What to change in a snapshot's tags. Those that say what it is and whose (`bulkhead`, `bulkhead-verified`, `pipeline:…`) can be neither added nor removed, and those of holds
/// only by holding and releasing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagChange {
    /// Add some and remove others.
    Change {
        /// Tags to add.
        add: Vec<String>,
        /// Tags to remove.
        remove: Vec<String>,
    },
    /// These instead of all that are not reserved.
    Set(Vec<String>),
    /// Somebody wants them to stay.
    Hold(Hold),
    /// Somebody wants that no more.
    Release {
        /// The beginning of the hold's id; the only one where `None`.
        hold: Option<String>,
        /// Who releases it, and why.
        by: Hold,
    },
}

/// A snapshot whose tags have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// Its name before.
    pub before: ObjectId,
    /// Its name now; the same where nothing had to be changed.
    pub now: ObjectId,
    /// Its tags now.
    pub tags: Vec<String>,
}

impl TagChange {
    /// Fails where a reserved tag is to be added or removed, one is empty, or a hold says too little or too much.
    ///
    /// # Errors
    /// [`MaintenanceError::ReservedTag`], [`MaintenanceError::MalformedTag`], [`MaintenanceError::MalformedHold`].
    pub fn check(&self) -> Result<(), MaintenanceError> {
        let tags: Vec<&String> = match self {
            Self::Change { add, remove } => add.iter().chain(remove).collect(),
            Self::Set(tags) => tags.iter().collect(),
            Self::Hold(hold) | Self::Release { by: hold, .. } => return hold.check(),
        };
        for tag in tags {
            if is_reserved(tag) {
                return Err(MaintenanceError::ReservedTag(tag.clone()));
            }
            // restic splits what it is given at commas.
            if tag.trim().is_empty() || tag.contains(',') {
                return Err(MaintenanceError::MalformedTag(tag.clone()));
            }
        }
        Ok(())
    }

    /// The tags that `before` become.
    fn apply(&self, before: &[String]) -> Result<Vec<String>, MaintenanceError> {
        let (mut tags, add): (Vec<String>, &[String]) = match self {
            Self::Change { add, remove } => (before.iter().filter(|tag| !remove.contains(tag)).cloned().collect(), add),
            Self::Set(tags) => (before.iter().filter(|tag| is_reserved(tag)).cloned().collect(), tags),
            Self::Hold(one) => return Ok(hold::hold(before, one)),
            Self::Release { hold, by } => return hold::release(before, hold.as_deref(), by),
        };
        for tag in add {
            if !tags.contains(tag) {
                tags.push(tag.clone());
            }
        }
        Ok(tags)
    }
}

fn is_reserved(tag: &str) -> bool {
    tag == OUR_TAG || tag == VERIFIED_TAG || tag.starts_with(PIPELINE_TAG) || hold::is_about_holds(tag)
}

impl Vault {
    /// Changes the tags of these snapshots, one after the other.
    ///
    /// # Errors
    /// [`MaintenanceError`]; those before the one that failed are changed.
    pub async fn tag(&self, ids: &[ObjectId], change: &TagChange, host: &str, stop: &Stop) -> Result<Vec<Tagged>, MaintenanceError> {
        change.check()?;
        let lock = Lock::take(&self.core, host, Share::Adders).await?;
        let mut changed = Vec::with_capacity(ids.len());
        let result = async {
            for id in ids {
                stop.check()?;
                changed.push(self.tag_locked(*id, change, lock.held()).await?);
            }
            Ok(())
        };
        let result = result.await;
        lock.release().await;
        result.map(|()| changed)
    }

    async fn tag_locked(&self, id: ObjectId, change: &TagChange, held: &Held) -> Result<Tagged, MaintenanceError> {
        let mut file = self.core.snapshot_fields(id).await?;
        let before = tags_of(&file);
        let tags = change.apply(&before)?;
        if tags == before {
            return Ok(Tagged { before: id, now: id, tags });
        }
        file.insert("tags".to_owned(), tags.clone().into());
        let now = self.core.store_successor(id, file, held).await?;
        self.forget_locked(&[id], held, &Stop::default(), &mut Vec::new()).await?;
        Ok(Tagged { before: id, now, tags })
    }
}

fn tags_of(file: &Map<String, Value>) -> Vec<String> {
    let tags = file.get("tags").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    tags.iter().filter_map(|tag| tag.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn tags(tags: &[&str]) -> Vec<String> {
        tags.iter().map(|tag| (*tag).to_owned()).collect()
    }

    #[test]
    fn what_says_whose_a_snapshot_is_stays() {
        let before = tags(&["bulkhead", "pipeline:shop", "old"]);
        let set = TagChange::Set(tags(&["new", "new"]));
        assert_eq!(set.apply(&before).unwrap(), tags(&["bulkhead", "pipeline:shop", "new"]));
        let change = TagChange::Change {
            add: tags(&["kept"]),
            remove: tags(&["old"]),
        };
        assert_eq!(change.apply(&before).unwrap(), tags(&["bulkhead", "pipeline:shop", "kept"]));
        for reserved in [
            "bulkhead",
            "bulkhead-verified",
            "pipeline:other",
            "held",
            "hold:a:b:c",
            "was-held:a:b:c",
            "released:a:b:c",
        ] {
            let forged = TagChange::Set(tags(&[reserved]));
            assert!(matches!(forged.check(), Err(MaintenanceError::ReservedTag(_))));
            let removed = TagChange::Change {
                add: Vec::new(),
                remove: tags(&[reserved]),
            };
            assert!(matches!(removed.check(), Err(MaintenanceError::ReservedTag(_))));
        }
        for malformed in ["", " ", "a,b"] {
            assert!(matches!(
                TagChange::Set(tags(&[malformed])).check(),
                Err(MaintenanceError::MalformedTag(_))
            ));
        }
    }
}
