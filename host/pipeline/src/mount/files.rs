//! Open files of a mounted vault: [`OpenFile`], and [`Files`] for the kernel's requests, one task for each.
//!
//! Requests to one file are answered in order. Reads from the beginning onwards, as most programs read, come with the vault's read-ahead; not more than
//! [`STREAMS`] files at once have that, so that memory is bounded however many are open.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bulkhead_vault::{EntryReader, ReadError};
use bytes::{Bytes, BytesMut};
use fuser::{Errno, ReplyData};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Files that are read ahead at once: some 25 MiB each.
const STREAMS: usize = 4;
/// Requests to one file that wait: more than the kernel sends.
const WAITING: usize = 64;

/// A request for a part of a file.
pub(crate) struct ReadRequest {
    pub(crate) offset: u64,
    pub(crate) size: usize,
    pub(crate) reply: ReplyData,
}

/// Files that are open.
pub(crate) struct Files {
    next: AtomicU64,
    open: Mutex<HashMap<u64, mpsc::Sender<ReadRequest>>>,
    streams: Streams,
}

impl Files {
    pub(crate) fn new() -> Self {
        Self {
            next: AtomicU64::new(1),
            open: Mutex::default(),
            streams: Streams::default(),
        }
    }

    /// Begins to answer requests to `reader`; returns the file's handle.
    pub(crate) fn add(&self, reader: EntryReader) -> u64 {
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        let (requests, received) = mpsc::channel(WAITING);
        self.lock().insert(handle, requests);
        tokio::spawn(OpenFile::new(reader, self.streams.clone()).answer(received));
        handle
    }

    /// Where requests to an open file go.
    pub(crate) fn requests(&self, handle: u64) -> Option<mpsc::Sender<ReadRequest>> {
        self.lock().get(&handle).cloned()
    }

    /// Closes a file.
    pub(crate) fn remove(&self, handle: u64) {
        self.lock().remove(&handle);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, mpsc::Sender<ReadRequest>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who may read ahead, shared by the files of a mounted vault.
#[derive(Clone)]
pub(crate) struct Streams(Arc<Semaphore>);

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(STREAMS)))
    }
}

/// A file that is read in parts.
pub(crate) struct OpenFile {
    reader: EntryReader,
    /// Where reading in sequence is.
    at: u64,
    /// The right to read ahead.
    stream: Option<OwnedSemaphorePermit>,
    streams: Streams,
}

impl OpenFile {
    pub(crate) fn new(reader: EntryReader, streams: Streams) -> Self {
        Self {
            reader,
            at: 0,
            stream: None,
            streams,
        }
    }

    async fn answer(mut self, mut requests: mpsc::Receiver<ReadRequest>) {
        while let Some(ReadRequest { offset, size, reply }) = requests.recv().await {
            match self.read(offset, size).await {
                Ok(data) => reply.data(&data),
                Err(error) => {
                    tracing::warn!(%error, "a mounted file cannot be read");
                    reply.error(Errno::EIO);
                }
            }
        }
    }

    /// Up to `size` bytes at `offset`; fewer only at the end.
    ///
    /// # Errors
    /// What can happen to content.
    pub(crate) async fn read(&mut self, offset: u64, size: usize) -> Result<Bytes, ReadError> {
        let in_sequence = offset == self.at && offset < self.reader.size();
        if in_sequence && self.stream.is_none() && offset == 0 {
            self.stream = Arc::clone(&self.streams.0).try_acquire_owned().ok();
        }
        if !in_sequence || self.stream.is_none() {
            return Ok(self.reader.read_at(offset, size).await?.unwrap_or_default());
        }
        let mut data = BytesMut::new();
        while data.len() < size {
            let Some(part) = self.reader.read_next(size - data.len()).await? else {
                break;
            };
            self.at += part.len() as u64;
            if part.len() == size {
                return Ok(part);
            }
            data.extend_from_slice(&part);
        }
        if self.at >= self.reader.size() {
            // Nothing more comes in sequence.
            self.stream = None;
        }
        Ok(data.freeze())
    }
}
