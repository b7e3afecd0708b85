//! What an operation needs from its caller beside its own input: a way to be cancelled and somebody to tell how far it is.

use std::sync::Arc;

use crate::Cancellation;

/// How far an operation is, as the plugin says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressState {
    /// What is going on, in a few words.
    pub phase: String,
    /// Bytes done so far.
    pub bytes: u64,
    /// Bytes in all, where that can be estimated.
    pub total_bytes: Option<u64>,
}

/// Hears how far an operation is. Called on the plugin's own task: it must not block.
pub trait ProgressObserver: Send + Sync + 'static {
    /// A new state; the last one counts.
    fn report(&self, state: ProgressState);
}

/// Nobody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl ProgressObserver for NoProgress {
    fn report(&self, _state: ProgressState) {}
}

/// What surrounds one operation, or one [`SinkPool`](crate::SinkPool).
#[derive(Clone)]
pub struct OperationContext {
    /// Ends the operation with [`PluginError::Cancelled`](crate::PluginError::Cancelled).
    pub cancellation: Cancellation,
    /// Hears the plugin's progress.
    pub progress: Arc<dyn ProgressObserver>,
    /// The span that the plugin's log records belong to (run, pipeline).
    pub span: tracing::Span,
}

impl Default for OperationContext {
    fn default() -> Self {
        Self {
            cancellation: Cancellation::new(),
            progress: Arc::new(NoProgress),
            span: tracing::Span::none(),
        }
    }
}

impl std::fmt::Debug for OperationContext {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("OperationContext")
            .field("cancellation", &self.cancellation)
            .field("span", &self.span)
            .finish_non_exhaustive()
    }
}
