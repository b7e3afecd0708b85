//! A snapshot in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    digest::{self, Algorithm},
    entries::Finished,
    host::{EntryReader, EntryWriter, Walk},
    metadata::Metadata,
    snapshot::Entry,
};

/// Entries by path, and what makes a vault fail.
#[derive(Default)]
pub struct Store {
    pub entries: Mutex<BTreeMap<Vec<u8>, (Metadata, Vec<u8>)>>,
    /// Bytes that fit; `None` for any number.
    pub capacity: Option<usize>,
    /// Writers that were dropped before they were finished.
    pub aborted: Mutex<u32>,
}

impl Store {
    pub fn insert(&self, path: &[u8], metadata: &Metadata, content: Vec<u8>) -> Result<()> {
        let former = self.entries.lock().unwrap().insert(path.to_vec(), (metadata.clone(), content));
        if former.is_some() {
            return Err(Error::new(ErrorKind::AlreadyExists, String::from_utf8_lossy(path)));
        }
        Ok(())
    }

    pub fn content(&self, path: &str) -> Vec<u8> {
        self.entries.lock().unwrap()[path.as_bytes()].1.clone()
    }

    pub fn change(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.entries.lock().unwrap().get_mut(path.as_bytes()).unwrap().1);
    }

    pub fn remove(&self, path: &str) {
        self.entries.lock().unwrap().remove(path.as_bytes()).unwrap();
    }

    pub fn paths(&self) -> Vec<String> {
        self.entries.lock().unwrap().keys().map(|path| String::from_utf8_lossy(path).into_owned()).collect()
    }

    pub fn walk(&self) -> Box<dyn Walk> {
        let entries = self.entries.lock().unwrap();
        let mut all: Vec<Entry> = entries.iter().map(|(path, (metadata, content))| entry(path, metadata, content)).collect();
        // In order of components, as the ABI promises, and not of bytes.
        all.sort_by(|one, other| one.path.split(|&byte| byte == b'/').cmp(other.path.split(|&byte| byte == b'/')));
        Box::new(Pages(Mutex::new(all)))
    }

    pub fn entry(&self, path: &[u8]) -> Result<Entry> {
        let entries = self.entries.lock().unwrap();
        entries.get(path).map(|(metadata, content)| entry(path, metadata, content)).ok_or_else(|| missing(path))
    }
}

fn entry(path: &[u8], metadata: &Metadata, content: &[u8]) -> Entry {
    Entry { path: path.to_vec(), metadata: metadata.clone(), size: content.len() as u64 }
}

fn missing(path: &[u8]) -> Error {
    Error::new(ErrorKind::NotFound, format!("no entry {}", String::from_utf8_lossy(path)))
}

struct Pages(Mutex<Vec<Entry>>);

impl Walk for Pages {
    fn next(&self) -> Result<Vec<Entry>> {
        let mut rest = self.0.lock().unwrap();
        let count = rest.len().min(100);
        Ok(rest.drain(..count).collect())
    }
}

struct Writer {
    store: Arc<Store>,
    path: Vec<u8>,
    metadata: Metadata,
    digest: Option<Algorithm>,
    content: Mutex<Vec<u8>>,
    finished: bool,
}

pub fn create(store: &Arc<Store>, path: &[u8], metadata: &Metadata, digest: Option<Algorithm>) -> Result<Box<dyn EntryWriter>> {
    Ok(Box::new(Writer {
        store: store.clone(),
        path: path.to_vec(),
        metadata: metadata.clone(),
        digest,
        content: Mutex::default(),
        finished: false,
    }))
}

impl EntryWriter for Writer {
    fn write(&self, data: &[u8]) -> Result<()> {
        let mut content = self.content.lock().unwrap();
        content.extend_from_slice(data);
        let stored: usize = self.store.entries.lock().unwrap().values().map(|(_, content)| content.len()).sum();
        match self.store.capacity {
            Some(capacity) if stored + content.len() > capacity => Err(Error::new(ErrorKind::StorageFull, "the vault's disk is full")),
            _ => Ok(()),
        }
    }
    fn write_zeros(&self, length: u64) -> Result<()> {
        let mut content = self.content.lock().unwrap();
        let size = content.len() + usize::try_from(length).unwrap();
        content.resize(size, 0);
        Ok(())
    }
    fn finish(mut self: Box<Self>) -> Result<Finished> {
        self.finished = true;
        let content = std::mem::take(&mut *self.content.lock().unwrap());
        let finished = Finished {
            size: content.len() as u64,
            digest: self.digest.map(|algorithm| digest::digest(algorithm, &content)),
        };
        self.store.insert(&self.path, &self.metadata, content)?;
        Ok(finished)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            *self.store.aborted.lock().unwrap() += 1;
        }
    }
}

struct Reader {
    content: Vec<u8>,
    position: Mutex<usize>,
}

pub fn open(store: &Arc<Store>, path: &[u8]) -> Result<Box<dyn EntryReader>> {
    let entries = store.entries.lock().unwrap();
    let (_, content) = entries.get(path).ok_or_else(|| missing(path))?;
    Ok(Box::new(Reader { content: content.clone(), position: Mutex::new(0) }))
}

impl EntryReader for Reader {
    fn size(&self) -> u64 {
        self.content.len() as u64
    }
    fn read(&self, max: u32) -> Result<Option<Vec<u8>>> {
        let mut position = self.position.lock().unwrap();
        let part = self.read_at(*position as u64, max)?;
        *position += part.as_ref().map_or(0, Vec::len);
        Ok(part)
    }
    fn read_at(&self, offset: u64, max: u32) -> Result<Option<Vec<u8>>> {
        let rest = self.content.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let part = &rest[..rest.len().min(max as usize)];
        Ok((!part.is_empty()).then(|| part.to_vec()))
    }
}
