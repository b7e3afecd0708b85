//! Operations of a source plugin, each in an instance of its own.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use bulkhead_model::{EntryPath, Fact, Fault, FaultKind, Finding, Proof};
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use wasmtime::Store;

use crate::call::Call;
use crate::capabilities::entries::{Entries, EntryWriter, MAX_CHECKPOINT};
use crate::capabilities::redact::Redact;
use crate::capabilities::snapshot::Snapshot;
use crate::instance::{Prepared, Surroundings};
use crate::parts::{Held, MAX_WORK, Part, Parts, Shelf, StartPart};
use crate::ports::{self, EntryStore, SnapshotStore};
use crate::state::State;
use crate::v0_1::{SourceGuest, SourcePluginPre};
use crate::{Cancellation, LoadError, Operation, OperationContext, Plugin, PluginError, PluginKind, PluginSetup, UnusedGrant};

/// Most parts of one operation that work at once, whatever the limit says.
const MAX_PARTS: u64 = 1024;

/// What a backup gets.
#[derive(Clone)]
pub struct BackupInput {
    /// Where its entries go.
    pub entries: Arc<dyn EntryStore>,
    /// The snapshot that it continues, whose checkpoint the plugin gets and whose entries it may keep or read.
    pub parent: Option<Arc<dyn SnapshotStore>>,
}

/// What a backup returned. Nothing is committed yet: the caller compares the proof with what it stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupOutcome {
    /// What the source says that it sent.
    pub proof: Proof,
    /// Opaque; comes back to the next run. At most 1 MiB.
    pub checkpoint: Option<Bytes>,
    /// What went right, but not without remark.
    pub findings: Vec<Finding>,
}

/// What to restore.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    /// Paths, with all below them; empty for everything.
    pub paths: Vec<EntryPath>,
    /// The `config` of the operator's restore target: a JSON object.
    pub options: serde_json::Value,
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreOutcome {
    /// Entries restored.
    pub entries: u64,
    /// Bytes restored.
    pub bytes: u64,
    /// Statements of the plugin.
    pub facts: Vec<Fact>,
    /// Remarks.
    pub findings: Vec<Finding>,
}

/// What to list of an entry's inside.
#[derive(Debug, Clone)]
pub struct BrowseRequest {
    /// The entry.
    pub entry: EntryPath,
    /// Only names with this prefix.
    pub prefix: String,
    /// Only names after this one.
    pub after: Option<String>,
}

/// One thing inside an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// "/"-separated name inside the entry.
    pub name: String,
    /// Bytes, where known.
    pub size: Option<u64>,
    /// Further statements.
    pub facts: Vec<Fact>,
}

/// What to write in another format.
#[derive(Debug, Clone)]
pub struct RenderRequest {
    /// One of the description's.
    pub format: String,
    /// Paths, with all below them; empty for everything.
    pub paths: Vec<EntryPath>,
}

/// A source plugin with its grants and limits. Every operation runs in a fresh instance; several may run at once. Cheap to clone.
#[derive(Clone)]
pub struct Source(Arc<Inner>);

struct Inner {
    prepared: Prepared,
    guest: SourcePluginPre<State>,
}

impl Source {
    /// Pairs a plugin with what it may use. No I/O.
    ///
    /// # Errors
    /// When the plugin is no source, or imports a capability that it does not ask for.
    pub fn new(plugin: Plugin, setup: PluginSetup) -> Result<Self, PluginError> {
        let prepared = Prepared::new(plugin, setup, PluginKind::Source)?;
        let linked = prepared
            .linker()?
            .instantiate_pre(prepared.plugin.component())
            .and_then(SourcePluginPre::new);
        let guest = linked.map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
        Ok(Self(Arc::new(Inner { prepared, guest })))
    }

    /// Grants that the plugin does not ask for and did not get.
    #[must_use]
    pub fn unused_grants(&self) -> &[UnusedGrant] {
        &self.0.prepared.rights.unused
    }

    /// Preflight: connects, authenticates, reads a little, changes nothing.
    ///
    /// # Errors
    /// When the check itself could not be made.
    pub async fn check(&self, context: &OperationContext) -> Result<Vec<Finding>, PluginError> {
        let operation = self.begin(Operation::Check, context, None, None)?;
        operation
            .run(async |guest: &SourceGuest, store: &mut Store<State>| guest.check(store).await)
            .await
    }

    /// Reads the source and writes entries.
    ///
    /// # Errors
    /// See [`PluginError`]; the caller must then commit nothing.
    pub async fn backup(&self, context: &OperationContext, input: BackupInput) -> Result<BackupOutcome, PluginError> {
        let checkpoint = input.parent.as_ref().and_then(|parent| parent.info().checkpoint);
        let operation = self.begin(Operation::Backup, context, Some(input.entries), input.parent)?;
        let outcome = operation
            .run(async |guest: &SourceGuest, store: &mut Store<State>| guest.backup(store, checkpoint).await)
            .await?;
        match &outcome.checkpoint {
            Some(checkpoint) if checkpoint.len() > MAX_CHECKPOINT => {
                let message = format!(
                    "the plugin returned a checkpoint of {} bytes; {MAX_CHECKPOINT} are allowed",
                    checkpoint.len()
                );
                Err(PluginError::Fault(Fault::new(FaultKind::Internal, message)))
            }
            _ => Ok(outcome),
        }
    }

    /// Brings a snapshot back into the granted directories and endpoints.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn restore(
        &self,
        context: &OperationContext,
        snapshot: Arc<dyn SnapshotStore>,
        request: RestoreRequest,
    ) -> Result<RestoreOutcome, PluginError> {
        let operation = self.begin(Operation::Restore, context, None, Some(snapshot))?;
        operation
            .run(async |guest: &SourceGuest, store: &mut Store<State>| guest.restore(store, &request).await)
            .await
    }

    /// Whether the stored content makes sense; a finding of severity `error` says that it does not.
    ///
    /// # Errors
    /// When the verification itself could not be made.
    pub async fn verify(&self, context: &OperationContext, snapshot: Arc<dyn SnapshotStore>) -> Result<Vec<Finding>, PluginError> {
        let operation = self.begin(Operation::Verify, context, None, Some(snapshot))?;
        operation
            .run(async |guest: &SourceGuest, store: &mut Store<State>| guest.verify(store).await)
            .await
    }

    /// Lists what is inside an entry: at most 10,000 items a call.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn browse(
        &self,
        context: &OperationContext,
        snapshot: Arc<dyn SnapshotStore>,
        request: BrowseRequest,
    ) -> Result<Vec<Item>, PluginError> {
        let operation = self.begin(Operation::Browse, context, None, Some(snapshot))?;
        operation
            .run(async |guest: &SourceGuest, store: &mut Store<State>| guest.browse(store, &request).await)
            .await
    }

    /// Writes a snapshot in another format. `into` is not finished; that this returns without error says that all was written.
    ///
    /// # Errors
    /// See [`PluginError`]; what was written by then is not whole.
    pub async fn render(
        &self,
        context: &OperationContext,
        snapshot: Arc<dyn SnapshotStore>,
        request: RenderRequest,
        into: Box<dyn ports::EntryWriter>,
    ) -> Result<(), PluginError> {
        let operation = self.begin(Operation::Render, context, None, Some(snapshot))?;
        let into = EntryWriter::lent(into, operation.0.around.budget.clone());
        operation
            .run(async |guest: &SourceGuest, store: &mut Store<State>| guest.render(store, &request, into).await)
            .await
    }

    fn begin(
        &self,
        operation: Operation,
        context: &OperationContext,
        entries: Option<Arc<dyn EntryStore>>,
        snapshot: Option<Arc<dyn SnapshotStore>>,
    ) -> Result<Running, PluginError> {
        let prepared = &self.0.prepared;
        let description = prepared.plugin.description();
        if !description.operations.contains(operation) {
            return Err(PluginError::Unsupported {
                plugin: description.name.clone(),
                operation,
            });
        }
        prepared.rights.check(description, Some(operation))?;
        let mut around = prepared.surroundings(context);
        around.snapshot = snapshot.map(|snapshot| Snapshot::new(snapshot, around.budget.clone()));
        Ok(Running(Arc::new(Shared {
            source: self.clone(),
            operation,
            around,
            entries,
            cancellation: context.cancellation.clone(),
            part_failed: Cancellation::new(),
            failure: Mutex::default(),
            deadline: Instant::now() + prepared.limits.wall_clock,
        })))
    }
}

/// One operation, shared by its first instance and its parts.
struct Running(Arc<Shared>);

struct Shared {
    source: Source,
    operation: Operation,
    around: Surroundings,
    entries: Option<Arc<dyn EntryStore>>,
    cancellation: Cancellation,
    /// A part has failed: the first instance ends as well.
    part_failed: Cancellation,
    failure: Mutex<Option<PluginError>>,
    deadline: Instant,
}

impl Running {
    /// Makes an instance, configures it, and calls it. All its parts have ended when this returns.
    async fn run<T: Redact>(
        self,
        call: impl AsyncFnOnce(&SourceGuest, &mut Store<State>) -> wasmtime::Result<Result<T, Fault>>,
    ) -> Result<T, PluginError> {
        let shared = self.0;
        let can_split = matches!(shared.operation, Operation::Backup | Operation::Restore);
        let team = Arc::new(Team::new(shared.clone()));
        let parts = if can_split { Parts::of(team.clone()) } else { Parts::default() };
        let function = function_name(shared.operation);
        let first = shared.call(function, &shared.cancellation, parts, call);
        let outcome = tokio::select! {
            biased;
            outcome = first => outcome,
            () = shared.part_failed.cancelled() => Err(PluginError::Cancelled),
        };
        team.end().await;
        let failure = shared.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        match failure {
            // What the first instance made of it counts less than what went wrong.
            Some(failure) => Err(failure),
            None => outcome,
        }
    }
}

fn function_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Check => "check",
        Operation::Backup => "backup",
        Operation::Restore | Operation::RestoreDelta => "restore",
        Operation::Verify => "verify",
        Operation::Browse => "browse",
        Operation::Render => "render",
    }
}

impl Shared {
    async fn call<T: Redact>(
        &self,
        function: &'static str,
        cancellation: &Cancellation,
        parts: Parts,
        call: impl AsyncFnOnce(&SourceGuest, &mut Store<State>) -> wasmtime::Result<Result<T, Fault>>,
    ) -> Result<T, PluginError> {
        let Inner { prepared, guest } = &*self.source.0;
        let entries = self.entries.clone().map(|store| Entries::new(store, self.around.budget.clone()));
        let mut store = prepared.store(&self.around, entries, parts);
        let limits = Call {
            plugin: prepared.name(),
            table: &prepared.rights.table,
            function,
            budget: self.around.budget.clone(),
            log: self.around.log.clone(),
            cancellation,
            deadline: self.deadline,
        };
        let guest = async {
            let instance = SourceGuest::instantiate(guest, &mut store).await?;
            match instance.configure(&mut store, &prepared.config).await? {
                Ok(()) => call(&instance, &mut store).await,
                Err(fault) => Ok(Err(fault)),
            }
        };
        limits.run(guest).await
    }

    /// The first failure is the operation's.
    fn fail(&self, error: PluginError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.part_failed.cancel();
    }
}

/// The parts of an operation.
struct Team {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
    /// Parts that may work at once, beside the instance that started them.
    places: Arc<Semaphore>,
    shelf: Shelf,
}

impl Team {
    fn new(shared: Arc<Shared>) -> Self {
        let at_once = shared.source.0.prepared.limits.parts.clamp(1, MAX_PARTS);
        Self {
            shared,
            tasks: Mutex::default(),
            places: Arc::new(Semaphore::new(usize::try_from(at_once).unwrap_or(1))),
            shelf: Shelf::default(),
        }
    }

    /// Ends what is still at work, and waits until it is gone.
    async fn end(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
    }
}

impl StartPart for Team {
    fn start(&self, work: Vec<u8>) -> Result<Part, Fault> {
        let work = self
            .shelf
            .keep(work)
            .map_err(|fault| fault.hint("the plugin has to wait for some of its parts before it starts more"))?;
        let (shared, places, shelf) = (self.shared.clone(), self.places.clone(), self.shelf.clone());
        let (report, outcome) = oneshot::channel();
        let task = async move {
            // Closed never: it lives as long as the operation.
            let _place = places.acquire_owned().await;
            // A panic is the host's own defect. Whatever it is, the operation must not go on as if the part had never been.
            let ended = AssertUnwindSafe(run_part(&shared, work, &shelf)).catch_unwind().await;
            let result = ended.unwrap_or_else(|_| Err(panicked()));
            let _ = report.send(result.map_err(|error| {
                shared.fail(error.clone());
                error.into_fault()
            }));
        };
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        let task = tasks.spawn(task);
        drop(tasks);
        Ok(Part::new(outcome, task))
    }
}

/// What a part hands to the instance that started it.
async fn run_part(shared: &Shared, work: Held, shelf: &Shelf) -> Result<Held, PluginError> {
    let run = async |guest: &SourceGuest, store: &mut Store<State>| guest.run_part(store, &work.bytes).await;
    let outcome = shared.call("run-part", &shared.cancellation, Parts::default(), run).await?;
    if outcome.len() > MAX_WORK {
        let message = format!("the outcome of a part has {} bytes, more than {MAX_WORK}", outcome.len());
        return Err(PluginError::Fault(Fault::new(FaultKind::Limit, message)));
    }
    drop(work);
    shelf.keep(outcome).map_err(PluginError::Fault)
}

fn panicked() -> PluginError {
    PluginError::Fault(Fault::new(
        FaultKind::Internal,
        "a part of the operation ended in a panic of the host",
    ))
}
