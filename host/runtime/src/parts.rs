//! Parts of an operation: further instances of the same plugin that work while the first keeps what they share.

use std::sync::Arc;

use bulkhead_model::{Fault, FaultKind};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// Longest work and outcome of a part, in bytes.
pub(crate) const MAX_WORK: usize = 1 << 20;

/// Starts parts; made by the operation that they belong to.
pub(crate) trait StartPart: Send + Sync {
    fn start(&self, work: Vec<u8>) -> Part;
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
        Ok(operation.start(work))
    }
}

/// A part at work. Dropping it ends it.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Part {
    outcome: Option<oneshot::Receiver<Result<Vec<u8>, Fault>>>,
    task: AbortHandle,
}

impl Part {
    pub(crate) fn new(outcome: oneshot::Receiver<Result<Vec<u8>, Fault>>, task: AbortHandle) -> Self {
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
        result
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.task.abort();
    }
}
