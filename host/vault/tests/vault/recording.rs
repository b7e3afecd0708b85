//! Records of verifications: plain restic takes them for snapshots of nothing, this program for no snapshots at all, and damage takes marks away.

use std::collections::BTreeSet;

use bulkhead_model::Timestamp;
use bulkhead_vault::{Depth, Marks, PruneLimit, PruneOptions, Recorded, Stop, TagChange, Vault, Verification, VerifyReport};

use crate::support::{Bench, backup, random, verify};

async fn record(vault: &Vault, report: &VerifyReport) {
    let found = Verification {
        repository: vault.id().to_owned(),
        sink: "here".to_owned(),
        depth: Depth::Data,
        began: Timestamp {
            seconds: 1_700_000_000,
            nanoseconds: 5,
        },
        sound: report.sound.clone(),
        damaged: report.damaged.clone(),
    };
    vault.record_verification(found, "here").await.unwrap();
}

async fn marks(vault: &Vault) -> Marks {
    let mut records = vault.snapshots_and_records().await.unwrap();
    records.retain(|snapshot| snapshot.is_record());
    Marks::of(&records, vault.id())
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_takes_a_record_for_a_snapshot_of_nothing_and_we_for_none() {
    let bench = Bench::new().await;
    let vault = &bench.vault;
    let snapshot = backup(vault, &[("file", &random(1 << 20, 1))]).await.snapshot;
    let report = verify(vault).await;
    assert_eq!((&report.sound, &report.damaged), (&vec![snapshot.tree], &Vec::new()));
    record(vault, &report).await;
    record(vault, &verify(vault).await).await;

    bench.restic.check();
    let listed: serde_json::Value = serde_json::from_str(&bench.restic.ok(&["snapshots", "--json"])).unwrap();
    let tags: Vec<&serde_json::Value> = listed.as_array().unwrap().iter().map(|snapshot| &snapshot["tags"][0]).collect();
    assert_eq!(tags, ["bulkhead-verified", "bulkhead-verified", "bulkhead"]);
    assert_eq!(
        bench.restic.ok(&["ls", "latest", "--tag", "bulkhead-verified"]).lines().count(),
        1,
        "nothing but its headline"
    );

    let reopened = bench.reopen().await;
    assert_eq!(reopened.snapshots().await.unwrap(), std::slice::from_ref(&snapshot));
    assert_eq!(reopened.resolve("latest", None).await.unwrap().id, snapshot.id);
    let report = verify(&reopened).await;
    assert_eq!((report.snapshots, report.problems), (1, Vec::new()));
    let listed = reopened.snapshots_and_records().await.unwrap();
    let mut numbers: Vec<u64> = listed
        .iter()
        .filter_map(|snapshot| snapshot.recorded.as_ref())
        .map(number)
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2], "the later one is known for it");

    // Whoever prunes keeps what they need, and what they say.
    let options = PruneOptions {
        max_unused: PruneLimit::Percent(0),
        ..PruneOptions::default()
    };
    reopened.prune(options, |_| true, "here", &Stop::default()).await.unwrap();
    bench.restic.ok(&["prune", "--max-unused", "0"]);
    bench.restic.check();
    let found = marks(&bench.reopen().await).await.of_tree(snapshot.tree, &["here".to_owned()]);
    assert_eq!(
        found.iter().map(|mark| mark.depth).collect::<Vec<_>>(),
        [Depth::Structure, Depth::Data]
    );
}

fn number(recorded: &Recorded) -> u64 {
    match recorded {
        Recorded::Said(said) => said.number,
        Recorded::Unknown => panic!("it is of this version"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_restores_and_keeps_backups_whatever_was_recorded_after_them() {
    let bench = Bench::new().await;
    let content = random(100_000, 1);
    // Both are of the same moment here: which of them is the latest is not what this is about.
    let old = backup(&bench.vault, &[("file", &content), ("other", b"other")]).await.snapshot;
    let snapshot = backup(&bench.vault, &[("file", &content)]).await.snapshot;
    for _ in 0..3 {
        record(&bench.vault, &verify(&bench.vault).await).await;
    }
    let target = bench.folder.path().join("restored");
    bench.restic.ok(&["restore", "latest", "--target", target.to_str().unwrap()]);
    assert!(std::fs::read(target.join("file")).unwrap() == content);
    for grouping in ["host", "paths", ""] {
        bench.restic.ok(&["forget", "--group-by", grouping, "--keep-last", "2"]);
        let left: BTreeSet<_> = bench.reopen().await.snapshots().await.unwrap().iter().map(|left| left.id).collect();
        assert_eq!(left, BTreeSet::from([old.id, snapshot.id]), "by {grouping:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tag_of_a_record_hides_no_backup() {
    let bench = Bench::new().await;
    let snapshot = backup(&bench.vault, &[("file", b"content")]).await.snapshot;
    let tag = TagChange::Change {
        add: vec!["bulkhead-verified".to_owned()],
        remove: Vec::new(),
    };
    assert!(bench.vault.tag(&[snapshot.id], &tag, "here", &Stop::default()).await.is_err());
    bench.restic.ok(&["tag", "--add", "bulkhead-verified", "latest"]);
    let vault = bench.reopen().await;
    let listed = vault.snapshots().await.unwrap();
    assert_eq!(listed.iter().map(|listed| listed.tree).collect::<Vec<_>>(), [snapshot.tree]);
    assert_eq!(vault.resolve("latest", None).await.unwrap().tree, snapshot.tree);
    assert_eq!(verify(&vault).await.sound, [snapshot.tree]);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_reaches_the_snapshots_that_need_what_is_damaged() {
    let bench = Bench::new().await;
    let vault = &bench.vault;
    let whole = backup(vault, &[("one", &random(1 << 20, 1))]).await.snapshot;
    let before: Vec<_> = packs(&bench);
    let hurt = backup(vault, &[("two", &random(1 << 20, 2))]).await.snapshot;
    record(vault, &verify(vault).await).await;
    let new = packs(&bench).into_iter().filter(|pack| !before.contains(pack));
    let pack = new.max_by_key(|pack| std::fs::metadata(pack).unwrap().len()).unwrap();
    let mut content = std::fs::read(&pack).unwrap();
    content[1000] ^= 1;
    std::fs::write(&pack, content).unwrap();

    let report = verify(vault).await;
    assert_eq!((&report.sound, &report.damaged), (&vec![whole.tree], &vec![hurt.tree]));
    record(vault, &report).await;
    let marks = marks(&bench.reopen().await).await;
    let of = |tree| marks.of_tree(tree, &["here".to_owned()]).len();
    assert_eq!((of(whole.tree), of(hurt.tree)), (2, 0));
}

fn packs(bench: &Bench) -> Vec<std::path::PathBuf> {
    let folders = std::fs::read_dir(bench.restic.repository.join("data")).unwrap();
    folders
        .flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|pack| pack.unwrap().path())
        .collect()
}
