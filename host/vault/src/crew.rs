//! [`Crew`]: the threads of an open vault that decrypt, decompress and parse what was read.
//!
//! A few that stay, not those of the runtime's pool for blocking calls: of these there are as many as there is ever work at once, and each keeps
//! memory of its own.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::available_parallelism,
};

use tokio::sync::oneshot;
use zstd::bulk::Decompressor;

use crate::{options::MOST_THREADS, sync::lock};

/// Threads that wait for work, started when there is some. They end when the crew is dropped.
pub(crate) struct Crew {
    shared: Arc<Shared>,
    most: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Threads, and those of them that wait.
    threads: usize,
    idle: usize,
    closed: bool,
}

type Job = Box<dyn FnOnce(&mut Tools) + Send>;

/// What a thread uses again for every job.
#[derive(Default)]
pub(crate) struct Tools {
    decompressor: Option<Decompressor<'static>>,
}

impl Tools {
    /// The thread's decompressor.
    pub(crate) fn decompressor(&mut self) -> std::io::Result<&mut Decompressor<'static>> {
        match &mut self.decompressor {
            Some(decompressor) => Ok(decompressor),
            empty => Ok(empty.insert(Decompressor::new()?)),
        }
    }
}

impl Default for Crew {
    fn default() -> Self {
        Self {
            shared: Arc::default(),
            most: available_parallelism().map_or(2, usize::from).min(MOST_THREADS),
        }
    }
}

impl Crew {
    /// Threads at most.
    pub(crate) fn threads(&self) -> usize {
        self.most
    }

    /// Has `work` done by one of the threads. When the future is dropped, it is done all the same, but for nobody. `Err` when it panicked, or when there
    /// can be no thread.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce(&mut Tools) -> T + Send + 'static) -> Result<T, String> {
        let (send, done) = oneshot::channel();
        let job = Box::new(move |tools: &mut Tools| {
            let _nobody_waits = send.send(work(tools));
        });
        self.add(job)?;
        done.await.map_err(|_| "a thread of the vault's reader panicked".to_owned())
    }

    fn add(&self, job: Job) -> Result<(), String> {
        let mut state = lock(&self.shared.state);
        if state.idle <= state.jobs.len() && state.threads < self.most {
            let shared = Arc::clone(&self.shared);
            let started = std::thread::Builder::new()
                .name("vault-reader".to_owned())
                .spawn(move || shared.work());
            match started {
                Ok(_detached) => state.threads += 1,
                Err(error) if state.threads == 0 => return Err(format!("a thread could not be started: {error}")),
                Err(_) => {}
            }
        }
        state.jobs.push_back(job);
        self.shared.changed.notify_one();
        Ok(())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        lock(&self.shared.state).closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    /// A thread's life.
    fn work(&self) {
        let mut tools = Tools::default();
        while let Some(job) = self.next() {
            // Whoever waits for the job learns of its panic because nothing is ever sent.
            if catch_unwind(AssertUnwindSafe(|| job(&mut tools))).is_err() {
                tools = Tools::default();
            }
        }
    }

    /// Waits for a job; `None` when the crew is gone.
    fn next(&self) -> Option<Job> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            state.idle += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use std::collections::HashSet;

    use super::*;

    #[tokio::test]
    async fn all_work_is_done_by_few_threads_and_a_panic_stops_none() {
        let crew = Crew::default();
        assert!(crew.run(|_| panic!("a defect")).await.is_err());
        let work = (0..100).map(|number| crew.run(move |_| (number, std::thread::current().id())));
        let done = futures_util::future::join_all(work).await;
        let mut threads = HashSet::new();
        for (number, done) in done.into_iter().enumerate() {
            let (found, thread) = done.unwrap();
            assert_eq!(found, number);
            threads.insert(thread);
        }
        assert!(threads.len() <= crew.most);
    }
}
