//! Stored blobs on their way: [`ask`] begins the requests of a stretch of content, [`Asked`] waits for one of its blobs.

use std::{
    collections::HashMap,
    future::ready,
    sync::{Arc, Mutex},
};

use bytes::BytesMut;
use futures_util::future::{BoxFuture, FutureExt as _, Shared};

use crate::{
    access,
    error::ReadError,
    id::ObjectId,
    index::Location,
    reader::{
        fetch::Window,
        places::Places,
        request::{GAP, Request, StoredBlob, requests},
    },
    sync::lock,
    task::Task,
    vault::Core,
};

/// A request that is on its way, for all who want something of it. It is given up when nobody does any more.
type Arriving = Shared<BoxFuture<'static, Result<Arrived, ReadError>>>;

/// The blobs of a request, each with the number of windows that it is still for.
type Arrived = Arc<Mutex<HashMap<ObjectId, (StoredBlob, usize)>>>;

/// A blob that is on its way to a window.
pub(super) struct Asked {
    id: ObjectId,
    arriving: Arriving,
}

impl Asked {
    /// Waits for it. The last window that it is for gets it, others get copies: it is decrypted where it stands.
    pub(super) async fn take(self) -> Result<StoredBlob, ReadError> {
        let missing = || ReadError::Internal(format!("the blob {} was asked for and did not come", self.id));
        let arrived = self.arriving.await?;
        let mut arrived = lock(&arrived);
        let (blob, windows) = arrived.get_mut(&self.id).ok_or_else(missing)?;
        if *windows > 1 {
            *windows -= 1;
            let bytes = BytesMut::from(&blob.bytes[..]);
            return Ok(StoredBlob { bytes, ..*blob });
        }
        arrived.remove(&self.id).map(|(blob, _)| blob).ok_or_else(missing)
    }
}

/// Asks for the blobs of windows that follow each other, neighbours in one request and as many at once as there are places; returns each window with its
/// blobs, each once.
pub(super) fn ask(core: &Arc<Core>, places: &Places, windows: Vec<Window>) -> impl Iterator<Item = (Window, Vec<Asked>)> {
    let blobs: Vec<Vec<(ObjectId, Location)>> = windows.iter().map(Window::distinct).collect();
    let mut wanted: HashMap<ObjectId, usize> = HashMap::new();
    for (id, _) in blobs.iter().flatten() {
        *wanted.entry(*id).or_default() += 1;
    }
    let wanted = Arc::new(wanted);
    let mut arriving: HashMap<ObjectId, Arriving> = HashMap::new();
    for request in requests(&blobs.concat(), GAP) {
        let ids: Vec<ObjectId> = request.blobs.iter().map(|(id, _)| *id).collect();
        let begun = begin(Arc::clone(core), places.clone(), request, Arc::clone(&wanted));
        arriving.extend(ids.into_iter().map(|id| (id, begun.clone())));
    }
    let asked = move |(id, _): &(ObjectId, Location)| {
        let arriving = arriving.get(id)?.clone();
        Some(Asked { id: *id, arriving })
    };
    let asked = blobs.into_iter().map(move |blobs| blobs.iter().filter_map(&asked).collect());
    windows.into_iter().zip(asked)
}

fn begin(core: Arc<Core>, places: Places, request: Request, wanted: Arc<HashMap<ObjectId, usize>>) -> Arriving {
    let mut task = Task::start(async move {
        let range = request.range();
        let _place = places.take(range.end - range.start).await?;
        let cut = |stored| ready(request.cut(stored));
        let blobs = access::get_good(&*core.store, &request.key(), Some(range), cut).await?;
        let with_windows = |blob: StoredBlob| {
            let windows = wanted.get(&blob.id).copied().unwrap_or(1);
            (blob.id, (blob, windows))
        };
        Ok(Arc::new(Mutex::new(blobs.into_iter().map(with_windows).collect())))
    });
    async move { task.join().await }.boxed().shared()
}
