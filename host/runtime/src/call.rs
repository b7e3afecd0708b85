//! One call into a plugin under all its limits, and what its end means.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bulkhead_model::{Fault, FaultKind};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;
use wasmtime::component::ResourceTableError;
use wasmtime_wasi::I32Exit;

use crate::capabilities::Budget;
use crate::capabilities::log::PluginLog;
use crate::capabilities::redact::Redact;
use crate::state::LimitTrap;
use crate::{Cancellation, LimitExceeded, LimitKind, PluginError, Trap};

/// What surrounds a call.
pub(crate) struct Call<'a> {
    /// The plugin's name.
    pub(crate) plugin: &'a str,
    /// The TOML table, for hints.
    pub(crate) table: &'a str,
    /// The function that is called.
    pub(crate) function: &'static str,
    pub(crate) budget: Arc<Budget>,
    pub(crate) log: Arc<PluginLog>,
    pub(crate) cancellation: &'a Cancellation,
    /// When the wall clock of the operation runs out.
    pub(crate) deadline: Instant,
}

/// Why a call was cut off from outside.
enum Stop {
    Cancelled,
    Limit(LimitKind),
}

impl Call<'_> {
    /// Drives `guest` to its end, with what it was told in secret blotted out of what it says, or drops it when it is cancelled or hits a limit. After an error other than `PluginError::Fault` its store must not be
    /// entered again.
    pub(crate) async fn run<T: Redact>(&self, guest: impl Future<Output = wasmtime::Result<Result<T, Fault>>>) -> Result<T, PluginError> {
        let limit = self.budget.limits().cpu;
        let metered = Metered {
            guest: Box::pin(guest),
            used: Duration::ZERO,
            limit,
        };
        let end = tokio::select! {
            biased;
            () = self.cancellation.cancelled() => Err(Stop::Cancelled),
            () = tokio::time::sleep_until(self.deadline) => Err(Stop::Limit(LimitKind::WallClock)),
            end = metered => end.map_err(Stop::Limit),
        };
        match (end, self.budget.exceeded()) {
            (Err(Stop::Cancelled), _) => Err(PluginError::Cancelled),
            (Err(Stop::Limit(limit)), _) | (Ok(_), Some(limit)) => Err(self.exceeded(limit)),
            (Ok(Ok(Ok(mut value))), None) => {
                value.redact(self.log.redactor());
                Ok(value)
            }
            (Ok(Ok(Err(mut fault))), None) => {
                fault.redact(self.log.redactor());
                Err(self.fault(fault))
            }
            (Ok(Err(trap)), None) => Err(self.trap(&trap)),
        }
    }

    /// The plugin's own error; one that only passes on a limit that it was refused by is that limit, and one that says `cancelled` of an operation that
    /// nobody cancelled is a failure like any other.
    fn fault(&self, mut fault: Fault) -> PluginError {
        if fault.kind == FaultKind::Cancelled && !self.cancellation.is_cancelled() {
            fault.kind = FaultKind::Internal;
        }
        let refused = fault.setting.as_deref().and_then(|setting| setting.strip_prefix("limits."));
        let limit = [LimitKind::Connections, LimitKind::CallTimeout]
            .into_iter()
            .find(|limit| refused == Some(limit.key()));
        match limit {
            Some(limit) if matches!(fault.kind, FaultKind::Limit | FaultKind::TimedOut) => self.exceeded(limit),
            _ => PluginError::Fault(fault),
        }
    }

    pub(crate) fn exceeded(&self, limit: LimitKind) -> PluginError {
        let value = self.budget.limits().show(limit);
        let hint = match limit {
            LimitKind::CallArguments => "this bound cannot be changed: report it to the plugin's author".to_owned(),
            _ => format!("write another `limits.{limit}` in [{}] if the plugin should have more", self.table),
        };
        PluginError::Limit(LimitExceeded {
            plugin: self.plugin.to_owned(),
            limit,
            value,
            hint,
        })
    }

    fn trap(&self, error: &wasmtime::Error) -> PluginError {
        if let Some(limit) = hit_limit(error) {
            return self.exceeded(limit);
        }
        let reason = match (error.downcast_ref::<wasmtime::Trap>(), error.downcast_ref::<I32Exit>()) {
            (Some(trap), _) => trap.to_string(),
            (None, Some(exit)) => format!("it ended itself with status {}", exit.0),
            (None, None) => error.root_cause().to_string(),
        };
        let output = self.log.take_output();
        PluginError::Trap(Trap {
            plugin: self.plugin.to_owned(),
            call: self.function.to_owned(),
            reason,
            output,
        })
    }
}

/// The limit that has raised a trap. Three of the engine's own limits have no type; they are known by their words, which tests pin down.
fn hit_limit(error: &wasmtime::Error) -> Option<LimitKind> {
    if let Some(LimitTrap(limit)) = error.downcast_ref() {
        return Some(*limit);
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        return Some(LimitKind::Resources);
    }
    let message = error.root_cause().to_string();
    if message.starts_with("resource limit exceeded") {
        return Some(LimitKind::ComponentInstances);
    }
    if message.contains("fuel allocated for hostcalls has been exhausted") {
        return Some(LimitKind::CallArguments);
    }
    message.contains("store handle limit exceeded").then_some(LimitKind::Resources)
}

/// Measures the processor time of a guest and of its host calls: that of the thread, across each poll. The engine's clock makes the guest give way every
/// few milliseconds, so a guest that loops is seen.
struct Metered<F> {
    guest: Pin<Box<F>>,
    used: Duration,
    limit: Duration,
}

impl<F: Future> Future for Metered<F> {
    type Output = Result<F::Output, LimitKind>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let before = thread_time();
        let polled = self.guest.as_mut().poll(context);
        self.used += thread_time().saturating_sub(before);
        match polled {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending if self.used > self.limit => Poll::Ready(Err(LimitKind::Cpu)),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
