//! Packs on their way into the store, and the index files about those that arrived.

use std::sync::{Arc, Mutex, atomic::Ordering};

use tokio::{
    runtime::Handle,
    sync::Semaphore,
    task::{JoinError, JoinSet},
};

use crate::{
    access,
    error::WriteError,
    format::{
        document,
        index_file::{IndexFile, IndexPack},
    },
    id::ObjectId,
    store::ObjectBody,
    sync::{lock, write},
    writer::{packer::SealedPack, run::Run},
};

/// Blobs in one index file: about 6 MiB of JSON, below the 8 MiB that restic's design asks for.
const INDEX_BLOBS: usize = 40_000;

/// Tasks that store packs.
pub(crate) struct Uploads {
    tasks: Mutex<JoinSet<()>>,
    slots: Semaphore,
    arrived: Mutex<Vec<IndexPack>>,
    runtime: Handle,
}

impl Uploads {
    /// At most `concurrency` puts at once, on `runtime`.
    pub(crate) fn new(concurrency: usize, runtime: Handle) -> Self {
        Self {
            tasks: Mutex::default(),
            slots: Semaphore::new(concurrency.max(1)),
            arrived: Mutex::default(),
            runtime,
        }
    }

    /// Stores a pack in a task of its own. How many there can be is bounded by the buffers that they hold.
    pub(crate) fn start(&self, run: &Arc<Run>, pack: SealedPack) {
        let mut tasks = lock(&self.tasks);
        while let Some(ended) = tasks.try_join_next() {
            expect_ended(run, ended);
        }
        let run = Arc::clone(run);
        let task = async move {
            let stored = tokio::select! {
                biased;
                error = run.poison.wait() => Err(error),
                stored = store_pack(&run, pack) => stored,
            };
            if let Err(error) = stored {
                run.fail_with(error);
            }
        };
        tasks.spawn_on(task, &self.runtime);
    }

    /// Waits until all tasks have ended, well or not.
    pub(crate) async fn settle(&self, run: &Run) {
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        while let Some(ended) = tasks.join_next().await {
            expect_ended(run, ended);
        }
    }
}

/// A task that panicked, or that the runtime threw away, took a pack with it: then the run has failed.
fn expect_ended(run: &Run, ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        run.fail_with(WriteError::Internal(format!("a task that stores a pack did not end: {error}")));
    }
}

async fn store_pack(run: &Arc<Run>, pack: SealedPack) -> Result<(), WriteError> {
    let uploads = &run.uploads;
    let _slot = uploads.slots.acquire().await.map_err(|_| run.poison.error())?;
    let size = pack.body.size();
    access::put(&*run.core.store, &access::pack_key(&pack.index.id), pack.body).await?;
    run.progress.stored_bytes.fetch_add(size, Ordering::Relaxed);
    let full = {
        let mut arrived = lock(&uploads.arrived);
        arrived.push(pack.index);
        let blobs: usize = arrived.iter().map(|pack| pack.blobs.len()).sum();
        (blobs >= INDEX_BLOBS).then(|| std::mem::take(&mut *arrived))
    };
    match full {
        Some(packs) => store_index(run, packs).await,
        None => Ok(()),
    }
}

/// Stores an index file about what has arrived since the last one.
pub(crate) async fn flush_index(run: &Arc<Run>) -> Result<(), WriteError> {
    let packs = std::mem::take(&mut *lock(&run.uploads.arrived));
    if packs.is_empty() { Ok(()) } else { store_index(run, packs).await }
}

/// Only when the index file is durable may other runs rely on its blobs: so they move from this run's claims to the vault's index here.
async fn store_index(run: &Arc<Run>, packs: Vec<IndexPack>) -> Result<(), WriteError> {
    let core = Arc::clone(&run.core);
    let encode = move || {
        let file = IndexFile {
            packs,
            packs_to_delete: Vec::new(),
        };
        document::encode(&core.key, &file).map(|content| (file, content))
    };
    let encoded = tokio::task::spawn_blocking(encode)
        .await
        .unwrap_or_else(|error| Err(error.to_string()));
    let (file, content) = encoded.map_err(|reason| WriteError::Internal(format!("an index file could not be made: {reason}")))?;
    let body = ObjectBody::new(content);
    let name = ObjectId::from(body.sha256);
    access::put(&*run.core.store, &format!("index/{name}"), body).await?;
    write(&run.core.index).add(name, &file);
    let mut claims = lock(&run.claims);
    file.packs.iter().flat_map(|pack| &pack.blobs).for_each(|blob| {
        claims.remove(&(blob.kind, blob.id));
    });
    Ok(())
}
