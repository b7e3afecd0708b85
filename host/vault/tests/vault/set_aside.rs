//! What a run sets aside on disk of a long list of entries comes back as it was.

use bulkhead_vault::{CommittedSnapshot, InitOptions, ObjectId, SnapshotWriter, Vault, VaultOptions, WriteError, stores::MemoryStore};
use std::{path::Path, sync::Arc};

use crate::support::{begin, password, path, record, small_packs, verify, write};

/// More than stays in memory, with names of 200 letters.
const ENTRIES: usize = 45_000;

fn name(number: usize) -> String {
    format!("all/{:02x}/{number:0>200}", number * 7 % 256)
}

async fn vault(scratch: Option<&Path>) -> Vault {
    let vault = Vault::init(Arc::new(MemoryStore::new()), &password(), InitOptions::default())
        .await
        .unwrap();
    vault.with_options(VaultOptions {
        scratch: scratch.map(Path::to_owned),
        ..small_packs()
    })
}

async fn fill(writer: &SnapshotWriter) {
    for number in 0..ENTRIES {
        write(writer, name(number), number.to_string().as_bytes()).await.unwrap();
    }
}

/// A backup, and one that keeps it but for an entry of each folder.
async fn two(vault: &Vault) -> [ObjectId; 2] {
    let writer = vault.begin(begin(None)).await.unwrap();
    fill(&writer).await;
    let first: CommittedSnapshot = writer.commit(record()).await.unwrap();
    let writer = vault.begin(begin(Some(first.snapshot.id))).await.unwrap();
    writer.keep(path("all")).await.unwrap();
    for number in 0..256 {
        write(&writer, name(number), b"changed").await.unwrap();
    }
    assert_eq!(writer.stats().entries, ENTRIES as u64);
    let next = writer.commit(record()).await.unwrap();
    [first.snapshot.tree, next.snapshot.tree]
}

#[tokio::test(flavor = "multi_thread")]
async fn trees_are_the_same_whether_entries_were_set_aside_or_not() {
    let scratch = tempfile::tempdir().unwrap();
    let aside = vault(Some(scratch.path())).await;
    assert_eq!(two(&aside).await, two(&vault(None).await).await);
    assert!(verify(&aside).await.problems.is_empty());
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_was_set_aside_is_known_when_it_comes_again() {
    let scratch = tempfile::tempdir().unwrap();
    let vault = vault(Some(scratch.path())).await;
    let writer = vault.begin(begin(None)).await.unwrap();
    fill(&writer).await;
    let again = write(&writer, name(ENTRIES - 1_000), b"").await;
    assert!(matches!(again, Err(WriteError::DuplicateEntry(_))), "{again:?}");
    writer.abort().await;
}
