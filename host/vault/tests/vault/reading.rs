//! Reading a whole snapshot: in order, whole, and with few requests.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use async_trait::async_trait;
use bulkhead_model::NodeType;
use bulkhead_vault::{ContentFilter, Piece, ReadError, SnapshotEntry, SnapshotReader, StoredContent, Vault, Wanted};

use crate::support::{Faulty, begin, file, memory_vault, password, path, random, record, write};

/// All files of a snapshot with their content, in the order in which they come.
async fn contents(reader: &SnapshotReader, below: &str) -> Result<Vec<(String, Vec<u8>)>, ReadError> {
    let mut walk = reader
        .walk_content(&path(below), |entry: &SnapshotEntry| !entry.path.to_string().ends_with("unwanted"))
        .await?;
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    while let Some(piece) = walk.next().await? {
        match piece {
            Piece::Entry(entry) if entry.metadata.node_type == NodeType::File => files.push((entry.path.to_string(), Vec::new())),
            Piece::Entry(_) => {}
            Piece::Content(content) => files.last_mut().unwrap().1.extend_from_slice(&content),
            Piece::Gap(bytes) => unreachable!("{bytes} bytes were left out"),
        }
    }
    Ok(files)
}

/// A snapshot of 600 small files, large ones, equal ones, empty ones and holes.
async fn many_files(vault: &Vault) -> (SnapshotReader, BTreeMap<String, Vec<u8>>) {
    let mut files = BTreeMap::new();
    for number in 0..600_u64 {
        let size = (number * 37 % 5_000) as usize;
        files.insert(format!("small/{:02}/{number:03}", number % 10), random(size, number));
    }
    for number in 0..20 {
        files.insert(format!("text/{number}"), format!("line {number}\n").repeat(200_000).into_bytes());
    }
    files.insert("large".to_owned(), random(11 << 20, 7));
    files.insert("large again".to_owned(), random(11 << 20, 7));
    files.insert("unwanted".to_owned(), random(1 << 20, 8));
    let writer = vault.begin(begin(None)).await.unwrap();
    for (name, content) in &files {
        write(&writer, name, content).await.unwrap();
    }
    let mut holes = writer.create(path("holes"), file()).await.unwrap();
    holes.write(b"begin".as_slice().into()).await.unwrap();
    holes.write_zeros(9 << 20).await.unwrap();
    holes.write(b"end".as_slice().into()).await.unwrap();
    holes.finish().await.unwrap();
    files.insert("holes".to_owned(), [b"begin", &vec![0; 9 << 20][..], b"end"].concat());
    let snapshot = writer.commit(record()).await.unwrap().snapshot;
    (vault.read(snapshot.id).await.unwrap(), files)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_brings_the_content_of_every_file_along() {
    let (memory, _) = memory_vault().await;
    let store = Faulty::new(memory);
    let vault = Vault::open(store.clone(), &password()).await.unwrap();
    let (reader, mut files) = many_files(&vault).await;
    files.insert("unwanted".to_owned(), Vec::new());
    let before = store.gets.load(Ordering::SeqCst);
    let read = contents(&reader, "").await.unwrap();
    let requests = store.gets.load(Ordering::SeqCst) - before;
    assert!(
        read.iter().map(|(name, _)| name).eq(files.keys()),
        "the order is not that of the names"
    );
    for (name, content) in read {
        assert!(content == files[&name], "{name}");
    }
    // 645 entries; 13 folders in one request, 32 MiB of content.
    assert!(requests < 20, "{requests} requests");
    assert_eq!(contents(&reader, "small/03").await.unwrap().len(), 60);
    assert_eq!(
        contents(&reader, "text/4").await.unwrap(),
        [("text/4".to_owned(), files["text/4"].clone())]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_asks_for_scattered_files_in_few_requests_at_once() {
    let (memory, _) = memory_vault().await;
    let store = Faulty::new(memory);
    let vault = Vault::open(store.clone(), &password()).await.unwrap();
    let writer = vault.begin(begin(None)).await.unwrap();
    for number in 0..300_u64 {
        write(&writer, format!("{number:03} wanted"), &random(500, number)).await.unwrap();
        write(&writer, format!("{number:03} unwanted"), &random(40_000, 1_000 + number))
            .await
            .unwrap();
    }
    let snapshot = writer.commit(record()).await.unwrap().snapshot.id;
    let reader = vault.read(snapshot).await.unwrap();
    let (before, _) = (store.gets.load(Ordering::SeqCst), store.most_gets.swap(0, Ordering::SeqCst));
    let wanted = contents(&reader, "").await.unwrap();
    let wanted = wanted
        .iter()
        .filter(|(name, content)| name.ends_with(" wanted") && content.len() == 500);
    assert_eq!(wanted.count(), 300);
    let (requests, at_once) = (store.gets.load(Ordering::SeqCst) - before, store.most_gets.load(Ordering::SeqCst));
    // The store says that 8 are worth running at once; a folder may be read beside them.
    assert!(
        requests > 100 && (2..=9).contains(&at_once),
        "{requests} requests, {at_once} at once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_with_content_ends_at_damage() {
    let (memory, _) = memory_vault().await;
    let vault = Vault::open(memory.clone(), &password()).await.unwrap();
    let before = memory.tamper(|objects| objects.clone());
    let (reader, files) = many_files(&vault).await;
    let packs: Vec<String> = memory.tamper(|objects| {
        objects
            .keys()
            .filter(|key| key.starts_with("data/") && !before.contains_key(*key))
            .cloned()
            .collect()
    });
    for pack in packs {
        let content = memory.tamper(|objects| objects.remove(&pack).unwrap());
        // One that has read nothing yet.
        let reader = vault.read(reader.info().id).await.unwrap();
        let mut walk = match reader.walk_content(&path(""), |_: &SnapshotEntry| true).await {
            Ok(walk) => walk,
            // The root's own folder.
            Err(_) => continue,
        };
        let mut last = (String::new(), 0);
        let error = loop {
            match walk.next().await {
                Ok(Some(Piece::Entry(entry))) => last = (entry.path.to_string(), 0),
                Ok(Some(Piece::Content(part))) => {
                    assert_eq!(part, files[&last.0][last.1..last.1 + part.len()]);
                    last.1 += part.len();
                }
                Ok(Some(Piece::Gap(_)) | None) => unreachable!("{pack} is not needed"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, ReadError::Corrupt(_)), "{error}");
        assert!(walk.next().await.is_err(), "something comes behind the damage");
        memory.tamper(|objects| objects.insert(pack, content));
    }
}

/// Wants every second chunk of `large`, nothing of `text`, and otherwise entries alone.
struct Halves;

#[async_trait]
impl ContentFilter for Halves {
    async fn wanted(&mut self, entry: &SnapshotEntry, content: StoredContent<'_>) -> Result<Wanted, ReadError> {
        Ok(match entry.path.as_bytes() {
            b"large" => Wanted::Chunks((0..content.chunks()?.len()).map(|number| number % 2 == 1).collect()),
            b"text" => Wanted::Nothing,
            _ => Wanted::Entry,
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_leaves_out_folders_and_chunks() {
    let (memory, _) = memory_vault().await;
    let vault = Vault::open(memory, &password()).await.unwrap();
    let (reader, files) = many_files(&vault).await;
    let mut walk = reader.walk_content(&path(""), Halves).await.unwrap();
    let (mut entries, mut at, mut read, mut gaps) = (Vec::new(), 0, 0, 0);
    while let Some(piece) = walk.next().await.unwrap() {
        match piece {
            Piece::Entry(entry) => entries.push(entry.path.to_string()),
            Piece::Content(content) => {
                assert_eq!(entries.last().unwrap(), "large");
                assert_eq!(content, files["large"][at..at + content.len()]);
                (at, read) = (at + content.len(), read + 1);
            }
            Piece::Gap(bytes) => (at, gaps) = (at + bytes as usize, gaps + 1),
        }
    }
    assert_eq!(at, files["large"].len());
    assert!(read >= 1 && (read == gaps || read + 1 == gaps), "{read} chunks and {gaps} gaps");
    assert_eq!(entries.iter().filter(|name| name.starts_with("text")).count(), 0);
    assert!(
        entries.iter().any(|name| name == "unwanted"),
        "what comes after a folder that was left out comes"
    );
}

/// What each small file has, or why it can't be read, as they are opened along a walk.
async fn opened_along_a_walk(reader: &SnapshotReader) -> Result<BTreeMap<String, Result<Vec<u8>, ReadError>>, ReadError> {
    let mut walk = reader.walk_grouped(&path("small")).await?;
    let mut files = BTreeMap::new();
    while let Some(entry) = walk.next().await? {
        if entry.metadata.node_type == NodeType::File {
            files.insert(entry.path.to_string(), whole(reader, &entry).await);
        }
    }
    Ok(files)
}

async fn whole(reader: &SnapshotReader, entry: &SnapshotEntry) -> Result<Vec<u8>, ReadError> {
    let (mut file, mut content) = (reader.open(&entry.path).await?, Vec::new());
    while let Some(part) = file.read_next(1_000).await? {
        content.extend_from_slice(&part);
    }
    Ok(content)
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_that_are_opened_along_a_walk_are_fetched_together() {
    let (memory, _) = memory_vault().await;
    let store = Faulty::new(memory);
    let vault = Vault::open(store.clone(), &password()).await.unwrap();
    let (reader, mut files) = many_files(&vault).await;
    files.retain(|name, _| name.starts_with("small/"));
    let before = store.gets.load(Ordering::SeqCst);
    let found = opened_along_a_walk(&reader).await.unwrap();
    let requests = store.gets.load(Ordering::SeqCst) - before;
    let found: BTreeMap<_, _> = found.into_iter().map(|(name, content)| (name, content.unwrap())).collect();
    assert!(found == files, "contents differ");
    // The folders in one request.
    assert!(requests < 10, "{requests} requests for {} files", files.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_files_that_are_fetched_together_only_the_damaged_one_fails() {
    let (memory, _) = memory_vault().await;
    let vault = Vault::open(memory.clone(), &password()).await.unwrap();
    let files: BTreeMap<String, Vec<u8>> = (0..200).map(|number| (format!("small/{number}"), random(1_000, number))).collect();
    let writer = vault.begin(begin(None)).await.unwrap();
    for (name, content) in &files {
        write(&writer, name, content).await.unwrap();
    }
    let latest = writer.commit(record()).await.unwrap().snapshot.id;
    let packs: Vec<String> = memory.tamper(|objects| objects.keys().filter(|key| key.starts_with("data/")).cloned().collect());
    let mut damaged = 0;
    for pack in packs {
        let whole = memory.tamper(|objects| objects[&pack].clone());
        let mut bytes = whole.to_vec();
        let place = bytes.len() / 3;
        bytes[place] ^= 1;
        memory.tamper(|objects| objects.insert(pack.clone(), bytes.into()));
        let reader = vault.read(latest).await.unwrap();
        // Else the damage is in a folder.
        if let Ok(found) = opened_along_a_walk(&reader).await {
            let failed = found.values().filter(|content| content.is_err()).count();
            assert!(failed <= 1, "{failed} files of {pack}");
            damaged += failed;
            for (name, content) in found {
                assert!(content.is_err() || content.unwrap() == files[&name], "{name}");
            }
        }
        memory.tamper(|objects| objects.insert(pack, whole));
    }
    assert!(damaged > 0, "no pack has a small file");
}
