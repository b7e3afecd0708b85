//! The host's own capabilities behind the SDK's [`Host`]: what a plugin reaches when it runs without its sandbox.
//!
//! A guest's call suspends its fiber until the capability's future is ready; here the plugin's thread blocks on the same future. Everything that a
//! backup of PostgreSQL does not call is refused.

use std::sync::{Arc, Mutex, PoisonError};

use bulkhead_model::EntryPath;
use bulkhead_runtime::capabilities::digest::Hasher as CapabilityHasher;
use bulkhead_runtime::capabilities::endpoint::{Connection as CapabilityConnection, Endpoints};
use bulkhead_runtime::capabilities::entries::{Entries, EntryWriter as CapabilityWriter};
use bulkhead_runtime::capabilities::secrets::Secrets;
use bulkhead_runtime::capabilities::{Budget, Granted};
use bulkhead_runtime::ports::EntryStore;
use bulkhead_runtime::{Grants, Limits};
use bulkhead_sdk::digest::Algorithm;
use bulkhead_sdk::directory::Grant;
use bulkhead_sdk::endpoint::{Settings, TlsSession};
use bulkhead_sdk::entries::Finished;
use bulkhead_sdk::host::{Connection, EntryReader, EntryWriter, Exchange, Folder, Hasher, Host, Part, RequestHead, Walk};
use bulkhead_sdk::log::Level;
use bulkhead_sdk::metadata::Metadata;
use bulkhead_sdk::snapshot::{Entry, Info};
use bulkhead_sdk::types::{Proof, Timestamp};
use bulkhead_sdk::{Error, Result};
use bytes::Bytes;
use tokio::runtime::Handle;

use crate::translate;

/// Capabilities of one backup.
pub(crate) struct NativeHost {
    runtime: Handle,
    endpoints: Endpoints,
    entries: Entries,
    secrets: Secrets,
}

impl NativeHost {
    /// The same capabilities that a sandboxed plugin with these grants gets. Needs tokio's runtime around it.
    pub(crate) fn new(grants: &Grants, limits: Limits, entries: Arc<dyn EntryStore>) -> Self {
        let budget = Arc::new(Budget::new(limits));
        let table = "pipeline.tax";
        let endpoints = Granted::new(table, "endpoint", "{ address = \"host:port\" }", grants.endpoints.clone());
        let secrets = Granted::new(table, "secret", "{ file = \"…\" }", grants.secrets.clone());
        Self {
            runtime: Handle::current(),
            endpoints: Endpoints::new(&endpoints, budget.clone()),
            entries: Entries::new(entries, budget),
            secrets: Secrets::new(secrets),
        }
    }
}

fn refused<T>(what: &str) -> Result<T> {
    Err(Error::unsupported(format!("this benchmark has no {what}")))
}

fn path(path: &[u8]) -> Result<EntryPath> {
    EntryPath::new(path).map_err(|error| Error::protocol(error.to_string()))
}

impl Host for NativeHost {
    fn log(&self, _level: Level, message: &str, _fields: &[(&str, String)]) {
        tracing::debug!("{message}");
    }

    fn progress(&self, _phase: &str, _bytes: u64, _total_bytes: Option<u64>) {}

    fn hasher(&self, algorithm: Algorithm) -> Box<dyn Hasher> {
        Box::new(NativeHasher(Mutex::new(CapabilityHasher::new(translate::algorithm(algorithm)))))
    }

    fn secret_names(&self) -> Vec<String> {
        self.secrets.names()
    }

    fn reveal_secret(&self, name: &str) -> Result<Vec<u8>> {
        let secret = self.runtime.block_on(self.secrets.reveal(name)).map_err(translate::error)?;
        Ok(secret.expose().to_vec())
    }

    fn endpoint_settings(&self, name: &str) -> Result<Settings> {
        self.endpoints.settings(name).map(translate::settings).map_err(translate::error)
    }

    fn open_endpoint(&self, name: &str) -> Result<Box<dyn Connection>> {
        let connection = self.runtime.block_on(self.endpoints.open(name)).map_err(translate::error)?;
        Ok(Box::new(NativeConnection {
            runtime: self.runtime.clone(),
            connection: Mutex::new(connection),
        }))
    }

    fn open_address(&self, _name: &str, _address: &str) -> Result<Box<dyn Connection>> {
        refused("discovered addresses")
    }

    fn wait_any(&self, _connections: &[&dyn Connection], _deadline: Option<u64>) -> Result<Vec<u32>> {
        refused("second connection")
    }

    fn send_request(&self, _request: &RequestHead<'_>) -> Result<Box<dyn Exchange>> {
        refused("HTTP")
    }

    fn directory_grants(&self) -> Vec<Grant> {
        Vec::new()
    }

    fn open_directory(&self, _name: &str) -> Result<Box<dyn Folder>> {
        refused("directories")
    }

    fn create_entry(&self, path: &[u8], metadata: &Metadata, digest: Option<Algorithm>) -> Result<Box<dyn EntryWriter>> {
        let create = self
            .entries
            .create(self::path(path)?, translate::metadata(metadata), digest.map(translate::algorithm));
        let writer = self.runtime.block_on(create).map_err(translate::error)?;
        Ok(Box::new(NativeWriter {
            runtime: self.runtime.clone(),
            writer: Mutex::new(writer),
        }))
    }

    fn add_entry(&self, path: &[u8], metadata: &Metadata) -> Result<()> {
        let add = self.entries.add(self::path(path)?, translate::metadata(metadata));
        self.runtime.block_on(add).map_err(translate::error)
    }

    fn keep_entry(&self, _path: &[u8]) -> Result<Finished> {
        refused("parent snapshot")
    }

    fn commit(&self, _proof: &Proof, _checkpoint: Option<&[u8]>) -> Result<String> {
        refused("continuous source")
    }

    fn snapshot_info(&self) -> Info {
        Info {
            id: String::new(),
            time: Timestamp::default(),
            facts: Vec::new(),
            checkpoint: None,
        }
    }

    fn walk_snapshot(&self, _path: &[u8]) -> Result<Box<dyn Walk>> {
        refused("snapshot to read")
    }

    fn snapshot_entry(&self, _path: &[u8]) -> Result<Entry> {
        refused("snapshot to read")
    }

    fn open_entry(&self, _path: &[u8]) -> Result<Box<dyn EntryReader>> {
        refused("snapshot to read")
    }

    fn start_part(&self, _work: &[u8]) -> Result<Box<dyn Part>> {
        refused("parts")
    }
}

struct NativeHasher(Mutex<CapabilityHasher>);

impl Hasher for NativeHasher {
    fn update(&self, data: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).update(data);
    }

    fn finish(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).finish()
    }
}

struct NativeConnection {
    runtime: Handle,
    // Calls take `&self`, the capability `&mut self`; there is one thread, so nobody ever waits.
    connection: Mutex<CapabilityConnection>,
}

impl NativeConnection {
    fn call<T>(&self, call: impl AsyncFnOnce(&mut CapabilityConnection) -> std::result::Result<T, bulkhead_model::Fault>) -> Result<T> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        self.runtime.block_on(call(&mut connection)).map_err(translate::error)
    }
}

impl Connection for NativeConnection {
    fn read(&self, max: u32, deadline: Option<u64>) -> Result<Option<Vec<u8>>> {
        let data = self.call(async |connection| connection.read(max, deadline).await)?;
        Ok(data.map(|data| data.to_vec()))
    }

    fn write(&self, data: &[u8]) -> Result<()> {
        self.call(async |connection| connection.write(Bytes::copy_from_slice(data)).await)
    }

    fn start_tls(&self, protocols: &[&str]) -> Result<TlsSession> {
        let protocols: Vec<String> = protocols.iter().map(ToString::to_string).collect();
        let session = self.call(async |connection| connection.start_tls(&protocols).await)?;
        Ok(TlsSession {
            protocol: session.protocol,
            peer_certificate: session.peer_certificate,
        })
    }

    fn shutdown(&self) -> Result<()> {
        self.call(async |connection| connection.shutdown().await)
    }

    fn address(&self) -> String {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).address().to_owned()
    }
}

struct NativeWriter {
    runtime: Handle,
    writer: Mutex<CapabilityWriter>,
}

impl NativeWriter {
    fn call<T>(&self, call: impl AsyncFnOnce(&mut CapabilityWriter) -> std::result::Result<T, bulkhead_model::Fault>) -> Result<T> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.runtime.block_on(call(&mut writer)).map_err(translate::error)
    }
}

impl EntryWriter for NativeWriter {
    fn write(&self, data: &[u8]) -> Result<()> {
        // A guest's bytes are copied out of its memory, too.
        self.call(async |writer| writer.write(Bytes::copy_from_slice(data)).await)
    }

    fn write_zeros(&self, length: u64) -> Result<()> {
        self.call(async |writer| writer.write_zeros(length).await)
    }

    fn finish(self: Box<Self>) -> Result<Finished> {
        let finished = self.call(async |writer| writer.finish().await)?;
        Ok(Finished {
            entries: finished.entries,
            size: finished.size,
            digest: finished.digest,
        })
    }
}
