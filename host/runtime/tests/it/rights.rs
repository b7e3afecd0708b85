//! A plugin gets what it asks for and was granted; denials say what to write.

use std::sync::{Arc, Mutex};

use bulkhead_runtime::{
    Access, Grants, LoadError, OperationContext, PluginError, PluginKind, ProgressObserver, ProgressState, SinkPool, Source,
};
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
        Some("add `endpoint.server = { address = \"host:port\" }` to [pipeline.test]; of a Unix socket, `{ socket = \"/…\" }`")
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
    let PluginError::Fault(fault) = error else { panic!("{error}") };
    assert_eq!(fault.message, "`pipeline.test` does not grant the endpoint `elsewhere`");
    let hint = fault.hint.unwrap();
    assert!(hint.ends_with(", or call `endpoint.server` so, if that is meant"), "{hint}");
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
    // The plugin has seen it, without the newline; who reads the error does not.
    assert_eq!(leak(true).await, "the server refused the password [secret password]");
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Kept {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl ProgressObserver for Kept {
    fn report(&self, state: ProgressState) {
        self.0.lock().unwrap().extend_from_slice(state.phase.as_bytes());
    }
}

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[tokio::test]
async fn a_secret_that_was_revealed_is_blotted_out_of_all_that_a_plugin_says() {
    let (log, progress) = (Kept::default(), Kept::default());
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let context = OperationContext {
        progress: Arc::new(progress.clone()),
        ..OperationContext::default()
    };
    let secret = || secret_grant("password", "correct horse\n", true);
    let quiet = source_with(json!({ "behaviour": "leak-quietly" }), secret(), |_| ()).await;
    let outcome = quiet.backup(&context, backup(&Memory::default())).await.unwrap();
    let fact = outcome.proof.facts.iter().find(|fact| fact.name == "password").unwrap();
    assert_eq!(fact.value, "[secret password]");
    assert_eq!(progress.text(), "with [secret password]");
    let loud = source_with(json!({ "behaviour": "leak-secret" }), secret(), |_| ()).await;
    loud.backup(&context, backup(&Memory::default())).await.unwrap_err();
    let log = log.text();
    assert_eq!(log.matches("the password is [secret password]").count(), 2, "{log}");
    assert!(!log.contains("horse"), "{log}");
}

#[tokio::test]
async fn an_import_that_the_plugin_does_not_ask_for_keeps_it_from_loading() {
    let error = Source::new(load(2).await, setup(PluginKind::Source, json!({}), server_grant("127.0.0.1:1")))
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "the component imports `bulkhead:plugin/endpoint@0.1.0`, which `pipeline.test` does not grant and the plugin does not ask for"
    );
    assert_eq!(
        error.hint(),
        Some("its author must ask for it in `describe`; then `endpoint.NAME = { address = \"host:port\" }` in [pipeline.test] grants it")
    );
}

#[tokio::test]
async fn a_grant_is_narrowed_to_what_the_plugin_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let grants = directory_grant("source", folder.path(), Access::ReadWrite);
    let source = source_with(json!({ "behaviour": "write-read-only" }), grants, |_| ()).await;
    let error = source
        .backup(&OperationContext::default(), backup(&Memory::default()))
        .await
        .unwrap_err();
    let PluginError::Fault(fault) = error else { panic!("{error}") };
    assert_eq!(fault.kind, bulkhead_model::FaultKind::PermissionDenied, "{fault}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
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
