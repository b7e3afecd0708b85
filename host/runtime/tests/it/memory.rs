//! Entries and snapshots in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bulkhead_model::{EntryMetadata, EntryPath, Fault, FaultKind, FinishedEntry, NodeType, Proof, Timestamp};
use bulkhead_runtime::ports::{EntryReader, EntryStore, EntryWriter, SnapshotEntry, SnapshotInfo, SnapshotStore, SnapshotWalk};
use bytes::Bytes;

type Contents = Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>;

/// What a backup wrote; then the snapshot of it.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    pub(crate) files: Contents,
    pub(crate) checkpoint: Option<Bytes>,
    /// How long every write takes.
    pub(crate) delay: Duration,
}

impl Memory {
    pub(crate) fn bytes(&self) -> u64 {
        self.files.lock().unwrap().values().map(|content| content.len() as u64).sum()
    }

    pub(crate) fn content(&self, path: &str) -> Option<Vec<u8>> {
        self.files.lock().unwrap().get(path.as_bytes()).cloned()
    }
}

struct Writer {
    files: Contents,
    path: Vec<u8>,
    content: Vec<u8>,
    delay: Duration,
}

#[async_trait]
impl EntryStore for Memory {
    async fn create(&self, path: EntryPath, _metadata: EntryMetadata) -> Result<Box<dyn EntryWriter>, Fault> {
        let (files, path) = (self.files.clone(), path.as_bytes().to_vec());
        Ok(Box::new(Writer {
            files,
            path,
            content: Vec::new(),
            delay: self.delay,
        }))
    }

    async fn add(&self, _path: EntryPath, _metadata: EntryMetadata) -> Result<(), Fault> {
        Ok(())
    }

    async fn keep(&self, path: EntryPath) -> Result<FinishedEntry, Fault> {
        let files = self.files.lock().unwrap();
        let content = files
            .get(path.as_bytes())
            .ok_or_else(|| Fault::new(FaultKind::NotFound, "nothing to keep"))?;
        Ok(FinishedEntry {
            entries: 1,
            size: content.len() as u64,
            digest: None,
        })
    }

    async fn commit(&self, _proof: Proof, _checkpoint: Option<Bytes>) -> Result<String, Fault> {
        Ok("committed".to_owned())
    }
}

#[async_trait]
impl EntryWriter for Writer {
    async fn write(&mut self, data: Bytes) -> Result<(), Fault> {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        self.content.extend_from_slice(&data);
        Ok(())
    }

    async fn write_zeros(&mut self, length: u64) -> Result<(), Fault> {
        self.content.resize(self.content.len() + usize::try_from(length).unwrap(), 0);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<u64, Fault> {
        let size = self.content.len() as u64;
        self.files.lock().unwrap().insert(self.path, self.content);
        Ok(size)
    }
}

fn entry(path: &[u8], size: usize) -> SnapshotEntry {
    let metadata = EntryMetadata::private(NodeType::File);
    SnapshotEntry {
        path: EntryPath::new(path).unwrap(),
        metadata,
        size: size as u64,
    }
}

#[async_trait]
impl SnapshotStore for Memory {
    fn info(&self) -> SnapshotInfo {
        let time = Timestamp {
            seconds: 0,
            nanoseconds: 0,
        };
        SnapshotInfo {
            id: "memory".to_owned(),
            time,
            facts: Vec::new(),
            checkpoint: self.checkpoint.clone(),
        }
    }

    async fn walk(&self, _path: EntryPath) -> Result<Box<dyn SnapshotWalk>, Fault> {
        let metadata = EntryMetadata::private(NodeType::Directory);
        let mut all = vec![SnapshotEntry {
            path: EntryPath::new("data").unwrap(),
            metadata,
            size: 0,
        }];
        all.extend(self.files.lock().unwrap().iter().map(|(path, content)| entry(path, content.len())));
        Ok(Box::new(Walk(all)))
    }

    async fn stat(&self, path: EntryPath) -> Result<SnapshotEntry, Fault> {
        let size = self.open(path.clone()).await?.size();
        Ok(entry(path.as_bytes(), usize::try_from(size).unwrap()))
    }

    async fn open(&self, path: EntryPath) -> Result<Box<dyn EntryReader>, Fault> {
        match self.files.lock().unwrap().get(path.as_bytes()) {
            Some(content) => Ok(Box::new(Reader {
                content: content.clone().into(),
                position: 0,
            })),
            None => Err(Fault::new(FaultKind::NotFound, format!("no entry {path}"))),
        }
    }
}

struct Walk(Vec<SnapshotEntry>);

#[async_trait]
impl SnapshotWalk for Walk {
    async fn next(&mut self, max: usize) -> Result<Vec<SnapshotEntry>, Fault> {
        let rest = self.0.split_off(max.min(self.0.len()));
        Ok(std::mem::replace(&mut self.0, rest))
    }
}

struct Reader {
    content: Bytes,
    position: usize,
}

#[async_trait]
impl EntryReader for Reader {
    fn size(&self) -> u64 {
        self.content.len() as u64
    }

    async fn read(&mut self, max: usize) -> Result<Option<Bytes>, Fault> {
        let data = self.read_at(self.position as u64, max).await?;
        self.position += data.as_ref().map_or(0, Bytes::len);
        Ok(data)
    }

    async fn read_at(&mut self, offset: u64, max: usize) -> Result<Option<Bytes>, Fault> {
        let offset = usize::try_from(offset).unwrap();
        let end = self.content.len().min(offset.saturating_add(max));
        Ok((offset < end).then(|| self.content.slice(offset..end)))
    }
}
