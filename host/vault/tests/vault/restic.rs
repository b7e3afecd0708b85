//! What we write, plain restic lists, checks and restores; what restic writes, we list and read.

use std::{
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, symlink},
    },
};

use crate::support::{Bench, Restic, backup, begin, file, folder_store, password, path, random, read, record, time, write};
use bulkhead_model::{EntryMetadata, ExtendedAttribute, NodeType};

#[tokio::test(flavor = "multi_thread")]
async fn restic_restores_what_we_write() {
    let bench = Bench::new().await;
    let (large, text) = (random(20 << 20, 1), "line\n".repeat(300_000));
    let writer = bench.vault.begin(begin(None)).await.unwrap();
    write(&writer, "data/large", &large).await.unwrap();
    write(&writer, "data/text", text.as_bytes()).await.unwrap();
    write(&writer, "empty", b"").await.unwrap();
    write(&writer, b"odd \xff\n\"name\\", b"odd").await.unwrap();
    let mut holes = writer.create(path("holes"), file()).await.unwrap();
    holes.write(b"x".as_slice().into()).await.unwrap();
    holes.write_zeros(3 << 20).await.unwrap();
    holes.finish().await.unwrap();
    let folder = EntryMetadata {
        mode: 0o1755,
        modified: Some(time(-86_400, 7)),
        ..EntryMetadata::private(NodeType::Directory)
    };
    writer.add(path("old"), folder).await.unwrap();
    let link = EntryMetadata {
        mode: 0o777,
        ..EntryMetadata::private(NodeType::Symlink(b"data/text".to_vec()))
    };
    writer.add(path("old/link"), link).await.unwrap();
    let committed = writer.commit(record()).await.unwrap();
    assert_eq!(committed.stats.entries, 5);

    bench.restic.check();
    let snapshots = bench.restic.ok(&["snapshots", "--json"]);
    assert!(
        snapshots.contains(&committed.snapshot.id.to_string()) && snapshots.contains("pipeline:test"),
        "{snapshots}"
    );
    let target = bench.path("restored");
    bench.restic.ok(&["restore", "latest", "--target", target.to_str().unwrap()]);
    assert_eq!(fs::read(target.join("data/large")).unwrap(), large);
    assert_eq!(fs::read(target.join("data/text")).unwrap(), text.as_bytes());
    assert_eq!(fs::read(target.join("empty")).unwrap(), b"");
    assert_eq!(
        fs::read(target.join(std::ffi::OsStr::from_bytes(b"odd \xff\n\"name\\"))).unwrap(),
        b"odd"
    );
    let holes = fs::read(target.join("holes")).unwrap();
    assert!(holes.len() == (3 << 20) + 1 && holes[0] == b'x' && holes[1..].iter().all(|byte| *byte == 0));
    assert_eq!(fs::read_link(target.join("old/link")).unwrap().as_os_str(), "data/text");
    let metadata = fs::metadata(target.join("data/text")).unwrap();
    assert_eq!(
        (metadata.mode() & 0o7777, metadata.mtime(), metadata.mtime_nsec()),
        (0o640, 1_500_000_000, 123_456_789)
    );
    let metadata = fs::metadata(target.join("old")).unwrap();
    assert_eq!(
        (metadata.mode() & 0o7777, metadata.mtime(), metadata.mtime_nsec()),
        (0o1755, -86_400, 7)
    );
    assert_eq!(fs::metadata(target.join("data")).unwrap().mode() & 0o7777, 0o700);
    let stored: serde_json::Value = serde_json::from_slice(&fs::read(target.join(".bulkhead/snapshot.json")).unwrap()).unwrap();
    assert_eq!(stored["plugin"]["version"], "1.2.3");
}

#[tokio::test(flavor = "multi_thread")]
async fn we_read_what_we_write() {
    let bench = Bench::new().await;
    let content = random(9 << 20, 2);
    let metadata = EntryMetadata {
        mode: 0o4755,
        uid: 1,
        gid: 2,
        user: Some("u".to_owned()),
        group: Some("g".to_owned()),
        modified: Some(time(-1, 1)),
        changed: Some(time(5, 6)),
        extended_attributes: vec![ExtendedAttribute {
            name: b"user.a".to_vec(),
            value: b"\0b".to_vec(),
        }],
        ..EntryMetadata::private(NodeType::File)
    };
    let writer = bench.vault.begin(begin(None)).await.unwrap();
    let mut entry = writer.create(path("a/b/c"), metadata.clone()).await.unwrap();
    entry.write(content.clone().into()).await.unwrap();
    assert_eq!(entry.finish().await.unwrap(), 9 << 20);
    let id = writer.commit(record()).await.unwrap().snapshot.id;

    let vault = bench.reopen().await;
    let reader = vault.read(id).await.unwrap();
    assert_eq!(read(&reader, "a/b/c").await, content);
    assert_eq!(reader.stat(&path("a/b/c")).await.unwrap().metadata, metadata);
    let entry = reader.open(&path("a/b/c")).await.unwrap();
    for (offset, length) in [(0, 1), (1_000_000, 3 << 20), ((9 << 20) - 5, 100), (600_000, 70_000)] {
        let part = entry.read_at(offset, length).await.unwrap().unwrap();
        assert_eq!(part, content[offset as usize..(offset as usize + length).min(content.len())]);
    }
    assert_eq!(entry.read_at(9 << 20, 1).await.unwrap(), None);
    let stored = reader.record().await.unwrap().unwrap();
    assert_eq!(stored, record());
    let mut walk = reader.walk(&path("")).await.unwrap();
    let mut paths = Vec::new();
    while let Some(entry) = walk.next().await.unwrap() {
        paths.push(entry.path.to_string());
    }
    assert_eq!(paths, ["a", "a/b", "a/b/c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn we_read_what_restic_writes() {
    for arguments in [
        &["--repository-version", "2"][..],
        &["--repository-version", "2", "--compression", "off"],
        &["--repository-version", "1"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        fs::create_dir_all(source.join("sub")).unwrap();
        let content = random(12 << 20, 3);
        fs::write(source.join("sub/large"), &content).unwrap();
        fs::write(source.join("text"), "text\n".repeat(100_000)).unwrap();
        fs::write(source.join(std::ffi::OsStr::from_bytes(b"odd\xff\t")), b"odd").unwrap();
        symlink("text", source.join("link")).unwrap();
        let restic = Restic {
            repository: folder.path().join("repository"),
        };
        restic.ok(&["init", arguments[0], arguments[1]]);
        let mut command = vec!["backup", source.to_str().unwrap()];
        command.extend(&arguments[2..]);
        restic.ok(&command);

        let vault = bulkhead_vault::Vault::open(folder_store(&restic.repository), &password())
            .await
            .unwrap();
        let snapshot = vault.resolve("latest", None).await.unwrap();
        assert_eq!(snapshot.pipeline, None);
        let reader = vault.read(snapshot.id).await.unwrap();
        assert_eq!(reader.record().await.unwrap(), None);
        let base = source.to_str().unwrap().trim_start_matches('/').to_owned();
        assert_eq!(read(&reader, format!("{base}/sub/large")).await, content, "{arguments:?}");
        assert_eq!(read(&reader, format!("{base}/text")).await, "text\n".repeat(100_000).as_bytes());
        assert_eq!(read(&reader, [base.as_bytes(), b"/odd\xff\t"].concat()).await, b"odd");
        let link = reader.stat(&path(format!("{base}/link"))).await.unwrap();
        assert_eq!(link.metadata.node_type, NodeType::Symlink(b"text".to_vec()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_and_we_cut_and_name_alike() {
    let bench = Bench::new().await;
    let content = random(30 << 20, 4);
    let source = bench.path("large");
    fs::write(&source, &content).unwrap();
    bench.restic.ok(&["backup", source.to_str().unwrap()]);
    let ours = backup(&bench.vault, &[("large", &content)]).await;
    // Nothing but trees and the record: every chunk was there.
    assert!(ours.stats.added_bytes < 10_000, "{:?}", ours.stats);
    bench.restic.check();
}
