//! Parity with restic and rustic: what one of the three writes, the others list, check, dump and restore with the same bytes and metadata, and runs of all
//! of them take turns in one vault.
//!
//! The trees are random; `BULKHEAD_SEED` makes those of a failed test again, and `BULKHEAD_LONG=1` asks for more and larger ones.

use std::{
    ffi::OsStr,
    fs,
    io::Read,
    os::unix::ffi::OsStrExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bulkhead_model::{EntryMetadata, NodeType, Timestamp};
use bulkhead_vault::{CommittedSnapshot, SnapshotReader, Vault, WriteError};
use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::StdRng};
use sha2::{Digest, Sha256};

use crate::{
    model::{Item, Model, assert_same},
    random_tree::{Rights, chance, random_tree},
    rustic::Rustic,
    support::{Bench, PASSWORD, Restic, begin, file, long, mode_from_go, path, random, record, time, verify},
};

/// Everything that there is to ask about one tree.
struct Comparison {
    bench: Bench,
    rustic: Rustic,
}

impl Comparison {
    async fn new() -> Self {
        let bench = Bench::new().await;
        let rustic = Rustic {
            repository: bench.restic.repository.clone(),
        };
        Self { bench, rustic }
    }

    async fn write(&self, tree: &Model, chance: &mut StdRng) -> CommittedSnapshot {
        let writer = self.bench.vault.begin(begin(None)).await.unwrap();
        tree.write(&writer, chance).await;
        writer.commit(record()).await.unwrap()
    }

    /// Whether we read a snapshot as this tree.
    async fn we_read(&self, id: &str, below: &Path, tree: &Model) {
        let vault = self.bench.reopen().await;
        let id = vault.resolve(id, None).await.unwrap().id;
        let found = Model::read(&vault.read(id).await.unwrap()).await;
        assert_same(&found.below_path(below).view(), &tree.view(), "as we read it");
    }

    fn rustic_reads(&self, id: &str, tree: &Model) {
        let found = self.rustic.read(id);
        assert_same(&found.view(), &tree.view(), "as rustic reads it");
        // What restoring doesn't show.
        for (name, item) in tree.0.iter() {
            let (found, meant) = (&found.0[name].metadata, &item.metadata);
            let changed = meant.changed.or(meant.modified);
            let seen = (&found.user, &found.group, found.inode, found.links, found.changed);
            assert_eq!(seen, (&meant.user, &meant.group, meant.inode, meant.links, changed), "{name:?}");
        }
    }

    /// Whether both restore a snapshot as this tree.
    fn both_restore(&self, id: &str, below: &Path, tree: &Model) {
        let target = tempfile::tempdir_in(self.bench.folder.path()).unwrap();
        self.bench.restic.ok(&["restore", id, "--target", target.path().to_str().unwrap()]);
        let inner = target.path().join(below.strip_prefix("/").unwrap_or(below));
        assert_same(
            &Model::scan(&inner).view(),
            &tree.as_old_restic_has_it().view(),
            "as restic restores it",
        );
        let target = tempfile::tempdir_in(self.bench.folder.path()).unwrap();
        self.rustic.restore(id, target.path());
        let inner = target.path().join(below.strip_prefix("/").unwrap_or(below));
        let expected = tree.as_rustic_has_it(&Model::scan(&inner));
        assert_same(&Model::scan(&inner).view(), &expected.view(), "as rustic restores it");
    }
}

impl Model {
    fn below_path(&self, folder: &Path) -> Self {
        match folder.strip_prefix("/") {
            Ok(folder) => self.below(folder.as_os_str().as_bytes()),
            Err(_) => self.clone(),
        }
    }

    /// rustic does not set a mode without any bit, which restic's format leaves out: what was restored keeps what it was made with.
    fn as_rustic_has_it(&self, restored: &Self) -> Self {
        let mut expected = self.clone();
        for (name, item) in expected.0.iter_mut().filter(|(_, item)| item.metadata.mode == 0) {
            item.metadata.mode = restored.0.get(name).map_or(0, |found| found.metadata.mode);
        }
        expected
    }

    /// restic 0.14 neither stores nor restores sockets, nor does it know targets of links that are not UTF-8.
    fn as_old_restic_has_it(&self) -> Self {
        let mut restored = self.without(|node_type| *node_type == NodeType::Socket);
        for item in restored.0.values_mut() {
            if let NodeType::Symlink(target) = &mut item.metadata.node_type {
                *target = String::from_utf8_lossy(target).into_owned().into_bytes();
            }
        }
        restored
    }
}

/// A name as Go's JSON shows it.
fn shown(name: &[u8]) -> String {
    let chunks = name.utf8_chunks();
    chunks
        .flat_map(|chunk| [chunk.valid().to_owned(), "\u{fffd}".repeat(chunk.invalid().len())])
        .collect()
}

/// What `restic ls --json` says of a snapshot, against the tree.
fn restic_lists(restic: &Restic, id: &str, tree: &Model) {
    let listing = restic.ok(&["ls", "--json", id]);
    let nodes = listing.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut nodes = nodes.filter(|node| node["struct_type"] == "node" && !node["path"].as_str().unwrap().starts_with("/.bulkhead"));
    for (name, item) in &tree.0 {
        let node = nodes.next().unwrap_or_else(|| panic!("{name:?} is not listed"));
        let metadata = &item.metadata;
        let moment = |field: &str| {
            let time: jiff::Timestamp = node[field].as_str().unwrap().parse().unwrap();
            let nanoseconds = time.as_nanosecond();
            Timestamp {
                seconds: nanoseconds.div_euclid(1_000_000_000) as i64,
                nanoseconds: nanoseconds.rem_euclid(1_000_000_000) as u32,
            }
        };
        let kind = match metadata.node_type {
            NodeType::File => "file",
            NodeType::Directory => "dir",
            NodeType::Symlink(_) => "symlink",
            NodeType::Fifo => "fifo",
            NodeType::Socket => "socket",
            NodeType::CharacterDevice(_) => "chardev",
            NodeType::BlockDevice(_) => "dev",
        };
        let path = format!("/{}", shown(&name.join(&b'/')));
        let size = (metadata.node_type == NodeType::File).then_some(item.content.len() as u64);
        assert_eq!((node["path"].as_str().unwrap(), node["type"].as_str().unwrap()), (&*path, kind));
        assert_eq!(node["size"].as_u64(), size, "{path}");
        assert_eq!(
            (node["uid"].as_u64().unwrap(), node["gid"].as_u64().unwrap()),
            (metadata.uid.into(), metadata.gid.into())
        );
        assert_eq!(
            // Left out where it is 0.
            mode_from_go(node["mode"].as_u64().unwrap_or_default().try_into().unwrap()),
            metadata.mode,
            "{path}"
        );
        assert_eq!(moment("mtime"), metadata.modified.unwrap(), "{path}");
        assert_eq!(moment("ctime"), metadata.changed.or(metadata.modified).unwrap(), "{path}");
    }
    assert!(nodes.next().is_none(), "more is listed than there is");
}

/// A file's content as `restic dump` has it, by its size and hash.
fn restic_dumps(restic: &Restic, id: &str, name: &[u8]) -> (u64, [u8; 32]) {
    let mut dump = Command::new("restic")
        .args(["--no-cache", "--repo", restic.repository.to_str().unwrap(), "dump", id])
        .arg(OsStr::from_bytes(name))
        .env("RESTIC_PASSWORD", PASSWORD)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let digest = digest(dump.stdout.take().unwrap());
    assert!(dump.wait().unwrap().success(), "{}", name.escape_ascii());
    digest
}

fn digest(mut content: impl Read) -> (u64, [u8; 32]) {
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        match content.read(&mut buffer).unwrap() {
            0 => return (size, hash.finalize().into()),
            read => {
                hash.update(&buffer[..read]);
                size += read as u64;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_and_rustic_see_random_trees_as_we_wrote_them() {
    let mut chance = chance();
    let all = Comparison::new().await;
    for number in 0..if long() { 40 } else { 2 } {
        let tree = random_tree(&mut chance, Rights::own(), 150);
        let id = all.write(&tree, &mut chance).await.snapshot.id.to_string();
        all.we_read(&id, Path::new(""), &tree).await;
        restic_lists(&all.bench.restic, &id, &tree);
        all.rustic_reads(&id, &tree);
        all.both_restore(&id, Path::new(""), &tree);
        let files = tree.0.iter().filter(|(_, item)| item.metadata.node_type == NodeType::File);
        // Each takes restic half a second to open the repository.
        for (name, item) in files.filter(|_| chance.random_bool(0.01)) {
            let name = name.join(&b'/');
            let expected = (item.content.len() as u64, Sha256::digest(&item.content).into());
            assert_eq!(
                restic_dumps(&all.bench.restic, &id, &name),
                expected,
                "tree {number}: {}",
                name.escape_ascii()
            );
        }
    }
    all.bench.restic.check();
}

/// A folder on disk with a random tree.
fn source(all: &Comparison, name: &str, chance: &mut StdRng) -> (std::path::PathBuf, Model) {
    let folder = all.bench.path(name);
    fs::create_dir(&folder).unwrap();
    let tree = random_tree(chance, Rights::own(), 150);
    tree.make(&folder);
    // What links there are, and when anything changed, is what the disk says.
    let found = Model::scan(&folder);
    assert_same(&found.view(), &tree.view(), "on disk");
    (folder, found)
}

/// Backs a folder up with restic; returns the snapshot's id and the bytes that it added.
fn restic_backs_up(restic: &Restic, folder: &Path) -> (String, u64) {
    let said = restic.ok(&["backup", "--json", "--force", folder.to_str().unwrap()]);
    let summary: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    (
        summary["snapshot_id"].as_str().unwrap().to_owned(),
        summary["data_added"].as_u64().unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn we_see_random_folders_as_restic_and_rustic_stored_them() {
    let mut chance = chance();
    let all = Comparison::new().await;
    for number in 0..if long() { 20 } else { 2 } {
        let (folder, tree) = source(&all, &format!("source {number}"), &mut chance);
        let (id, _) = restic_backs_up(&all.bench.restic, &folder);
        all.we_read(&id, &folder, &tree.as_old_restic_has_it()).await;
        let id = all.rustic.backup(&folder).id.to_string();
        all.we_read(&id, Path::new(""), &tree).await;
        assert_eq!(verify(&all.bench.reopen().await).await.problems, []);
    }
    all.bench.restic.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_all_three_take_turns_in_one_vault() {
    let mut chance = chance();
    let all = Comparison::new().await;
    let (folder, tree) = source(&all, "source", &mut chance);
    let stored: u64 = tree.0.values().map(|item| item.content.len() as u64).sum();
    let mut snapshots = Vec::new();
    for turn in 0..if long() { 15 } else { 6 } {
        // Trees of other tools have other fields in them; content is the same for all.
        let (id, below, added) = match turn % 3 {
            0 => {
                let committed = all.write(&tree, &mut chance).await;
                (committed.snapshot.id.to_string(), Path::new(""), committed.stats.added_bytes)
            }
            1 => {
                let (id, added) = restic_backs_up(&all.bench.restic, &folder);
                (id, &*folder, added)
            }
            _ => {
                let snapshot = all.rustic.backup(&folder);
                (snapshot.id.to_string(), Path::new(""), snapshot.summary.unwrap().data_added_files)
            }
        };
        assert!(turn == 0 || added < stored / 20, "turn {turn} added {added} of {stored} bytes");
        snapshots.push((id, below, turn % 3));
        assert_eq!(verify(&all.bench.reopen().await).await.problems, []);
    }
    all.bench.restic.check();
    for (id, below, writer) in &snapshots {
        all.we_read(id, below, &if *writer == 1 { tree.as_old_restic_has_it() } else { tree.clone() })
            .await;
    }
    for (id, below, writer) in snapshots.iter().take(3) {
        let expected = if *writer == 1 { tree.as_old_restic_has_it() } else { tree.clone() };
        all.both_restore(id, below, &expected);
    }
}

/// Reads a file to its end.
async fn digest_of_ours(reader: &SnapshotReader, name: &str) -> (u64, [u8; 32]) {
    let mut entry = reader.open(&path(name)).await.unwrap();
    let (mut hash, mut size) = (Sha256::new(), 0);
    while let Some(part) = entry.read_next(1 << 20).await.unwrap() {
        hash.update(&part);
        size += part.len() as u64;
    }
    (size, hash.finalize().into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_sparse_file_is_the_same_for_all() {
    let all = Comparison::new().await;
    let size: u64 = if long() { 10 << 30 } else { 1 << 30 };
    let island = random(100_000, 1);
    let writer = all.bench.vault.begin(begin(None)).await.unwrap();
    let mut entry = writer.create(path("sparse"), file()).await.unwrap();
    let gap = size / 5 + 12_345;
    let (mut hash, mut left) = (Sha256::new(), size);
    while left > 0 {
        let zeros = gap.min(left);
        entry.write_zeros(zeros).await.unwrap();
        hash_zeros(&mut hash, zeros);
        left -= zeros;
        let piece = &island[..usize::try_from(left.min(island.len() as u64)).unwrap()];
        entry.write(Bytes::copy_from_slice(piece)).await.unwrap();
        hash.update(piece);
        left -= piece.len() as u64;
    }
    assert_eq!(entry.finish().await.unwrap(), size);
    let committed = writer.commit(record()).await.unwrap();
    // Five islands, with zeros around them to the ends of their chunks.
    assert!(committed.stats.added_bytes < 20 << 20, "{:?}", committed.stats);
    let (id, expected) = (committed.snapshot.id, (size, hash.finalize().into()));
    let reader = all.bench.reopen().await.read(id).await.unwrap();
    assert_eq!(digest_of_ours(&reader, "sparse").await, expected);
    let id = id.to_string();
    assert_eq!(restic_dumps(&all.bench.restic, &id, b"sparse"), expected);
    let mut dumped = Hashing(Sha256::new(), 0);
    all.rustic.dump(&id, "sparse", &mut dumped);
    assert_eq!((dumped.1, dumped.0.finalize().into()), expected);
    all.bench.restic.check();
}

fn hash_zeros(hash: &mut Sha256, mut length: u64) {
    let zeros = vec![0; 1 << 20];
    while length > 0 {
        let step = length.min(zeros.len() as u64);
        hash.update(&zeros[..step as usize]);
        length -= step;
    }
}

/// Takes content, and keeps its hash and size.
struct Hashing(Sha256, u64);

impl std::io::Write for Hashing {
    fn write(&mut self, content: &[u8]) -> std::io::Result<usize> {
        self.0.update(content);
        self.1 += content.len() as u64;
        Ok(content.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_very_many_names_is_the_same_for_all() {
    let mut chance = StdRng::seed_from_u64(1);
    let all = Comparison::new().await;
    let mut tree = Model::default();
    let folder = vec![b"many".to_vec()];
    let at = |seconds, node_type| Item {
        metadata: EntryMetadata {
            modified: Some(time(seconds, 1)),
            ..EntryMetadata::private(node_type)
        },
        content: Vec::new(),
    };
    tree.0.insert(folder.clone(), at(0, NodeType::Directory));
    for number in 0..if long() { 1_000_000_i64 } else { 100_000 } {
        let name = format!("{:07}", number * 7_919 % 9_999_991).into_bytes();
        tree.0.insert([&folder[..], &[name]].concat(), at(number, NodeType::File));
    }
    let id = all.write(&tree, &mut chance).await.snapshot.id.to_string();
    all.we_read(&id, Path::new(""), &tree).await;
    restic_lists(&all.bench.restic, &id, &tree);
    all.rustic_reads(&id, &tree);
    all.bench.restic.check();
    if long() {
        all.both_restore(&id, Path::new(""), &tree);
    }
}

/// Within which time restic must have taken its lock.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn locks_of_restic_are_honoured_and_ours_are_seen() {
    let bench = Bench::new().await;
    crate::support::backup(&bench.vault, &[("file", &random(20 << 20, 1))]).await;

    // Ours: restic lists it, and refuses to work alone.
    let writer = bench.vault.begin(begin(None)).await.unwrap();
    let lock = bench.restic.ok(&["list", "locks", "--no-lock"]);
    assert_eq!(lock.trim().len(), 64, "{lock}");
    let shown = bench.restic.ok(&["cat", "lock", lock.trim(), "--no-lock"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (shown["pid"].as_u64(), shown["hostname"].as_str()),
        (Some(std::process::id().into()), Some("here"))
    );
    for alone in ["prune", "check"] {
        let refused = bench.restic.run(&[alone]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("already locked"), "{alone}: {said}");
    }
    // Work that need not be alone goes on beside it.
    let source = bench.path("beside");
    fs::write(&source, "beside").unwrap();
    bench.restic.ok(&["backup", source.to_str().unwrap()]);
    writer.commit(record()).await.unwrap();

    // restic's: held by a process that is stopped while it holds it.
    let mut alone = Command::new("restic")
        .args([
            "--no-cache",
            "--repo",
            bench.restic.repository.to_str().unwrap(),
            "check",
            "--read-data",
        ])
        .env("RESTIC_PASSWORD", PASSWORD)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    // It is written under a longer name first.
    let is_lock = |file: std::io::Result<fs::DirEntry>| file.is_ok_and(|file| file.file_name().len() == 64);
    while !fs::read_dir(bench.path("vault/locks")).unwrap().any(is_lock) {
        assert!(
            begun.elapsed() < PATIENCE && alone.try_wait().unwrap().is_none(),
            "restic took no lock"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let process = rustix::process::Pid::from_child(&alone);
    rustix::process::kill_process(process, rustix::process::Signal::STOP).unwrap();
    let refused = bench.vault.begin(begin(None)).await.err();
    rustix::process::kill_process(process, rustix::process::Signal::CONT).unwrap();
    let by = match refused {
        Some(WriteError::Locked { by, .. }) => by,
        other => panic!("a run beside restic's exclusive lock: {other:?}"),
    };
    assert_eq!(by.pid, alone.id());
    assert!(alone.wait().unwrap().success());
    crate::support::backup(&bench.vault, &[("file", b"after")]).await;
    bench.restic.check();
    let _: Vault = bench.reopen().await;
}
