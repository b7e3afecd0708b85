//! [`Faulty`]: a store in memory that misbehaves where a test wants it to, behind the port that production uses.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bulkhead_model::{Fault, FaultKind};
use bulkhead_vault::{ObjectBody, ObjectInfo, ObjectStore, StoreTraits, stores::MemoryStore};
use bytes::Bytes;
use tokio::sync::Notify;

/// Fails, or hangs in, the calls that a test chooses.
pub(crate) struct Faulty {
    inner: Arc<MemoryStore>,
    puts: AtomicUsize,
    /// Reads so far.
    pub(crate) gets: AtomicUsize,
    /// Reads that are under way, and the most that ever were.
    getting: AtomicUsize,
    pub(crate) most_gets: AtomicUsize,
    /// Which objects' puts count for failing, and how many of them are let pass before one fails.
    failing: Mutex<Option<(&'static str, usize)>>,
    /// Whether a put that fails has stored its object nevertheless, as where the answer is lost.
    pub(crate) stores_and_fails: AtomicBool,
    /// The put from which on all hang.
    pub(crate) hang_from: AtomicUsize,
    /// What the store contained after each put, while this is recorded.
    pub(crate) history: Option<Mutex<Vec<BTreeMap<String, Bytes>>>>,
    /// The one call that goes wrong, whatever its object.
    plan: Mutex<Plan>,
    /// Told when a call hangs.
    hangs: Notify,
}

/// What is to go wrong, and how much of it has come to pass.
#[derive(Default)]
struct Plan {
    next: Option<(Operation, usize, Misdeed)>,
    /// What the call was about that went wrong.
    done: Option<String>,
}

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Traits,
    Put,
    Get,
    List,
    Stat,
    Delete,
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misdeed {
    /// Nothing is done, and that is said.
    Fails(FaultKind),
    /// It is done, but the answer is lost.
    FailsAfterwards(FaultKind),
    /// There is no answer.
    Hangs,
    /// The last bytes of what is read, or stored, are missing, and nothing is said.
    Truncates,
    /// One bit of what is read, or stored, is another.
    FlipsBit,
    /// One of what is listed is left out, and nothing is said.
    Omits,
}

/// Every kind of call.
pub(crate) const OPERATIONS: [Operation; 6] = [
    Operation::Traits,
    Operation::Put,
    Operation::Get,
    Operation::List,
    Operation::Stat,
    Operation::Delete,
];

impl Faulty {
    pub(crate) fn new(inner: Arc<MemoryStore>) -> Arc<Self> {
        Self::with_history(inner, None)
    }

    pub(crate) fn with_history(inner: Arc<MemoryStore>, history: Option<Mutex<Vec<BTreeMap<String, Bytes>>>>) -> Arc<Self> {
        let never = || AtomicUsize::new(usize::MAX);
        Arc::new(Self {
            inner,
            puts: AtomicUsize::new(0),
            gets: AtomicUsize::new(0),
            getting: AtomicUsize::new(0),
            most_gets: AtomicUsize::new(0),
            failing: Mutex::default(),
            stores_and_fails: AtomicBool::new(false),
            hang_from: never(),
            history,
            plan: Mutex::default(),
            hangs: Notify::new(),
        })
    }

    /// From now on, of the puts of objects whose key begins with `prefix`, the one fails that has `number` before it.
    pub(crate) fn fail_put(&self, prefix: &'static str, number: usize) {
        *self.failing.lock().unwrap() = Some((prefix, number));
    }

    /// From now on, of the calls of one kind, the one goes wrong that has `number` before it.
    pub(crate) fn misbehave(&self, operation: Operation, number: usize, misdeed: Misdeed) {
        *self.plan.lock().unwrap() = Plan {
            next: Some((operation, number, misdeed)),
            done: None,
        };
    }

    /// What the call was about that went wrong; `None` where none has.
    pub(crate) fn misbehaved(&self) -> Option<String> {
        self.plan.lock().unwrap().done.clone()
    }

    /// Waits until a call hangs.
    pub(crate) async fn hangs(&self) {
        self.hangs.notified().await;
    }

    /// Whether this is the put that fails.
    fn fails(&self, key: &str) -> bool {
        let mut failing = self.failing.lock().unwrap();
        match failing.as_mut().filter(|(prefix, _)| key.starts_with(prefix)) {
            Some((_, 0)) => failing.take().is_some(),
            Some((_, left)) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    /// How this call goes wrong, if it does.
    fn misdeed(&self, operation: Operation, key: &str) -> Option<Misdeed> {
        let mut plan = self.plan.lock().unwrap();
        let (_, left, misdeed) = plan.next.as_mut().filter(|(planned, ..)| *planned == operation)?;
        let misdeed = *misdeed;
        if let Some(fewer) = left.checked_sub(1) {
            *left = fewer;
            return None;
        }
        plan.next = None;
        plan.done = Some(key.to_owned());
        Some(misdeed)
    }

    /// Carries out a call, as well as the plan lets it.
    async fn carry_out<T>(
        &self,
        operation: Operation,
        key: &str,
        call: impl Future<Output = Result<T, Fault>>,
        spoil: impl FnOnce(T, Misdeed) -> T,
    ) -> Result<T, Fault> {
        // A moment at which whoever asked may be gone.
        tokio::task::yield_now().await;
        let fault = |kind| Fault::new(kind, format!("{operation:?} goes wrong"));
        match self.misdeed(operation, key) {
            None => call.await,
            Some(Misdeed::Fails(kind)) => Err(fault(kind)),
            Some(Misdeed::FailsAfterwards(kind)) => call.await.and(Err(fault(kind))),
            Some(Misdeed::Hangs) => {
                self.hangs.notify_one();
                std::future::pending().await
            }
            Some(misdeed) => call.await.map(|result| spoil(result, misdeed)),
        }
    }

    async fn store(&self, key: &str, body: ObjectBody, if_absent: bool) -> Result<(), Fault> {
        tokio::task::yield_now().await;
        let misdeed = self.misdeed(Operation::Put, key);
        if let Some(Misdeed::Fails(kind) | Misdeed::FailsAfterwards(kind)) = misdeed {
            if matches!(misdeed, Some(Misdeed::FailsAfterwards(_))) {
                self.inner.put(key, body, if_absent).await?;
            }
            return Err(Fault::new(kind, "Put goes wrong"));
        }
        if misdeed == Some(Misdeed::Hangs) {
            self.hangs.notify_one();
            std::future::pending::<()>().await;
        }
        let body = match misdeed {
            Some(misdeed) => ObjectBody::new(spoil(body.parts.concat().into(), misdeed)),
            None => body,
        };
        self.inner.put(key, body, if_absent).await
    }
}

fn unspoilt<T>(result: T, _: Misdeed) -> T {
    result
}

/// A list that lacks its last object, which is in no order of time.
fn without_one(mut listed: Vec<ObjectInfo>) -> Vec<ObjectInfo> {
    listed.pop();
    listed
}

/// Content, as it is after a misdeed.
fn spoil(content: Bytes, misdeed: Misdeed) -> Bytes {
    let mut spoilt = content.to_vec();
    match misdeed {
        Misdeed::Truncates => spoilt.truncate(spoilt.len().saturating_sub(1 + spoilt.len() / 10)),
        _ => {
            let middle = spoilt.len() / 2;
            if let Some(byte) = spoilt.get_mut(middle) {
                *byte ^= 0x10;
            }
        }
    }
    spoilt.into()
}

#[async_trait]
impl ObjectStore for Faulty {
    fn location(&self) -> String {
        self.inner.location()
    }

    async fn traits(&self) -> Result<StoreTraits, Fault> {
        self.carry_out(Operation::Traits, "", self.inner.traits(), unspoilt).await
    }

    async fn initialize(&self) -> Result<(), Fault> {
        self.inner.initialize().await
    }

    async fn put(&self, key: &str, body: ObjectBody, if_absent: bool) -> Result<(), Fault> {
        let number = self.puts.fetch_add(1, Ordering::SeqCst);
        if self.fails(key) {
            if self.stores_and_fails.load(Ordering::SeqCst) {
                self.inner.put(key, body, if_absent).await?;
            }
            return Err(Fault::new(FaultKind::StorageFull, "the disk is full"));
        }
        if number >= self.hang_from.load(Ordering::SeqCst) {
            self.hangs.notify_one();
            std::future::pending::<()>().await;
        }
        self.store(key, body, if_absent).await?;
        if let Some(history) = &self.history {
            history.lock().unwrap().push(self.inner.tamper(|objects| objects.clone()));
        }
        Ok(())
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, Fault> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        let getting = self.getting.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_gets.fetch_max(getting, Ordering::SeqCst);
        let got = self.carry_out(Operation::Get, key, self.inner.get(key, range), spoil).await;
        self.getting.fetch_sub(1, Ordering::SeqCst);
        got
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, Fault> {
        self.carry_out(Operation::List, prefix, self.inner.list(prefix), |listed, _| without_one(listed))
            .await
    }

    async fn stat(&self, key: &str) -> Result<Option<ObjectInfo>, Fault> {
        self.carry_out(Operation::Stat, key, self.inner.stat(key), unspoilt).await
    }

    async fn delete(&self, key: &str) -> Result<(), Fault> {
        self.carry_out(Operation::Delete, key, self.inner.delete(key), unspoilt).await
    }
}
