//! What the tests share: a plugin with its grants, run operation by operation.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use bulkhead_plugin_postgres::Postgres;
use bulkhead_sdk::{
    Result,
    endpoint::TlsMode,
    source::{BackupRequest, BackupResult, Instance, RestoreRequest, RestoreResult, Source},
    types::Finding,
};
use bulkhead_test_support::{Scratch, postgres::Cluster};

use crate::host::{Grants, Store, TestHost};

/// A pipeline: config, grants and one snapshot.
#[derive(Clone)]
pub struct Pipeline {
    pub config: String,
    pub grants: Grants,
    pub store: Arc<Store>,
}

impl Pipeline {
    /// The superuser of `cluster`, over TLS with its authority.
    pub fn new(cluster: &Cluster) -> Self {
        let grants = Grants {
            address: cluster.address(),
            tls: TlsMode::VerifyFull,
            authority: cluster.certificates().map(|certificates| certificates.authority_certificate()),
            client: None,
            password: Some(cluster.password().to_owned()),
            directories: BTreeMap::new(),
        };
        Self { config: config("postgres", ""), grants, store: Arc::default() }
    }

    /// The same as another role.
    pub fn with_user(mut self, user: &str) -> Self {
        self.config = config(user, "");
        self
    }

    pub fn host(&self) -> Arc<TestHost> {
        Arc::new(TestHost { grants: self.grants.clone(), store: self.store.clone(), log: Default::default() })
    }

    pub fn operate<T>(&self, operation: impl FnOnce(&mut Postgres) -> Result<T>) -> Result<T> {
        self.host().run(|| {
            let mut instance = Instance::<Postgres>::default();
            instance.configure(&self.config)?;
            operation(instance.plugin()?)
        })
    }

    pub fn check(&self) -> Result<Vec<Finding>> {
        self.operate(|plugin| plugin.check())
    }

    pub fn backup(&self) -> Result<BackupResult> {
        self.operate(|plugin| plugin.backup(BackupRequest::default()))
    }

    pub fn verify(&self) -> Result<Vec<Finding>> {
        self.operate(|plugin| plugin.verify())
    }

    /// Restores into `target`, with tablespaces in folders beside it.
    pub fn restore(&self, target: &Target, options: &str, paths: &[&str]) -> Result<RestoreResult> {
        let mut pipeline = self.clone();
        pipeline.grants.directories = target.directories.clone();
        let request = RestoreRequest {
            paths: paths.iter().map(|path| path.as_bytes().to_vec()).collect(),
            options_json: options.into(),
        };
        pipeline.operate(|plugin| plugin.restore(request))
    }
}

/// JSON of a config for `user`, with `more` settings.
pub fn config(user: &str, more: &str) -> String {
    format!(r#"{{"mode":"physical","user":"{user}"{more}}}"#)
}

/// Empty folders to restore into.
pub struct Target {
    _scratch: Scratch,
    pub data: PathBuf,
    pub directories: BTreeMap<String, PathBuf>,
}

impl Target {
    /// One for PGDATA and one for each tablespace.
    pub fn new(tablespaces: &[u32]) -> Self {
        let scratch = Scratch::new().unwrap();
        let data = scratch.folder("data").unwrap();
        let mut directories = BTreeMap::from([("data".to_owned(), data.clone())]);
        for oid in tablespaces {
            let name = format!("tablespace-{oid}");
            directories.insert(name.clone(), scratch.folder(&name).unwrap());
        }
        Self { _scratch: scratch, data, directories }
    }
}

/// `pg_dumpall` of a cluster.
pub fn dump(cluster: &Cluster) -> String {
    let scratch = Scratch::new().unwrap();
    let path = scratch.join("dump.sql");
    cluster.dump_all(&path).unwrap();
    std::fs::read_to_string(path).unwrap()
}

/// The OID of the only tablespace that was made.
pub fn tablespace_oid(cluster: &Cluster) -> u32 {
    let oid = cluster.execute("postgres", "SELECT oid FROM pg_tablespace WHERE spcname NOT LIKE 'pg\\_%'").unwrap();
    oid.parse().unwrap()
}

/// Whether `path` is there.
pub fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}
