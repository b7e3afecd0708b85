//! What the tests share: harnesses with grants, and restored servers.

use std::io::BufRead;

use bulkhead_plugin_redis::Redis;
use bulkhead_sdk::{
    Error, Result,
    source::{BackupResult, RestoreResult},
    testing::{Directory, Endpoint, Harness, Snapshot},
    types::Finding,
};
use bulkhead_test_support::{
    Scratch,
    redis::{Builder, Frozen, Server, fill, frozen},
};

/// A server with the sample in it.
pub(crate) fn filled(builder: Builder) -> Server {
    let server = builder.debug().start().unwrap();
    fill(&mut server.client().unwrap()).unwrap();
    // What a server makes of its own file: a few encodings are chosen anew whenever data is loaded.
    server.call(&["DEBUG", "RELOAD"]).unwrap();
    server
}

/// Everything that it holds.
pub(crate) fn content(server: &Server) -> Frozen {
    frozen(&mut server.client().unwrap()).unwrap()
}

/// Two servers hold the same.
#[track_caller]
pub(crate) fn assert_same(before: &Frozen, after: &Frozen) {
    let names = |frozen: &Frozen| {
        frozen
            .keys()
            .map(|(database, key)| format!("{database}/{}", key.escape_ascii()))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(before), names(after));
    for (key, (content, expiry, encoding)) in before {
        let (restored, restored_expiry, restored_encoding) = &after[key];
        let name = key.1.escape_ascii();
        assert_eq!(encoding, restored_encoding, "encoding of {name}");
        assert_eq!(expiry, restored_expiry, "expiry of {name}");
        assert!(content == restored, "content of {name} ({encoding})");
    }
}

/// Grants the server over TCP.
pub(crate) fn over_tcp(server: &Server) -> Harness {
    Harness::new().endpoint("server", Endpoint::tcp(server.address()))
}

/// The plugin's operations, on a harness.
pub(crate) trait Operations {
    fn check_with(&self, config: &str) -> Result<Vec<Finding>>;
    fn backup_with(&self, config: &str) -> Result<BackupResult>;
    fn verified(&self) -> Vec<Finding>;
}

impl Operations for Harness {
    fn check_with(&self, config: &str) -> Result<Vec<Finding>> {
        self.check::<Redis>(config)
    }
    fn backup_with(&self, config: &str) -> Result<BackupResult> {
        self.backup::<Redis>(config)
    }
    fn verified(&self) -> Vec<Finding> {
        self.verify::<Redis>("{}").unwrap()
    }
}

/// Restores a snapshot into a folder.
pub(crate) fn into_folder(snapshot: &Snapshot, folder: &Scratch, options: &str) -> Result<RestoreResult> {
    Harness::new()
        .snapshot(snapshot.clone())
        .directory("data", Directory::at(folder.path()))
        .restore::<Redis>("{}", options)
}

/// Restores a snapshot into a server.
pub(crate) fn into_server(snapshot: &Snapshot, server: &Server, options: &str) -> Result<RestoreResult> {
    over_tcp(server).snapshot(snapshot.clone()).restore::<Redis>("{}", options)
}

/// The codes of findings.
pub(crate) fn codes(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.code.as_str()).collect()
}

/// A fact of a result.
pub(crate) fn fact<'r>(facts: &'r [bulkhead_sdk::types::Fact], name: &str) -> &'r str {
    let found = facts.iter().find(|fact| fact.name == name);
    &found.unwrap_or_else(|| panic!("no fact `{name}` in {facts:?}")).value
}

/// Whether an error, with its causes, and its hint have these words.
#[track_caller]
pub(crate) fn assert_says(error: &Error, message: &str, hint: &str) {
    assert!(error.to_string().contains(message), "`{message}` is not in: {error}");
    let found = error.hint.as_deref().unwrap_or("no hint");
    assert!(found.contains(hint), "`{hint}` is not in: {found}");
}

/// The next command that a client sends to a server that is played; `None` where it hangs up.
pub(crate) fn command(reader: &mut impl BufRead) -> Option<Vec<Vec<u8>>> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let count: usize = line.trim_end().strip_prefix('*')?.parse().ok()?;
    let mut word = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length: usize = line.trim_end().strip_prefix('$')?.parse().ok()?;
        let mut word = vec![0; length + 2];
        reader.read_exact(&mut word).ok()?;
        word.truncate(length);
        Some(word)
    };
    (0..count).map(|_| word()).collect()
}
