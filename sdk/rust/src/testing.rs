//! A host for tests: a plugin's logic under plain `cargo test`, without a component, a vault or a server.
//!
//! A [`Harness`] grants what the test says and keeps what the plugin does. It is as strict as the real host where that finds mistakes: paths are
//! checked, an entry that is dropped unfinished fails the backup, and so does a proof that disagrees with what was stored.
//!
//! ```
//! use bulkhead_sdk::{prelude::*, testing::Harness};
//! # #[derive(serde::Deserialize, schemars::JsonSchema)]
//! # struct Config { name: String }
//! # struct Greeting(Config);
//! # impl Source for Greeting {
//! #     type Config = Config;
//! #     fn describe() -> Description { Description::new("greeting", "1.0.0", "Backs up a greeting", Operations::BACKUP) }
//! #     fn new(config: Config) -> Result<Self> { Ok(Self(config)) }
//! #     fn backup(&mut self, _: BackupRequest) -> Result<BackupResult> {
//! #         let mut entry = entries::create("greeting.txt", &Metadata::file())?;
//! #         entry.write_bytes(format!("Hello, {}!\n", self.0.name).as_bytes())?;
//! #         let mut proof = Proof { complete: true, ..Proof::default() };
//! #         proof.count(&entry.finish()?);
//! #         Ok(BackupResult { proof, ..BackupResult::default() })
//! #     }
//! # }
//!
//! let harness = Harness::new();
//! harness.backup::<Greeting>(r#"{ "name": "world" }"#)?;
//! assert_eq!(harness.content("greeting.txt").as_deref(), Some(&b"Hello, world!\n"[..]));
//! # Ok::<(), Error>(())
//! ```
#![expect(clippy::expect_used, reason = "a test that cannot make its folders has failed")]

pub mod conformance;
mod directory;
mod endpoint;
mod host;
mod http;
mod sink;
mod store;

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use directory::{Call, Directory};
pub use endpoint::Endpoint;
pub use http::{HttpRequest, HttpResponse};
pub use sink::SinkTester;
pub use store::{Snapshot, StoredEntry};

use self::{
    host::{HarnessHost, PartRunner},
    store::Store,
};
use crate::{
    Error, ErrorKind, Result,
    log::Level,
    source::{BackupRequest, BackupResult, BrowseRequest, Instance, Item, RenderRequest, RestoreRequest, RestoreResult, Source},
    types::{Finding, Proof},
};

/// A log record that the plugin wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// How important.
    pub level: Level,
    /// Its message.
    pub message: String,
    /// Its fields in order.
    pub fields: Vec<(String, String)>,
}

/// A progress report that the plugin made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressRecord {
    /// What is going on.
    pub phase: String,
    /// Bytes so far.
    pub bytes: u64,
    /// Bytes in all.
    pub total_bytes: Option<u64>,
}

/// What all instances of the plugin share.
#[derive(Default)]
struct Shared {
    endpoints: BTreeMap<String, Endpoint>,
    servers: BTreeMap<String, http::Handler>,
    in_flight: Mutex<http::InFlight>,
    directories: BTreeMap<String, Directory>,
    secrets: BTreeMap<String, Vec<u8>>,
    store: Store,
    logs: Mutex<Vec<LogRecord>>,
    progress: Mutex<Vec<ProgressRecord>>,
}

/// A lock that a panic in another test thread does not spoil.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A host for tests.
#[derive(Default)]
pub struct Harness {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Harness {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Harness")
    }
}

/// Grants. All before the first operation.
impl Harness {
    /// A host that grants nothing and has no snapshot.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn grant(mut self, grant: impl FnOnce(&mut Shared)) -> Self {
        grant(Arc::get_mut(&mut self.shared).expect("grants come before the first operation"));
        self
    }

    /// Grants an endpoint.
    #[must_use]
    pub fn endpoint(self, name: &str, endpoint: Endpoint) -> Self {
        self.grant(|shared| _ = shared.endpoints.insert(name.to_owned(), endpoint))
    }

    /// Grants an endpoint with a URL, whose requests `handler` answers.
    #[must_use]
    pub fn http(self, name: &str, handler: impl Fn(&HttpRequest) -> HttpResponse + Send + Sync + 'static) -> Self {
        self.grant(|shared| _ = shared.servers.insert(name.to_owned(), Box::new(handler)))
    }

    /// Grants a directory.
    #[must_use]
    pub fn directory(self, name: &str, directory: Directory) -> Self {
        self.grant(|shared| _ = shared.directories.insert(name.to_owned(), directory))
    }

    /// Grants a secret that can be revealed.
    #[must_use]
    pub fn secret(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.grant(|shared| _ = shared.secrets.insert(name.to_owned(), value.as_ref().to_vec()))
    }

    /// Begins with `snapshot` as the last good one.
    #[must_use]
    pub fn snapshot(self, snapshot: Snapshot) -> Self {
        self.shared.store.commit(snapshot);
        self
    }
}

/// Operations, as the host runs them.
impl Harness {
    /// Runs `body` with this host behind all SDK calls.
    pub fn run<T>(&self, body: impl FnOnce() -> T) -> T {
        crate::host::scope(Arc::new(HarnessHost::new(Arc::clone(&self.shared), None)), body)
    }

    /// An instance of `P` made with `config` (JSON) and given to `body`; parts are threads with instances of their own.
    fn operate<P: Source + 'static, T>(&self, config: &str, body: impl FnOnce(&mut P) -> Result<T>) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        let config_of_parts = config.to_owned();
        let runner: PartRunner = Arc::new(move |work| {
            let host = HarnessHost::new(Arc::clone(&shared), None);
            crate::host::scope(Arc::new(host), || {
                with_plugin(&config_of_parts, |plugin: &mut P| plugin.run_part(work))
            })
        });
        let host = HarnessHost::new(Arc::clone(&self.shared), Some(runner));
        crate::host::scope(Arc::new(host), || with_plugin(config, body))
    }

    /// Preflight.
    ///
    /// # Errors
    /// The plugin's.
    pub fn check<P: Source + 'static>(&self, config: &str) -> Result<Vec<Finding>> {
        self.operate(config, P::check)
    }

    /// Backs up; commits if the plugin succeeds, all its entries are finished and its proof holds, unless the plugin has committed itself and nothing has come
    /// since. The checkpoint of the last snapshot is handed on.
    ///
    /// # Errors
    /// The plugin's; `Conflict` where the proof does not hold; `Internal` for an entry that was not finished.
    pub fn backup<P: Source + 'static>(&self, config: &str) -> Result<BackupResult> {
        let request = BackupRequest {
            checkpoint: self.last().and_then(|snapshot| snapshot.checkpoint),
        };
        let before = self.shared.store.begin();
        let result = self.operate(config, |plugin: &mut P| plugin.backup(request))?;
        self.shared.store.end(&result.proof, result.checkpoint.as_deref(), before)?;
        Ok(result)
    }

    /// Restores the last snapshot, whole, with `options` (JSON).
    ///
    /// # Errors
    /// The plugin's.
    pub fn restore<P: Source + 'static>(&self, config: &str, options: &str) -> Result<RestoreResult> {
        self.restore_paths::<P>(config, options, &[])
    }

    /// Restores part of the last snapshot.
    ///
    /// # Errors
    /// The plugin's.
    pub fn restore_paths<P: Source + 'static>(&self, config: &str, options: &str, paths: &[&str]) -> Result<RestoreResult> {
        let paths = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        let request = RestoreRequest {
            paths,
            options_json: options.to_owned(),
        };
        self.operate(config, |plugin: &mut P| plugin.restore(request))
    }

    /// Verifies the last snapshot.
    ///
    /// # Errors
    /// The plugin's.
    pub fn verify<P: Source + 'static>(&self, config: &str) -> Result<Vec<Finding>> {
        self.operate(config, P::verify)
    }

    /// Lists what is inside an entry of the last snapshot.
    ///
    /// # Errors
    /// The plugin's.
    pub fn browse<P: Source + 'static>(&self, config: &str, request: BrowseRequest) -> Result<Vec<Item>> {
        self.operate(config, |plugin: &mut P| plugin.browse(request))
    }

    /// Writes the last snapshot, or what is at and below `paths`, in another format to `into`.
    ///
    /// # Errors
    /// The plugin's; `into` has by then what was written before.
    pub fn render<P: Source + 'static>(&self, config: &str, format: &str, paths: &[&str], into: &mut dyn Write) -> Result<()> {
        let request = RenderRequest {
            format: format.to_owned(),
            paths: paths.iter().map(|path| path.as_bytes().to_vec()).collect(),
        };
        self.operate(config, |plugin: &mut P| plugin.render(request, into))
    }

    /// A sink made with `config` (JSON).
    ///
    /// # Errors
    /// What the config is refused with.
    pub fn sink<P: crate::sink::Sink>(&self, config: &str) -> Result<SinkTester<'_, P>> {
        SinkTester::new(self, config)
    }
}

fn with_plugin<P: Source, T>(config: &str, body: impl FnOnce(&mut P) -> Result<T>) -> Result<T> {
    let mut instance = Instance::<P>::default();
    instance.configure(config)?;
    body(instance.plugin()?)
}

/// What the plugin did.
impl Harness {
    /// All log records so far.
    #[must_use]
    pub fn logs(&self) -> Vec<LogRecord> {
        lock(&self.shared.logs).clone()
    }

    /// All progress reports so far.
    #[must_use]
    pub fn progress(&self) -> Vec<ProgressRecord> {
        lock(&self.shared.progress).clone()
    }

    /// The most HTTP requests that were in flight at one time: begun, and neither given up nor their response dropped.
    #[must_use]
    pub fn most_requests_in_flight(&self) -> usize {
        lock(&self.shared.in_flight).most
    }

    /// All snapshots that were committed, oldest first.
    #[must_use]
    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.shared.store.snapshots()
    }

    /// The last snapshot.
    #[must_use]
    pub fn last(&self) -> Option<Snapshot> {
        self.snapshots().pop()
    }

    /// The content of an entry of the last snapshot.
    #[must_use]
    pub fn content(&self, path: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.last()?.entries.remove(path.as_ref()).map(|entry| entry.content)
    }

    /// Changes the last snapshot behind the plugin's back, to see whether it notices.
    pub fn tamper(&self, change: impl FnOnce(&mut Snapshot)) {
        self.shared.store.tamper(change);
    }
}

/// The rules of the ABI for paths, of entries and in directories.
fn check_path(path: &[u8]) -> Result<()> {
    let bad_component = |component: &[u8]| matches!(component, b"" | b"." | b"..") || component.len() > 255 || component.contains(&0);
    if !path.is_empty() && (path.len() > 4096 || path.split(|byte| *byte == b'/').any(bad_component)) {
        return Err(Error::new(
            ErrorKind::Internal,
            format!("{:?} breaks the rules of paths", String::from_utf8_lossy(path)),
        ));
    }
    Ok(())
}

/// As the host does before it commits.
fn check_proof(proof: &Proof, entries: u64, bytes: u64) -> Result<()> {
    if !proof.complete {
        return Err(Error::new(
            ErrorKind::Conflict,
            "the proof says that the end of the source was not seen",
        ));
    }
    if (proof.entries, proof.bytes) != (entries, bytes) {
        let message = format!(
            "the proof claims {} entries and {} bytes; {entries} and {bytes} were stored",
            proof.entries, proof.bytes
        );
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
