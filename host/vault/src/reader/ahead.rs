//! [`Ahead`]: content that is fetched before it is asked for, within a bound on memory.
//!
//! ```text
//! add ─▶ stretch of blobs ─▶ requests, several at once ─▶ stored blobs ─▶ windows, opened in order ─▶ content
//! ```
//!
//! What is on its way is stored blobs, which take as little memory as can be; they are opened shortly before their turn. A stretch is longer than a window, because
//! blobs stand in packs in about the order of the content only: the longer it is, the more neighbours come in one request.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    access,
    buffers::ChunkBuffers,
    error::ReadError,
    id::ObjectId,
    index::Location,
    reader::{
        asked::{Asked, ask},
        fetch::{Window, fetch_request},
        open::open,
        places::Places,
        request::Request,
    },
    task::Task,
    vault::Core,
};

/// Stored bytes of a stretch, at most: two full requests.
const STRETCH: u64 = 8 << 20;
/// Memory of blobs that are opened together, unless a single one is larger.
const WINDOW: u64 = 1 << 20;
/// Memory of content that is opened ahead, unless a single window takes more: six chunks of usual size.
const CONTENT: u64 = 12 << 20;
/// What a blob takes beside its bytes: its places in lists and tables.
const OF_A_BLOB: u64 = 512;

/// Blobs in order: added by whoever knows what comes next, returned when their content is there.
pub(crate) struct Ahead {
    core: Arc<Core>,
    buffers: Arc<ChunkBuffers>,
    /// For as many requests as are worth running at once, and no more bytes than may be held: gaps between blobs count here.
    places: Places,
    /// Blobs that will be opened together.
    window: Window,
    /// Windows whose blobs are still to be asked for, all in one stretch; and their bytes as they are stored.
    stretch: Vec<Window>,
    stretched: u64,
    /// Windows whose blobs are on their way.
    asked: VecDeque<Waiting>,
    /// Windows that are being opened.
    opening: VecDeque<Opening>,
    /// Bytes of stored blobs of stretches that were not opened to their end, and the bound on them.
    stored: u64,
    limit: u64,
    /// Content that has arrived and was not returned yet.
    ready: VecDeque<Bytes>,
    /// Why nothing comes any more.
    failed: Option<ReadError>,
}

/// A window whose blobs are on their way.
struct Waiting {
    window: Window,
    blobs: Vec<Asked>,
    /// Stored bytes that are free when it has been opened: those of its stretch if it is the last one of it, for the blobs of a request share their memory.
    frees: u64,
}

/// A window that is being opened.
struct Opening {
    frees: u64,
    /// Memory that its content takes.
    content: u64,
    contents: Task<Vec<Bytes>>,
}

impl Ahead {
    /// At most `limit` stored bytes ahead and [`CONTENT`] of content, beside the window that is being returned.
    pub(crate) fn new(core: Arc<Core>, buffers: Arc<ChunkBuffers>, limit: usize) -> Self {
        Self {
            places: Places::new(limit, core.concurrency()),
            core,
            buffers,
            window: Window::up_to(WINDOW),
            stretch: Vec::new(),
            stretched: 0,
            asked: VecDeque::new(),
            opening: VecDeque::new(),
            stored: 0,
            limit: limit as u64,
            ready: VecDeque::new(),
            failed: None,
        }
    }

    /// Whether a further blob is within the bounds: there is always room for a first window.
    pub(crate) fn has_room(&self) -> bool {
        self.stored < self.limit || self.stretch.is_empty() && self.asked.is_empty() && self.opening.is_empty()
    }

    /// Adds the blob that comes next.
    pub(crate) fn add(&mut self, id: ObjectId, location: Location) {
        if !self.window.add(id, location) {
            self.end_window();
            // Of a bound that is small, several stretches are to be on their way, too.
            if self.stretched >= STRETCH.min(self.limit / 4) {
                self.send();
            }
            self.window.add(id, location);
        }
        self.stored += cost_of(&location);
    }

    /// Has what was added fetched, though there would be room for more in its stretch.
    pub(crate) fn send(&mut self) {
        self.end_window();
        let windows = std::mem::take(&mut self.stretch);
        let asked = ask(&self.core, &self.places, windows).map(|(window, blobs)| Waiting { window, blobs, frees: 0 });
        let sent = self.asked.len();
        self.asked.extend(asked);
        if let Some(last) = self.asked.range_mut(sent..).next_back() {
            last.frees = std::mem::take(&mut self.stretched);
        }
    }

    fn end_window(&mut self) {
        let window = std::mem::replace(&mut self.window, Window::up_to(WINDOW));
        if !window.is_empty() {
            self.stretched += cost(&window);
            self.stretch.push(window);
        }
    }

    /// The content of the first blob that was not returned yet; `None` when there is none. Once it has failed, it fails always.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            self.open();
            if let Some(content) = self.ready.pop_front() {
                return Ok(Some(content));
            }
            if let Some(error) = &self.failed {
                return Err(error.clone());
            }
            if self.opening.is_empty() {
                self.send();
                self.open();
            }
            let Some(first) = self.opening.front_mut() else {
                return Ok(None);
            };
            let opened = first.contents.join().await;
            self.stored -= first.frees;
            self.opening.pop_front();
            match opened {
                Ok(contents) => self.ready.extend(contents),
                Err(error) => {
                    self.asked.clear();
                    self.opening.clear();
                    self.failed = Some(error);
                }
            }
        }
    }

    /// Begins to open the windows that come next.
    fn open(&mut self) {
        while let Some(content) = self.asked.front().map(|next| next.window.content())
            && self.may_open(content)
            && let Some(Waiting { window, blobs, frees }) = self.asked.pop_front()
        {
            let (core, buffers) = (Arc::clone(&self.core), Arc::clone(&self.buffers));
            let contents = Task::start(open_window(core, buffers, self.places.clone(), window, blobs));
            self.opening.push_back(Opening { frees, content, contents });
        }
    }

    /// Whether a further window may be opened: one for each thread and one to be returned, as far as their contents have room.
    fn may_open(&self, content: u64) -> bool {
        let opening: u64 = self.opening.iter().map(|opening| opening.content).sum();
        self.opening.is_empty() || self.opening.len() <= self.core.crew.threads() && opening + content <= CONTENT
    }
}

/// What the blobs of a window take until they are opened.
fn cost(window: &Window) -> u64 {
    window.blobs.iter().map(|(_, location)| cost_of(location)).sum()
}

fn cost_of(location: &Location) -> u64 {
    u64::from(location.length) + OF_A_BLOB
}

/// Opens the blobs of a window; returns their contents in order. What is damaged as it came is fetched anew.
async fn open_window(
    core: Arc<Core>,
    buffers: Arc<ChunkBuffers>,
    places: Places,
    window: Window,
    asked: Vec<Asked>,
) -> Result<Vec<Bytes>, ReadError> {
    let mut stored = Vec::with_capacity(asked.len());
    for blob in asked {
        match blob.take().await {
            // Its request was damaged somewhere.
            Err(ReadError::Corrupt(_)) => {}
            taken => stored.push(taken?),
        }
    }
    let (owner, home) = (Arc::clone(&core), Arc::clone(&buffers));
    let opened = core.crew.run(move |tools| open(&owner, &home, stored, tools)).await;
    let mut contents: HashMap<ObjectId, Bytes> = opened.map_err(ReadError::Internal)?.contents.into_iter().collect();
    let mut damaged = window.distinct();
    damaged.retain(|(id, _)| !contents.contains_key(id));
    if let Some((_, location)) = damaged.first() {
        let object = access::pack_key(&location.pack);
        tracing::warn!(object, blobs = damaged.len(), "damaged as it came, and fetched anew");
    }
    contents.extend(fetch_each(&core, &buffers, &places, damaged).await?);
    window.in_order(&contents)
}

/// Fetches blobs, each alone and from one replica after the other: where none has all of them, each may be good in one.
async fn fetch_each(
    core: &Arc<Core>,
    buffers: &Arc<ChunkBuffers>,
    places: &Places,
    blobs: Vec<(ObjectId, Location)>,
) -> Result<Vec<(ObjectId, Bytes)>, ReadError> {
    let fetch = |(id, location): (ObjectId, Location)| async move {
        let _place = places.take(u64::from(location.length)).await?;
        fetch_request(core, buffers, Request::of(id, location)).await
    };
    stream::iter(blobs)
        .map(fetch)
        .buffer_unordered(core.concurrency())
        .try_concat()
        .await
}
