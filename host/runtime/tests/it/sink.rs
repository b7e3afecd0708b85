//! A sink from end to end, and its instances after they misbehave.

use std::time::Duration;

use bulkhead_model::FaultKind;
use bulkhead_runtime::{LimitKind, Limits, ObjectBody, PluginError, PutOptions, SinkPool};
use bytes::Bytes;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::setup::sink;

fn body(parts: &[&[u8]]) -> ObjectBody {
    ObjectBody {
        parts: parts.iter().map(|part| Bytes::copy_from_slice(part)).collect(),
        sha256: Sha256::digest(parts.concat()).into(),
    }
}

async fn put(pool: &SinkPool, key: &str) -> Result<(), PluginError> {
    pool.put(key, body(&[b"hello ", b"world"]), PutOptions::default()).await
}

fn fault_kind(error: PluginError) -> FaultKind {
    match error {
        PluginError::Fault(fault) => fault.kind,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_stored_fetched_listed_and_deleted() {
    let root = tempfile::tempdir().unwrap();
    let pool = sink(json!({}), root.path(), |_| ()).await;
    pool.initialize().await.unwrap();
    assert_eq!(pool.check().await.unwrap(), []);
    assert_eq!(pool.traits().await.unwrap().concurrency, 4);

    put(&pool, "data/00/a").await.unwrap();
    let large = vec![7_u8; 3_000_000];
    pool.put("data/00/large", body(&[&large, b"end"]), PutOptions::default())
        .await
        .unwrap();
    assert_eq!(pool.get("data/00/a", None).await.unwrap(), "hello world");
    assert_eq!(pool.get("data/00/a", Some(6..11)).await.unwrap(), "world");
    assert_eq!(
        pool.get("data/00/large", Some(2_999_998..3_000_003)).await.unwrap(),
        &b"\x07\x07end"[..]
    );
    assert_eq!(pool.stat("data/00/a").await.unwrap().unwrap().size, 11);
    let mut keys: Vec<_> = pool.list("data/").await.unwrap().into_iter().map(|object| object.key).collect();
    keys.sort();
    assert_eq!(keys, ["data/00/a", "data/00/large"]);

    let again = pool
        .put(
            "data/00/a",
            body(&[b"x"]),
            PutOptions {
                if_absent: true,
                lock_until: None,
            },
        )
        .await
        .unwrap_err();
    assert_eq!(fault_kind(again), FaultKind::AlreadyExists);
    pool.delete("data/00/a").await.unwrap();
    assert_eq!(pool.stat("data/00/a").await.unwrap(), None);
    assert_eq!(fault_kind(pool.get("data/00/a", None).await.unwrap_err()), FaultKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_operations_share_the_instances() {
    let root = tempfile::tempdir().unwrap();
    let pool = sink(json!({}), root.path(), |_| ()).await;
    let puts = (0..40).map(|number| {
        let pool = pool.clone();
        tokio::spawn(async move { put(&pool, &format!("data/00/{number}")).await })
    });
    for put in puts.collect::<Vec<_>>() {
        put.await.unwrap().unwrap();
    }
    assert_eq!(pool.list("data/").await.unwrap().len(), 40);
}

#[tokio::test]
async fn an_instance_that_trapped_is_replaced() {
    let root = tempfile::tempdir().unwrap();
    let pool = sink(json!({ "behaviour": "panic", "after": 1 }), root.path(), |_| ()).await;
    put(&pool, "data/00/a").await.unwrap();
    for _ in 0..3 {
        let error = put(&pool, "data/00/b").await.unwrap_err();
        assert!(matches!(&error, PluginError::Trap(trap) if trap.call == "put"), "{error}");
        assert_eq!(pool.list("data/").await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn one_call_has_its_own_limits() {
    let root = tempfile::tempdir().unwrap();
    // One limit each that is near; all others are as far away as by default.
    type Change = fn(&mut Limits);
    let cases: [(&str, LimitKind, Change); 3] = [
        ("loop-forever", LimitKind::Cpu, |limits| limits.cpu = Duration::from_millis(200)),
        ("hang", LimitKind::WallClock, |limits| limits.wall_clock = Duration::from_secs(1)),
        ("eat-memory", LimitKind::Memory, |limits| limits.memory = 16 << 20),
    ];
    for (behaviour, limit, change) in cases {
        let pool = sink(json!({ "behaviour": behaviour }), root.path(), change).await;
        match put(&pool, "data/00/a").await.unwrap_err() {
            PluginError::Limit(hit) => assert_eq!(hit.limit, limit),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn what_a_get_returns_has_the_length_that_was_asked_for() {
    let root = tempfile::tempdir().unwrap();
    put(&sink(json!({}), root.path(), |_| ()).await, "data/00/a").await.unwrap();
    for (behaviour, kind) in [("read-short", FaultKind::Corrupt), ("read-too-much", FaultKind::Limit)] {
        let pool = sink(json!({ "behaviour": behaviour }), root.path(), |_| ()).await;
        assert_eq!(
            fault_kind(pool.get("data/00/a", Some(0..10)).await.unwrap_err()),
            kind,
            "{behaviour}"
        );
    }
}

#[tokio::test]
async fn no_get_takes_more_memory_than_there_is() {
    let root = tempfile::tempdir().unwrap();
    let pool = sink(json!({}), root.path(), |_| ()).await;
    put(&pool, "data/00/a").await.unwrap();
    let error = pool.get("data/00/a", Some(0..1 << 40)).await.unwrap_err();
    assert_eq!(fault_kind(error), FaultKind::Limit);
}

#[tokio::test]
async fn a_listing_that_never_ends_ends() {
    let root = tempfile::tempdir().unwrap();
    let pool = sink(json!({ "behaviour": "list-forever" }), root.path(), |limits| {
        limits.wall_clock = Duration::from_secs(1)
    })
    .await;
    let error = pool.list("data/").await.unwrap_err();
    assert!(
        matches!(&error, PluginError::Limit(hit) if hit.limit == LimitKind::WallClock),
        "{error}"
    );
}

#[tokio::test]
async fn a_listing_that_goes_in_a_circle_is_noticed() {
    let root = tempfile::tempdir().unwrap();
    let pool = sink(json!({ "behaviour": "list-same-page" }), root.path(), |_| ()).await;
    let error = pool.list("data/").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the sink lists `data/` wrongly: the next page is the one that was asked for"
    );
    assert_eq!(fault_kind(error), FaultKind::Protocol);
}
