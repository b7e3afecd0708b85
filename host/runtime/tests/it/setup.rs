//! One engine for all tests, the guest plugins, and setups for them.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use bulkhead_guest_build::GuestBuild;
use bulkhead_runtime::{
    Access, Destination, DirectoryGrant, EndpointGrant, FixedSecret, Grants, Limits, LoadLimits, OperationContext, Plugin, PluginKind,
    PluginSetup, Runtime, RuntimeOptions, SecretBytes, SecretGrant, SinkPool, Source,
};
use serde_json::{Value, json};

/// The compiled test plugins: source, sink, and a source that uses what it does not ask for.
pub(crate) fn components() -> &'static [PathBuf] {
    static BUILT: OnceLock<Vec<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(|| {
        let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        GuestBuild::new(workspace, &["misbehaving-source", "misbehaving-sink", "misbehaving-import"])
            .build()
            .unwrap()
            .components
    })
}

/// An engine with a cache of its own.
pub(crate) fn fresh_runtime() -> (Runtime, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (
        Runtime::new(RuntimeOptions {
            cache: folder.path().join("cache"),
        })
        .unwrap(),
        folder,
    )
}

fn runtime() -> &'static Runtime {
    static SHARED: OnceLock<(Runtime, tempfile::TempDir)> = OnceLock::new();
    &SHARED.get_or_init(fresh_runtime).0
}

pub(crate) async fn load(position: usize) -> Plugin {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = TURN.lock().await;
    runtime()
        .load_file(&components()[position], None, &LoadLimits::default())
        .await
        .unwrap()
}

pub(crate) fn setup(kind: PluginKind, config: Value, grants: Grants) -> PluginSetup {
    PluginSetup {
        table: "pipeline.test".to_owned(),
        config,
        grants,
        limits: Limits::default_for(kind),
    }
}

pub(crate) fn secret(value: &str) -> Arc<FixedSecret> {
    Arc::new(FixedSecret(SecretBytes::new(value.as_bytes().to_vec())))
}

/// A source of one behaviour, with everything granted, within limits that `change` sets.
pub(crate) async fn source_with(config: Value, grants: Grants, change: impl FnOnce(&mut Limits)) -> Source {
    let mut setup = setup(PluginKind::Source, config, grants);
    change(&mut setup.limits);
    Source::new(load(0).await, setup).unwrap()
}

pub(crate) async fn source(behaviour: &str, change: impl FnOnce(&mut Limits)) -> Source {
    source_with(json!({ "behaviour": behaviour }), Grants::default(), change).await
}

pub(crate) fn server_grant(address: &str) -> Grants {
    let mut grants = Grants::default();
    grants.endpoints.insert(
        "server".to_owned(),
        EndpointGrant::new(Destination::Addresses(vec![address.to_owned()])),
    );
    grants
}

pub(crate) fn directory_grant(name: &str, path: &std::path::Path, access: Access) -> Grants {
    let mut grants = Grants::default();
    grants.directories.insert(
        name.to_owned(),
        DirectoryGrant {
            path: path.to_owned(),
            access,
        },
    );
    grants
}

pub(crate) fn secret_grant(name: &str, value: &str, reveal: bool) -> Grants {
    let mut grants = Grants::default();
    grants.secrets.insert(
        name.to_owned(),
        SecretGrant {
            provider: secret(value),
            reveal,
        },
    );
    grants
}

/// A pool over the folder `root`.
pub(crate) async fn sink(config: Value, root: &std::path::Path, change: impl FnOnce(&mut Limits)) -> SinkPool {
    let mut setup = setup(PluginKind::Sink, config, directory_grant("root", root, Access::ReadWrite));
    change(&mut setup.limits);
    SinkPool::new(load(1).await, setup, OperationContext::default()).unwrap()
}
