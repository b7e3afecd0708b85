//! Repositories as they are after years: made by an older version of restic, with content compressed and not, with many index files, with blobs that are in several
//! packs, and with index files that were lost.

use std::{collections::BTreeMap, fs, path::Path};

use bulkhead_vault::{Hint as _, ReadError, Vault, WriteError};

use crate::support::{Restic, backup, begin, folder_store, password, random, read, verify};

/// Files and what is in them.
pub(crate) type Files = BTreeMap<&'static str, Vec<u8>>;

/// What the repositories here hold: content that compresses, content that doesn't, none, and little.
pub(crate) fn files() -> Files {
    Files::from([
        ("text", "a line that is repeated\n".repeat(150_000).into_bytes()),
        ("random", random(5 << 20, 11)),
        ("empty", Vec::new()),
        ("small", b"small".to_vec()),
        ("below/further", b"further".to_vec()),
    ])
}

/// A repository and a folder that it is filled from.
pub(crate) struct Old {
    folder: tempfile::TempDir,
    pub(crate) restic: Restic,
}

impl Old {
    pub(crate) fn new(version: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let restic = Restic {
            repository: folder.path().join("repository"),
        };
        restic.ok(&["init", "--repository-version", version]);
        Self { folder, restic }
    }

    /// Another folder with a repository of the same keys and the same objects.
    fn copy(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let restic = Restic {
            repository: folder.path().join("repository"),
        };
        merge(&self.restic.repository, &restic.repository);
        Self { folder, restic }
    }

    pub(crate) fn backup(&self, files: &Files, options: &[&str]) {
        let source = self.folder.path().join("source");
        for (name, content) in files {
            let path = source.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let source = source.to_str().unwrap();
        self.restic.ok(&[&["backup", source], options].concat());
    }

    pub(crate) async fn open(&self) -> Vault {
        Vault::open(folder_store(&self.restic.repository), &password()).await.unwrap()
    }

    /// Objects of one kind.
    pub(crate) fn objects(&self, kind: &str) -> Vec<std::path::PathBuf> {
        let entries = fs::read_dir(self.restic.repository.join(kind)).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }

    /// Every snapshot has these files, and nothing is damaged.
    pub(crate) async fn assert_whole(&self, vault: &Vault, snapshots: usize, files: &Files) {
        let listed = vault.snapshots().await.unwrap();
        assert_eq!(listed.len(), snapshots);
        for info in listed {
            self.assert_reads(vault, &info.id.to_string(), files).await;
        }
        let report = verify(vault).await;
        assert_eq!((report.problems, report.unreferenced_packs), (vec![], vec![]));
        assert_eq!(report.packs_read, report.packs);
    }

    pub(crate) async fn assert_reads(&self, vault: &Vault, snapshot: &str, files: &Files) {
        let info = vault.resolve(snapshot, None).await.unwrap();
        let reader = vault.read(info.id).await.unwrap();
        let base = info.paths[0].trim_start_matches('/');
        for (name, content) in files {
            assert!(read(&reader, format!("{base}/{name}")).await == *content, "{name} in {snapshot}");
        }
    }
}

/// Copies the objects that are missing.
fn merge(from: &Path, into: &Path) {
    fs::create_dir_all(into).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, into) = {
            let entry = entry.unwrap();
            (entry.path(), into.join(entry.file_name()))
        };
        if from.is_dir() {
            merge(&from, &into);
        } else if !into.exists() {
            fs::copy(&from, &into).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_and_compression_is_read_verified_and_counted() {
    for (version, options) in [
        ("1", &[][..]),
        ("2", &["--compression", "off"]),
        ("2", &["--compression", "auto"]),
        ("2", &["--compression", "max"]),
    ] {
        let old = Old::new(version);
        old.backup(&files(), options);
        let vault = old.open().await;
        old.assert_whole(&vault, 1, &files()).await;
        let info = vault.resolve("latest", None).await.unwrap();
        let census = vault.census(&[(info, 0)], 1, |_| {}).await.unwrap();
        assert_eq!(census.unused, 0, "{version} {options:?}");
        let bytes: u64 = files().values().map(|content| content.len() as u64).sum();
        assert_eq!(census.snapshots[0].bytes, bytes);
        let is_compressed = census.data.stored < census.data.content;
        assert_eq!(
            is_compressed,
            options.last().is_some_and(|option| *option != "off"),
            "{version} {options:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_repository_may_hold_content_of_every_compression() {
    let old = Old::new("1");
    old.backup(&files(), &[]);
    let refused = old.open().await.begin(begin(None)).await.err().unwrap();
    assert!(matches!(refused, WriteError::OldFormat { .. }), "{refused}");
    assert!(refused.hint().unwrap().contains("restic migrate upgrade_repo_v2"));

    old.restic.ok(&["migrate", "upgrade_repo_v2"]);
    let mut later = files();
    for (compression, seed) in [("max", 21), ("off", 22), ("auto", 23)] {
        later.insert(
            "changing",
            [random(1 << 20, seed), "more text ".repeat(50_000).into_bytes()].concat(),
        );
        old.backup(&later, &["--compression", compression]);
    }
    let vault = old.open().await;
    old.assert_reads(&vault, "latest", &later).await;
    old.assert_whole(&vault, 4, &files()).await;

    // A place for unfinished objects, which restic has no need of.
    folder_store(&old.restic.repository).initialize().await.unwrap();
    backup(&vault, &[("random", &random(5 << 20, 11)), ("new", b"written by us")]).await;
    old.restic.check();
    assert_eq!(verify(&vault).await.problems, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_index_files_are_one_index_also_when_they_are_merged_under_a_reader() {
    let old = Old::new("2");
    let mut growing = files();
    for number in 0..12 {
        growing.insert("changing", random(100_000, 40 + number));
        old.backup(&growing, &[]);
    }
    assert_eq!(old.objects("index").len(), 12);
    let vault = old.open().await;
    old.assert_whole(&vault, 12, &files()).await;
    old.restic.ok(&["rebuild-index"]);
    assert!(old.objects("index").len() < 12);
    old.assert_whole(&vault, 12, &files()).await;
    old.assert_reads(&vault, "latest", &growing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_that_are_in_several_packs_are_read_verified_and_counted_once() {
    let old = Old::new("2");
    // Two hosts that knew nothing of each other wrote the same at the same time.
    let other = old.copy();
    old.backup(&files(), &[]);
    other.backup(&files(), &[]);
    let packs = |old: &Old| -> u64 {
        let folders = old.objects("data").into_iter();
        let packs = folders.flat_map(|folder| fs::read_dir(folder).unwrap());
        packs.map(|pack| pack.unwrap().metadata().unwrap().len()).sum()
    };
    let once = packs(&other);
    merge(&other.restic.repository, &old.restic.repository);
    assert!(packs(&old) > once * 3 / 2);

    let vault = old.open().await;
    old.assert_whole(&vault, 2, &files()).await;
    old.restic.check();
    let snapshots: Vec<_> = vault.snapshots().await.unwrap().into_iter().map(|info| (info, 0)).collect();
    let census = vault.census(&snapshots, 1, |_| {}).await.unwrap();
    // The content is there twice, and once too often; the folders have other paths and times.
    let content: u64 = census.data.stored;
    assert!(
        census.unused >= content && census.unused < content + 2_000,
        "{} of {content}",
        census.unused
    );
    old.restic.ok(&["prune", "--max-unused", "0"]);
    old.assert_whole(&vault, 2, &files()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_index_file_costs_what_only_it_names_until_the_index_is_rebuilt() {
    let old = Old::new("2");
    old.backup(&files(), &[]);
    let earlier = old.objects("index");
    let mut later = files();
    later.insert("new", random(2 << 20, 61));
    old.backup(&later, &[]);
    let lost = old.objects("index").into_iter().find(|path| !earlier.contains(path)).unwrap();
    let vault = old.open().await;
    let ids: Vec<String> = vault.snapshots().await.unwrap().iter().map(|info| info.id.to_string()).collect();
    fs::remove_file(&lost).unwrap();

    let vault_without = old.open().await;
    old.assert_reads(&vault_without, &ids[0], &files()).await;
    let reader = vault_without.read(ids[1].parse().unwrap()).await.unwrap();
    let mut walk = reader.walk(&crate::support::path("")).await.unwrap();
    let error = walk.next().await.unwrap_err();
    assert!(matches!(error, ReadError::BlobMissing { .. }), "{error}");
    assert!(error.hint().unwrap().contains("bulkhead repair index"));
    let report = verify(&vault_without).await;
    assert!(!report.unreferenced_packs.is_empty());
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
    assert_eq!(report.problems[0].snapshots, [ids[1].parse().unwrap()]);

    old.restic.ok(&["rebuild-index"]);
    for vault in [vault, vault_without] {
        old.assert_reads(&vault, &ids[1], &later).await;
        old.assert_whole(&vault, 2, &files()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_index_file_nothing_is_readable_and_verification_says_so() {
    let old = Old::new("1");
    old.backup(&files(), &[]);
    for file in old.objects("index") {
        fs::remove_file(file).unwrap();
    }
    let vault = old.open().await;
    let info = vault.resolve("latest", None).await.unwrap();
    let report = verify(&vault).await;
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
    assert_eq!(report.problems[0].snapshots, [info.id]);
    assert!(report.unreferenced_packs.len() >= 2, "content and folders");
    old.restic.ok(&["rebuild-index"]);
    old.assert_whole(&vault, 1, &files()).await;
}
