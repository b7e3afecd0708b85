//! What runs share: blobs, the parent's entries, the vault itself.

use std::{fs, sync::Arc};

use bulkhead_model::{EntryMetadata, NodeType};
use bulkhead_vault::{
    Hint, InitError, InitOptions, KeyError, OpenError, ResolveError, SnapshotEntry, Vault, WriteError, stores::MemoryStore,
};

use crate::support::{Bench, backup, begin, memory_vault, password, path, random, read, record, verify, write};

#[tokio::test(flavor = "multi_thread")]
async fn what_the_vault_has_is_not_stored_again() {
    let bench = Bench::new().await;
    let mut content = random(20 << 20, 1);
    let first = backup(&bench.vault, &[("a", &content), ("b/same", &content)]).await;
    assert!(
        first.stats.bytes == 40 << 20 && first.stats.added_bytes < 21 << 20,
        "{:?}",
        first.stats
    );
    content[10 << 20] ^= 1;
    let second = backup(&bench.reopen().await, &[("a", &content), ("b/same", &content)]).await;
    assert!(second.stats.added_bytes < 9 << 20, "{:?}", second.stats);
    let third = backup(&bench.reopen().await, &[("a", &content), ("b/same", &content)]).await;
    assert_eq!(third.stats.added_bytes, 0);
    assert_eq!(third.snapshot.tree, second.snapshot.tree);
    bench.restic.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_entries_are_the_parents() {
    let bench = Bench::new().await;
    let content = random(2 << 20, 2);
    let first = backup(
        &bench.vault,
        &[("file", &content), ("folder/deep/a", b"a"), ("folder/b", b"bb"), ("gone", b"x")],
    )
    .await;
    let vault = bench.reopen().await;
    let writer = vault.begin(begin(Some(first.snapshot.id))).await.unwrap();
    let file = writer.keep(path("file")).await.unwrap();
    assert_eq!((file.entries, file.size), (1, 2 << 20));
    let folder = writer.keep(path("folder")).await.unwrap();
    assert_eq!((folder.entries, folder.size), (2, 3));
    assert!(matches!(writer.keep(path("nowhere")).await, Err(WriteError::NothingToKeep { .. })));
    write(&writer, "new", b"new").await.unwrap();
    let second = writer.commit(record()).await.unwrap();
    assert_eq!((second.stats.entries, second.stats.bytes), (4, (2 << 20) + 6));
    assert_eq!(second.snapshot.parent, Some(first.snapshot.id));

    let reader = vault.read(second.snapshot.id).await.unwrap();
    assert_eq!(read(&reader, "file").await, content);
    assert_eq!(read(&reader, "folder/deep/a").await, b"a");
    assert!(reader.stat(&path("gone")).await.is_err());
    bench.restic.check();
    let target = bench.path("restored");
    bench.restic.ok(&["restore", "latest", "--target", target.to_str().unwrap()]);
    assert_eq!(fs::read(target.join("folder/b")).unwrap(), b"bb");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_added_and_replaced_below_a_kept_folder() {
    let bench = Bench::new().await;
    let files: [(&str, &[u8]); 5] = [
        ("folder/a", b"a"),
        ("folder/deep/b", b"bb"),
        ("folder/deep/c", b"ccc"),
        ("folder/far/deeper/d", b"dddd"),
        ("folder/e", b"eeeee"),
    ];
    let first = backup(&bench.vault, &files).await;
    let vault = bench.reopen().await;
    let writer = vault.begin(begin(Some(first.snapshot.id))).await.unwrap();
    writer.keep(path("folder")).await.unwrap();
    write(&writer, "folder/new", b"n").await.unwrap();
    write(&writer, "folder/far/deeper/new/n", b"nn").await.unwrap();
    write(&writer, "folder/deep/b", b"longer than before").await.unwrap();
    let folder = EntryMetadata {
        mode: 0o711,
        ..EntryMetadata::private(NodeType::Directory)
    };
    writer.add(path("folder/deep"), folder).await.unwrap();
    writer.add(path("folder/e"), EntryMetadata::private(NodeType::Fifo)).await.unwrap();
    let kept_again = writer.keep(path("folder/a")).await.unwrap();
    assert_eq!((kept_again.entries, kept_again.size), (1, 1));
    let second = writer.commit(record()).await.unwrap();
    assert_eq!((second.stats.entries, second.stats.bytes), (6, 1 + 18 + 3 + 4 + 1 + 2));

    bench.restic.check();
    let reader = vault.read(second.snapshot.id).await.unwrap();
    let mut walk = reader.walk(&path("")).await.unwrap();
    let mut found = Vec::new();
    while let Some(entry) = walk.next().await.unwrap() {
        found.push(entry.path.to_string());
    }
    let expected = [
        "folder",
        "folder/a",
        "folder/deep",
        "folder/deep/b",
        "folder/deep/c",
        "folder/e",
        "folder/far",
        "folder/far/deeper",
        "folder/far/deeper/d",
        "folder/far/deeper/new",
        "folder/far/deeper/new/n",
        "folder/new",
    ];
    assert_eq!(found, expected);
    assert_eq!(read(&reader, "folder/a").await, b"a");
    assert_eq!(read(&reader, "folder/deep/b").await, b"longer than before");
    assert_eq!(read(&reader, "folder/deep/c").await, b"ccc");
    assert_eq!(reader.stat(&path("folder/deep")).await.unwrap().metadata.mode, 0o711);
    assert_eq!(reader.stat(&path("folder/e")).await.unwrap().metadata.node_type, NodeType::Fifo);

    // Once, and a folder stays a folder.
    for (name, twice) in [("folder/deep/b", true), ("folder/deep", false), ("folder/a/x", false)] {
        let writer = vault.begin(begin(Some(first.snapshot.id))).await.unwrap();
        writer.keep(path("folder")).await.unwrap();
        if twice {
            write(&writer, name, b"1").await.unwrap();
        }
        let refused = write(&writer, name, b"2").await.unwrap_err();
        assert!(
            matches!(refused, WriteError::DuplicateEntry(_) | WriteError::NotAFolder { .. }),
            "{name}: {refused}"
        );
        assert!(writer.commit(record()).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_gone_is_not_kept() {
    let (store, first) = memory_vault().await;
    store.tamper(|objects| objects.retain(|key, _| !key.starts_with("index/")));
    let vault = Vault::open(store, &password()).await.unwrap();
    let writer = vault.begin(begin(Some(first.snapshot.id))).await.unwrap();
    let refused = writer.keep(path("folder")).await.unwrap_err();
    assert!(matches!(refused, WriteError::KeptContentMissing { .. }), "{refused}");
    write(&writer, "folder/second", b"second").await.unwrap();
    writer.commit(record()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_once_do_not_disturb_each_other() {
    let bench = Bench::new().await;
    let (shared, own) = (random(8 << 20, 3), [random(4 << 20, 4), random(4 << 20, 5)]);
    let other = bench.reopen().await;
    let writers = [
        bench.vault.begin(begin(None)).await.unwrap(),
        other.begin(begin(None)).await.unwrap(),
    ];
    let run = |number: usize| {
        let (writer, shared, own) = (&writers[number], &shared, &own[number]);
        async move {
            write(writer, "shared", shared).await.unwrap();
            write(writer, "own", own).await.unwrap();
            writer.commit(record()).await.unwrap()
        }
    };
    let (first, second) = tokio::join!(run(0), run(1));
    bench.restic.check();
    let vault = bench.reopen().await;
    for (snapshot, own) in [first, second].iter().zip(&own) {
        let reader = vault.read(snapshot.snapshot.id).await.unwrap();
        assert_eq!((read(&reader, "shared").await, &read(&reader, "own").await), (shared.clone(), own));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_entries_at_once_stay_within_memory_and_in_order() {
    let (store, _) = memory_vault().await;
    let vault = Vault::open(store, &password()).await.unwrap();
    let vault = vault.with_options(bulkhead_vault::VaultOptions {
        partial_memory: 4 << 20,
        content_memory: 8 << 20,
        ..Default::default()
    });
    let writer = vault.begin(begin(None)).await.unwrap();
    let content: Vec<Vec<u8>> = (0..64).map(|number| random(1 << 20, 1000 + number)).collect();
    let mut entries = Vec::new();
    for number in 0..64 {
        entries.push(writer.create(path(format!("{number:02}")), crate::support::file()).await.unwrap());
    }
    for begin in (0..1 << 20).step_by(100_000) {
        for (entry, content) in entries.iter_mut().zip(&content) {
            entry
                .write(content[begin..(begin + 100_000).min(content.len())].to_vec().into())
                .await
                .unwrap();
        }
    }
    for entry in entries.into_iter().rev() {
        assert_eq!(entry.finish().await.unwrap(), 1 << 20);
    }
    let snapshot = writer.commit(record()).await.unwrap().snapshot;
    let reader = vault.read(snapshot.id).await.unwrap();
    let mut walk = reader.walk(&path("")).await.unwrap();
    for (number, content) in content.iter().enumerate() {
        let SnapshotEntry { path, size, .. } = walk.next().await.unwrap().unwrap();
        assert_eq!((path.to_string(), size), (format!("{number:02}"), 1 << 20));
        assert_eq!(read(&reader, path.as_bytes()).await, *content);
    }
    assert_eq!(walk.next().await.unwrap(), None);
    assert_eq!(verify(&vault).await.problems, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_prune_and_we_keep_out_of_each_others_way() {
    let bench = Bench::new().await;
    backup(&bench.vault, &[("a", b"a")]).await;
    let writer = bench.vault.begin(begin(None)).await.unwrap();
    write(&writer, "b", &random(3 << 20, 1)).await.unwrap();
    let refused = bench.restic.run(&["prune"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains(&format!("PID {}", std::process::id())) && said.contains("here"),
        "{said}"
    );
    writer.commit(record()).await.unwrap();
    bench.restic.ok(&["prune"]);
    bench.restic.ok(&["forget", "--keep-last", "1", "--prune"]);
    bench.restic.check();
    assert_eq!(fs::read_dir(bench.restic.repository.join("locks")).unwrap().count(), 0);
    // The same open vault sees that its index was rewritten.
    let third = backup(&bench.vault, &[("a", b"a"), ("b", &random(3 << 20, 1))]).await;
    assert_eq!(read(&bench.vault.read(third.snapshot.id).await.unwrap(), "a").await, b"a");
    bench.restic.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_password_opens_until_it_is_removed() {
    let bench = Bench::new().await;
    let first = bench.vault.keys().await.unwrap()[0].clone();
    assert!(first.current && first.host.as_deref() == Some("here") && first.created.is_some());
    assert!(matches!(bench.vault.remove_key(first.id).await, Err(KeyError::LastKey(_))));
    let second = bench.vault.add_key(&"other".into(), None).await.unwrap();
    let store = crate::support::folder_store(&bench.restic.repository);
    let vault = Vault::open(store.clone(), &"other".into()).await.unwrap();
    vault.remove_key(first.id).await.unwrap();
    assert!(matches!(vault.remove_key(first.id).await, Err(KeyError::NotFound(_))));
    assert_eq!(vault.keys().await.unwrap().iter().map(|key| key.id).collect::<Vec<_>>(), [second]);
    let refused = Vault::open(store, &password()).await.err().unwrap();
    assert!(matches!(refused, OpenError::WrongPassword { keys: 1, .. }), "{refused}");
    assert!(refused.hint().unwrap().contains("password"));
    // A key of restic's opens for us, and one of ours for restic.
    let other = bench.path("new-password");
    fs::write(&other, "of restic").unwrap();
    let restic = std::process::Command::new("restic")
        .args([
            "--no-cache",
            "--repo",
            bench.restic.repository.to_str().unwrap(),
            "key",
            "add",
            "--new-password-file",
            other.to_str().unwrap(),
        ])
        .env("RESTIC_PASSWORD", "other")
        .output()
        .unwrap();
    assert!(restic.status.success(), "{restic:?}");
    Vault::open(crate::support::folder_store(&bench.restic.repository), &"of restic".into())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_vault_is_told_apart() {
    let open = async |store: &Arc<MemoryStore>| Vault::open(store.clone(), &password()).await.err().unwrap();
    let empty = Arc::new(MemoryStore::new());
    assert!(matches!(open(&empty).await, OpenError::NotAVault { .. }));
    assert!(matches!(
        Vault::init(empty, &"".into(), InitOptions::default()).await,
        Err(InitError::EmptyPassword)
    ));

    let (store, _) = memory_vault().await;
    assert!(matches!(
        Vault::init(store.clone(), &password(), InitOptions::default()).await,
        Err(InitError::Exists { .. })
    ));
    let config = store.tamper(|objects| objects.remove("config").unwrap());
    assert!(matches!(open(&store).await, OpenError::ConfigMissing { .. }));
    let mut flipped = config.to_vec();
    flipped[20] ^= 1;
    store.tamper(|objects| objects.insert("config".to_owned(), flipped.into()));
    assert!(matches!(open(&store).await, OpenError::Corrupt(_)));
    store.tamper(|objects| {
        objects.insert("config".to_owned(), config);
        objects
            .iter_mut()
            .filter(|(key, _)| key.starts_with("keys/"))
            .for_each(|(_, key)| *key = "{}".into());
    });
    assert!(matches!(open(&store).await, OpenError::BadKey { .. }));
    store.tamper(|objects| objects.retain(|key, _| !key.starts_with("keys/")));
    assert!(matches!(open(&store).await, OpenError::NoKeys { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_found_by_what_operators_type() {
    let (store, first) = memory_vault().await;
    let vault = Vault::open(store, &password()).await.unwrap();
    assert_eq!(vault.resolve("latest", None).await.unwrap(), first.snapshot);
    assert_eq!(vault.resolve("latest", Some("test")).await.unwrap(), first.snapshot);
    assert_eq!(
        vault.resolve(&first.snapshot.id.to_string()[..8], None).await.unwrap(),
        first.snapshot
    );
    assert!(matches!(
        vault.resolve("latest", Some("other")).await,
        Err(ResolveError::Empty { .. })
    ));
    assert!(matches!(vault.resolve("yesterday", None).await, Err(ResolveError::Malformed(_))));
    assert!(matches!(vault.resolve("", None).await, Err(ResolveError::Malformed(_))));
    let mut taken: Vec<char> = vec![first.snapshot.id.to_string().remove(0)];
    let ambiguous = loop {
        let digit = backup(&vault, &[("x", b"x")]).await.snapshot.id.to_string().remove(0);
        if taken.contains(&digit) {
            break digit;
        }
        taken.push(digit);
    };
    let refused = vault.resolve(&ambiguous.to_string(), None).await.unwrap_err();
    assert!(
        matches!(&refused, ResolveError::Ambiguous { candidates, .. } if candidates.len() == 2),
        "{refused}"
    );
    let absent = "0123456789abcdef".chars().find(|digit| !taken.contains(digit)).unwrap();
    assert!(matches!(
        vault.resolve(&absent.to_string(), None).await,
        Err(ResolveError::NotFound { .. })
    ));
}
