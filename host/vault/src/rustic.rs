//! `rustic_core` over an [`ObjectStore`]: its synchronous traits, carried out on the runtime that the store lives on.
//!
//! rustic's own threads block in these calls, so they must never be made from within an async task: enter through `spawn_blocking`.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use rustic_core::{
    BytesList, ConfigOptions, Credentials, ErrorKind, FileType, Id, KeyOptions, OpenStatus, ReadBackend, Repository, RepositoryBackends,
    RepositoryOptions, RusticError, RusticResult, WriteBackend, repofile::MasterKey as RusticKey,
};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use crate::{
    access,
    crypto::MasterKey,
    error::{MaintenanceError, RepositoryError, StoreError},
    format::key_file,
    lock::Held,
    maintenance::Stop,
    store::{ObjectBody, SharedStore},
    sync,
};

/// Bytes to which `rustic prune` fills data packs when it repacks; without a limit they grow with the repository, out of the reach of small sinks.
const REPACK_SIZE: &str = "32 MiB";

/// What stops rustic, which cannot be told to: its next call to the store fails. Keeps the first error as what it was, since rustic makes text of it.
pub(crate) struct Guard {
    held: Arc<Held>,
    stop: Stop,
    error: Mutex<Option<MaintenanceError>>,
    failed: AtomicBool,
}

impl Guard {
    /// Work under the lock `held`, until `stop`.
    pub(crate) fn new(held: Arc<Held>, stop: Stop) -> Self {
        Self {
            held,
            stop,
            error: Mutex::default(),
            failed: AtomicBool::new(false),
        }
    }

    /// Stops the work because of `error`.
    pub(crate) fn fail(&self, error: MaintenanceError) {
        sync::lock(&self.error).get_or_insert(error);
        self.failed.store(true, Ordering::Release);
    }

    /// Why it was stopped first.
    pub(crate) fn first_error(&self) -> Option<MaintenanceError> {
        sync::lock(&self.error).take()
    }

    /// Fails once the work is to end.
    pub(crate) fn check(&self) -> Result<(), MaintenanceError> {
        if self.failed.load(Ordering::Acquire) {
            return Err(MaintenanceError::Stopped);
        }
        self.stop.check()?;
        Ok(self.held.check_age()?)
    }
}

/// A store as rustic sees it.
pub(crate) struct Backend {
    store: SharedStore,
    runtime: Handle,
    guard: Option<Arc<Guard>>,
}

impl Backend {
    fn run<T>(&self, operation: impl Future<Output = Result<T, StoreError>>) -> RusticResult<T> {
        if let Some(guard) = &self.guard
            && let Err(error) = guard.check()
        {
            let reason = format!("The store was not asked: {error}.");
            guard.fail(error);
            return Err(RusticError::new(ErrorKind::Backend, reason));
        }
        self.runtime.block_on(operation).map_err(|error| {
            if let Some(guard) = &self.guard {
                guard.fail(error.clone().into());
            }
            RusticError::with_source(ErrorKind::Backend, "The store failed.", error)
        })
    }
}

fn key(file: FileType, id: &Id) -> String {
    let id = id.to_hex();
    match file {
        FileType::Config => "config".to_owned(),
        FileType::Pack => format!("data/{}/{}", &id.as_str()[..2], id.as_str()),
        _ => format!("{}/{}", file.dirname(), id.as_str()),
    }
}

impl ReadBackend for Backend {
    fn location(&self) -> String {
        self.store.location()
    }

    fn list_with_size(&self, file: FileType) -> RusticResult<Vec<(Id, u32)>> {
        let size = |size: u64| u32::try_from(size).unwrap_or(u32::MAX);
        if file == FileType::Config {
            let config = self.run(access::stat(&*self.store, "config"))?;
            return Ok(config.into_iter().map(|object| (Id::default(), size(object.size))).collect());
        }
        let objects = self.run(access::list(&*self.store, &format!("{}/", file.dirname())))?;
        let named = objects
            .into_iter()
            .filter_map(|object| Some((object.key.rsplit('/').next()?.parse().ok()?, size(object.size))));
        Ok(named.collect())
    }

    fn read_full(&self, file: FileType, id: &Id) -> RusticResult<Bytes> {
        self.run(access::get(&*self.store, &key(file, id), None))
    }

    fn read_partial(&self, file: FileType, id: &Id, _cacheable: bool, offset: u32, length: u32) -> RusticResult<Bytes> {
        let offset = u64::from(offset);
        self.run(access::get(&*self.store, &key(file, id), Some(offset..offset + u64::from(length))))
    }

    fn warmup_path(&self, file: FileType, id: &Id) -> String {
        key(file, id)
    }
}

impl WriteBackend for Backend {
    fn create(&self) -> RusticResult<()> {
        Ok(())
    }

    fn write_bytes(&self, file: FileType, id: &Id, _cacheable: bool, content: BytesList) -> RusticResult<()> {
        let parts = content.into_vec();
        let mut hash = Sha256::new();
        parts.iter().for_each(|part| hash.update(part));
        let body = ObjectBody {
            parts,
            sha256: hash.finalize().into(),
        };
        self.run(access::put(&*self.store, &key(file, id), body))
    }

    fn remove(&self, file: FileType, id: &Id, _cacheable: bool) -> RusticResult<()> {
        self.run(access::delete(&*self.store, &key(file, id)))
    }
}

/// The repository behind `store`, without a cache.
fn repository(store: SharedStore, runtime: Handle, guard: Option<Arc<Guard>>) -> RusticResult<Repository<()>> {
    let backends = RepositoryBackends::new(Arc::new(Backend { store, runtime, guard }), None);
    Repository::new(&RepositoryOptions::default().no_cache(true), &backends)
}

/// The same, opened with our key, for work under `guard`.
pub(crate) fn open(
    store: SharedStore,
    runtime: Handle,
    key: &MasterKey,
    guard: &Arc<Guard>,
) -> Result<Repository<OpenStatus>, MaintenanceError> {
    let credentials = credentials(key)?;
    let opened = repository(store, runtime, Some(Arc::clone(guard))).and_then(|repository| repository.open(&credentials));
    Ok(opened.map_err(|error| told(&error))?)
}

/// What rustic says of a failure.
pub(crate) fn told(error: &RusticError) -> RepositoryError {
    RepositoryError(error.display_log())
}

/// Our key in rustic's form. rustic keeps copies that it does not wipe: use it where rustic is needed, nowhere else.
fn credentials(key: &MasterKey) -> Result<Credentials, RepositoryError> {
    let json = key_file::master_key_json(key).map_err(RepositoryError)?;
    let key: RusticKey = serde_json::from_slice(&json).map_err(|error| RepositoryError(error.to_string()))?;
    Ok(Credentials::Masterkey(key))
}

/// Makes `config` of a new repository: its id, and a random irreducible polynomial.
pub(crate) fn create_config(store: SharedStore, runtime: Handle, key: &MasterKey) -> Result<(), RepositoryError> {
    let size = REPACK_SIZE.parse().map_err(RepositoryError)?;
    let options = ConfigOptions::default().set_version(2_u32).set_datapack_size_limit(Some(size));
    let credentials = credentials(key)?;
    repository(store, runtime, None)
        .and_then(|repository| repository.init(&credentials, &KeyOptions::default(), &options))
        .map(drop)
        .map_err(|error| told(&error))
}
