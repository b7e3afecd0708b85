//! Chunks on their way to the worker threads. Its length is bounded by the memory that its chunks hold permits for, not by a count.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError},
};

use tokio::sync::OwnedSemaphorePermit;

use crate::{sync::lock, writer::content::Content};

/// A chunk to store.
pub(crate) struct Job {
    /// Its bytes.
    pub(crate) data: Vec<u8>,
    /// The entry it belongs to.
    pub(crate) content: Arc<Content>,
    /// Which of the entry's chunks it is.
    pub(crate) ordinal: usize,
    /// The memory it takes; given back when the job is dropped.
    pub(crate) memory: OwnedSemaphorePermit,
}

/// Jobs in order.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Queue {
    /// Adds a job; gives it back when the queue is closed.
    pub(crate) fn push(&self, job: Job) -> Result<(), Box<Job>> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Box::new(job));
        }
        state.jobs.push_back(job);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for a job; `None` when the queue is closed.
    pub(crate) fn pop(&self) -> Option<Job> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets all threads go, and drops the jobs that are left.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        let jobs = std::mem::take(&mut state.jobs);
        self.changed.notify_all();
        drop(state);
        drop(jobs);
    }
}
