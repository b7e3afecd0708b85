//! A CA's home, and the plugin beside it: [`Desk`].

use std::path::Path;

use bulkhead_plugin_fabric_ca::FabricCa;
use bulkhead_sdk::{
    Result,
    source::{BackupResult, RestoreResult},
    testing::{Directory, Harness},
    types::{Finding, Severity},
};
use bulkhead_test_support::fabric_ca::Home;

/// A home with the plugin's harness.
pub(crate) struct Desk {
    /// Goes away with it.
    pub(crate) tree: Directory,
    pub(crate) home: Home,
    pub(crate) harness: Harness,
}

impl Desk {
    /// A root CA with a registrar, a peer and a client that is revoked.
    pub(crate) fn root() -> Self {
        let desk = Self::of(|folder| Home::root(folder, "ca-org1").unwrap());
        desk.home.register("peer0", "peer", "org1.department1").unwrap();
        desk.home.enroll("peer0").unwrap();
        desk.home.register("user1", "client", "org2.department1").unwrap();
        desk.home.enroll("user1").unwrap();
        desk.home.revoke("user1").unwrap();
        desk
    }

    pub(crate) fn of(make: impl FnOnce(&Path) -> Home) -> Self {
        let tree = Directory::temporary();
        let home = make(&tree.path().join("server"));
        let harness = Harness::new().directory("home", Directory::at(home.path()).read_only());
        Self { tree, home, harness }
    }

    pub(crate) fn backup(&self) -> Result<BackupResult> {
        self.backup_with("{}")
    }

    pub(crate) fn backup_with(&self, config: &str) -> Result<BackupResult> {
        self.harness.backup::<FabricCa>(config)
    }

    pub(crate) fn verify(&self) -> Vec<Finding> {
        self.harness.verify::<FabricCa>("{}").unwrap()
    }

    /// Into a folder, with the last snapshot of this desk.
    pub(crate) fn restore(&self, target: &Directory, options: &str, paths: &[&str]) -> Result<RestoreResult> {
        let harness = Harness::new()
            .directory("home", target.clone())
            .snapshot(self.harness.last().unwrap());
        harness.restore_paths::<FabricCa>("{}", options, paths)
    }

    /// The last inventory of the database.
    pub(crate) fn inventory(&self, name: &str) -> String {
        String::from_utf8(self.harness.content(format!("inventory/{name}.jsonl")).unwrap()).unwrap()
    }
}

pub(crate) fn fact(result: &BackupResult, name: &str) -> String {
    let found = result.proof.facts.iter().find(|fact| fact.name == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {:?}", result.proof.facts))
        .value
        .clone()
}

/// The findings of a code.
pub(crate) fn coded<'f>(findings: &'f [Finding], code: &str) -> Vec<&'f Finding> {
    findings.iter().filter(|finding| finding.code == code).collect()
}

/// What fails a run, or says that a snapshot is worth nothing.
pub(crate) fn errors(findings: &[Finding]) -> Vec<&Finding> {
    findings.iter().filter(|finding| finding.severity == Severity::Error).collect()
}

/// The only finding of a code, which is one of this severity and tells `text`.
#[track_caller]
pub(crate) fn told(findings: &[Finding], code: &str, severity: Severity, text: &str) {
    let found = coded(findings, code);
    assert_eq!(found.len(), 1, "{code}: {findings:#?}");
    assert_eq!(found[0].severity, severity, "{findings:#?}");
    assert!(found[0].message.contains(text), "{findings:#?}");
}
