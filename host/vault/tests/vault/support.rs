//! What the vault's tests share: plain `restic`, entries, and a store that fails on demand.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

use bulkhead_model::{EntryMetadata, EntryPath, Fact, NodeType, Proof, Timestamp};
use bulkhead_vault::{
    BeginSnapshot, CommittedSnapshot, InitOptions, ObjectBody, ObjectId, ObjectInfo, ObjectStore, Password, PluginIdentity, SharedStore,
    SnapshotReader, SnapshotRecord, SnapshotWriter, StoreTraits, Vault, VaultOptions, VerifyOptions, VerifyPhase, VerifyProgress,
    VerifyReport, WriteError,
    stores::{FolderStore, MemoryStore},
};
use bytes::Bytes;
use rand::{RngCore, SeedableRng, rngs::StdRng};

#[path = "faulty.rs"]
mod faulty;
#[path = "hooked.rs"]
mod hooked;

pub(crate) use faulty::{Faulty, Misdeed, OPERATIONS, Operation};
pub(crate) use hooked::{Call, Hook, Hooked};

pub(crate) const PASSWORD: &str = "correct horse";

/// Plain restic on a folder. Fails the test when restic is missing.
pub(crate) struct Restic {
    pub(crate) repository: PathBuf,
}

impl Restic {
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        Command::new("restic")
            .args(["--no-cache", "--repo"])
            .arg(&self.repository)
            .args(arguments)
            .env("RESTIC_PASSWORD", PASSWORD)
            .output()
            .expect("restic is needed for this test: apt-get install restic")
    }

    /// Runs and expects success; returns its standard output.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "restic {arguments:?}: {out}{error}");
        out.into_owned()
    }

    /// A full check of every byte.
    pub(crate) fn check(&self) {
        let said = self.ok(&["check", "--read-data"]);
        assert!(said.contains("no errors were found"), "{said}");
    }
}

/// A folder with a vault in it, and restic beside.
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) vault: Vault,
    pub(crate) restic: Restic,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = folder.path().join("vault");
        let vault = Vault::init(
            folder_store(&repository),
            &PASSWORD.into(),
            InitOptions {
                host: Some("here".to_owned()),
            },
        )
        .await
        .unwrap();
        Self {
            folder,
            vault,
            restic: Restic { repository },
        }
    }

    /// The vault as another process would see it.
    pub(crate) async fn reopen(&self) -> Vault {
        Vault::open(folder_store(&self.restic.repository), &PASSWORD.into()).await.unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

pub(crate) fn folder_store(path: &Path) -> SharedStore {
    Arc::new(FolderStore::new(path))
}

pub(crate) fn password() -> Password {
    PASSWORD.into()
}

pub(crate) fn path(path: impl AsRef<[u8]>) -> EntryPath {
    EntryPath::new(path.as_ref()).unwrap()
}

pub(crate) fn time(seconds: i64, nanoseconds: u32) -> Timestamp {
    Timestamp { seconds, nanoseconds }
}

pub(crate) fn file() -> EntryMetadata {
    EntryMetadata {
        mode: 0o640,
        modified: Some(time(1_500_000_000, 123_456_789)),
        ..EntryMetadata::private(NodeType::File)
    }
}

/// Whether the environment asks for the longer form of the tests.
pub(crate) fn long() -> bool {
    std::env::var_os("BULKHEAD_LONG").is_some()
}

/// Permission bits as Go's `fs.FileMode` has them, in Unix' places.
pub(crate) fn mode_from_go(mode: u32) -> u32 {
    let bit = |from: u32, to: u32| (mode >> from & 1) << to;
    mode & 0o777 | bit(23, 11) | bit(22, 10) | bit(20, 9)
}

pub(crate) fn random(size: usize, seed: u64) -> Vec<u8> {
    let mut data = vec![0; size];
    StdRng::seed_from_u64(seed).fill_bytes(&mut data);
    data
}

pub(crate) fn begin(parent: Option<ObjectId>) -> BeginSnapshot {
    BeginSnapshot {
        pipeline: "test".to_owned(),
        host: "here".to_owned(),
        time: time(1_700_000_000, 5),
        parent,
    }
}

pub(crate) fn record() -> SnapshotRecord {
    SnapshotRecord {
        bulkhead_version: "0.0.0".to_owned(),
        plugin: PluginIdentity {
            name: "test".to_owned(),
            version: "1.2.3".to_owned(),
            digest: "sha256:00".to_owned(),
        },
        config_digest: None,
        started: time(1_700_000_000, 0),
        proof: Proof {
            entries: 1,
            bytes: 2,
            complete: true,
            facts: vec![Fact {
                name: "lsn".to_owned(),
                value: "0/3".to_owned(),
            }],
        },
        findings: Vec::new(),
        checkpoint: Some(b"check\x00point".to_vec()),
    }
}

/// Writes one file in pieces of 256 KiB.
pub(crate) async fn write(writer: &SnapshotWriter, name: impl AsRef<[u8]>, content: &[u8]) -> Result<u64, WriteError> {
    let mut entry = writer.create(path(name), file()).await?;
    for piece in content.chunks(256 << 10) {
        entry.write(Bytes::copy_from_slice(piece)).await?;
    }
    entry.finish().await
}

/// A snapshot of these files.
pub(crate) async fn backup(vault: &Vault, files: &[(&str, &[u8])]) -> CommittedSnapshot {
    let writer = vault.begin(begin(None)).await.unwrap();
    for (name, content) in files {
        write(&writer, name, content).await.unwrap();
    }
    writer.commit(record()).await.unwrap()
}

/// All of a file's content.
pub(crate) async fn read(reader: &SnapshotReader, name: impl AsRef<[u8]>) -> Vec<u8> {
    let mut entry = reader.open(&path(name)).await.unwrap();
    let mut content = Vec::new();
    while let Some(part) = entry.read_next(1 << 20).await.unwrap() {
        content.extend_from_slice(&part);
    }
    assert_eq!(content.len() as u64, entry.size());
    content
}

/// A vault in memory with one good snapshot.
pub(crate) async fn memory_vault() -> (Arc<MemoryStore>, CommittedSnapshot) {
    let store = Arc::new(MemoryStore::new());
    let vault = Vault::init(store.clone(), &password(), InitOptions::default()).await.unwrap();
    let first = backup(&vault, &[("first", &random(3 << 20, 100)), ("folder/second", b"second")]).await;
    (store, first)
}

/// Small packs, so that little data makes many objects.
pub(crate) fn small_packs() -> VaultOptions {
    VaultOptions {
        pack_size: 1 << 20,
        pack_memory: 4 << 20,
        threads: 2,
        ..VaultOptions::default()
    }
}

struct Quiet;

impl VerifyProgress for Quiet {
    fn report(&self, _phase: VerifyPhase, _done: u64, _total: u64) {}
}

/// Verifies every byte.
pub(crate) async fn verify(vault: &Vault) -> VerifyReport {
    vault.verify(VerifyOptions { read_data: true }, Arc::new(Quiet)).await.unwrap()
}
