//! [`Task`]: work on the runtime that is given up when nobody waits for it any more.

use std::future::Future;

use tokio::task::JoinHandle;

use crate::error::ReadError;

/// Something that is being read.
pub(crate) struct Task<T>(JoinHandle<Result<T, ReadError>>);

impl<T: Send + 'static> Task<T> {
    /// Begins it.
    pub(crate) fn start(work: impl Future<Output = Result<T, ReadError>> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    /// Waits for its end. May be called again when the future was dropped before that.
    pub(crate) async fn join(&mut self) -> Result<T, ReadError> {
        (&mut self.0)
            .await
            .unwrap_or_else(|error| Err(ReadError::Internal(error.to_string())))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
