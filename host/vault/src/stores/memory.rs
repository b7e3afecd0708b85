//! A store in memory.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use bulkhead_model::{Fault, FaultKind};
use bytes::{Bytes, BytesMut};

use crate::store::{ObjectBody, ObjectInfo, ObjectStore, StoreTraits};

/// Objects in a map. What it does is what [`ObjectStore`] asks, no more.
#[derive(Default)]
pub struct MemoryStore {
    objects: Mutex<BTreeMap<String, Bytes>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes the objects behind the vault's back, as a failing disk would.
    pub fn tamper<T>(&self, change: impl FnOnce(&mut BTreeMap<String, Bytes>) -> T) -> T {
        change(&mut self.objects.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    async fn traits(&self) -> Result<StoreTraits, Fault> {
        Ok(StoreTraits {
            max_object_size: 1 << 30,
            concurrency: 8,
            conditional_put: true,
        })
    }

    async fn initialize(&self) -> Result<(), Fault> {
        if self.tamper(|objects| objects.is_empty()) {
            Ok(())
        } else {
            Err(Fault::new(FaultKind::Conflict, "the store is not empty"))
        }
    }

    async fn put(&self, key: &str, body: ObjectBody, if_absent: bool) -> Result<(), Fault> {
        let mut content = BytesMut::new();
        body.parts.iter().for_each(|part| content.extend_from_slice(part));
        self.tamper(|objects| {
            if if_absent && objects.contains_key(key) {
                return Err(Fault::new(FaultKind::AlreadyExists, format!("{key} is there already")));
            }
            objects.insert(key.to_owned(), content.freeze());
            Ok(())
        })
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, Fault> {
        let content = self.tamper(|objects| objects.get(key).cloned());
        let content = content.ok_or_else(|| Fault::new(FaultKind::NotFound, format!("there is no {key}")))?;
        let Some(range) = range else { return Ok(content) };
        if range.start > range.end || range.end > content.len() as u64 {
            return Err(Fault::new(FaultKind::Corrupt, format!("{key} has only {} bytes", content.len())));
        }
        Ok(content.slice(range.start as usize..range.end as usize))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, Fault> {
        Ok(self.tamper(|objects| {
            let matching = objects.iter().filter(|(key, _)| key.starts_with(prefix));
            matching
                .map(|(key, content)| ObjectInfo {
                    key: key.clone(),
                    size: content.len() as u64,
                })
                .collect()
        }))
    }

    async fn stat(&self, key: &str) -> Result<Option<ObjectInfo>, Fault> {
        Ok(self.tamper(|objects| {
            objects.get(key).map(|content| ObjectInfo {
                key: key.to_owned(),
                size: content.len() as u64,
            })
        }))
    }

    async fn delete(&self, key: &str) -> Result<(), Fault> {
        self.tamper(|objects| objects.remove(key));
        Ok(())
    }
}
