//! Disks without room, for bytes or for inodes, at every moment of a run and of a restore: the failure is told, what is there stays whole, and when there
//! is room again, nobody has to help.

use std::fs;

use bulkhead_test_support::Outcome;
use serde_json::Value;

use crate::archive::{Archive, NEW};
use crate::disk::{Disk, Room};

/// Exit code of everything for which there is no room.
const STORAGE_FULL: Option<i32> = Some(11);
/// The unit in which a tmpfs gives room away.
const PAGE: u64 = 4096;
/// Room for all rounds of a test, with what those that failed have left.
const ENOUGH: &str = "size=64m,nr_inodes=2000";

/// With room for `left` more, a run fails as one does without room, or there was enough. Then there is room, and a run works.
fn run_with_little_room(archive: &mut Archive, of: Room, left: u64) -> bool {
    archive.change();
    archive.disk().leave(of, left);
    let outcome = archive.run(&["run", "home", "--json"]);
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let report = &report["runs"][0];
    let committed = archive.discover();
    let failed = outcome.code != Some(0);
    if failed {
        assert_eq!(outcome.code, STORAGE_FULL, "with {left} {of:?}: {report}");
        assert_eq!((&report["class"], &report["exit-code"]), (&"storage-full".into(), &11.into()));
        assert_eq!(
            (&report["committed"], &report["commit-unknown"]),
            (&Value::Array(Vec::new()), &false.into()),
            "{report}"
        );
        assert!(report["hint"].as_str().unwrap().contains("df -i"), "{report}");
        assert!(committed.is_empty());
    } else {
        assert_eq!(committed.into_iter().collect::<Vec<_>>(), [report["snapshot"].as_str().unwrap()]);
    }
    archive.assert_undamaged();
    archive.disk().make_room();
    archive.change();
    archive.take();
    failed
}

/// Room that one run takes for good, and the most that it takes at one time: its lock is gone when it ends, and an object has two names for a moment.
fn need_of_a_run(archive: &mut Archive, of: Room) -> u64 {
    archive.change();
    let before = archive.disk().room(of);
    archive.take();
    before - archive.disk().room(of)
}

#[test]
fn a_disk_that_is_full_at_any_moment_of_a_run_costs_that_run_alone() {
    let mut archive = Archive::new(Some(Disk::new(ENOUGH)));
    archive.change();
    archive.take();
    let need = need_of_a_run(&mut archive, Room::Bytes);
    assert!(need > NEW as u64);
    // For no lock; for that alone; in the middle of the content; and, a page at a time, for the last objects: folders, index, snapshot.
    let early = [0, PAGE, 3 * PAGE, need / 2 / PAGE * PAGE];
    let late = (0..8).map(|pages| need - pages * PAGE);
    let failed = early
        .into_iter()
        .chain(late)
        .filter(|left| run_with_little_room(&mut archive, Room::Bytes, *left))
        .count();
    assert!(failed >= 7, "only {failed} runs had too little room");
    archive.assert_all_restore();
}

#[test]
fn a_disk_without_inodes_at_any_moment_of_a_run_costs_that_run_alone() {
    let mut archive = Archive::new(Some(Disk::new(ENOUGH)));
    archive.change();
    archive.take();
    let need = need_of_a_run(&mut archive, Room::Inodes);
    let failed = (0..need + 3)
        .filter(|left| run_with_little_room(&mut archive, Room::Inodes, *left))
        .count() as u64;
    assert!(
        failed >= need && failed < need + 3,
        "{failed} runs of those that need {need} had too few inodes"
    );
    archive.assert_all_restore();
}

#[test]
fn a_vault_that_a_run_has_filled_can_be_pruned_and_goes_on_without_more_room() {
    let mut archive = Archive::new(Some(Disk::new("size=24m,nr_inodes=2000")));
    archive.change();
    archive.take();
    let before = archive.disk().room(Room::Bytes);
    fs::write(
        archive.path("home/too-much"),
        bulkhead_test_support::mutation::Random::new(1).bytes(64 << 20),
    )
    .unwrap();
    assert_eq!(archive.run(&["run", "home"]).code, STORAGE_FULL);
    assert!(archive.disk().room(Room::Bytes) < before, "nothing was stored");
    archive.assert_undamaged();
    fs::remove_file(archive.path("home/too-much")).unwrap();
    archive.succeed(&["prune", "main", "--yes", "--grace", "0s"]);
    assert!(
        archive.disk().room(Room::Bytes) + 3 * PAGE >= before,
        "what the failed run left is still there"
    );
    archive.change();
    archive.take();
    archive.assert_undamaged();
    archive.assert_all_restore();
}

/// A restore onto a disk with room for so much of it.
fn restore_with_little_room(archive: &Archive, target: &Disk, of: Room, left: u64) -> Outcome {
    target.leave(of, left);
    let into = target.folder("into").display().to_string();
    let mut command = target.command_of(archive.bulkhead(), &["restore", "home", "--into", &into]);
    command.output().unwrap().into()
}

/// What a restore needs that there is too little of fails it, and when there is enough, the same restore with `--delta` finishes it.
fn assert_restore_is_finished(of: Room, parts: &[u64]) {
    let mut archive = Archive::new(None);
    archive.change();
    archive.take();
    for left in parts {
        let target = Disk::new(ENOUGH);
        let outcome = restore_with_little_room(&archive, &target, of, *left);
        assert_eq!(
            outcome.code, STORAGE_FULL,
            "with {left} {of:?}: {}{}",
            outcome.stdout, outcome.stderr
        );
        for told in [
            "No space left on device",
            &target.path().display().to_string(),
            "restore again with `--delta`",
        ] {
            assert!(outcome.stderr.contains(told), "{}", outcome.stderr);
        }
        target.make_room();
        let into = target.path().join("into").display().to_string();
        let finished = target.run(archive.bulkhead(), &["restore", "home", "--into", &into, "--delta"]);
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        archive.assert_is_latest(&target.outside_path().join("into"));
    }
    archive.assert_undamaged();
    archive.assert_all_restore();
}

#[test]
fn a_target_that_is_full_fails_a_restore_which_is_finished_when_there_is_room() {
    assert_restore_is_finished(Room::Bytes, &[0, PAGE, NEW as u64 / 2, NEW as u64]);
}

#[test]
fn a_target_without_inodes_fails_a_restore_which_is_finished_when_there_are_some() {
    assert_restore_is_finished(Room::Inodes, &[1, 2, 10, 30]);
}
