//! A server, and the plugin beside it: [`Desk`].

use bulkhead_plugin_couchdb::CouchDb;
use bulkhead_sdk::{
    Result,
    source::{BackupResult, RestoreResult},
    testing::{Harness, HttpRequest, HttpResponse, Snapshot},
    types::Finding,
};
use bulkhead_test_support::couchdb::{Imitation, Request};
use serde_json::json;

/// A server with the plugin's harness.
pub(crate) struct Desk {
    pub(crate) server: Imitation,
    pub(crate) harness: Harness,
}

/// A harness whose endpoint is that server, called directly.
fn harness(server: &Imitation) -> Harness {
    let server = server.clone();
    Harness::new().http("server", move |request: &HttpRequest| {
        let headers = request.headers.iter();
        let answer = server.answer(&Request {
            method: request.method.clone(),
            path: request.path.clone(),
            headers: headers
                .map(|(name, value)| (name.to_lowercase(), String::from_utf8_lossy(value).into_owned()))
                .collect(),
            body: request.body.clone(),
        });
        HttpResponse {
            status: answer.status,
            headers: answer.headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect(),
            body: answer.body,
            break_after: answer.break_after,
        }
    })
}

impl Desk {
    /// An empty server.
    pub(crate) fn empty() -> Self {
        let server = Imitation::new(None);
        let harness = harness(&server);
        Self { server, harness }
    }

    /// An empty server that answers an admin only, and what the admin's password is said to be.
    pub(crate) fn guarded(password: &str) -> Self {
        let server = Imitation::new(Some(("admin", "s3same")));
        let harness = harness(&server).secret("password", password);
        Self { server, harness }
    }

    /// A server with a bit of everything.
    pub(crate) fn filled() -> Self {
        let desk = Self::empty();
        {
            let mut state = desk.server.state();
            state
                .database("_users")
                .put("org.couchdb.user:ann", json!({ "name": "ann", "type": "user" }));
            state.database("empty");
            let ledger = state.database("ledger");
            fill(ledger);
        }
        desk
    }

    /// Another server, with the snapshots of this one.
    pub(crate) fn elsewhere(&self) -> Self {
        let desk = Self::empty();
        let snapshot: Snapshot = self.harness.last().unwrap();
        Self {
            harness: desk.harness.snapshot(snapshot),
            server: desk.server,
        }
    }

    /// Does not wait for what may succeed later.
    pub(crate) fn backup(&self) -> Result<BackupResult> {
        self.backup_with("{ \"attempts\": 1 }")
    }

    pub(crate) fn backup_with(&self, config: &str) -> Result<BackupResult> {
        self.harness.backup::<CouchDb>(config)
    }

    pub(crate) fn restore(&self, options: &str) -> Result<RestoreResult> {
        self.harness.restore::<CouchDb>("{}", options)
    }

    pub(crate) fn verify(&self) -> Vec<Finding> {
        self.harness.verify::<CouchDb>("{}").unwrap()
    }
}

/// Conflicts, tombstones, design documents, attachments and awkward names.
fn fill(ledger: &mut bulkhead_test_support::couchdb::Database) {
    for number in 0..20 {
        ledger.put(&format!("doc{number}"), json!({ "number": number, "text": "a \"quoted\" {[ text" }));
    }
    ledger.put("doc3", json!({ "number": "three" }));
    ledger.tombstone("doc4");
    ledger.conflict("conf", &["2-aaa", "1-f"], json!({ "side": "a" }));
    ledger.conflict("conf", &["2-bbb", "1-f"], json!({ "side": "b" }));
    ledger.conflict("conf", &["3-ccc", "2-aaa", "1-f"], json!({ "_deleted": true }));
    ledger.put("a/b c%ü\n", json!({ "deep": [[[{}]]] }));
    ledger.put(&"long".repeat(100), json!({}));
    ledger.put("_design/app", json!({ "views": {} }));
    ledger.put("att", json!({ "x": 1 }));
    ledger.attach("att", "a.txt", Some(("text/plain", &b"hello\n".repeat(200))));
    ledger.attach("att", "ü b/ö.bin", Some(("application/octet-stream", &[0, 1, 2, 255])));
    ledger.attach("att", "empty", Some(("application/octet-stream", b"")));
    ledger.attach("_design/app", "index.html", Some(("text/html", b"<html>")));
    ledger.secure(json!({ "admins": { "names": ["alice"], "roles": [] }, "members": { "names": [], "roles": ["peer"] } }));
    ledger.local("checkpoint", json!({ "last": 42 }));
}
