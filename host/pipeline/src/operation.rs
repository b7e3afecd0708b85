//! What surrounds one operation: [`Operation`], with the configuration, how to interrupt it, and who watches.

use std::{future::Future, sync::Arc, time::Duration};

use bulkhead_config::Config;
use bulkhead_runtime::{Cancellation, OperationContext};

use crate::{host::Host, progress::Progress};

/// How long an operation that was cancelled may take to put things in order before it is dropped.
const GRACE: Duration = Duration::from_millis(500);

/// One operation. Cheap to clone.
#[derive(Clone)]
pub struct Operation {
    /// Plugins and secrets.
    pub host: Arc<Host>,
    /// What the operator wrote.
    pub config: Arc<Config>,
    /// Interrupts it.
    pub cancellation: Cancellation,
    /// How far it is.
    pub progress: Progress,
    /// The sink that stored content is read from, one of the vault's; `None` for its first one. Operations that write don't look at it.
    pub read_from: Option<String>,
}

/// How work under watch ended.
pub(crate) enum Ending<T> {
    /// By itself.
    Done(T),
    /// It was interrupted; with its result where it had one within the moment that it was given.
    Interrupted(Interrupted, Option<T>),
}

/// An operation was cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Interrupted {
    /// From outside.
    #[error("interrupted")]
    Cancelled,
    /// By `limits.wall-clock` of the pipeline.
    #[error("the operation took longer than the {} s that `wall-clock` allows", .0.as_secs())]
    WallClock(Duration),
}

impl Operation {
    /// The context of plugins in this operation.
    pub(crate) fn context(&self) -> OperationContext {
        OperationContext {
            cancellation: self.cancellation.clone(),
            progress: Arc::new(self.progress.clone()),
            span: tracing::Span::current(),
        }
    }

    /// The context of sinks. What they report of themselves is not the operation's progress; and they are not cancelled with it, because the vault
    /// still has to remove its lock: their work ends when the vault lets go of it.
    pub(crate) fn sink_context(&self) -> OperationContext {
        OperationContext {
            progress: Arc::new(bulkhead_runtime::NoProgress),
            cancellation: Cancellation::new(),
            span: tracing::Span::current(),
        }
    }

    /// An operation with a progress and an end of its own, which is cancelled with this one.
    #[must_use]
    pub fn child(&self) -> Self {
        let cancellation = Cancellation::new();
        let (outer, inner) = (self.cancellation.clone(), cancellation.clone());
        tokio::spawn(async move {
            outer.cancelled().await;
            inner.cancel();
        });
        Self {
            cancellation,
            progress: Progress::default(),
            ..self.clone()
        }
    }

    /// Carries `work` out until it ends, the operation is cancelled, or `limit` has passed. `work` gets a moment to end by itself, since it sees the
    /// cancellation too, and is dropped then.
    pub(crate) async fn until_interrupted<T>(&self, limit: Option<Duration>, work: impl Future<Output = T>) -> Result<T, Interrupted> {
        match self.watch(limit, work).await {
            Ending::Done(result) => Ok(result),
            // What it came to in its last moment is a consequence of the interruption.
            Ending::Interrupted(interrupted, _) => Err(interrupted),
        }
    }

    /// The same for work whose result may matter even then.
    pub(crate) async fn watch<T>(&self, limit: Option<Duration>, work: impl Future<Output = T>) -> Ending<T> {
        tokio::pin!(work);
        let deadline = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let interrupted = tokio::select! {
            biased;
            result = &mut work => return Ending::Done(result),
            () = self.cancellation.cancelled() => Interrupted::Cancelled,
            () = deadline => Interrupted::WallClock(limit.unwrap_or_default()),
        };
        self.cancellation.cancel();
        Ending::Interrupted(interrupted, tokio::time::timeout(GRACE, &mut work).await.ok())
    }
}
