//! Each call to the store goes wrong, one after the other and in every way that calls can: whatever comes of the run, what was committed before is whole,
//! nothing is committed that isn't, the error says what happened, and the next run works without anybody's help.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use bulkhead_model::FaultKind;
use bulkhead_vault::{
    Cause, CommittedSnapshot, KeyError, ObjectId, OpenError, ReadError, SnapshotReader, Vault, VerifyError, VerifyOptions, VerifyPhase,
    VerifyProgress, WriteError, stores::MemoryStore,
};
use bytes::Bytes;
use rand::Rng;

use crate::{
    random_tree::chance,
    support::{
        Faulty, Misdeed, OPERATIONS, Operation, PASSWORD, Restic, begin, long, memory_vault, password, path, random, read, record,
        small_packs, verify, write,
    },
};

/// After which time something is taken to wait for ever.
const FOR_EVER: Duration = Duration::from_secs(60);
/// The kinds of fault that stores have of their own.
const KINDS: [FaultKind; 6] = [
    FaultKind::StorageFull,
    FaultKind::Io,
    FaultKind::TimedOut,
    FaultKind::ConnectionLost,
    FaultKind::PermissionDenied,
    FaultKind::Server,
];

/// What a run came to.
pub(crate) enum End {
    Committed(ObjectId),
    /// Whether the snapshot may be there nevertheless.
    Failed(Failure, bool),
    /// Nobody waited for it any more.
    Dropped,
}

#[derive(Debug)]
pub(crate) enum Failure {
    Open(OpenError),
    Write(WriteError),
}

/// What the store said, wherever in the error it is.
fn fault(failure: &Failure) -> Option<FaultKind> {
    match failure {
        Failure::Open(OpenError::Store(error)) => Some(error.fault.kind),
        Failure::Open(_) => None,
        Failure::Write(error) => fault_of(error),
    }
}

fn fault_of(error: &WriteError) -> Option<FaultKind> {
    match error {
        WriteError::Store(error) | WriteError::Read(ReadError::Store(error)) => Some(error.fault.kind),
        WriteError::Cancelled {
            cause: Cause::Failed(error),
        } => fault_of(error),
        _ => None,
    }
}

/// Whether stored content was found to be wrong.
fn is_corrupt(failure: &Failure) -> bool {
    match failure {
        Failure::Open(error) => matches!(error, OpenError::Corrupt(_) | OpenError::BadKey { .. }),
        Failure::Write(WriteError::Cancelled {
            cause: Cause::Failed(error),
        }) => is_corrupt(&Failure::Write(WriteError::clone(error))),
        Failure::Write(error) => matches!(
            error,
            WriteError::Read(ReadError::Corrupt(_)) | WriteError::KeptContentMissing { .. }
        ),
    }
}

/// How much a run writes.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    noise: usize,
    files: u64,
}

pub(crate) const SMALL: Size = Size { noise: 2 << 20, files: 4 };
const LARGE: Size = Size {
    noise: 24 << 20,
    files: 300,
};

/// A whole run, from opening the vault to the commit.
pub(crate) async fn run(store: &Arc<Faulty>, parent: &CommittedSnapshot, size: Size) -> End {
    let vault = match Vault::open(store.clone(), &password()).await {
        Ok(vault) => vault.with_options(small_packs()),
        Err(error) => return End::Failed(Failure::Open(error), false),
    };
    run_in(&vault, parent, size).await
}

pub(crate) async fn run_in(vault: &Vault, parent: &CommittedSnapshot, size: Size) -> End {
    let writer = match vault.begin(begin(Some(parent.snapshot.id))).await {
        Ok(writer) => writer,
        Err(error) => return End::Failed(Failure::Write(error), false),
    };
    let filled = async {
        writer.keep(path("folder")).await?;
        write(&writer, "noise", &random(size.noise, 7)).await?;
        for number in 0..size.files {
            write(&writer, format!("small/{number}"), &random(1000, number)).await?;
        }
        writer.commit(record()).await
    };
    match filled.await {
        Ok(committed) => End::Committed(committed.snapshot.id),
        Err(error) => {
            let may_be = writer.may_be_committed();
            End::Failed(Failure::Write(error), may_be)
        }
    }
}

/// Whether a snapshot has what runs write. An error is damage that was found; wrong content fails the test.
async fn has_all(reader: &SnapshotReader, size: Size) {
    assert_eq!(read(reader, "folder/second").await, b"second");
    assert!(read(reader, "noise").await == random(size.noise, 7));
    for number in 0..size.files {
        assert_eq!(read(reader, format!("small/{number}")).await, random(1000, number));
    }
}

/// Waits until nothing of a run is left: no thread, no task holds the store.
pub(crate) async fn nothing_lingers(store: &Arc<Faulty>) {
    let begun = Instant::now();
    while Arc::strong_count(store) > 1 {
        assert!(begun.elapsed() < FOR_EVER, "something still holds the store");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The states in which stores were left, each of which plain restic is to check once.
#[derive(Default)]
pub(crate) struct Ends {
    seen: BTreeSet<Vec<(String, usize)>>,
    to_check: usize,
}

impl Ends {
    /// At most so many checks, each of which takes restic a second.
    pub(crate) fn new() -> Self {
        Self {
            to_check: if long() { usize::MAX } else { 4 },
            ..Self::default()
        }
    }

    /// Has restic check a state unless there was one with as many objects of each kind.
    pub(crate) fn check(&mut self, memory: &MemoryStore) {
        let objects = memory.tamper(|objects| objects.clone());
        let mut kinds: Vec<(String, usize)> = Vec::new();
        for key in objects.keys() {
            let kind = key.split('/').next().unwrap().to_owned();
            match kinds.last_mut().filter(|(last, _)| *last == kind) {
                Some((_, count)) => *count += 1,
                None => kinds.push((kind, 1)),
            }
        }
        if self.to_check == 0 || !self.seen.insert(kinds) {
            return;
        }
        self.to_check -= 1;
        let folder = tempfile::tempdir().unwrap();
        for (key, content) in objects {
            let target = folder.path().join(key);
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::write(target, content).unwrap();
        }
        let restic = Restic {
            repository: folder.path().to_owned(),
        };
        let checked = restic.run(&["check", "--read-data", "--no-lock"]);
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(checked.status.success() && said.contains("no errors were found"), "{said}");
    }
}

/// A vault with one snapshot, to which every run begins anew.
pub(crate) struct Ground {
    pub(crate) memory: Arc<MemoryStore>,
    pub(crate) objects: BTreeMap<String, Bytes>,
    pub(crate) first: CommittedSnapshot,
    /// The vault as somebody else sees it, opened once: deriving a key takes longer than a run.
    pub(crate) vault: Vault,
}

/// What became of a run.
struct Outcome {
    end: End,
    /// What the call was about that went wrong.
    object: String,
}

impl Ground {
    pub(crate) async fn new() -> Self {
        let (memory, first) = memory_vault().await;
        Self {
            objects: memory.tamper(|objects| objects.clone()),
            vault: Vault::open(memory.clone(), &password()).await.unwrap().with_options(small_packs()),
            memory,
            first,
        }
    }

    /// Carries a run out whose call `number` of one kind goes wrong; `None` where it has no such call.
    async fn run(&self, operation: Operation, number: usize, misdeed: Misdeed, size: Size) -> Option<Outcome> {
        self.memory.tamper(|objects| objects.clone_from(&self.objects));
        let store = Faulty::new(self.memory.clone());
        store.misbehave(operation, number, misdeed);
        let end = tokio::select! {
            end = run(&store, &self.first, size) => end,
            () = store.hangs() => End::Dropped,
        };
        nothing_lingers(&store).await;
        let object = store.misbehaved()?;
        Some(Outcome { end, object })
    }

    /// What must be so after any run: the vault is whole, with all snapshots in it, and a run works.
    pub(crate) async fn is_whole(&self, end: &End, size: Size) {
        let vault = &self.vault;
        assert_eq!(verify(vault).await.problems, []);
        let snapshots = vault.snapshots().await.unwrap();
        let new: Vec<ObjectId> = snapshots.iter().map(|snapshot| snapshot.id).collect();
        let new: Vec<ObjectId> = new.into_iter().filter(|id| *id != self.first.snapshot.id).collect();
        assert_eq!(new.len() + 1, snapshots.len(), "the first snapshot is gone");
        match end {
            End::Committed(id) => assert_eq!(new, [*id]),
            End::Failed(_, true) | End::Dropped => assert!(new.len() <= 1),
            End::Failed(error, false) => assert!(new.is_empty(), "committed in spite of {error:?}"),
        }
        assert!(read(&vault.read(self.first.snapshot.id).await.unwrap(), "first").await == random(3 << 20, 100));
        for id in new {
            has_all(&vault.read(id).await.unwrap(), size).await;
        }
        let End::Committed(next) = run_in(vault, &self.first, size).await else {
            panic!("the next run failed")
        };
        has_all(&vault.read(next).await.unwrap(), size).await;
    }
}

/// Makes each call of a small run go wrong, until there is none left.
async fn each_call_of_a_small_run(
    misdeed: impl Fn(usize) -> Misdeed,
    operations: &[Operation],
    judge: impl AsyncFn(&Ground, &Outcome, Misdeed),
) {
    let ground = Ground::new().await;
    for operation in operations {
        let mut number = 0;
        while let Some(outcome) = ground.run(*operation, number, misdeed(number), SMALL).await {
            judge(&ground, &outcome, misdeed(number)).await;
            number += 1;
        }
        assert!(number > 0, "{operation:?} was never called");
    }
}

/// A removal that fails leaves a lock, which is no failure of the run.
fn must_fail(outcome: &Outcome) -> bool {
    !outcome.object.starts_with("locks/") || !matches!(outcome.end, End::Committed(_))
}

async fn a_fault_is_told(ground: &Ground, outcome: &Outcome, kind: FaultKind) {
    if must_fail(outcome) {
        let End::Failed(failure, _) = &outcome.end else {
            panic!("{} went wrong unnoticed", outcome.object)
        };
        assert_eq!(fault(failure), Some(kind), "{}: {failure:?}", outcome.object);
    }
    ground.is_whole(&outcome.end, SMALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_a_run_fails() {
    let ends = std::cell::RefCell::new(Ends::new());
    let kind = |number: usize| KINDS[number % KINDS.len()];
    each_call_of_a_small_run(
        |number| Misdeed::Fails(kind(number)),
        &OPERATIONS,
        async |ground, outcome, misdeed| {
            let Misdeed::Fails(kind) = misdeed else { return };
            ends.borrow_mut().check(&ground.memory);
            a_fault_is_told(ground, outcome, kind).await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_of_a_run_is_lost() {
    let ends = std::cell::RefCell::new(Ends::new());
    let kind = |number: usize| KINDS[number % KINDS.len()];
    let operations = [Operation::Put, Operation::Delete];
    each_call_of_a_small_run(
        |number| Misdeed::FailsAfterwards(kind(number)),
        &operations,
        async |ground, outcome, misdeed| {
            let Misdeed::FailsAfterwards(kind) = misdeed else { return };
            ends.borrow_mut().check(&ground.memory);
            a_fault_is_told(ground, outcome, kind).await;
            if outcome.object.starts_with("snapshots/") {
                assert!(matches!(outcome.end, End::Failed(_, true)), "nobody knows whether it was committed");
            }
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_a_run_hangs_and_is_left() {
    let ends = std::cell::RefCell::new(Ends::new());
    each_call_of_a_small_run(
        |_| Misdeed::Hangs,
        &OPERATIONS,
        async |ground, outcome, _| {
            ends.borrow_mut().check(&ground.memory);
            ground.is_whole(&outcome.end, SMALL).await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_run_reads_wrongly_is_noticed_or_harmless() {
    for misdeed in [Misdeed::FlipsBit, Misdeed::Truncates] {
        each_call_of_a_small_run(
            |_| misdeed,
            &[Operation::Get],
            async |ground, outcome, _| {
                if let End::Failed(failure, _) = &outcome.end {
                    assert!(is_corrupt(failure), "{}: {failure:?}", outcome.object);
                }
                ground.is_whole(&outcome.end, SMALL).await;
            },
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_stored_wrongly_is_found_and_never_read() {
    for misdeed in [Misdeed::FlipsBit, Misdeed::Truncates] {
        each_call_of_a_small_run(
            |_| misdeed,
            &[Operation::Put],
            async |ground, outcome, _| {
                let End::Committed(id) = outcome.end else {
                    panic!("{}: a store that says nothing failed a run", outcome.object)
                };
                let vault = &ground.vault;
                let report = verify(vault).await;
                if outcome.object.starts_with("locks/") {
                    assert_eq!(report.problems, []);
                    return;
                }
                let found = report.problems.iter().find(|problem| problem.object == outcome.object);
                let found = found.unwrap_or_else(|| panic!("{} in {:?}", outcome.object, report.problems));
                // Of a pack that is too short, it may be its own table of contents that is missing, which nobody reads.
                let needed = misdeed == Misdeed::FlipsBit && outcome.object.starts_with("data/");
                assert!(!needed || found.snapshots == [id], "{found:?} of {id}");
                nothing_is_read_wrongly(vault, id).await;
            },
        )
        .await;
    }
}

/// Whether each file of a small run is read as it was, or not at all; says whether all were.
pub(crate) async fn nothing_is_read_wrongly(vault: &Vault, id: ObjectId) -> bool {
    let mut all = true;
    for file in ["noise", "small/0", "small/1", "small/2", "small/3"] {
        let content = try_read(vault, id, file).await;
        let number = file.strip_prefix("small/").map(|number| number.parse().unwrap());
        let expected = number.map_or_else(|| random(SMALL.noise, 7), |number| random(1000, number));
        all &= content.is_some();
        assert!(content.is_none_or(|content| content == expected), "{file} is read wrongly");
    }
    all
}

/// A file's content; `None` where damage was found.
async fn try_read(vault: &Vault, id: ObjectId, name: &str) -> Option<Vec<u8>> {
    let mut entry = vault.read(id).await.ok()?.open(&path(name)).await.ok()?;
    let mut content = Vec::new();
    while let Some(part) = entry.read_next(1 << 20).await.ok()? {
        content.extend_from_slice(&part);
    }
    Some(content)
}

#[tokio::test(flavor = "multi_thread")]
async fn random_calls_of_a_large_run_fail() {
    let (mut chance, mut ends) = (chance(), Ends::new());
    let ground = Ground::new().await;
    let mut left = if long() { 200 } else { 5 };
    while left > 0 {
        let kind = KINDS[chance.random_range(0..KINDS.len())];
        let misdeed = [Misdeed::Fails(kind), Misdeed::FailsAfterwards(kind)][chance.random_range(0..2)];
        let operation = OPERATIONS[chance.random_range(0..OPERATIONS.len())];
        let most = if operation == Operation::Put { 30 } else { 4 };
        // A call that there is not is no attempt.
        let Some(outcome) = ground.run(operation, chance.random_range(0..most), misdeed, LARGE).await else {
            continue;
        };
        left -= 1;
        ends.check(&ground.memory);
        if must_fail(&outcome) {
            let End::Failed(failure, _) = &outcome.end else {
                panic!("{operation:?} of {} went wrong unnoticed", outcome.object)
            };
            assert_eq!(fault(failure), Some(kind), "{}: {failure:?}", outcome.object);
        }
        ground.is_whole(&outcome.end, LARGE).await;
    }
}

struct Quiet;

impl VerifyProgress for Quiet {
    fn report(&self, _phase: VerifyPhase, _done: u64, _total: u64) {}
}

/// Opens, verifies, lists and reads a vault with two snapshots.
async fn read_all(store: &Arc<Faulty>) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Debug| format!("{error:?}");
    let vault = Vault::open(store.clone(), &password()).await.map_err(|error| text(&error))?;
    let report = vault.verify(VerifyOptions { read_data: true }, Arc::new(Quiet)).await;
    let report = report.map_err(|error: VerifyError| text(&error))?;
    let misread = store.misbehaved().filter(|_| report.problems.is_empty());
    assert_eq!(misread, None, "it was read wrongly, and nothing said");
    for snapshot in vault.snapshots().await.map_err(|error| text(&error))? {
        let reader = vault.read(snapshot.id).await.map_err(|error| text(&error))?;
        for (name, expected) in [("first", random(3 << 20, 100)), ("folder/second", b"second".to_vec())] {
            let mut entry = reader.open(&path(name)).await.map_err(|error| text(&error))?;
            let mut content = Vec::new();
            while let Some(part) = entry.read_next(1 << 20).await.map_err(|error| text(&error))? {
                content.extend_from_slice(&part);
            }
            assert!(content == expected, "{name} is read wrongly");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_a_reader_goes_wrong() {
    let misdeeds = [Misdeed::Fails(FaultKind::ConnectionLost), Misdeed::FlipsBit, Misdeed::Truncates];
    let (memory, _) = memory_vault().await;
    let objects = memory.tamper(|objects| objects.clone());
    for misdeed in misdeeds {
        let operations = match misdeed {
            Misdeed::Fails(_) => &OPERATIONS[..],
            _ => &[Operation::Get],
        };
        for operation in operations
            .iter()
            .filter(|operation| !matches!(operation, Operation::Put | Operation::Delete))
        {
            for number in 0.. {
                let store = Faulty::new(memory.clone());
                store.misbehave(*operation, number, misdeed);
                let outcome = read_all(&store).await;
                let Some(object) = store.misbehaved() else { break };
                match (misdeed, outcome) {
                    (Misdeed::Fails(kind), outcome) => {
                        let error = outcome.expect_err(&object);
                        assert!(error.contains(&format!("{kind:?}")), "{object}: {error}");
                    }
                    // Found by the verification, or damaged as a reader got it, which then has fetched it anew.
                    (_, Ok(())) => {}
                    (_, Err(error)) => assert!(error.contains("Corrupt") || error.contains("BadKey"), "{object}: {error}"),
                }
            }
        }
    }
    assert!(memory.tamper(|after| *after == objects), "reading changed something");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_a_key_change_fails() {
    let (memory, first) = memory_vault().await;
    let objects = memory.tamper(|objects| objects.clone());
    let (fails, afterwards) = (
        Misdeed::Fails(FaultKind::StorageFull),
        Misdeed::FailsAfterwards(FaultKind::StorageFull),
    );
    for (operation, misdeeds) in [
        (Operation::Put, &[fails, afterwards][..]),
        (Operation::Get, &[fails]),
        (Operation::List, &[fails]),
        (Operation::Delete, &[fails, afterwards]),
    ] {
        for misdeed in misdeeds {
            for number in 0.. {
                memory.tamper(|now| now.clone_from(&objects));
                let store = Faulty::new(memory.clone());
                let vault = Vault::open(store.clone(), &password()).await.unwrap();
                let old = vault.keys().await.unwrap()[0].id;
                store.misbehave(operation, number, *misdeed);
                let changed = change_key(&store, &vault, old).await;
                if store.misbehaved().is_none() {
                    changed.unwrap();
                    break;
                }
                let error = changed.expect_err("a failure was not told");
                assert!(error.contains("StorageFull"), "{error}");
                // One of the two opens, whatever happened.
                let mut opened = None;
                for word in [PASSWORD, "the new one"] {
                    if opened.is_none() {
                        opened = Vault::open(memory.clone(), &word.into()).await.ok();
                    }
                }
                let opened = opened.expect("nobody can open the vault any more");
                assert!(read(&opened.read(first.snapshot.id).await.unwrap(), "first").await == random(3 << 20, 100));
                assert_eq!(verify(&opened).await.problems, []);
            }
        }
    }
}

/// A new key, and with it the old one is removed.
async fn change_key(store: &Arc<Faulty>, vault: &Vault, old: ObjectId) -> Result<(), String> {
    let text = |error: KeyError| format!("{error:?}");
    vault.add_key(&"the new one".into(), None).await.map_err(text)?;
    let vault = Vault::open(store.clone(), &"the new one".into())
        .await
        .map_err(|error| format!("{error:?}"))?;
    vault.remove_key(old).await.map_err(text)
}
