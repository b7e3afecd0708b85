//! Index files as others leave them: of every size, with packs in several of them, and with blobs that are in none. They are written by hand here, because
//! no tool writes them on request; plain restic reads them as well.

use std::{collections::BTreeMap, fs, path::Path};

use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key, Nonce, aead::AeadInPlace as _};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulkhead_vault::{Hint as _, ObjectId, ReadError, SnapshotReader, Stop};
use serde_json::{Value, json};

use crate::{
    old_formats::{Old, files},
    support::{backup, begin, random, read, record, verify, write},
};

/// Opens and seals a repository's files.
struct Seal(Aes256CtrPoly1305Aes);

impl Seal {
    fn of(old: &Old) -> Self {
        let key: Value = serde_json::from_str(&old.restic.ok(&["cat", "masterkey"])).unwrap();
        let part = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
        let key = [part(&key["encrypt"]), part(&key["mac"]["k"]), part(&key["mac"]["r"])].concat();
        Self(Aes256CtrPoly1305Aes::new(Key::from_slice(&key)))
    }

    fn open(&self, file: &Path) -> Value {
        let sealed = fs::read(file).unwrap();
        let ((nonce, rest), tag) = (sealed.split_at(16), sealed.len() - 32);
        let mut content = rest[..tag].to_vec();
        self.0
            .decrypt_in_place_detached(Nonce::from_slice(nonce), b"", &mut content, rest[tag..].into())
            .unwrap();
        // 2: compressed, as format 2 has it.
        match content.split_first() {
            Some((2, compressed)) => serde_json::from_slice(&zstd::decode_all(compressed).unwrap()).unwrap(),
            _ => serde_json::from_slice(&content).unwrap(),
        }
    }

    fn store(&self, folder: &Path, content: &Value) {
        let mut content = serde_json::to_vec(content).unwrap();
        // A nonce must never come twice; these contents don't.
        let nonce = ObjectId::of(&content).to_string()[..16].to_owned();
        let tag = self
            .0
            .encrypt_in_place_detached(Nonce::from_slice(nonce.as_bytes()), b"", &mut content)
            .unwrap();
        let sealed = [nonce.as_bytes(), &content, &tag].concat();
        fs::write(folder.join(ObjectId::of(&sealed).to_string()), sealed).unwrap();
    }
}

/// Puts other index files in the place of those that are there: what becomes of all packs.
fn rewrite(old: &Old, files_of: impl FnOnce(Vec<Value>) -> Vec<Vec<Value>>) {
    let seal = Seal::of(old);
    let mut packs = BTreeMap::new();
    for file in old.objects("index") {
        for pack in seal.open(&file)["packs"].as_array().unwrap() {
            packs.insert(pack["id"].as_str().unwrap().to_owned(), pack.clone());
        }
        fs::remove_file(file).unwrap();
    }
    for packs in files_of(packs.into_values().collect()) {
        seal.store(&old.restic.repository.join("index"), &json!({ "packs": packs }));
    }
}

fn blobs(pack: &Value) -> &Vec<Value> {
    pack["blobs"].as_array().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn index_files_of_every_size_are_one_index() {
    let old = Old::new("2");
    for seed in 0..3 {
        let mut files = files();
        files.insert("changing", random(100_000, 70 + seed));
        old.backup(&files, &[]);
    }
    // One for each pack, and one of none; then one of all.
    type Split = fn(Vec<Value>) -> Vec<Vec<Value>>;
    let splits: [Split; 2] = [
        |packs| packs.into_iter().map(|pack| vec![pack]).chain([vec![]]).collect(),
        |packs| vec![packs],
    ];
    let vault = old.open().await;
    for split in splits {
        rewrite(&old, split);
        for vault in [&vault, &old.open().await] {
            old.assert_whole(vault, 3, &files()).await;
        }
        old.restic.check();
    }
    assert_eq!(old.objects("index").len(), 1);
}

/// Blobs in one pack of the large index.
const MANY: u64 = 60_000;

#[tokio::test(flavor = "multi_thread")]
async fn an_index_file_that_is_larger_than_anybody_writes_is_read() {
    let old = Old::new("2");
    folder_ready(&old).await;
    let vault = old.open().await;
    let writer = vault.begin(begin(None)).await.unwrap();
    for number in 0..MANY {
        write(&writer, format!("{:03}/{number}", number % 500), &number.to_le_bytes())
            .await
            .unwrap();
    }
    let id = writer.commit(record()).await.unwrap().snapshot.id;
    rewrite(&old, |packs| vec![packs]);
    let [file] = &old.objects("index")[..] else {
        panic!("several index files")
    };
    assert!(fs::metadata(file).unwrap().len() > 6 << 20);
    let vault = old.open().await;
    let report = verify(&vault).await;
    assert_eq!((report.problems, report.unreferenced_packs), (vec![], vec![]));
    let reader = vault.read(id).await.unwrap();
    for number in [0, 1, MANY / 2, MANY - 1] {
        assert_eq!(read(&reader, format!("{:03}/{number}", number % 500)).await, number.to_le_bytes());
    }
    // Nothing is stored again that the index names.
    let again = backup(&vault, &[("again", &7_u64.to_le_bytes())]).await;
    assert!(again.stats.added_bytes < 1000, "more than the run's own record: {:?}", again.stats);
    old.restic.check();
}

/// Folders that restic has no need of.
async fn folder_ready(old: &Old) {
    crate::support::folder_store(&old.restic.repository).initialize().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_several_index_files_name_is_read_and_counted_once() {
    let old = Old::new("2");
    folder_ready(&old).await;
    old.backup(&files(), &[]);
    let census = async || {
        let vault = old.open().await;
        let info = vault.resolve("latest", None).await.unwrap();
        let census = vault.census(&[(info, 0)], 1, |_| {}).await.unwrap();
        (census.data.stored, census.unused, verify(&vault).await.packs)
    };
    let before = census().await;
    // As after an index was rewritten and the old files were not removed.
    rewrite(&old, |packs| {
        let each = packs.iter().map(|pack| vec![pack.clone()]);
        each.chain([packs.clone()]).collect()
    });
    assert!(old.objects("index").len() >= 3);
    assert_eq!(census().await, before);
    old.assert_whole(&old.open().await, 1, &files()).await;
    assert!(
        old.open()
            .await
            .plan_index_repair("here", &Stop::default())
            .await
            .unwrap()
            .is_empty()
    );
    old.restic.check();
}

async fn read_all(reader: &SnapshotReader, name: &str) -> Result<(), ReadError> {
    let mut entry = reader.open(&crate::support::path(name)).await?;
    while entry.read_next(1 << 20).await?.is_some() {}
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_that_an_index_leaves_out_are_missed_and_come_back_with_a_run_or_a_repair() {
    for by_run in [false, true] {
        let old = Old::new("2");
        folder_ready(&old).await;
        old.backup(&files(), &[]);
        // One blob of many in a pack, and that of a file's content: the largest, whichever restic has stored first.
        rewrite(&old, |mut packs| {
            let largest = |pack: &Value| blobs(pack).iter().map(|blob| blob["length"].as_u64()).max();
            let content = packs
                .iter_mut()
                .filter(|pack| blobs(pack).len() > 1 && blobs(pack)[0]["type"] == "data")
                .max_by_key(|pack| largest(pack))
                .unwrap();
            let blobs = content["blobs"].as_array_mut().unwrap();
            let largest = (0..blobs.len()).max_by_key(|&number| blobs[number]["length"].as_u64()).unwrap();
            blobs.remove(largest);
            vec![packs]
        });
        let vault = old.open().await;
        let info = vault.resolve("latest", None).await.unwrap();
        let report = verify(&vault).await;
        assert!(
            report.problems.iter().any(|problem| problem.snapshots == [info.id]),
            "{:?}",
            report.problems
        );
        let reader = vault.read(info.id).await.unwrap();
        let base = info.paths[0].trim_start_matches('/');
        let mut missed = 0;
        for name in files().keys() {
            if let Err(error) = read_all(&reader, &format!("{base}/{name}")).await {
                assert!(matches!(error, ReadError::BlobMissing { .. }), "{error}");
                assert!(error.hint().unwrap().contains("bulkhead repair index"));
                missed += 1;
            }
        }
        assert_eq!(missed, 1, "what the index names is read");
        if by_run {
            let all: Vec<(&str, Vec<u8>)> = files().into_iter().collect();
            let all: Vec<(&str, &[u8])> = all.iter().map(|(name, content)| (*name, &content[..])).collect();
            assert!(backup(&vault, &all).await.stats.added_bytes > 100_000);
            old.assert_reads(&old.open().await, &info.id.to_string(), &files()).await;
        }
        let repair = vault.repair_index(None, "here", &Stop::default()).await.unwrap();
        assert_eq!((repair.unreadable_index, repair.unreadable_packs), (vec![], vec![]));
        let vault = old.open().await;
        assert!(vault.plan_index_repair("here", &Stop::default()).await.unwrap().is_empty());
        old.assert_reads(&vault, &info.id.to_string(), &files()).await;
        assert_eq!(verify(&vault).await.problems, []);
        old.restic.check();
    }
}
