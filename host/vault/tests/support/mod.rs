//! What the vault's tests share: plain `restic`, entries, and a store that fails on demand.

#![expect(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests; each uses a part of this"
)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

use bulkhead_model::{EntryMetadata, EntryPath, Fact, NodeType, Proof, Timestamp};
use bulkhead_vault::{
    BeginSnapshot, CommittedSnapshot, InitOptions, ObjectId, Password, PluginIdentity, SharedStore, SnapshotReader, SnapshotRecord,
    SnapshotWriter, Vault, WriteError, stores::FolderStore,
};
use bytes::Bytes;
use rand::{RngCore, SeedableRng, rngs::StdRng};

pub const PASSWORD: &str = "correct horse";

/// Plain restic on a folder. Fails the test when restic is missing.
pub struct Restic {
    pub repository: PathBuf,
}

impl Restic {
    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = Command::new("restic")
            .args(["--no-cache", "--repo"])
            .arg(&self.repository)
            .args(arguments)
            .env("RESTIC_PASSWORD", PASSWORD)
            .output()
            .expect("restic is needed for this test: apt-get install restic");
        output
    }

    /// Runs and expects success; returns its standard output.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "restic {arguments:?}: {out}{error}");
        out.into_owned()
    }

    /// A full check of every byte.
    pub fn check(&self) {
        let said = self.ok(&["check", "--read-data"]);
        assert!(said.contains("no errors were found"), "{said}");
    }
}

/// A folder with a vault in it, and restic beside.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub vault: Vault,
    pub restic: Restic,
}

impl Bench {
    pub async fn new() -> Self {
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
    pub async fn reopen(&self) -> Vault {
        Vault::open(folder_store(&self.restic.repository), &PASSWORD.into()).await.unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

pub fn folder_store(path: &Path) -> SharedStore {
    Arc::new(FolderStore::new(path))
}

pub fn password() -> Password {
    PASSWORD.into()
}

pub fn path(path: impl AsRef<[u8]>) -> EntryPath {
    EntryPath::new(path.as_ref()).unwrap()
}

pub fn time(seconds: i64, nanoseconds: u32) -> Timestamp {
    Timestamp { seconds, nanoseconds }
}

pub fn file() -> EntryMetadata {
    EntryMetadata {
        mode: 0o640,
        modified: Some(time(1_500_000_000, 123_456_789)),
        ..EntryMetadata::private(NodeType::File)
    }
}

pub fn random(size: usize, seed: u64) -> Vec<u8> {
    let mut data = vec![0; size];
    StdRng::seed_from_u64(seed).fill_bytes(&mut data);
    data
}

pub fn begin(parent: Option<ObjectId>) -> BeginSnapshot {
    BeginSnapshot {
        pipeline: "test".to_owned(),
        host: "here".to_owned(),
        time: time(1_700_000_000, 5),
        parent,
    }
}

pub fn record() -> SnapshotRecord {
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
pub async fn write(writer: &SnapshotWriter, name: impl AsRef<[u8]>, content: &[u8]) -> Result<u64, WriteError> {
    let mut entry = writer.create(path(name), file()).await?;
    for piece in content.chunks(256 << 10) {
        entry.write(Bytes::copy_from_slice(piece)).await?;
    }
    entry.finish().await
}

/// A snapshot of these files.
pub async fn backup(vault: &Vault, files: &[(&str, &[u8])]) -> CommittedSnapshot {
    let writer = vault.begin(begin(None)).await.unwrap();
    for (name, content) in files {
        write(&writer, name, content).await.unwrap();
    }
    writer.commit(record()).await.unwrap()
}

/// All of a file's content.
pub async fn read(reader: &SnapshotReader, name: impl AsRef<[u8]>) -> Vec<u8> {
    let mut entry = reader.open(&path(name)).await.unwrap();
    let mut content = Vec::new();
    while let Some(part) = entry.read_next(1 << 20).await.unwrap() {
        content.extend_from_slice(&part);
    }
    assert_eq!(content.len() as u64, entry.size());
    content
}
