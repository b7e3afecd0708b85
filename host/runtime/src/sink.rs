//! Operations of a sink plugin, over a pool of instances.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bulkhead_model::{Fault, FaultKind, Finding, Timestamp};
use bytes::Bytes;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;
use wasmtime::Store;

use crate::call::Call;
use crate::capabilities::content::{ContentReader, ContentWriter};
use crate::capabilities::redact::Redact;
use crate::instance::{Prepared, Surroundings};
use crate::parts::Parts;
use crate::state::State;
use crate::v0_1::{SinkGuest, SinkPluginPre};
use crate::{LoadError, OperationContext, Plugin, PluginError, PluginKind, PluginSetup, UnusedGrant};

/// Most instances of one sink, whatever its traits say.
const MAX_INSTANCES: u32 = 64;
/// Most objects of one page, as the ABI says.
const MAX_PAGE: usize = 10_000;
/// Most objects of one listing: 80 TB in pack files of 16 MiB. Their keys take a gibibyte of memory.
const MAX_LISTED: usize = 5_000_000;
/// Longest key, in bytes, as the ABI says.
const MAX_KEY: usize = 128;
/// Longest mark of a next page, in bytes.
const MAX_MARK: usize = 4096;
/// Most bytes that one `get` takes, whatever the traits say: packs are read in ranges, and the largest index file of any restic is far smaller.
const MAX_FETCHED: u64 = 256 << 20;

/// The content of an object: parts that are never concatenated.
#[derive(Debug, Clone)]
pub struct ObjectBody {
    /// In order.
    pub parts: Vec<Bytes>,
    /// SHA-256 of all of them.
    pub sha256: [u8; 32],
}

/// What a sink can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SinkTraits {
    /// Largest object, in bytes.
    pub max_object_size: u64,
    /// Instances that are worth running at once.
    pub concurrency: u32,
    /// Whether [`PutOptions::if_absent`] is atomic even against other hosts.
    pub conditional_put: bool,
    /// Whether locks do something.
    pub object_lock: bool,
}

/// How to store an object.
#[derive(Debug, Clone, Copy, Default)]
pub struct PutOptions {
    /// Fail with `already-exists` instead of replacing.
    pub if_absent: bool,
    /// Keep from deletion until then.
    pub lock_until: Option<Timestamp>,
}

/// A stored object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
}

/// One answer of a listing.
pub(crate) struct ObjectPage {
    pub(crate) objects: Vec<Object>,
    pub(crate) next: Option<String>,
}

/// Instances of one sink plugin, made on demand up to what its traits say; each does one operation at a time, and one that failed by a trap, a limit or
/// cancellation is thrown away. Clones share the pool.
#[derive(Clone)]
pub struct SinkPool(Arc<Inner>);

struct Inner {
    prepared: Prepared,
    guest: SinkPluginPre<State>,
    context: OperationContext,
    idle: Mutex<Vec<Instance>>,
    traits: OnceCell<(SinkTraits, Semaphore)>,
}

/// An instance that is configured and waits for an operation, or does one.
struct Instance {
    around: Surroundings,
    store: Store<State>,
    guest: SinkGuest,
}

impl SinkPool {
    /// Pairs a plugin with what it may use. No I/O: instances are made when they are needed.
    ///
    /// # Errors
    /// When the plugin is no sink, a grant that it cannot work without is missing, or it imports a capability that it neither asks for nor was granted.
    pub fn new(plugin: Plugin, setup: PluginSetup, context: OperationContext) -> Result<Self, PluginError> {
        let prepared = Prepared::new(plugin, setup, PluginKind::Sink)?;
        prepared.rights.check(prepared.plugin.description(), None)?;
        let linked = prepared
            .linker()?
            .instantiate_pre(prepared.plugin.component())
            .and_then(SinkPluginPre::new);
        let guest = linked.map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
        Ok(Self(Arc::new(Inner {
            prepared,
            guest,
            context,
            idle: Mutex::default(),
            traits: OnceCell::new(),
        })))
    }

    /// Grants that the plugin does not ask for and did not get.
    #[must_use]
    pub fn unused_grants(&self) -> &[UnusedGrant] {
        &self.0.prepared.rights.unused
    }

    /// Preflight: can it be reached, read and written; is what is there ours.
    ///
    /// # Errors
    /// When the check itself could not be made.
    pub async fn check(&self) -> Result<Vec<Finding>, PluginError> {
        self.run("check", self.deadline(), async |sink: &mut Instance| {
            sink.guest.check(&mut sink.store).await
        })
        .await
    }

    /// What the sink can do; asked once.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn traits(&self) -> Result<SinkTraits, PluginError> {
        Ok(self.traits_and_places().await?.0)
    }

    /// Makes the store ready for a new vault. `conflict` where there is something that is not an empty store.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn initialize(&self) -> Result<(), PluginError> {
        self.run("initialize", self.deadline(), async |sink: &mut Instance| {
            sink.guest.initialize(&mut sink.store).await
        })
        .await
    }

    /// Stores an object: durable and visible whole when this returns, else not visible at all.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn put(&self, key: &str, body: ObjectBody, options: PutOptions) -> Result<(), PluginError> {
        let _place = self.place().await?;
        let body = ContentReader::new(body);
        self.run("put", self.deadline(), async |sink: &mut Instance| {
            sink.guest.put(&mut sink.store, key, body, options).await
        })
        .await
    }

    /// Fetches an object or a range of it; what comes has exactly the length asked for.
    ///
    /// # Errors
    /// `not-found`; `corrupt` for a range beyond the end; `limit` above 256 MiB, and above the sink's own largest object.
    pub async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, PluginError> {
        let _place = self.place().await?;
        let expected = range.as_ref().map(|range| range.end.saturating_sub(range.start));
        let largest = self.traits().await?.max_object_size.min(MAX_FETCHED);
        if expected.is_some_and(|expected| expected > largest) {
            let message = format!("more than the {largest} bytes of `{key}` that are fetched at once were asked for");
            return Err(PluginError::Fault(Fault::new(FaultKind::Limit, message)));
        }
        let limit = usize::try_from(expected.unwrap_or(largest)).unwrap_or(usize::MAX);
        let content = ContentWriter::new(limit, if expected.is_some() { limit } else { 0 });
        let into = content.clone();
        self.run("get", self.deadline(), async |sink: &mut Instance| {
            sink.guest.get(&mut sink.store, key, range, into).await
        })
        .await?;
        let content = content.take();
        match expected {
            Some(expected) if content.len() as u64 != expected => {
                let message = format!(
                    "the sink returned {} bytes of `{key}` where {expected} were asked for",
                    content.len()
                );
                Err(PluginError::Fault(Fault::new(FaultKind::Corrupt, message)))
            }
            _ => Ok(content),
        }
    }

    /// All objects whose key begins with `prefix`, in any order.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn list(&self, prefix: &str) -> Result<Vec<Object>, PluginError> {
        let _place = self.place().await?;
        // One deadline for all pages: a listing that never ends, ends.
        let deadline = self.deadline();
        let mut listed = Listed::default();
        loop {
            let next = listed.next.as_deref();
            let page = async |sink: &mut Instance| sink.guest.list(&mut sink.store, prefix, next).await;
            let page = self.run("list", deadline, page).await?;
            if !listed.add(prefix, page).map_err(PluginError::Fault)? {
                return Ok(listed.objects);
            }
        }
    }

    /// `None` where there is no such object.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn stat(&self, key: &str) -> Result<Option<Object>, PluginError> {
        let _place = self.place().await?;
        self.run("stat", self.deadline(), async |sink: &mut Instance| {
            sink.guest.stat(&mut sink.store, key).await
        })
        .await
    }

    /// Removes an object; one that isn't there is no error.
    ///
    /// # Errors
    /// `permission-denied` where it is locked.
    pub async fn delete(&self, key: &str) -> Result<(), PluginError> {
        let _place = self.place().await?;
        self.run("delete", self.deadline(), async |sink: &mut Instance| {
            sink.guest.delete(&mut sink.store, key).await
        })
        .await
    }

    /// Extends an object's lock, never shortens it.
    ///
    /// # Errors
    /// `unsupported`, `not-found`.
    pub async fn extend_lock(&self, key: &str, until: Timestamp) -> Result<(), PluginError> {
        let _place = self.place().await?;
        self.run("extend-lock", self.deadline(), async |sink: &mut Instance| {
            sink.guest.extend_lock(&mut sink.store, key, until).await
        })
        .await
    }

    /// Until when an object is locked; `None` where it isn't.
    ///
    /// # Errors
    /// `unsupported`, `not-found`.
    pub async fn locked_until(&self, key: &str) -> Result<Option<Timestamp>, PluginError> {
        let _place = self.place().await?;
        self.run("locked-until", self.deadline(), async |sink: &mut Instance| {
            sink.guest.locked_until(&mut sink.store, key).await
        })
        .await
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.0.prepared.limits.wall_clock
    }

    async fn traits_and_places(&self) -> Result<&(SinkTraits, Semaphore), PluginError> {
        let ask = || async {
            let traits = self
                .run("get-traits", self.deadline(), async |sink: &mut Instance| {
                    sink.guest.traits(&mut sink.store).await
                })
                .await?;
            let places = traits.concurrency.clamp(1, MAX_INSTANCES);
            Ok((traits, Semaphore::new(places as usize)))
        };
        self.0.traits.get_or_try_init(ask).await
    }

    /// Waits for one of the instances that the traits allow.
    async fn place(&self) -> Result<tokio::sync::SemaphorePermit<'_>, PluginError> {
        let (_, places) = self.traits_and_places().await?;
        tokio::select! {
            biased;
            () = self.0.context.cancellation.cancelled() => Err(PluginError::Cancelled),
            place = places.acquire() => place.map_err(|_| PluginError::Cancelled),
        }
    }

    /// Runs one operation in an idle instance, or a new one. The instance goes back unless the operation left it in the middle of something.
    async fn run<T: Redact>(
        &self,
        function: &'static str,
        deadline: Instant,
        operation: impl AsyncFnOnce(&mut Instance) -> wasmtime::Result<Result<T, Fault>>,
    ) -> Result<T, PluginError> {
        let prepared = &self.0.prepared;
        let mut slot = self.idle().pop();
        let around = slot
            .as_ref()
            .map_or_else(|| prepared.surroundings(&self.0.context), |instance| instance.around.clone());
        let call = Call {
            plugin: prepared.name(),
            table: &prepared.rights.table,
            function,
            budget: around.budget.clone(),
            log: around.log.clone(),
            cancellation: &self.0.context.cancellation,
            deadline,
        };
        let guest = async {
            let instance = match &mut slot {
                Some(instance) => instance,
                empty => match self.instantiate(around).await? {
                    Ok(instance) => empty.insert(instance),
                    Err(fault) => return Ok(Err(fault)),
                },
            };
            instance.store.data_mut().renew();
            operation(instance).await
        };
        let result = call.run(guest).await;
        if let (Ok(_) | Err(PluginError::Fault(_)), Some(instance)) = (&result, slot) {
            self.idle().push(instance);
        }
        result
    }

    async fn instantiate(&self, around: Surroundings) -> wasmtime::Result<Result<Instance, Fault>> {
        let Inner { prepared, guest, .. } = &*self.0;
        let mut store = prepared.store(&around, None, Parts::default());
        let guest = SinkGuest::instantiate(guest, &mut store).await?;
        let configured = guest.configure(&mut store, &prepared.config).await?;
        Ok(configured.map(|()| Instance { around, store, guest }))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Instance>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A listing in progress. What a sink returns is bounded and checked: it is another party's data, and ends up in file names and in memory.
#[derive(Debug, Default)]
struct Listed {
    objects: Vec<Object>,
    next: Option<String>,
}

impl Listed {
    /// Takes a page; whether there is another.
    fn add(&mut self, prefix: &str, page: ObjectPage) -> Result<bool, Fault> {
        let refuse = |what: String| {
            Err(Fault::new(
                FaultKind::Protocol,
                format!("the sink lists `{prefix}` wrongly: {what}"),
            ))
        };
        if page.objects.len() > MAX_PAGE {
            return refuse(format!("a page of {} objects, where {MAX_PAGE} are allowed", page.objects.len()));
        }
        if self.objects.len() + page.objects.len() > MAX_LISTED {
            let message = format!("the sink lists more than {MAX_LISTED} objects below `{prefix}`");
            return Err(Fault::new(FaultKind::Limit, message));
        }
        if let Some(object) = page.objects.iter().find(|object| !is_key(&object.key)) {
            let shown: String = object.key.chars().take(MAX_KEY).collect();
            return refuse(format!("{shown:?} is not a key"));
        }
        if let Some(object) = page.objects.iter().find(|object| !object.key.starts_with(prefix)) {
            return refuse(format!("`{}` does not begin with it", object.key));
        }
        if page.next.as_ref().is_some_and(|next| next.len() > MAX_MARK) {
            return refuse(format!("the mark of the next page has more than {MAX_MARK} bytes"));
        }
        if page.next.is_some() && page.next == self.next {
            return refuse("the next page is the one that was asked for".to_owned());
        }
        self.objects.extend(page.objects);
        self.next = page.next;
        Ok(self.next.is_some())
    }
}

fn is_key(key: &str) -> bool {
    (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(keys: impl IntoIterator<Item = String>, next: Option<&str>) -> ObjectPage {
        let objects = keys.into_iter().map(|key| Object { key, size: 1 }).collect();
        let next = next.map(str::to_owned);
        ObjectPage { objects, next }
    }

    fn add(listed: &mut Listed, keys: impl IntoIterator<Item = String>, next: Option<&str>) -> Result<bool, FaultKind> {
        listed.add("data/", page(keys, next)).map_err(|fault| fault.kind)
    }

    #[test]
    fn pages_are_added_up() {
        let mut listed = Listed::default();
        assert_eq!(add(&mut listed, ["data/a".to_owned()], Some("a")), Ok(true));
        assert_eq!(add(&mut listed, ["data/b".to_owned()], None), Ok(false));
        assert_eq!(listed.objects.len(), 2);
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        let long = format!("data/{}", "a".repeat(124));
        for key in ["index/a", "data/\u{1b}[2J", "data/ä", "data/a b", "", &long] {
            assert_eq!(
                add(&mut Listed::default(), [key.to_owned()], None),
                Err(FaultKind::Protocol),
                "{key:?}"
            );
        }
    }

    #[test]
    fn pages_are_bounded_and_go_on() {
        let keys = |count: usize| (0..count).map(|number| format!("data/{number}"));
        let mut listed = Listed::default();
        assert_eq!(add(&mut listed, keys(MAX_PAGE + 1), None), Err(FaultKind::Protocol));
        assert_eq!(add(&mut listed, keys(1), Some(&"x".repeat(MAX_MARK + 1))), Err(FaultKind::Protocol));
        assert_eq!(add(&mut listed, keys(1), Some("same")), Ok(true));
        assert_eq!(add(&mut listed, keys(1), Some("same")), Err(FaultKind::Protocol));
        let no_key = || Object {
            key: String::new(),
            size: 0,
        };
        listed.objects.resize_with(MAX_LISTED, no_key);
        assert_eq!(add(&mut listed, keys(1), None), Err(FaultKind::Limit));
    }
}
