//! The harness as a [`Host`].

use std::{any::Any, sync::Arc, thread::JoinHandle};

use super::{LogRecord, ProgressRecord, Shared, endpoint, http, lock, store::OnePage};
use crate::{
    Error, ErrorKind, Result,
    digest::Algorithm,
    directory::Grant,
    endpoint::Settings,
    entries::Finished,
    host::{self, Connection, EntryReader, EntryWriter, Exchange, Folder, Host, RequestHead, Walk},
    log::Level,
    metadata::Metadata,
    snapshot::{Entry, Info},
    types::Proof,
};

/// Carries out a part in an instance of its own.
pub(super) type PartRunner = Arc<dyn Fn(Vec<u8>) -> Result<Vec<u8>> + Send + Sync>;

/// The host of one instance.
pub(super) struct HarnessHost {
    shared: Arc<Shared>,
    /// None within a part.
    parts: Option<PartRunner>,
}

impl HarnessHost {
    pub(super) fn new(shared: Arc<Shared>, parts: Option<PartRunner>) -> Self {
        Self { shared, parts }
    }
}

fn granted<'a, T>(grants: &'a std::collections::BTreeMap<String, T>, what: &str, name: &str) -> Result<&'a T> {
    let refused = || Error::new(ErrorKind::NotGranted, format!("the {what} `{name}` is not granted"));
    grants
        .get(name)
        .ok_or_else(|| refused().with_hint(format!("grant it with `{what}.{name}`")))
}

impl Host for HarnessHost {
    fn log(&self, level: Level, message: &str, fields: &[(&str, String)]) {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        lock(&self.shared.logs).push(LogRecord {
            level,
            message: message.to_owned(),
            fields,
        });
    }

    fn progress(&self, phase: &str, bytes: u64, total_bytes: Option<u64>) {
        lock(&self.shared.progress).push(ProgressRecord {
            phase: phase.to_owned(),
            bytes,
            total_bytes,
        });
    }

    fn secret_names(&self) -> Vec<String> {
        self.shared.secrets.keys().cloned().collect()
    }

    fn reveal_secret(&self, name: &str) -> Result<Vec<u8>> {
        granted(&self.shared.secrets, "secret", name).cloned()
    }

    fn endpoint_settings(&self, name: &str) -> Result<Settings> {
        granted(&self.shared.endpoints, "endpoint", name).map(endpoint::Endpoint::settings)
    }

    fn open_endpoint(&self, name: &str) -> Result<Box<dyn Connection>> {
        Ok(Box::new(granted(&self.shared.endpoints, "endpoint", name)?.open()?))
    }

    fn open_address(&self, name: &str, address: &str) -> Result<Box<dyn Connection>> {
        let endpoint = granted(&self.shared.endpoints, "endpoint", name)?;
        if !endpoint.settings().addresses.iter().any(|known| known == address) {
            return Err(Error::new(
                ErrorKind::NotGranted,
                format!("{address} is no address of the endpoint `{name}`"),
            ));
        }
        Ok(Box::new(endpoint.open()?))
    }

    fn wait_any(&self, connections: &[&dyn Connection], deadline: Option<u64>) -> Result<Vec<u32>> {
        let ours = connections.iter().map(|connection| ours(*connection)).collect::<Result<Vec<_>>>()?;
        endpoint::wait_any(&ours, deadline)
    }

    fn send_request(&self, request: &RequestHead<'_>) -> Result<Box<dyn Exchange>> {
        Ok(Box::new(http::Exchange::new(Arc::clone(&self.shared), request)?))
    }

    fn directory_grants(&self) -> Vec<Grant> {
        let grant = |(name, directory): (&String, &super::Directory)| Grant {
            name: name.clone(),
            access: directory.access(),
            location: directory.path().display().to_string(),
        };
        self.shared.directories.iter().map(grant).collect()
    }

    fn open_directory(&self, name: &str) -> Result<Box<dyn Folder>> {
        Ok(Box::new(granted(&self.shared.directories, "directory", name)?.open()?))
    }

    fn create_entry(&self, path: &[u8], metadata: &Metadata, digest: Option<Algorithm>) -> Result<Box<dyn EntryWriter>> {
        Ok(Box::new(self.shared.store.create(path, metadata, digest)?))
    }

    fn add_entry(&self, path: &[u8], metadata: &Metadata) -> Result<()> {
        self.shared.store.add(path, metadata)
    }

    fn keep_entry(&self, path: &[u8]) -> Result<Finished> {
        self.shared.store.keep(path)
    }

    fn commit(&self, proof: &Proof, checkpoint: Option<&[u8]>) -> Result<String> {
        self.shared.store.finish(proof, checkpoint).map(|number| format!("{number:064x}"))
    }

    fn snapshot_info(&self) -> Info {
        self.shared.store.info()
    }

    fn walk_snapshot(&self, path: &[u8]) -> Result<Box<dyn Walk>> {
        Ok(Box::new(OnePage(self.shared.store.entries(path)?.into())))
    }

    fn snapshot_entry(&self, path: &[u8]) -> Result<Entry> {
        let found = self.shared.store.entries(path)?.into_iter().find(|entry| entry.path == path);
        found.ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("there is no entry {:?}", String::from_utf8_lossy(path)),
            )
        })
    }

    fn open_entry(&self, path: &[u8]) -> Result<Box<dyn EntryReader>> {
        Ok(Box::new(self.shared.store.open(path)?))
    }

    fn start_part(&self, work: &[u8]) -> Result<Box<dyn host::Part>> {
        let parts = self
            .parts
            .clone()
            .ok_or_else(|| Error::unsupported("a part cannot start parts, and `Harness::run` has none"))?;
        let work = work.to_vec();
        Ok(Box::new(Part(std::thread::spawn(move || parts(work)))))
    }
}

/// The harness's own connection behind the trait.
fn ours(connection: &dyn Connection) -> Result<&endpoint::Connection> {
    let any: &dyn Any = connection;
    any.downcast_ref()
        .ok_or_else(|| Error::new(ErrorKind::Internal, "a connection of another host"))
}

/// A part on a thread.
struct Part(JoinHandle<Result<Vec<u8>>>);

impl host::Part for Part {
    fn wait(self: Box<Self>) -> Result<Vec<u8>> {
        self.0
            .join()
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "the part panicked")))
    }
}
