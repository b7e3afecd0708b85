//! What is forgotten, pruned, tagged and repaired, with plain `restic` as the judge of what is left.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bulkhead_vault::{
    Basis, Depth, Hold, MaintenanceError, ObjectId, PruneLimit, PruneOptions, Stop, TagChange, Vault, Verification, WriteError,
};
use tokio::sync::{Notify, Semaphore};

use crate::support::{Bench, Call, Hook, Hooked, backup, folder_store, password, random, read, small_packs, verify};

/// Everything that is unused goes, and packs are rewritten for it.
fn thorough(grace: Duration) -> PruneOptions {
    PruneOptions {
        grace,
        clock_is_right: true,
        patience: Duration::ZERO,
        max_unused: PruneLimit::Bytes(0),
        max_repack: PruneLimit::Unlimited,
    }
}

const NOW: PruneOptions = PruneOptions {
    grace: Duration::ZERO,
    clock_is_right: true,
    patience: Duration::ZERO,
    max_unused: PruneLimit::Bytes(0),
    max_repack: PruneLimit::Unlimited,
};

fn pack_files(bench: &Bench) -> Vec<PathBuf> {
    let folders = fs::read_dir(bench.path("vault/data")).unwrap();
    let packs = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    packs.map(|pack| pack.unwrap().path()).collect()
}

fn packs(bench: &Bench) -> usize {
    pack_files(bench).len()
}

async fn forget(vault: &Vault, ids: &[ObjectId]) {
    let forgotten = vault.forget(ids, "here", &Stop::default()).await;
    assert!(forgotten.error.is_none() && forgotten.removed == ids, "{forgotten:?}");
}

async fn prune(vault: &Vault, options: PruneOptions) -> bulkhead_vault::PrunePlan {
    vault.prune(options, |_| true, "here", &Stop::default()).await.unwrap()
}

/// What a snapshot has in `name`, as plain restic sees it.
fn dumped(bench: &Bench, snapshot: ObjectId, name: &str) -> Vec<u8> {
    let output = bench.restic.run(&["dump", &snapshot.to_string(), name]);
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_is_pruned_and_the_rest_stays() {
    let bench = Bench::new().await;
    let vault = bench.vault.clone().with_options(small_packs());
    let (old, shared, new) = (random(3 << 20, 1), random(3 << 20, 2), random(3 << 20, 3));
    let first = backup(&vault, &[("old", &old), ("shared", &shared)]).await.snapshot.id;
    let second = backup(&vault, &[("new", &new), ("shared", &shared)]).await.snapshot.id;
    forget(&vault, &[first]).await;
    let again = vault.forget(&[first], "here", &Stop::default()).await;
    assert!(again.error.is_none() && again.removed.is_empty());
    assert!(bench.restic.ok(&["snapshots", "--json"]).contains(&second.to_string()));

    let before = packs(&bench);
    let plan = vault.plan_prune(NOW, "here", &Stop::default()).await.unwrap();
    assert!(
        plan.unused_packs > 0 && plan.unused_bytes + plan.repack_freed_bytes > 3 << 20,
        "{plan:?}"
    );
    assert_eq!(packs(&bench), before, "a plan changes nothing");
    let other = backup(&vault, &[("other", b"other")]).await.snapshot.id;
    let refused = vault.prune(NOW, move |now| *now == plan, "here", &Stop::default()).await;
    assert!(matches!(refused, Err(MaintenanceError::Changed)), "{refused:?}");

    let done = prune(&vault, NOW).await;
    assert_eq!(done.remaining_unused_bytes, 0, "{done:?}");
    assert!(packs(&bench) < before);
    bench.restic.check();
    assert_eq!(dumped(&bench, second, "/shared"), shared);
    assert_eq!(read(&vault.read(second).await.unwrap(), "new").await, new);
    assert_eq!(read(&vault.read(other).await.unwrap(), "other").await, b"other");
    let next = vault.plan_prune(NOW, "here", &Stop::default()).await.unwrap();
    assert_eq!(
        (next.unused_packs, next.repacked_packs, next.unindexed_packs),
        (0, 0, 0),
        "{next:?}"
    );
    assert_eq!(fs::read_dir(bench.path("vault/locks")).unwrap().count(), 0);
    // restic has nothing left to do.
    let said = bench.restic.ok(&["prune", "--max-unused", "0", "--dry-run"]);
    let words: Vec<&str> = said.split_whitespace().collect();
    assert!(words.join(" ").contains("total prune: 0 blobs"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_forgotten_by_a_plan_that_no_longer_holds() {
    let bench = Bench::new().await;
    let (vault, stop) = (&bench.vault, Stop::default());
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(backup(vault, &[(name, name.as_bytes())]).await.snapshot.id);
    }
    let planned = |ids: Vec<ObjectId>, going: usize| async move {
        let basis = Basis {
            seen: ids.iter().copied().collect(),
            snapshots: ids.clone(),
        };
        let forgotten = vault.forget_planned(&ids[..going], &basis, "here", &Stop::default()).await;
        (forgotten.removed, forgotten.error)
    };
    // What was to be kept is gone; then, what was to go is held.
    let basis = ids.clone();
    forget(vault, &[ids[2]]).await;
    assert!(matches!(planned(basis, 2).await, (removed, Some(MaintenanceError::Changed)) if removed.is_empty()));
    let hold = TagChange::Hold(Hold {
        name: "Jane Doe".to_owned(),
        reason: "audit".to_owned(),
        since: crate::support::time(1_700_000_000, 0),
    });
    let held = vault.tag(&[ids[0]], &hold, "here", &stop).await.unwrap().remove(0).now;
    assert!(matches!(planned(vec![ids[0], ids[1]], 1).await, (removed, Some(MaintenanceError::Changed)) if removed.is_empty()));
    assert_eq!(vault.snapshots().await.unwrap().len(), 2);
    // What came since is no obstacle, unless it says which snapshots are whole.
    backup(vault, &[("d", b"d")]).await;
    let found = Verification {
        repository: vault.id().to_owned(),
        sink: "here".to_owned(),
        depth: Depth::Data,
        began: crate::support::time(1_700_000_000, 0),
        sound: Vec::new(),
        damaged: Vec::new(),
    };
    let record = vault.record_verification(found, "here").await.unwrap();
    assert!(matches!(planned(vec![ids[1], held], 1).await, (removed, Some(MaintenanceError::Changed)) if removed.is_empty()));
    forget(vault, &[record]).await;
    let (removed, error) = planned(vec![ids[1], held], 1).await;
    assert!(error.is_none() && removed == [ids[1]], "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_held_and_forgotten_beside_a_run() {
    let bench = Bench::new().await;
    let (vault, stop) = (&bench.vault, Stop::default());
    let parent = backup(vault, &[("a", &random(100_000, 1))]).await.snapshot;
    let old = backup(vault, &[("b", b"b")]).await.snapshot.id;
    let writer = vault.begin(crate::support::begin(Some(parent.id))).await.unwrap();
    let hold = TagChange::Hold(Hold {
        name: "Jane Doe".to_owned(),
        reason: "audit".to_owned(),
        since: crate::support::time(1_700_000_000, 0),
    });
    let held = vault.tag(&[parent.id], &hold, "here", &stop).await.unwrap().remove(0).now;
    forget(vault, &[old]).await;
    // Its parent has another name by now, and all that it refers to is there.
    writer.keep(crate::support::path("a")).await.unwrap();
    let run = writer.commit(crate::support::record()).await.unwrap().snapshot.id;
    let mut left: Vec<ObjectId> = vault.snapshots().await.unwrap().iter().map(|snapshot| snapshot.id).collect();
    left.sort_unstable();
    let mut expected = vec![held, run];
    expected.sort_unstable();
    assert_eq!(left, expected);
    assert_eq!(dumped(&bench, run, "/a"), random(100_000, 1));
    bench.restic.check();
}

/// One who commits again and again, as who follows a log does, lets a prune in that waits for it, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_prune_gets_its_turn_beside_one_who_commits_on_and_on() {
    let bench = Bench::new().await;
    let vault = bench.vault.clone().with_options(small_packs());
    let old = backup(&vault, &[("old", &random(1 << 20, 1))]).await.snapshot.id;
    let (stop, pruned) = (Stop::default(), Arc::new(Semaphore::new(0)));
    let first = vault.begin(crate::support::begin(None)).await.unwrap();
    forget(&vault, &[old]).await;
    let refused = vault.prune(NOW, |_| true, "here", &stop).await;
    assert!(
        matches!(&refused, Err(MaintenanceError::Lock(WriteError::Locked { by, .. })) if !by.is_alone),
        "{refused:?}"
    );
    let (writing, done) = (vault.clone(), Arc::clone(&pruned));
    let log = tokio::spawn(async move {
        let (mut writer, mut number) = (first, 0_u64);
        loop {
            let content = random(100_000, 100 + number);
            crate::support::write(&writer, &format!("{number}"), &content).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            let parent = writer.commit(crate::support::record()).await.unwrap().snapshot.id;
            if done.available_permits() > 0 {
                return (parent, number, content);
            }
            number += 1;
            writer = writing.begin_next(crate::support::begin(Some(parent))).await.unwrap();
            let kept = writer.keep(crate::support::path(format!("{}", number - 1))).await;
            kept.unwrap();
        }
    });
    let patient = PruneOptions {
        patience: Duration::from_secs(300),
        ..NOW
    };
    let plan = vault.prune(patient, |_| true, "here", &stop).await.unwrap();
    assert!(plan.unused_packs + plan.repacked_packs > 0, "{plan:?}");
    pruned.add_permits(1);
    let (newest, number, content) = log.await.unwrap();
    assert_eq!(dumped(&bench, newest, &format!("/{number}")), content);
    assert_eq!(fs::read_dir(bench.path("vault/locks")).unwrap().count(), 0);
    bench.restic.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grace_time_is_not_over_because_a_clock_jumped() {
    let bench = Bench::new().await;
    let vault = bench.vault.clone().with_options(small_packs());
    let old = backup(&vault, &[("old", &random(1 << 20, 1))]).await.snapshot.id;
    backup(&vault, &[("new", b"new")]).await;
    forget(&vault, &[old]).await;
    let unsure = |grace| PruneOptions {
        clock_is_right: false,
        ..thorough(grace)
    };
    let moment = Duration::from_nanos(1);
    let marked = prune(&vault, unsure(moment)).await;
    assert!(
        marked.unused_packs + marked.repacked_packs > 0 && marked.deleted_packs == 0,
        "{marked:?}"
    );
    // By the clock it is over, but no snapshot has been taken since the mark: nothing says that the clock is right.
    let waiting = prune(&vault, unsure(moment)).await;
    assert!(waiting.waiting_packs > 0 && waiting.deleted_packs == 0, "{waiting:?}");
    let deleted = prune(&vault, thorough(moment)).await;
    assert!(deleted.deleted_packs > 0, "{deleted:?}");
    bench.restic.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_marked_is_not_relied_on_and_goes_after_the_grace_time() {
    let bench = Bench::new().await;
    let vault = bench.vault.clone().with_options(small_packs());
    let (content, other) = (random(3 << 20, 1), random(2 << 20, 2));
    let first = backup(&vault, &[("content", &content)]).await.snapshot.id;
    backup(&vault, &[("other", &other)]).await;
    let reader = vault.read(first).await.unwrap();
    forget(&vault, &[first]).await;

    let (before, hour) = (packs(&bench), Duration::from_secs(3600));
    let marked = prune(&vault, thorough(hour)).await;
    let doomed = marked.unused_packs + marked.repacked_packs;
    assert!(doomed > 0 && marked.deleted_packs == 0, "{marked:?}");
    assert!(packs(&bench) >= before, "nothing is deleted in the grace time");
    assert_eq!(read(&reader, "content").await, content, "a restore that is under way goes on");
    assert_eq!(verify(&bench.reopen().await).await.problems, []);
    bench.restic.check();
    let waiting = prune(&vault, thorough(hour)).await;
    assert!(waiting.waiting_packs >= doomed && waiting.deleted_packs == 0, "{waiting:?}");

    // The same content again: in an open vault, that has the old index, and in one that is opened now.
    let second = backup(&vault, &[("content", &content)]).await;
    assert!(
        second.stats.added_bytes >= 3 << 20,
        "a marked pack was relied on: {:?}",
        second.stats
    );
    let third = backup(&bench.reopen().await, &[("content", &content)]).await;
    assert!(third.stats.added_bytes < 1 << 20, "{:?}", third.stats);

    let deleted = prune(&vault, thorough(Duration::from_millis(1))).await;
    assert!(deleted.deleted_packs >= doomed && deleted.recovered_packs == 0, "{deleted:?}");
    bench.restic.check();
    let report = verify(&bench.reopen().await).await;
    assert_eq!((report.problems, report.unreferenced_packs), (Vec::new(), Vec::new()));
    for snapshot in [second.snapshot.id, third.snapshot.id] {
        assert_eq!(dumped(&bench, snapshot, "/content"), content);
        assert_eq!(read(&bench.reopen().await.read(snapshot).await.unwrap(), "content").await, content);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marked_pack_that_is_needed_after_all_is_kept() {
    let bench = Bench::new().await;
    let vault = bench.vault.clone().with_options(small_packs());
    let content = random(3 << 20, 1);
    let first = backup(&vault, &[("content", &content)]).await.snapshot.id;
    backup(&vault, &[("other", &random(2 << 20, 2))]).await;
    let file = bench.path(&format!("vault/snapshots/{first}"));
    let saved = fs::read(&file).unwrap();
    forget(&vault, &[first]).await;
    prune(&vault, thorough(Duration::from_secs(3600))).await;
    // From a replica, say.
    fs::write(&file, saved).unwrap();
    assert_eq!(verify(&bench.reopen().await).await.problems, []);
    let plan = prune(&vault, thorough(Duration::from_millis(1))).await;
    assert!(plan.recovered_packs > 0, "{plan:?}");
    bench.restic.check();
    assert_eq!(dumped(&bench, first, "/content"), content);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_left_behind_is_marked_and_deleted() {
    let bench = Bench::new().await;
    backup(&bench.vault, &[("a", b"a")]).await;
    prune(&bench.vault, NOW).await;
    // A pack that no index names, beside an index of one file.
    let content = random(100_000, 7);
    let id = ObjectId::of(&content).to_string();
    let pack = bench.path("vault/data").join(&id[..2]).join(&id);
    fs::create_dir_all(pack.parent().unwrap()).unwrap();
    fs::write(&pack, content).unwrap();
    let marked = prune(&bench.vault, thorough(Duration::from_secs(3600))).await;
    assert_eq!(marked.unindexed_packs, 1, "{marked:?}");
    assert!(pack.exists());
    let report = verify(&bench.vault).await;
    assert_eq!((report.problems, report.unreferenced_packs), (Vec::new(), Vec::new()));
    bench.restic.check();
    let deleted = prune(&bench.vault, thorough(Duration::from_millis(1))).await;
    assert_eq!((deleted.unindexed_packs, deleted.deleted_packs), (0, 1), "{deleted:?}");
    assert!(!pack.exists());
    bench.restic.check();
}

/// Stops before it lists packs, until it is let go on.
struct Paused {
    /// Told when it has stopped.
    stopped: Notify,
    go_on: Semaphore,
}

#[async_trait]
impl Hook for Paused {
    async fn before(&self, call: Call<'_>) {
        if let Call::List("data/") = call {
            self.stopped.notify_one();
            drop(self.go_on.acquire().await.unwrap());
        }
    }
}

/// Waits until somebody has taken a lock, under its own name.
async fn wait_for_lock(vault: &Path) {
    let names = || fs::read_dir(vault.join("locks")).unwrap().map(|file| file.unwrap().file_name());
    while !names().any(|name| name.len() == 64) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A vault in which a prune waits in its middle, its store, and that prune.
async fn paused_prune(
    vault: &Path,
    stop: &Stop,
) -> (
    Arc<Hooked<Paused>>,
    tokio::task::JoinHandle<Result<bulkhead_vault::PrunePlan, MaintenanceError>>,
) {
    let hook = Paused {
        stopped: Notify::new(),
        go_on: Semaphore::new(0),
    };
    let store = Hooked::new(folder_store(vault), hook);
    let paused = Vault::open(Arc::clone(&store) as _, &password()).await.unwrap();
    let stop = stop.clone();
    let task = tokio::spawn(async move { paused.prune(NOW, |_| true, "here", &stop).await });
    store.hook.stopped.notified().await;
    (store, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_at_work_beside_a_prune() {
    let bench = Bench::new().await;
    backup(&bench.vault, &[("a", b"a")]).await;
    let (store, task) = paused_prune(&bench.restic.repository, &Stop::default()).await;
    let pid = format!("PID {}", std::process::id());
    for arguments in [&["backup", "--stdin"][..], &["prune"]] {
        let refused = bench.restic.run(arguments);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            !refused.status.success() && said.contains("exclusively") && said.contains(&pid),
            "{said}"
        );
    }
    let refused = bench.vault.begin(crate::support::begin(None)).await.err();
    assert!(matches!(refused, Some(WriteError::Locked { .. })), "{refused:?}");
    let refused = bench.vault.forget(&[], "here", &Stop::default()).await.error;
    assert!(
        matches!(refused, Some(MaintenanceError::Lock(WriteError::Locked { .. }))),
        "{refused:?}"
    );
    store.hook.go_on.add_permits(100);
    task.await.unwrap().unwrap();
    assert_eq!(fs::read_dir(bench.path("vault/locks")).unwrap().count(), 0);
    backup(&bench.vault, &[("b", b"b")]).await;
    bench.restic.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_that_is_stopped_changes_nothing_and_unlocks() {
    let bench = Bench::new().await;
    let first = backup(&bench.vault, &[("a", &random(100_000, 1))]).await.snapshot.id;
    backup(&bench.vault, &[("b", &random(100_000, 2))]).await;
    forget(&bench.vault, &[first]).await;
    let before = packs(&bench);
    let stop = Stop::default();
    let (store, task) = paused_prune(&bench.restic.repository, &stop).await;
    stop.stop();
    store.hook.go_on.add_permits(100);
    let stopped = task.await.unwrap();
    assert!(matches!(stopped, Err(MaintenanceError::Stopped)), "{stopped:?}");
    assert_eq!(packs(&bench), before);
    assert_eq!(fs::read_dir(bench.path("vault/locks")).unwrap().count(), 0);
    bench.restic.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_waits_for_restic_to_end() {
    let bench = Bench::new().await;
    backup(&bench.vault, &[("a", b"a")]).await;
    let mut restic = std::process::Command::new("restic")
        .args(["--no-cache", "--repo"])
        .arg(&bench.restic.repository)
        .args(["backup", "--stdin"])
        .env("RESTIC_PASSWORD", crate::support::PASSWORD)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for_lock(&bench.restic.repository).await;
    let refused = bench.vault.prune(NOW, |_| true, "here", &Stop::default()).await.unwrap_err();
    let by = match refused {
        MaintenanceError::Lock(WriteError::Locked { by, .. }) => by,
        other => panic!("{other}"),
    };
    assert_eq!(by.pid, restic.id());
    restic.stdin.take().unwrap().write_all(b"content").unwrap();
    assert!(restic.wait().unwrap().success());
    prune(&bench.vault, NOW).await;
    bench.restic.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_change_and_nothing_else_does() {
    let bench = Bench::new().await;
    let first = backup(&bench.vault, &[("a", b"a")]).await.snapshot;
    let add = |tag: &str| TagChange::Change {
        add: vec![tag.to_owned()],
        remove: Vec::new(),
    };
    let stop = Stop::default();
    let tagged = bench.vault.tag(&[first.id], &add("audit"), "here", &stop).await.unwrap();
    let [tagged] = &tagged[..] else { panic!("{tagged:?}") };
    assert_eq!(tagged.tags, ["bulkhead", "pipeline:test", "audit"]);
    let again = bench.vault.tag(&[tagged.now], &add("audit"), "here", &stop).await.unwrap();
    assert_eq!(again[0].now, tagged.now, "what is so already is left alone");
    let snapshots = bench.vault.snapshots().await.unwrap();
    assert_eq!(snapshots.len(), 1);
    assert_eq!(
        (
            snapshots[0].id,
            snapshots[0].tree,
            snapshots[0].pipeline.as_deref(),
            snapshots[0].time
        ),
        (tagged.now, first.tree, Some("test"), first.time)
    );
    let reader = bench.vault.read(tagged.now).await.unwrap();
    assert!(reader.record().await.unwrap().is_some());
    let listed: serde_json::Value = serde_json::from_str(&bench.restic.ok(&["snapshots", "--json", "--tag", "audit"])).unwrap();
    assert_eq!(listed[0]["id"], tagged.now.to_string());
    let document = bench.restic.ok(&["cat", "snapshot", &tagged.now.to_string()]);
    assert!(document.contains(&format!("\"original\": \"{}\"", first.id)), "{document}");
    bench.restic.ok(&["tag", "--add", "theirs"]);
    let theirs = bench.vault.snapshots().await.unwrap().remove(0);
    let set = bench
        .vault
        .tag(&[theirs.id], &TagChange::Set(vec!["only".to_owned()]), "here", &stop)
        .await
        .unwrap();
    assert_eq!(set[0].tags, ["bulkhead", "pipeline:test", "only"]);
    let document = bench.restic.ok(&["cat", "snapshot", &set[0].now.to_string()]);
    assert!(
        document.contains(&first.id.to_string()),
        "the first of the line is lost: {document}"
    );
    bench.restic.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_index_is_read_from_the_packs() {
    let bench = Bench::new().await;
    let vault = bench.vault.clone().with_options(small_packs());
    let content = random(5 << 20, 1);
    let first = backup(&vault, &[("content", &content)]).await.snapshot.id;
    let second = backup(&vault, &[("more", &random(3 << 20, 2))]).await.snapshot.id;
    let index = bench.path("vault/index");
    let mut files: Vec<_> = fs::read_dir(&index).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 2);
    fs::remove_file(files.pop().unwrap()).unwrap();
    let damaged = files.pop().unwrap();
    fs::set_permissions(&damaged, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs::write(&damaged, b"no index").unwrap();
    assert!(!verify(&bench.reopen().await).await.problems.is_empty());

    let stop = Stop::default();
    let vault = bench.reopen().await;
    let plan = vault.plan_index_repair("here", &stop).await.unwrap();
    assert!(
        plan.added.len() >= 4 && plan.unreadable_index.len() == 1 && plan.dropped.is_empty(),
        "{plan:?}"
    );
    assert_eq!(vault.repair_index(Some(&plan), "here", &stop).await.unwrap(), plan);
    assert!(vault.plan_index_repair("here", &stop).await.unwrap().is_empty());
    bench.restic.check();
    assert_eq!(verify(&vault).await.problems, []);
    for snapshot in [first, second] {
        vault.read(snapshot).await.unwrap();
    }
    assert_eq!(dumped(&bench, first, "/content"), content);

    // A pack that is gone is named no more, and a run stores what was in it anew.
    let largest = pack_files(&bench)
        .into_iter()
        .max_by_key(|pack| fs::metadata(pack).unwrap().len())
        .unwrap();
    fs::remove_file(&largest).unwrap();
    let plan = vault.repair_index(None, "here", &stop).await.unwrap();
    let name = largest.file_name().unwrap().to_string_lossy().into_owned();
    assert_eq!(plan.dropped.iter().map(ToString::to_string).collect::<Vec<_>>(), [name]);
    let third = backup(&bench.reopen().await, &[("content", &content), ("more", &random(3 << 20, 2))]).await;
    assert!(third.stats.added_bytes > 0, "{:?}", third.stats);
    assert_eq!(verify(&bench.reopen().await).await.problems, [], "what was lost is there again");
    bench.restic.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_remains_of_a_damaged_snapshot_is_a_snapshot() {
    let bench = Bench::new().await;
    let vault = bench.vault.clone().with_options(small_packs());
    let whole = backup(&vault, &[("folder/whole", &random(2 << 20, 1)), ("other/small", b"small")])
        .await
        .snapshot;
    let before = pack_files(&bench);
    let damaged = backup(
        &vault,
        &[("folder/whole", &random(2 << 20, 1)), ("folder/deep/lost", &random(9 << 20, 2))],
    )
    .await
    .snapshot;
    let stop = Stop::default();
    assert_eq!(vault.plan_snapshot_repair("here", &stop).await.unwrap(), []);
    // What only the second has.
    let largest = pack_files(&bench)
        .into_iter()
        .filter(|pack| !before.contains(pack))
        .max_by_key(|pack| fs::metadata(pack).unwrap().len())
        .unwrap();
    fs::remove_file(largest).unwrap();
    let vault = bench.reopen().await;
    vault.repair_index(None, "here", &stop).await.unwrap();

    let plan = vault.plan_snapshot_repair("here", &stop).await.unwrap();
    let [repair] = &plan[..] else { panic!("{plan:?}") };
    assert_eq!((repair.snapshot.id, repair.is_lost, repair.repaired), (damaged.id, false, None));
    assert!(repair.damaged.contains(&"folder/deep/lost".to_owned()), "{repair:?}");
    let repaired = vault.repair_snapshots(Some(&plan), true, "here", &stop).await.unwrap();
    let id = repaired[0].repaired.unwrap();
    let left: Vec<ObjectId> = vault.snapshots().await.unwrap().iter().map(|snapshot| snapshot.id).collect();
    assert!(left.len() == 2 && left.contains(&id) && left.contains(&whole.id), "{left:?}");
    assert_eq!(vault.plan_snapshot_repair("here", &stop).await.unwrap(), []);
    assert_eq!(verify(&bench.reopen().await).await.problems, []);
    bench.restic.check();
    let target = bench.path("restored");
    bench.restic.ok(&["restore", &id.to_string(), "--target", target.to_str().unwrap()]);
    assert_eq!(fs::read(target.join("folder/whole")).unwrap(), random(2 << 20, 1));
    assert!(target.join("folder/deep/lost.repaired").exists() && !target.join("folder/deep/lost").exists());
    let document = bench.restic.ok(&["cat", "snapshot", &id.to_string()]);
    assert!(
        document.contains("\"repaired\"") && document.contains(&damaged.id.to_string()),
        "{document}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_remains_of_files_never_takes_the_name_of_another() {
    let bench = Bench::new().await;
    let vault = bench.vault.clone().with_options(small_packs());
    let kept = [("folder/db.repaired", &b"whole"[..]), ("folder/other", b"other")];
    backup(&vault, &kept).await;
    let before = pack_files(&bench);
    let long = format!("folder/{}", "n".repeat(255));
    let (one, other) = (random(3 << 20, 1), random(3 << 20, 2));
    let damaged = [&kept[..], &[("folder/db", &one), (&long, &other)]].concat();
    let damaged = backup(&vault, &damaged).await.snapshot;
    // All content that only the second has; its folders are far smaller.
    for pack in pack_files(&bench).iter().filter(|pack| !before.contains(pack)) {
        if fs::metadata(pack).unwrap().len() > 100_000 {
            fs::remove_file(pack).unwrap();
        }
    }
    let stop = Stop::default();
    let vault = bench.reopen().await;
    vault.repair_index(None, "here", &stop).await.unwrap();
    let plan = vault.plan_snapshot_repair("here", &stop).await.unwrap();
    assert_eq!(plan.iter().map(|repair| repair.snapshot.id).collect::<Vec<_>>(), [damaged.id]);
    let repaired = vault.repair_snapshots(Some(&plan), true, "here", &stop).await.unwrap();
    let id = repaired[0].repaired.unwrap();
    assert_eq!(vault.plan_snapshot_repair("here", &stop).await.unwrap(), []);
    assert_eq!(verify(&bench.reopen().await).await.problems, []);
    bench.restic.check();
    let target = bench.path("restored");
    bench.restic.ok(&["restore", &id.to_string(), "--target", target.to_str().unwrap()]);
    let files = fs::read_dir(target.join("folder")).unwrap();
    let mut names: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    let cut = format!("{}.repaired", "n".repeat(246));
    assert_eq!(names, ["db.repaired", "db.repaired-2", &cut, "other"]);
    assert_eq!(fs::read(target.join("folder/db.repaired")).unwrap(), b"whole");
}
