//! How far an operation is: [`Progress`], written by the operation and read by whoever shows it, as often as they like.
//!
//! Polled rather than pushed: a terminal redraws ten times a second whatever happens, and a plugin that reports a million times costs nothing.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use bulkhead_runtime::{ProgressObserver, ProgressState};
use bulkhead_vault::{RunStats, SnapshotWriter};
use tokio::sync::watch;

/// How far an operation is. Clones share it.
#[derive(Clone, Default)]
pub struct Progress(Arc<Shared>);

#[derive(Default)]
struct Shared {
    phase: Mutex<String>,
    done: AtomicU64,
    total: AtomicU64,
    entries: AtomicU64,
    writer: Mutex<Option<watch::Receiver<Arc<SnapshotWriter>>>>,
}

/// How far an operation was when asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProgressView {
    /// What is going on, in a few words.
    pub phase: String,
    /// Bytes done (or whatever the phase counts).
    pub done: u64,
    /// Of so many; `None` where unknown.
    pub total: Option<u64>,
    /// Entries done.
    pub entries: u64,
    /// Bytes that the vault did not have, in a run.
    pub added: Option<u64>,
}

impl Progress {
    /// Says what is going on now; counts begin anew.
    pub(crate) fn phase(&self, phase: &str, total: Option<u64>) {
        self.0.done.store(0, Ordering::Relaxed);
        self.0.total.store(total.unwrap_or(0), Ordering::Relaxed);
        self.set_phase(phase);
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.0.done.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, done: u64, total: u64) {
        self.0.done.store(done, Ordering::Relaxed);
        self.0.total.store(total, Ordering::Relaxed);
    }

    pub(crate) fn add_entry(&self) {
        self.0.entries.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn follow(&self, writer: watch::Receiver<Arc<SnapshotWriter>>) {
        if let Ok(mut followed) = self.0.writer.lock() {
            *followed = Some(writer);
        }
    }

    /// Lets go of the writer, so that its run can end.
    pub(crate) fn unfollow(&self) {
        if let Ok(mut followed) = self.0.writer.lock() {
            *followed = None;
        }
    }

    /// How far it is.
    #[must_use]
    pub fn view(&self) -> ProgressView {
        let stats = self.stats();
        let done = self.0.done.load(Ordering::Relaxed);
        ProgressView {
            phase: self.0.phase.lock().map(|phase| phase.clone()).unwrap_or_default(),
            done: stats.map_or(done, |stats| done.max(stats.bytes)),
            total: Some(self.0.total.load(Ordering::Relaxed)).filter(|total| *total > 0),
            entries: stats.map_or_else(|| self.0.entries.load(Ordering::Relaxed), |stats| stats.entries),
            added: stats.map(|stats| stats.added_bytes),
        }
    }

    fn stats(&self) -> Option<RunStats> {
        let followed = self.0.writer.lock().ok()?;
        followed.as_ref().map(|writer| writer.borrow().stats())
    }

    fn set_phase(&self, phase: &str) {
        if let Ok(mut current) = self.0.phase.lock() {
            phase.clone_into(&mut current);
        }
    }
}

impl ProgressObserver for Progress {
    fn report(&self, state: ProgressState) {
        self.0.done.store(state.bytes, Ordering::Relaxed);
        self.0.total.store(state.total_bytes.unwrap_or(0), Ordering::Relaxed);
        self.set_phase(&state.phase);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_state_of_a_plugin_is_shown() {
        let progress = Progress::default();
        progress.phase("connecting", None);
        progress.report(ProgressState {
            phase: "copying base/5".into(),
            bytes: 10,
            total_bytes: Some(100),
        });
        let view = progress.view();
        assert_eq!((view.phase.as_str(), view.done, view.total), ("copying base/5", 10, Some(100)));
    }

    #[test]
    fn a_phase_begins_at_zero() {
        let progress = Progress::default();
        progress.phase("reading", Some(10));
        progress.add(7);
        progress.phase("writing", None);
        assert_eq!(
            progress.view(),
            ProgressView {
                phase: "writing".into(),
                ..ProgressView::default()
            }
        );
    }
}
