//! `rustic_core` over an [`ObjectStore`]: its synchronous traits, carried out on the runtime that the store lives on.
//!
//! rustic's own threads block in these calls, so they must never be made from within an async task: enter through `spawn_blocking`.

use std::sync::Arc;

use bulkhead_model::Fault;
use bytes::Bytes;
use rustic_core::{
    BytesList, ConfigOptions, Credentials, ErrorKind, FileType, Id, KeyOptions, ReadBackend, Repository, RepositoryBackends,
    RepositoryOptions, RusticError, RusticResult, WriteBackend, repofile::MasterKey as RusticKey,
};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use crate::{
    crypto::MasterKey,
    error::RepositoryError,
    format::key_file,
    store::{ObjectBody, SharedStore},
};

/// Bytes to which `rustic prune` fills data packs when it repacks; without a limit they grow with the repository, out of the reach of small sinks.
const REPACK_SIZE: &str = "32 MiB";

/// A store as rustic sees it.
pub(crate) struct Backend {
    store: SharedStore,
    runtime: Handle,
}

impl Backend {
    /// A store whose calls run on `runtime`.
    pub(crate) fn new(store: SharedStore, runtime: Handle) -> Self {
        Self { store, runtime }
    }

    fn run<T>(&self, operation: impl Future<Output = Result<T, Fault>>) -> RusticResult<T> {
        self.runtime
            .block_on(operation)
            .map_err(|fault| RusticError::with_source(ErrorKind::Backend, "The store failed.", fault))
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
            let config = self.run(self.store.stat("config"))?;
            return Ok(config.into_iter().map(|object| (Id::default(), size(object.size))).collect());
        }
        let objects = self.run(self.store.list(&format!("{}/", file.dirname())))?;
        let named = objects
            .into_iter()
            .filter_map(|object| Some((object.key.rsplit('/').next()?.parse().ok()?, size(object.size))));
        Ok(named.collect())
    }

    fn read_full(&self, file: FileType, id: &Id) -> RusticResult<Bytes> {
        self.run(self.store.get(&key(file, id), None))
    }

    fn read_partial(&self, file: FileType, id: &Id, _cacheable: bool, offset: u32, length: u32) -> RusticResult<Bytes> {
        let offset = u64::from(offset);
        self.run(self.store.get(&key(file, id), Some(offset..offset + u64::from(length))))
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
        self.run(self.store.put(
            &key(file, id),
            ObjectBody {
                parts,
                sha256: hash.finalize().into(),
            },
            false,
        ))
    }

    fn remove(&self, file: FileType, id: &Id, _cacheable: bool) -> RusticResult<()> {
        self.run(self.store.delete(&key(file, id)))
    }
}

/// The repository behind `store`, without a cache.
pub(crate) fn repository(store: SharedStore, runtime: Handle) -> RusticResult<Repository<()>> {
    let backends = RepositoryBackends::new(Arc::new(Backend::new(store, runtime)), None);
    Repository::new(&RepositoryOptions::default().no_cache(true), &backends)
}

/// Our key in rustic's form. rustic keeps copies that it does not wipe: use it where rustic is needed, nowhere else.
pub(crate) fn credentials(key: &MasterKey) -> Result<Credentials, RepositoryError> {
    let json = key_file::master_key_json(key).map_err(RepositoryError)?;
    let key: RusticKey = serde_json::from_slice(&json).map_err(|error| RepositoryError(error.to_string()))?;
    Ok(Credentials::Masterkey(key))
}

/// Makes `config` of a new repository: its id, and a random irreducible polynomial.
pub(crate) fn create_config(store: SharedStore, runtime: Handle, key: &MasterKey) -> Result<(), RepositoryError> {
    let failed = |error: Box<RusticError>| RepositoryError(error.display_log());
    let size = REPACK_SIZE.parse().map_err(RepositoryError)?;
    let options = ConfigOptions::default().set_version(2_u32).set_datapack_size_limit(Some(size));
    let credentials = credentials(key)?;
    repository(store, runtime)
        .and_then(|repository| repository.init(&credentials, &KeyOptions::default(), &options))
        .map(drop)
        .map_err(failed)
}
