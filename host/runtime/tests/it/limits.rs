//! Every limit, with a plugin that runs against it. Each ends as what it is, quickly, and leaves the executor to others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_runtime::{BackupInput, Cancellation, LimitKind, Limits, OperationContext, PluginError};
use serde_json::json;

use crate::memory::Memory;
use crate::setup::{server_grant, source_with};

/// Runs a backup of that behaviour and returns its error.
async fn failure(behaviour: &str, change: impl FnOnce(&mut Limits)) -> PluginError {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let silent = tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            held.push(listener.accept().await.unwrap());
        }
    });
    let source = source_with(json!({ "behaviour": behaviour }), server_grant(&address), change).await;
    let input = BackupInput {
        entries: Arc::new(Memory::default()),
        parent: None,
    };
    let error = source.backup(&OperationContext::default(), input).await.unwrap_err();
    silent.abort();
    error
}

fn assert_limit(error: &PluginError, kind: LimitKind, value: &str) {
    let PluginError::Limit(limit) = error else { panic!("{error}") };
    assert_eq!((limit.limit, limit.value.as_str()), (kind, value), "{error}");
    assert_eq!(
        error.to_string(),
        format!("the plugin `misbehaving-source` hit its limit `{}` of {value}", kind.key())
    );
    assert_eq!(
        limit.hint,
        format!(
            "write another `limits.{}` in [pipeline.test] if the plugin should have more",
            kind.key()
        )
    );
}

#[tokio::test]
async fn memory() {
    let error = failure("eat-memory", |limits| limits.memory = 16 << 20).await;
    assert_limit(&error, LimitKind::Memory, "16 MiB");
    assert!(!error.retryable());
}

#[tokio::test]
async fn processor_time_of_an_endless_loop() {
    let begun = Instant::now();
    let error = failure("loop-forever", |limits| limits.cpu = Duration::from_millis(200)).await;
    assert_limit(&error, LimitKind::Cpu, "200 ms");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_endless_loop_gives_way_to_other_tasks() {
    let cancellation = Cancellation::new();
    let context = OperationContext {
        cancellation: cancellation.clone(),
        ..OperationContext::default()
    };
    let source = source_with(json!({ "behaviour": "loop-forever" }), server_grant("127.0.0.1:1"), |_| ()).await;
    let memory = Memory::default();
    let run = async {
        let input = BackupInput {
            entries: Arc::new(memory.clone()),
            parent: None,
        };
        source.backup(&context, input).await.unwrap_err()
    };
    // One thread: this second branch runs only if the loop, which begins after the last of three entries, lets it.
    let stop = async {
        while memory.files.lock().unwrap().len() < 3 {
            tokio::task::yield_now().await;
        }
        cancellation.cancel();
        Instant::now()
    };
    let (error, stopped) = tokio::join!(run, stop);
    assert!(matches!(error, PluginError::Cancelled), "{error}");
    assert!(stopped.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn wall_clock_of_a_sleep_and_of_a_blocked_read() {
    for behaviour in ["hang", "block-in-read"] {
        let error = failure(behaviour, |limits| limits.wall_clock = Duration::from_millis(300)).await;
        assert_limit(&error, LimitKind::WallClock, "300 ms");
        assert!(error.retryable());
    }
}

#[tokio::test]
async fn the_time_of_one_call() {
    let error = failure("block-in-read", |limits| limits.call_timeout = Duration::from_secs(1)).await;
    assert_limit(&error, LimitKind::CallTimeout, "1 s");
    assert!(error.retryable());
}

#[tokio::test]
async fn bytes_written() {
    let error = failure("write-too-much", |limits| limits.bytes_written = 5 << 20).await;
    assert_limit(&error, LimitKind::BytesWritten, "5 MiB");
}

#[tokio::test]
async fn entries() {
    let error = failure("too-many-entries", |limits| limits.entries = 50).await;
    assert_limit(&error, LimitKind::Entries, "50");
}

#[tokio::test]
async fn connections() {
    let error = failure("too-many-connections", |limits| limits.connections = 5).await;
    assert_limit(&error, LimitKind::Connections, "5");
}

#[tokio::test]
async fn handles() {
    let error = failure("too-many-open-entries", |limits| limits.resources = 20).await;
    assert_limit(&error, LimitKind::Resources, "20");
}

#[tokio::test]
async fn parts_are_handles_too() {
    let error = failure("too-many-parts", |limits| limits.resources = 20).await;
    assert_limit(&error, LimitKind::Resources, "20");
}

#[tokio::test]
async fn open_entries_of_the_abi() {
    let error = failure("too-many-open-entries", |_| ()).await;
    assert!(error.to_string().contains("at most 64 entries are open at once"), "{error}");
}

#[tokio::test]
async fn host_calls() {
    let error = failure("flood-log", |limits| limits.host_calls = 10_000).await;
    assert_limit(&error, LimitKind::HostCalls, "10000");
}

#[tokio::test]
async fn arguments_of_one_call() {
    let error = failure("huge-error", |_| ()).await;
    let PluginError::Limit(limit) = &error else { panic!("{error}") };
    assert_eq!((limit.limit, limit.value.as_str()), (LimitKind::CallArguments, "16 MiB"));
    assert!(!error.hint().unwrap().contains("limits."), "there is no such line in the TOML");
}

#[tokio::test]
async fn core_instances() {
    let error = failure("good", |limits| limits.component_instances = 0).await;
    assert_limit(&error, LimitKind::ComponentInstances, "0");
}

#[tokio::test]
async fn a_log_flood_is_dropped_until_another_limit_ends_it() {
    let error = failure("flood-log", |limits| {
        (limits.log_volume, limits.cpu) = (10_000, Duration::from_millis(200))
    })
    .await;
    assert_limit(&error, LimitKind::Cpu, "200 ms");
}
