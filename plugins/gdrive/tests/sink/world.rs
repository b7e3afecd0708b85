//! A server with a folder for a vault, and the sink on it.

use std::sync::{Arc, Mutex};

use bulkhead_plugin_gdrive::GoogleDrive;
use bulkhead_sdk::{
    Result,
    digest::{Algorithm, digest},
    sink::Object,
    testing::{Harness, HttpRequest, HttpResponse, SinkTester},
    types::Finding,
};
use bulkhead_test_support::couchdb::Request;
use bulkhead_test_support::gdrive::Drive;

/// A pack's key.
pub(crate) const KEY: &str = "data/ab/ab01";

pub(crate) struct World {
    pub(crate) drive: Drive,
    pub(crate) folder: String,
    /// `Content-Range` of each request that had one.
    ranges: Arc<Mutex<Vec<String>>>,
}

impl World {
    pub(crate) fn new() -> Self {
        let drive = Drive::new();
        let folder = drive.state().add_folder("root", "vault");
        Self::of(drive, folder)
    }

    pub(crate) fn in_shared_drive() -> Self {
        let drive = Drive::new();
        let shared = drive.state().add_shared_drive("Backups");
        let folder = drive.state().add_folder(&shared, "vault");
        Self::of(drive, folder)
    }

    fn of(drive: Drive, folder: String) -> Self {
        Self {
            drive,
            folder,
            ranges: Arc::default(),
        }
    }

    pub(crate) fn harness(&self) -> Harness {
        let (drive, ranges) = (self.drive.clone(), self.ranges.clone());
        Harness::new().http("drive", move |request| {
            let request = request_of(request);
            ranges.lock().unwrap().extend(request.header("content-range").map(str::to_owned));
            let answer = drive.answer(&request);
            HttpResponse {
                status: answer.status,
                headers: answer.headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect(),
                body: answer.body,
                break_after: answer.break_after,
            }
        })
    }

    /// `Content-Range` of the requests so far.
    pub(crate) fn ranges(&self) -> Vec<String> {
        std::mem::take(&mut *self.ranges.lock().unwrap())
    }

    /// The vault's folder, and `more` settings.
    pub(crate) fn config(&self, more: &str) -> String {
        format!(r#"{{"folder":"{}"{more}}}"#, self.folder)
    }

    /// Does something with a sink of its own, which knows nothing yet.
    pub(crate) fn with<T>(&self, config: &str, action: impl FnOnce(&mut SinkTester<'_, GoogleDrive>) -> Result<T>) -> Result<T> {
        action(&mut self.harness().sink::<GoogleDrive>(config)?)
    }

    pub(crate) fn initialize(&self) -> Result<()> {
        self.with(&self.config(""), |sink| sink.initialize())
    }

    pub(crate) fn initialized(&self) {
        self.initialize().unwrap();
    }

    /// With the two files that make it a repository.
    pub(crate) fn repository(&self) {
        self.initialized();
        self.put("keys/0a", b"key").unwrap();
        self.put("config", b"config").unwrap();
    }

    pub(crate) fn put(&self, key: &str, content: &[u8]) -> Result<()> {
        self.put_with(&self.config(""), key, content)
    }

    pub(crate) fn put_with(&self, config: &str, key: &str, content: &[u8]) -> Result<()> {
        self.with(config, |sink| sink.put(key, content))
    }

    pub(crate) fn put_if_absent(&self, key: &str, content: &[u8]) -> Result<()> {
        self.with(&self.config(""), |sink| sink.put_if_absent(key, content))
    }

    pub(crate) fn get(&self, key: &str) -> Result<Vec<u8>> {
        self.with(&self.config(""), |sink| sink.get(key))
    }

    pub(crate) fn list(&self, prefix: &str) -> Vec<Object> {
        self.with(&self.config(""), |sink| sink.list(prefix)).unwrap()
    }

    pub(crate) fn delete(&self, key: &str) -> Result<()> {
        self.delete_with(&self.config(""), key)
    }

    pub(crate) fn delete_with(&self, config: &str, key: &str) -> Result<()> {
        self.with(config, |sink| sink.delete(key))
    }

    pub(crate) fn check(&self) -> Vec<Finding> {
        self.check_with(&self.config(""))
    }

    pub(crate) fn check_with(&self, config: &str) -> Vec<Finding> {
        self.with(config, |sink| sink.check()).unwrap()
    }

    pub(crate) fn check_folder(&self, id: &str) -> Result<Vec<Finding>> {
        self.with(&format!(r#"{{"folder":"{id}"}}"#), |sink| sink.check())
    }
}

fn request_of(request: &HttpRequest) -> Request {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    Request {
        method: request.method.clone(),
        path: request.path.clone(),
        headers: request
            .headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), text(value)))
            .collect(),
        body: request.body.clone(),
    }
}

/// Bytes of which no part is like another.
pub(crate) fn content(length: usize) -> Vec<u8> {
    (0..length)
        .map(|position| (position.wrapping_mul(2_654_435_761) >> 7) as u8)
        .collect()
}

/// In hexadecimal digits.
pub(crate) fn sha256(content: &[u8]) -> String {
    digest(Algorithm::Sha256, content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

pub(crate) fn codes(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.code.as_str()).collect()
}
