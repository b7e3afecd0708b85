//! Content on its way: read, decrypted and checked by the source's readers; compressed and encrypted anew by whichever thread may compute.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::{
    copy::Copier,
    error::{CopyError, WriteError},
    id::ObjectId,
    index::BlobKind,
    reader::{Window, fetch},
    sync::lock,
    writer::Workshop,
};

/// Workshops that nobody uses at the moment: one for each thread that ever stored something at the same time.
pub(super) struct Workshops {
    level: i32,
    idle: Mutex<Vec<Workshop>>,
}

impl Workshops {
    /// None yet; they compress at `level`.
    pub(super) fn new(level: i32) -> Self {
        Self {
            level,
            idle: Mutex::default(),
        }
    }

    fn take(&self) -> Result<Workshop, WriteError> {
        let idle = lock(&self.idle).pop();
        idle.map_or_else(|| Workshop::new(self.level), Ok)
    }

    fn put(&self, workshop: Workshop) {
        lock(&self.idle).push(workshop);
    }
}

impl Copier {
    /// Copies the content in a window; returns the names of its blobs.
    pub(super) async fn copy_content(&self, window: Window, progress: &(dyn Fn(u64) + Sync)) -> Result<Vec<ObjectId>, CopyError> {
        let contents = fetch(Arc::clone(&self.source), Arc::clone(&self.buffers), window).await?;
        let bytes = contents.iter().map(|content| content.len() as u64).sum();
        let ids = self.store(BlobKind::Data, contents).await?;
        progress(bytes);
        Ok(ids)
    }

    /// Stores blobs, each of which may stay in memory until its pack is full. Waits while all memory for packs is in use.
    pub(super) async fn store(&self, kind: BlobKind, contents: Vec<Bytes>) -> Result<Vec<ObjectId>, WriteError> {
        let (run, workshops) = (Arc::clone(&self.run), Arc::clone(&self.workshops));
        let storing = Arc::clone(&self.storing).read_owned().await;
        let store = move || {
            let _until_it_is_stored = storing;
            let mut workshop = workshops.take()?;
            let ids = contents
                .into_iter()
                .map(|content| run.store_blob(kind, &content, &mut workshop))
                .collect();
            workshops.put(workshop);
            ids
        };
        let stored = tokio::task::spawn_blocking(store).await;
        stored.unwrap_or_else(|error| Err(WriteError::Internal(format!("content could not be stored: {error}"))))
    }
}
