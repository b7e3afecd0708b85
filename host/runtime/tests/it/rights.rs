//! A plugin gets what it asks for and was granted; denials say what to write.

use bulkhead_runtime::{Access, Grants, LoadError, OperationContext, PluginError, PluginKind, SinkPool, Source};
use serde_json::json;

use crate::memory::Memory;
use crate::setup::{directory_grant, load, secret_grant, server_grant, setup, source, source_with};

fn backup(memory: &Memory) -> bulkhead_runtime::BackupInput {
    bulkhead_runtime::BackupInput {
        entries: std::sync::Arc::new(memory.clone()),
        parent: None,
    }
}

#[tokio::test]
async fn a_denial_says_which_line_would_allow_it() {
    let error = source("block-in-read", |_| ())
        .await
        .backup(&OperationContext::default(), backup(&Memory::default()))
        .await
        .unwrap_err();
    let PluginError::Fault(fault) = error else { panic!("{error}") };
    assert_eq!(fault.message, "`pipeline.test` does not grant the endpoint `server`");
    assert_eq!(
        fault.hint.as_deref(),
        Some("add `endpoint.server = { address = \"host:port\" }` to [pipeline.test]")
    );
}

#[tokio::test]
async fn a_missing_grant_is_told_before_anything_runs() {
    let restore = bulkhead_runtime::RestoreRequest {
        paths: Vec::new(),
        options: json!({}),
    };
    let snapshot = std::sync::Arc::new(Memory::default());
    let error = source("good", |_| ())
        .await
        .restore(&OperationContext::default(), snapshot, restore)
        .await
        .unwrap_err();
    let PluginError::Grant(missing) = error else { panic!("{error}") };
    assert_eq!(missing.grant, "directory.target");
    assert_eq!(
        missing.hint,
        "add `directory.target = { path = \"/…\", access = \"read-write\" }` to [pipeline.test]"
    );
    let error = SinkPool::new(
        load(1).await,
        setup(PluginKind::Sink, json!({}), Grants::default()),
        OperationContext::default(),
    )
    .err()
    .unwrap();
    assert!(matches!(error, PluginError::Grant(_)), "{error}");
}

#[tokio::test]
async fn a_grant_that_nobody_asked_for_is_not_passed_on_and_reported() {
    let mut grants = server_grant("127.0.0.1:1");
    grants.endpoints.insert("elsewhere".to_owned(), grants.endpoints["server"].clone());
    let source = source_with(json!({ "behaviour": "not-granted" }), grants, |_| ()).await;
    let unused = source.unused_grants();
    assert_eq!(unused.len(), 1);
    assert_eq!(
        (unused[0].path.as_str(), unused[0].wanted.as_slice()),
        ("pipeline.test.endpoint.elsewhere", ["server".to_owned()].as_slice())
    );
    let error = source
        .backup(&OperationContext::default(), backup(&Memory::default()))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("does not grant the endpoint `elsewhere`"), "{error}");
}

#[tokio::test]
async fn a_secret_stays_with_the_host_unless_revealed() {
    let leak = |reveal| async move {
        let source = source_with(
            json!({ "behaviour": "leak-secret" }),
            secret_grant("password", "correct horse\n", reveal),
            |_| (),
        )
        .await;
        source
            .backup(&OperationContext::default(), backup(&Memory::default()))
            .await
            .unwrap_err()
            .to_string()
    };
    let denied = leak(false).await;
    assert!(denied.contains("not in clear") && !denied.contains("horse"), "{denied}");
    assert!(leak(true).await.ends_with("password correct horse"), "the newline is removed");
}

#[tokio::test]
async fn a_read_only_grant_refuses_every_change() {
    let folder = tempfile::tempdir().unwrap();
    let grants = directory_grant("target", folder.path(), Access::ReadOnly);
    let source = source_with(json!({}), grants, |_| ()).await;
    let memory = Memory::default();
    source.backup(&OperationContext::default(), backup(&memory)).await.unwrap();
    let request = bulkhead_runtime::RestoreRequest {
        paths: Vec::new(),
        options: json!({}),
    };
    let error = source
        .restore(&OperationContext::default(), std::sync::Arc::new(memory), request)
        .await
        .unwrap_err();
    assert!(error.hint().unwrap().contains("read-write"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_sink_is_no_source() {
    let error = Source::new(load(1).await, setup(PluginKind::Source, json!({}), Grants::default()))
        .err()
        .unwrap();
    assert_eq!(error.to_string(), "the plugin `misbehaving-sink` is a sink, not a source");
    assert!(matches!(error, PluginError::Load(LoadError::WrongKind { .. })));
}
