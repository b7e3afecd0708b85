//! [`Places`]: how much may be on its way at once, in requests and in bytes.
//!
//! What is asked for beyond that waits here, where nobody else does: the store's own queue is shared with folders, with other readers and with locks.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::ReadError;

/// Room for requests that are on their way. Clones share it.
#[derive(Clone)]
pub(super) struct Places {
    room: Arc<Semaphore>,
    bytes: u32,
    /// What a request takes however short it is, so that there are never too many.
    least: u32,
}

impl Places {
    /// Room for so many bytes, or a single request that is longer, in so many requests at most.
    pub(super) fn new(bytes: usize, requests: usize) -> Self {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).max(1);
        let requests = u32::try_from(requests).unwrap_or(u32::MAX).max(1);
        Self {
            room: Arc::new(Semaphore::new(bytes as usize)),
            bytes,
            least: bytes.div_ceil(requests),
        }
    }

    /// Waits for room for a request of so many bytes, behind those that came before. It is free again when what is returned is dropped.
    pub(super) async fn take(&self, bytes: u64) -> Result<SemaphorePermit<'_>, ReadError> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(self.least, self.bytes);
        let taken = self.room.acquire_many(bytes).await;
        taken.map_err(|closed| ReadError::Internal(closed.to_string()))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn requests_are_bounded_in_number_and_in_bytes() {
        let places = Places::new(100, 3);
        let short = [places.take(1).await.unwrap(), places.take(0).await.unwrap()];
        assert!(places.take(50).now_or_never().is_none(), "bytes");
        let third = places.take(1).now_or_never();
        assert!(third.is_none(), "of 100 bytes, three times 34 are too many");
        drop(short);
        let long = places.take(u64::MAX).await.unwrap();
        assert!(places.take(1).now_or_never().is_none());
        drop(long);
        assert!(places.take(1).now_or_never().is_some());
    }
}
