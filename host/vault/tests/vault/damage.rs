//! Damage is found by verification, told with what it means, and never read as content.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use async_trait::async_trait;
use bulkhead_model::Fault;
use bulkhead_vault::{
    InitOptions, ObjectBody, ObjectId, ObjectInfo, ObjectStore, Piece, ReadError, SnapshotEntry, StoreTraits, Vault, VerifyReport,
    stores::MemoryStore,
};
use bytes::Bytes;

use crate::support::{backup, begin, memory_vault, password, path, random, record, verify, write};

/// A vault of two snapshots: `first` with content of its own, `second` without.
async fn two_snapshots() -> (Arc<MemoryStore>, [ObjectId; 2]) {
    let (store, first) = memory_vault().await;
    let vault = Vault::open(store.clone(), &password()).await.unwrap();
    let second = backup(&vault, &[("other", &random(1 << 20, 5))]).await;
    assert_eq!(verify(&vault).await.problems, []);
    (store, [first.snapshot.id, second.snapshot.id])
}

fn keys(store: &MemoryStore, prefix: &str) -> Vec<String> {
    store.tamper(|objects| objects.keys().filter(|key| key.starts_with(prefix)).cloned().collect())
}

fn flip(store: &MemoryStore, key: &str, position: usize) {
    store.tamper(|objects| {
        let mut content = objects[key].to_vec();
        content[position] ^= 0x40;
        objects.insert(key.to_owned(), Bytes::from(content));
    });
}

async fn report(store: &Arc<MemoryStore>) -> (Vault, VerifyReport) {
    let vault = Vault::open(store.clone(), &password()).await.unwrap();
    let report = verify(&vault).await;
    (vault, report)
}

/// Whether every file of a snapshot can be read.
async fn readable(vault: &Vault, snapshot: ObjectId) -> Result<(), ReadError> {
    let reader = vault.read(snapshot).await?;
    let mut walk = reader.walk(&path("")).await?;
    while let Some(entry) = walk.next().await? {
        if entry.size > 0 {
            let mut content = reader.open(&entry.path).await?;
            while content.read_next(1 << 20).await?.is_some() {}
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_anywhere_in_a_pack_is_found() {
    let (clean, snapshots) = two_snapshots().await;
    for key in keys(&clean, "data/") {
        let size = clean.tamper(|objects| objects[&key].len());
        for position in [0, size / 2, size - 60, size - 1] {
            let store = Arc::new(MemoryStore::new());
            store.tamper(|objects| *objects = clean.tamper(|clean| clean.clone()));
            flip(&store, &key, position);
            let (vault, report) = report(&store).await;
            assert_eq!(report.problems.len(), 1, "{key} at {position}: {report:#?}");
            let problem = &report.problems[0];
            assert_eq!(problem.object, key);
            // What the report says of snapshots is what reading them says.
            for snapshot in snapshots {
                let damaged = readable(&vault, snapshot).await.is_err();
                assert!(
                    !damaged || problem.snapshots.contains(&snapshot),
                    "{key} at {position}: {problem:#?}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_cut_pack_is_found_even_without_reading() {
    let (clean, _) = two_snapshots().await;
    for key in keys(&clean, "data/") {
        for cut in [false, true] {
            let store = Arc::new(MemoryStore::new());
            store.tamper(|objects| *objects = clean.tamper(|clean| clean.clone()));
            store.tamper(|objects| {
                let content = objects.remove(&key).unwrap();
                if cut {
                    objects.insert(key.clone(), content.slice(..content.len() - 1));
                }
            });
            let (vault, report) = report(&store).await;
            assert!(report.problems.len() == 1 && report.problems[0].object == key, "{report:#?}");
            assert!(cut || !report.problems[0].snapshots.is_empty(), "{report:#?}");
            let failures = futures_util::future::join_all(report.problems[0].snapshots.iter().map(|id| readable(&vault, *id))).await;
            for failure in failures.into_iter().filter_map(Result::err) {
                assert!(
                    matches!(&failure, ReadError::Corrupt(corruption) if corruption.object == key),
                    "{failure}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_or_damaged_index_file_is_found() {
    let (clean, _) = two_snapshots().await;
    for key in keys(&clean, "index/") {
        let store = Arc::new(MemoryStore::new());
        store.tamper(|objects| *objects = clean.tamper(|clean| clean.clone()));
        flip(&store, &key, 30);
        let (_, damaged) = report(&store).await;
        assert!(damaged.problems.iter().any(|problem| problem.object == key), "{damaged:#?}");
        store.tamper(|objects| objects.remove(&key));
        let (vault, lost) = report(&store).await;
        assert!(!lost.problems.is_empty() && !lost.unreferenced_packs.is_empty(), "{lost:#?}");
        let affected = lost.problems[0].snapshots[0];
        let failure = readable(&vault, affected).await.unwrap_err();
        assert!(matches!(failure, ReadError::BlobMissing { .. }), "{failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_snapshots_and_keys_are_found() {
    let (store, [first, second]) = two_snapshots().await;
    flip(&store, &format!("snapshots/{first}"), 40);
    let (vault, found) = report(&store).await;
    assert_eq!(
        (found.problems[0].object.as_str(), &found.problems[0].snapshots[..]),
        (format!("snapshots/{first}").as_str(), &[first][..])
    );
    assert!(matches!(vault.read(first).await, Err(ReadError::Corrupt(_))));
    readable(&vault, second).await.unwrap();
    let key = keys(&store, "keys/").remove(0);
    store.tamper(|objects| {
        let content = [&objects[&key][..], b" "].concat();
        objects.insert(key.clone(), content.into());
    });
    let (_, found) = report(&store).await;
    assert!(found.problems.iter().any(|problem| problem.object == key), "{found:#?}");
}

/// A vault with a second replica, which is asked for what the first has not or has damaged.
struct TwoReplicas([Arc<MemoryStore>; 2]);

#[async_trait]
impl ObjectStore for TwoReplicas {
    fn location(&self) -> String {
        self.0[0].location()
    }

    async fn traits(&self) -> Result<StoreTraits, Fault> {
        self.0[0].traits().await
    }

    async fn initialize(&self) -> Result<(), Fault> {
        self.0[0].initialize().await
    }

    async fn put(&self, key: &str, body: ObjectBody, if_absent: bool) -> Result<(), Fault> {
        self.0[0].put(key, body, if_absent).await
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, Fault> {
        self.0[0].get(key, range).await
    }

    async fn get_from(&self, replica: usize, key: &str, range: Option<Range<u64>>) -> Option<Result<Bytes, Fault>> {
        Some(self.0.get(replica)?.get(key, range).await)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, Fault> {
        self.0[0].list(prefix).await
    }

    async fn stat(&self, key: &str) -> Result<Option<ObjectInfo>, Fault> {
        self.0[0].stat(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), Fault> {
        self.0[0].delete(key).await
    }
}

/// A vault with 300 small files, and the key of the pack that most of them are in.
async fn small_files() -> (Arc<MemoryStore>, ObjectId, BTreeMap<String, Vec<u8>>, String) {
    let store = Arc::new(MemoryStore::new());
    let vault = Vault::init(store.clone(), &password(), InitOptions::default()).await.unwrap();
    let files: BTreeMap<String, Vec<u8>> = (0..300).map(|number| (format!("{number:03}"), random(1_000, number))).collect();
    let writer = vault.begin(begin(None)).await.unwrap();
    for (name, content) in &files {
        write(&writer, name, content).await.unwrap();
    }
    let snapshot = writer.commit(record()).await.unwrap().snapshot.id;
    let largest = keys(&store, "data/")
        .into_iter()
        .max_by_key(|key| store.tamper(|objects| objects[key].len()));
    (store, snapshot, files, largest.unwrap())
}

async fn restored(store: [Arc<MemoryStore>; 2], snapshot: ObjectId) -> Result<BTreeMap<String, Vec<u8>>, ReadError> {
    let vault = Vault::open(Arc::new(TwoReplicas(store)), &password()).await.unwrap();
    let reader = vault.read(snapshot).await?;
    let mut walk = reader.walk_content(&path(""), |_: &SnapshotEntry| true).await?;
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    while let Some(piece) = walk.next().await? {
        match piece {
            Piece::Entry(entry) => files.push((entry.path.to_string(), Vec::new())),
            Piece::Content(content) => files.last_mut().unwrap().1.extend_from_slice(&content),
            Piece::Gap(bytes) => unreachable!("{bytes} bytes were left out"),
        }
    }
    Ok(files.into_iter().collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_that_are_damaged_at_different_blobs_have_everything() {
    let (clean, snapshot, files, pack) = small_files().await;
    let copy = || {
        let store = Arc::new(MemoryStore::new());
        store.tamper(|objects| *objects = clean.tamper(|clean| clean.clone()));
        store
    };
    let size = clean.tamper(|objects| objects[&pack].len());
    let cut = |store: &MemoryStore| {
        store.tamper(|objects| {
            let short = objects[&pack].slice(..size / 2);
            objects.insert(pack.clone(), short);
        });
    };
    for first_is_cut in [false, true] {
        let replicas = [copy(), copy()];
        if first_is_cut {
            cut(&replicas[0]);
        } else {
            flip(&replicas[0], &pack, size * 2 / 3);
        }
        flip(&replicas[1], &pack, size / 3);
        let found = restored(replicas, snapshot).await.unwrap();
        assert!(found == files, "contents differ where the first is cut: {first_is_cut}");
    }
    let replicas = [copy(), copy()];
    replicas.iter().for_each(|replica| flip(replica, &pack, size / 3));
    let error = restored(replicas, snapshot).await.unwrap_err();
    assert!(
        matches!(&error, ReadError::Corrupt(corruption) if corruption.object == pack),
        "{error}"
    );
}
