//! Parts of an operation: further instances of the same plugin that work while the first keeps what they share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bulkhead_model::{Fault, FaultKind};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// Longest work and outcome of a part, in bytes.
pub(crate) const MAX_WORK: usize = 1 << 20;
/// Bytes of work and outcomes that the host keeps for one operation: parts that are queued or at work, and those that nobody has waited for yet.
const MAX_HELD: u64 = 16 << 20;

/// Bytes that the host keeps for the parts of one operation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shelf(Arc<AtomicU64>);

/// Bytes on a shelf; they leave it when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bytes: Vec<u8>,
    size: u64,
    shelf: Shelf,
}

impl Shelf {
    /// Keeps `bytes`, where there is room for them.
    pub(crate) fn keep(&self, bytes: Vec<u8>) -> Result<Held, Fault> {
        let size = bytes.len() as u64;
        let add = |held: u64| Some(held + size).filter(|sum| *sum <= MAX_HELD);
        if self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_err() {
            let message = format!("the work and the outcomes of parts that were not waited for have more than {MAX_HELD} bytes in all");
            return Err(Fault::new(FaultKind::Limit, message));
        }
        let shelf = self.clone();
        Ok(Held { bytes, size, shelf })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shelf.0.fetch_sub(self.size, Ordering::Relaxed);
    }
}

/// Starts parts; made by the operation that they belong to.
pub(crate) trait StartPart: Send + Sync {
    fn start(&self, work: Vec<u8>) -> Result<Part, Fault>;
}

/// What an instance can do with parts: nothing, unless it is the first of a backup or restore.
#[derive(Clone, Default)]
pub(crate) struct Parts(Option<Arc<dyn StartPart>>);

impl Parts {
    pub(crate) fn of(operation: Arc<dyn StartPart>) -> Self {
        Self(Some(operation))
    }

    pub(crate) fn start(&self, work: Vec<u8>) -> Result<Part, Fault> {
        let Some(operation) = &self.0 else {
            return Err(Fault::new(
                FaultKind::Unsupported,
                "parts are started in `backup` and `restore`, not from within a part",
            ));
        };
        if work.len() > MAX_WORK {
            return Err(Fault::new(
                FaultKind::Limit,
                format!("the work of a part has at most {MAX_WORK} bytes, not {}", work.len()),
            ));
        }
        operation.start(work)
    }
}

/// A part at work. Dropping it ends it.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Part {
    outcome: Option<oneshot::Receiver<Result<Held, Fault>>>,
    task: AbortHandle,
}

impl Part {
    pub(crate) fn new(outcome: oneshot::Receiver<Result<Held, Fault>>, task: AbortHandle) -> Self {
        Self {
            outcome: Some(outcome),
            task,
        }
    }

    /// Waits for its end; not bounded by `call-timeout`, because a part is an operation, not a call.
    pub(crate) async fn wait(&mut self) -> Result<Vec<u8>, Fault> {
        let cancelled = || Fault::new(FaultKind::Cancelled, "the part was cancelled");
        let Some(outcome) = &mut self.outcome else {
            return Err(Fault::new(FaultKind::Internal, "the part was waited for before"));
        };
        let result = outcome.await.unwrap_or_else(|_| Err(cancelled()));
        self.outcome = None;
        result.map(|mut held| std::mem::take(&mut held.bytes))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_parts_leave_lying_is_bounded_in_all() {
        let shelf = Shelf::default();
        let mut kept: Vec<_> = (0..16).map(|_| shelf.keep(vec![0; MAX_WORK])).collect();
        assert!(kept.iter().all(Result::is_ok));
        assert_eq!(shelf.keep(vec![0]).map(drop).map_err(|fault| fault.kind), Err(FaultKind::Limit));
        assert!(shelf.keep(Vec::new()).is_ok());
        kept.pop();
        assert!(shelf.keep(vec![0; MAX_WORK]).is_ok());
    }
}
