//! [`TreeWriter`]: storing folders outside of a run, with its threads, packs and index files.

use std::sync::Arc;

use crate::{
    error::{Cause, WriteError},
    format::time,
    id::ObjectId,
    index::BlobKind,
    options::VaultOptions,
    vault::Core,
    writer::{run::Run, snapshot_writer::BeginSnapshot, uploads, workshop::Workshop},
};

/// Stores folders; nothing refers to them until somebody stores a snapshot that does.
pub(crate) struct TreeWriter {
    run: Arc<Run>,
}

impl TreeWriter {
    /// Begins, under a lock of the caller's; the index has to be up to date.
    pub(crate) fn begin(core: &Arc<Core>, options: &VaultOptions, host: &str) -> Result<Self, WriteError> {
        let begin = BeginSnapshot {
            pipeline: String::new(),
            host: host.to_owned(),
            time: time::now(),
            parent: None,
        };
        let options = VaultOptions {
            threads: 1,
            ..options.clone()
        };
        Ok(Self {
            run: Run::start(Arc::clone(core), options, begin)?,
        })
    }

    /// Stores a folder, which may stay in memory until [`Self::finish`].
    pub(crate) async fn store(&self, json: Vec<u8>) -> Result<ObjectId, WriteError> {
        let run = Arc::clone(&self.run);
        let store = move || {
            let mut workshop = Workshop::new(run.options.compression_level)?;
            run.store_blob(BlobKind::Tree, &json, &mut workshop)
        };
        blocking(store).await
    }

    /// Makes all folders durable, and the index name them.
    pub(crate) async fn finish(self) -> Result<(), WriteError> {
        let stored = self.flush().await;
        self.run.fail(Cause::Committed);
        self.run.shut_down().await;
        stored
    }

    async fn flush(&self) -> Result<(), WriteError> {
        let run = Arc::clone(&self.run);
        blocking(move || run.flush(BlobKind::Tree)).await?;
        self.run.uploads.settle(&self.run).await;
        self.run.poison.check()?;
        uploads::flush_index(&self.run).await
    }
}

impl Drop for TreeWriter {
    fn drop(&mut self) {
        self.run.fail(Cause::RunDropped);
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, WriteError> + Send + 'static) -> Result<T, WriteError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(WriteError::Internal(format!("a folder could not be stored: {error}"))))
}
