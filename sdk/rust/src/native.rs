//! Which [`Host`] the SDK's calls reach on a native target: the innermost [`scope`] of this thread.

use std::{cell::RefCell, sync::Arc};

use crate::{
    Error, ErrorKind, Result,
    digest::Algorithm,
    directory::Grant,
    endpoint::Settings,
    entries::Finished,
    host::{Connection, EntryReader, EntryWriter, Exchange, Folder, Host, Part, RequestHead, Walk},
    log::Level,
    metadata::Metadata,
    snapshot::{Entry, Info},
    types::{Proof, Timestamp},
};

thread_local! {
    static SCOPES: RefCell<Vec<Arc<dyn Host>>> = const { RefCell::new(Vec::new()) };
}

/// Runs `body` with `host` behind all SDK calls of this thread. Scopes nest; a thread that `body` starts has none of its own.
pub fn scope<T>(host: Arc<dyn Host>, body: impl FnOnce() -> T) -> T {
    /// Leaves the scope on a panic too.
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            SCOPES.with_borrow_mut(Vec::pop);
        }
    }
    SCOPES.with_borrow_mut(|scopes| scopes.push(host));
    let _leave = Leave;
    body()
}

/// Calls the host of the innermost scope.
pub(crate) fn with_host<T>(call: impl FnOnce(&dyn Host) -> T) -> T {
    match SCOPES.with_borrow(|scopes| scopes.last().cloned()) {
        Some(host) => call(&*host),
        None => call(&NoHost),
    }
}

/// Outside every scope: logs go nowhere, all else fails with what to do.
struct NoHost;

fn no_host<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Internal, "no host is in place on this thread")
        .with_hint("call it within `bulkhead_sdk::testing::Harness::run` or `bulkhead_sdk::host::scope`"))
}

impl Host for NoHost {
    fn log(&self, _level: Level, _message: &str, _fields: &[(&str, String)]) {}
    fn progress(&self, _phase: &str, _bytes: u64, _total_bytes: Option<u64>) {}
    fn secret_names(&self) -> Vec<String> {
        Vec::new()
    }
    fn reveal_secret(&self, _name: &str) -> Result<Vec<u8>> {
        no_host()
    }
    fn endpoint_settings(&self, _name: &str) -> Result<Settings> {
        no_host()
    }
    fn open_endpoint(&self, _name: &str) -> Result<Box<dyn Connection>> {
        no_host()
    }
    fn open_address(&self, _name: &str, _address: &str) -> Result<Box<dyn Connection>> {
        no_host()
    }
    fn wait_any(&self, _connections: &[&dyn Connection], _deadline: Option<u64>) -> Result<Vec<u32>> {
        no_host()
    }
    fn send_request(&self, _request: &RequestHead<'_>) -> Result<Box<dyn Exchange>> {
        no_host()
    }
    fn directory_grants(&self) -> Vec<Grant> {
        Vec::new()
    }
    fn open_directory(&self, _name: &str) -> Result<Box<dyn Folder>> {
        no_host()
    }
    fn create_entry(&self, _path: &[u8], _metadata: &Metadata, _digest: Option<Algorithm>) -> Result<Box<dyn EntryWriter>> {
        no_host()
    }
    fn add_entry(&self, _path: &[u8], _metadata: &Metadata) -> Result<()> {
        no_host()
    }
    fn keep_entry(&self, _path: &[u8]) -> Result<Finished> {
        no_host()
    }
    fn commit(&self, _proof: &Proof, _checkpoint: Option<&[u8]>) -> Result<String> {
        no_host()
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
        no_host()
    }
    fn snapshot_entry(&self, _path: &[u8]) -> Result<Entry> {
        no_host()
    }
    fn open_entry(&self, _path: &[u8]) -> Result<Box<dyn EntryReader>> {
        no_host()
    }
    fn start_part(&self, _work: &[u8]) -> Result<Box<dyn Part>> {
        no_host()
    }
}
