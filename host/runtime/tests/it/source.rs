//! A source from end to end: backup with entries, incremental runs, restore into a directory, verify, browse, parts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bulkhead_model::{EntryMetadata, EntryPath, Fault, FaultKind, FinishedEntry, Proof, Severity};
use bulkhead_runtime::ports::{EntryStore, EntryWriter};
use bulkhead_runtime::{
    Access, BackupInput, BackupOutcome, BrowseRequest, Grants, OperationContext, PluginError, RenderRequest, RestoreRequest, Source,
};
use bytes::Bytes;
use serde_json::json;

use crate::memory::Memory;
use crate::setup::{directory_grant, server_grant, source, source_with};

async fn backup(source: &Source, memory: &Memory, parent: Option<&Memory>) -> Result<BackupOutcome, PluginError> {
    let parent = parent.map(|parent| Arc::new(parent.clone()) as _);
    source
        .backup(
            &OperationContext::default(),
            BackupInput {
                entries: Arc::new(memory.clone()),
                parent,
            },
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_backed_up_is_restored_and_verified() {
    let target = tempfile::tempdir().unwrap();
    let grants = directory_grant("target", target.path(), Access::ReadWrite);
    let config = json!({ "entries": 4, "entry-size": 700_000, "seed": 7 });
    let source = source_with(config, grants, |_| ()).await;
    let context = OperationContext::default();
    assert_eq!(source.check(&context).await.unwrap()[0].severity, Severity::Info);

    let memory = Memory::default();
    let outcome = backup(&source, &memory, None).await.unwrap();
    assert_eq!(
        (outcome.proof.entries, outcome.proof.bytes, outcome.proof.complete),
        (4, 2_800_000, true)
    );
    assert_eq!(memory.bytes(), 2_800_000);
    assert_eq!(outcome.checkpoint.as_deref(), Some(&7_u64.to_le_bytes()[..]));

    let snapshot = Arc::new(memory.clone());
    assert_eq!(source.verify(&context, snapshot.clone()).await.unwrap(), []);
    let request = RestoreRequest {
        paths: Vec::new(),
        options: json!({}),
    };
    let restored = source.restore(&context, snapshot.clone(), request).await.unwrap();
    assert_eq!((restored.entries, restored.bytes), (4, 2_800_000));
    let file = std::fs::read(target.path().join("data/00000003")).unwrap();
    assert_eq!(Some(file), memory.content("data/00000003"));

    let entry = bulkhead_model::EntryPath::new("data/00000000").unwrap();
    let items = source
        .browse(
            &context,
            snapshot,
            BrowseRequest {
                entry,
                prefix: String::new(),
                after: None,
            },
        )
        .await
        .unwrap();
    assert_eq!(items[0].name, "part-00000000");

    memory.files.lock().unwrap().get_mut(&b"data/00000001"[..]).unwrap()[5] ^= 1;
    let findings = source.verify(&context, Arc::new(memory)).await.unwrap();
    assert_eq!((findings.len(), findings[0].severity), (1, Severity::Error));
}

/// Renders what `behaviour` has written; returns how that ended, and what came.
async fn rendered(behaviour: &str) -> (Result<(), PluginError>, Vec<u8>) {
    let memory = Memory::default();
    backup(&source("good", |_| ()).await, &memory, None).await.unwrap();
    let source = source(behaviour, |limits| limits.bytes_written = 250_000).await;
    let request = RenderRequest {
        format: "joined".to_owned(),
        paths: vec![EntryPath::new("data/00000001").unwrap()],
    };
    let output = Output::default();
    let into = Box::new(output.clone());
    let outcome = source.render(&OperationContext::default(), Arc::new(memory), request, into).await;
    let written = output.0.lock().unwrap().clone();
    (outcome, written)
}

#[derive(Clone, Default)]
struct Output(Arc<std::sync::Mutex<Vec<u8>>>);

#[async_trait]
impl EntryWriter for Output {
    async fn write(&mut self, data: Bytes) -> Result<(), Fault> {
        self.0.lock().unwrap().extend_from_slice(&data);
        Ok(())
    }

    async fn write_zeros(&mut self, _: u64) -> Result<(), Fault> {
        Err(Fault::new(FaultKind::Unsupported, "nobody writes zeros here"))
    }

    async fn finish(self: Box<Self>) -> Result<u64, Fault> {
        Ok(0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_rendered_into_what_the_host_lends() {
    let (outcome, written) = rendered("good").await;
    outcome.unwrap();
    assert_eq!((written.len(), written.ends_with(b"end\n")), (100_004, true));
    let (outcome, written) = rendered("error").await;
    assert!(matches!(outcome, Err(PluginError::Fault(_))), "{outcome:?}");
    assert_eq!(written.len(), 100_000, "what came before the error has been written");
    let (outcome, _) = rendered("panic").await;
    assert!(matches!(outcome, Err(PluginError::Trap(_))), "{outcome:?}");
    let (outcome, _) = rendered("write-too-much").await;
    assert!(outcome.is_err(), "entries are for backups");
}

#[tokio::test]
async fn a_checkpoint_comes_back_and_entries_are_kept() {
    let first = Memory::default();
    let outcome = backup(&source("good", |_| ()).await, &first, None).await.unwrap();
    let parent = Memory {
        checkpoint: outcome.checkpoint,
        ..first
    };
    let source = source_with(json!({ "keep": 2 }), Grants::default(), |_| ()).await;
    let outcome = backup(&source, &parent, Some(&parent)).await.unwrap();
    assert_eq!((outcome.proof.entries, outcome.proof.bytes), (3, 300_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_write_into_the_same_snapshot() {
    let source = source_with(json!({ "entries": 20, "parts": 8 }), Grants::default(), |limits| limits.parts = 3).await;
    let memory = Memory::default();
    let outcome = backup(&source, &memory, None).await.unwrap();
    assert_eq!((outcome.proof.entries, outcome.proof.bytes), (20, 2_000_000));
    assert_eq!(memory.bytes(), 2_000_000);
}

/// Counts how many entries are being written at once; panics where the test wants it.
#[derive(Clone, Default)]
struct Counting {
    memory: Memory,
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    panics: bool,
}

struct CountingWriter(Box<dyn EntryWriter>, Arc<AtomicUsize>);

#[async_trait]
impl EntryStore for Counting {
    async fn create(&self, path: EntryPath, metadata: EntryMetadata) -> Result<Box<dyn EntryWriter>, Fault> {
        assert!(!self.panics, "told to panic");
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(open, Ordering::SeqCst);
        let inner = self.memory.create(path, metadata).await?;
        Ok(Box::new(CountingWriter(inner, self.open.clone())))
    }

    async fn add(&self, path: EntryPath, metadata: EntryMetadata) -> Result<(), Fault> {
        self.memory.add(path, metadata).await
    }

    async fn keep(&self, path: EntryPath) -> Result<FinishedEntry, Fault> {
        self.memory.keep(path).await
    }

    async fn commit(&self, proof: Proof, checkpoint: Option<Bytes>) -> Result<String, Fault> {
        self.memory.commit(proof, checkpoint).await
    }
}

#[async_trait]
impl EntryWriter for CountingWriter {
    async fn write(&mut self, data: Bytes) -> Result<(), Fault> {
        self.0.write(data).await
    }

    async fn write_zeros(&mut self, length: u64) -> Result<(), Fault> {
        self.0.write_zeros(length).await
    }

    async fn finish(self: Box<Self>) -> Result<u64, Fault> {
        self.1.fetch_sub(1, Ordering::SeqCst);
        self.0.finish().await
    }
}

async fn backup_in_parts(limit: u64, store: &Counting) -> Result<BackupOutcome, PluginError> {
    let source = source_with(json!({ "entries": 16, "parts": 8 }), Grants::default(), |limits| {
        limits.parts = limit
    })
    .await;
    let input = BackupInput {
        entries: Arc::new(store.clone()),
        parent: None,
    };
    source.backup(&OperationContext::default(), input).await
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_parts_work_at_once_and_no_more() {
    for limit in [1, 3] {
        let mut store = Counting::default();
        store.memory.delay = Duration::from_millis(20);
        let outcome = backup_in_parts(limit, &store).await.unwrap();
        assert_eq!(outcome.proof.entries, 16);
        assert_eq!(store.most.load(Ordering::SeqCst) as u64, limit);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_part_fails_the_whole() {
    let store = Counting {
        panics: true,
        ..Counting::default()
    };
    let error = backup_in_parts(2, &store).await.unwrap_err();
    assert_eq!(error.to_string(), "a part of the operation ended in a panic of the host");
}

#[tokio::test]
async fn of_several_connections_those_are_told_that_can_be_read() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let echo = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    let source = source_with(json!({ "behaviour": "wait-any" }), server_grant(&address), |_| ()).await;
    backup(&source, &Memory::default(), None).await.unwrap();
    echo.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_fails_fails_the_whole() {
    let source = source_with(json!({ "behaviour": "fail-in-part", "parts": 2 }), Grants::default(), |_| ()).await;
    let error = backup(&source, &Memory::default(), None).await.unwrap_err();
    assert!(error.to_string().starts_with("the server refused the backup"), "{error}");
}

#[tokio::test]
async fn an_error_of_the_plugin_arrives_whole() {
    let error = backup(&source("error", |_| ()).await, &Memory::default(), None).await.unwrap_err();
    let PluginError::Fault(fault) = &error else { panic!("{error}") };
    assert_eq!((fault.kind, fault.setting.as_deref()), (FaultKind::Server, Some("behaviour")));
    assert_eq!((error.hint(), error.retryable()), (Some("set `behaviour = \"good\"`"), false));
    assert_eq!(fault.causes, ["it was told to"]);
    assert!(
        backup(&source("retryable-error", |_| ()).await, &Memory::default(), None)
            .await
            .unwrap_err()
            .retryable()
    );
}

#[tokio::test]
async fn an_error_without_end_is_cut() {
    let error = backup(&source("long-error", |_| ()).await, &Memory::default(), None)
        .await
        .unwrap_err();
    assert!(error.to_string().len() <= 4096);
}

#[tokio::test]
async fn a_wrong_config_names_its_setting() {
    let source = source_with(json!({ "keep": 9 }), Grants::default(), |_| ()).await;
    let error = source.check(&OperationContext::default()).await.unwrap_err();
    let PluginError::Fault(fault) = error else { panic!("{error}") };
    assert_eq!((fault.kind, fault.setting.as_deref()), (FaultKind::Config, Some("keep")));
}

#[tokio::test]
async fn a_panic_is_a_trap_that_says_what_the_plugin_said() {
    let error = backup(&source("panic", |_| ()).await, &Memory::default(), None).await.unwrap_err();
    let PluginError::Trap(trap) = &error else { panic!("{error}") };
    assert_eq!(trap.call, "backup");
    assert!(
        trap.reason.contains("unreachable") && trap.output.iter().any(|line| line.contains("panicked")),
        "{error}"
    );
    assert!(!error.retryable());
}

#[tokio::test]
async fn a_recursion_without_end_is_a_trap() {
    let error = backup(&source("overflow-stack", |_| ()).await, &Memory::default(), None)
        .await
        .unwrap_err();
    assert!(matches!(error, PluginError::Trap(_)), "{error}");
}

#[tokio::test]
async fn impossible_paths_are_refused() {
    backup(&source("escaping-path", |_| ()).await, &Memory::default(), None)
        .await
        .unwrap();
}
