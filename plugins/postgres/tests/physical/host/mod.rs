//! The host that these tests run the plugin on: real connections with TLS, real folders, and a snapshot in memory.

mod folders;
mod network;
mod store;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    digest::Algorithm,
    directory::{Access, Grant},
    endpoint::{Settings, TlsMode, Transport},
    entries::Finished,
    host::{self, Connection, EntryReader, EntryWriter, Exchange, Folder, Host, Part, RequestHead, Walk},
    log::Level,
    metadata::Metadata,
    snapshot::{Entry, Info},
    types::{Proof, Timestamp},
};
use bulkhead_test_support::postgres::ClientCertificate;

pub use store::Store;

/// What is granted.
#[derive(Clone)]
pub struct Grants {
    /// "host:port", or a socket's path.
    pub address: String,
    pub tls: TlsMode,
    pub authority: Option<PathBuf>,
    pub client: Option<ClientCertificate>,
    pub password: Option<String>,
    pub directories: BTreeMap<String, PathBuf>,
}

/// A host with grants, a store and a memory of what was logged.
pub struct TestHost {
    pub grants: Grants,
    pub store: Arc<Store>,
    pub log: Mutex<Vec<String>>,
}

impl TestHost {
    /// Runs `body` on this host.
    pub fn run<T>(self: &Arc<Self>, body: impl FnOnce() -> T) -> T {
        host::scope(self.clone(), body)
    }
}

fn absent<T>(what: &str) -> Result<T> {
    Err(Error::new(ErrorKind::NotGranted, format!("{what} is not granted")))
}

impl Host for TestHost {
    fn log(&self, level: Level, message: &str, _fields: &[(&str, String)]) {
        self.log.lock().unwrap().push(format!("{level:?} {message}"));
    }
    fn progress(&self, _phase: &str, bytes: u64, total_bytes: Option<u64>) {
        assert!(total_bytes.is_none_or(|total| bytes <= total), "{bytes} of {total_bytes:?}");
    }
    fn secret_names(&self) -> Vec<String> {
        self.grants.password.iter().map(|_| "password".into()).collect()
    }
    fn reveal_secret(&self, _name: &str) -> Result<Vec<u8>> {
        self.grants.password.clone().map_or_else(|| absent("the secret"), |password| Ok(password.into_bytes()))
    }
    fn endpoint_settings(&self, name: &str) -> Result<Settings> {
        assert_eq!(name, "server");
        Ok(Settings {
            transport: if self.grants.address.starts_with('/') { Transport::Unix } else { Transport::Tcp },
            tls: self.grants.tls,
            client_certificate: self.grants.client.is_some(),
            addresses: vec![self.grants.address.clone()],
        })
    }
    fn open_endpoint(&self, _name: &str) -> Result<Box<dyn Connection>> {
        network::open(&self.grants)
    }
    fn open_address(&self, _name: &str, _address: &str) -> Result<Box<dyn Connection>> {
        absent("a discovered address")
    }
    fn wait_any(&self, _connections: &[&dyn Connection], _deadline: Option<u64>) -> Result<Vec<u32>> {
        absent("waiting")
    }
    fn send_request(&self, _request: &RequestHead<'_>) -> Result<Box<dyn Exchange>> {
        absent("HTTP")
    }
    fn directory_grants(&self) -> Vec<Grant> {
        let grant = |(name, path): (&String, &PathBuf)| Grant {
            name: name.clone(),
            access: Access::ReadWrite,
            location: path.display().to_string(),
        };
        self.grants.directories.iter().map(grant).collect()
    }
    fn open_directory(&self, name: &str) -> Result<Box<dyn Folder>> {
        self.grants.directories.get(name).map_or_else(|| absent(name), |path| Ok(folders::open(path)))
    }
    fn create_entry(&self, path: &[u8], metadata: &Metadata, digest: Option<Algorithm>) -> Result<Box<dyn EntryWriter>> {
        store::create(&self.store, path, metadata, digest)
    }
    fn add_entry(&self, path: &[u8], metadata: &Metadata) -> Result<()> {
        self.store.insert(path, metadata, Vec::new())
    }
    fn keep_entry(&self, _path: &[u8]) -> Result<Finished> {
        absent("a parent snapshot")
    }
    fn commit(&self, _proof: &Proof, _checkpoint: Option<&[u8]>) -> Result<String> {
        absent("a continuous run")
    }
    fn snapshot_info(&self) -> Info {
        Info { id: "test".into(), time: Timestamp::now(), facts: Vec::new(), checkpoint: None }
    }
    fn walk_snapshot(&self, _path: &[u8]) -> Result<Box<dyn Walk>> {
        Ok(self.store.walk())
    }
    fn snapshot_entry(&self, path: &[u8]) -> Result<Entry> {
        self.store.entry(path)
    }
    fn open_entry(&self, path: &[u8]) -> Result<Box<dyn EntryReader>> {
        store::open(&self.store, path)
    }
    fn start_part(&self, _work: &[u8]) -> Result<Box<dyn Part>> {
        absent("a part")
    }
}
