//! Damage to what is stored is found, named, and confined.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bulkhead_test_support::{Outcome, Tree};
use serde_json::Value;

use crate::world::{World, assert_told};

/// The packs below `data/`.
fn packs(vault: &Path) -> BTreeSet<PathBuf> {
    let folders = std::fs::read_dir(vault.join("data")).unwrap().map(|entry| entry.unwrap().path());
    let packs = folders.flat_map(|folder| {
        std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<_>>()
    });
    packs.collect()
}

fn size(pack: &PathBuf) -> u64 {
    std::fs::metadata(pack).unwrap().len()
}

/// The largest pack: one with content of entries.
pub(crate) fn largest_pack(vault: &Path) -> PathBuf {
    packs(vault).into_iter().max_by_key(size).unwrap()
}

pub(crate) fn change(file: &Path, alter: impl FnOnce(&mut Vec<u8>)) {
    let mut content = std::fs::read(file).unwrap();
    alter(&mut content);
    std::fs::write(file, content).unwrap();
}

/// With a pack changed like this, `restore` and `verify --read-data` fail as recorded; with the pack as it was, nothing is lost.
fn assert_found(name: &str, alter: impl FnOnce(&mut Vec<u8>)) {
    let world = World::with_a_snapshot();
    let pack = largest_pack(&world.bulkhead().vault());
    let intact = std::fs::read(&pack).unwrap();
    change(&pack, alter);
    let restore = world.run(&["restore", "good", "--into", "damaged"]);
    assert_told!(format!("{name}_restore"), restore);
    assert_ne!(restore.code, Some(0));
    let verify = world.run(&["verify", "good", "--read-data"]);
    assert_told!(format!("{name}_verify"), verify);
    assert_ne!(verify.code, Some(0));
    std::fs::write(&pack, intact).unwrap();
    world.assert_nothing_was_lost();
}

#[test]
fn a_flipped_bit_in_a_pack_is_found() {
    assert_found("flipped_bit", |content| content[1000] ^= 1);
}

#[test]
fn a_truncated_pack_is_found() {
    assert_found("truncated_pack", |content| content.truncate(content.len() / 2));
}

#[test]
fn a_missing_pack_is_found() {
    let world = World::with_a_snapshot();
    let pack = largest_pack(&world.bulkhead().vault());
    let intact = std::fs::read(&pack).unwrap();
    std::fs::remove_file(&pack).unwrap();
    let verify = world.run(&["verify", "good"]);
    assert_told!(verify);
    assert_ne!(verify.code, Some(0));
    std::fs::write(&pack, intact).unwrap();
    world.assert_nothing_was_lost();
}

#[test]
fn a_damaged_index_is_found_before_anything_is_written() {
    let world = World::with_a_snapshot();
    let index = std::fs::read_dir(world.bulkhead().vault().join("index"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let intact = std::fs::read(&index).unwrap();
    change(&index, |content| content[20] ^= 1);
    let outcome = world.run(&["run", "good"]);
    assert_told!(outcome);
    assert_ne!(outcome.code, Some(0));
    std::fs::write(&index, intact).unwrap();
    world.assert_nothing_was_lost();
}

/// A vault with two snapshots of the pipeline `good` that share no content, the older one restored into `before`; with their ids, and the pack of trees that
/// only the newer one needs.
fn with_two_snapshots() -> (World, [String; 2], PathBuf) {
    let world = World::with_a_snapshot();
    world.succeed(&["restore", "good", "--into", "before"]);
    let earlier = packs(&world.bulkhead().vault());
    let text = std::fs::read_to_string(world.folder().join("bulkhead.toml")).unwrap();
    world.write(&text.replace("seed = 7", "seed = 8"));
    world.succeed(&["run", "good"]);
    let added = packs(&world.bulkhead().vault()).difference(&earlier).cloned().collect::<Vec<_>>();
    let trees = added.into_iter().min_by_key(size).unwrap();
    let document = world.json(&["snapshots", "--json"]);
    let ids = [0, 1].map(|at: usize| document["snapshots"][at]["id"].as_str().unwrap().to_owned());
    (world, ids, trees)
}

#[track_caller]
fn document(outcome: &Outcome) -> Value {
    assert_eq!(outcome.code, Some(10), "{}{}", outcome.stdout, outcome.stderr);
    serde_json::from_str(&outcome.stdout).unwrap()
}

/// The older snapshot can be asked for by its id, and is whole.
fn assert_restores(world: &World, id: &str) {
    world.succeed(&["restore", "good", "--snapshot", &id[..8], "--into", "after"]);
    let [before, after] = ["before", "after"].map(|name| Tree::of(&world.folder().join(name)).unwrap().contents());
    assert_eq!(before, after);
}

#[test]
fn a_damaged_snapshot_does_not_hide_the_others() {
    let (world, [older, newer], trees) = with_two_snapshots();
    change(&trees, |content| content.iter_mut().for_each(|byte| *byte ^= 0x55));
    assert_told!(world.run(&["snapshots"]));

    let listed = document(&world.run(&["snapshots", "--json"]));
    let [first, second] = [&listed["snapshots"][0], &listed["snapshots"][1]];
    assert_eq!((&first["id"], &second["id"]), (&older.as_str().into(), &newer.as_str().into()));
    assert_eq!((&first["proof"]["entries"], first.get("error")), (&3.into(), None));
    assert!(second["proof"].is_null() && second["error"].is_string(), "{second}");
    assert_restores(&world, &older);

    let verified = document(&world.run(&["verify", "--all-snapshots", "--json"]));
    let damage = verified["vaults"][0]["damage"].as_array().unwrap();
    let affected: BTreeSet<&str> = damage
        .iter()
        .flat_map(|damage| damage["snapshots"].as_array().unwrap())
        .map(|id| id.as_str().unwrap())
        .collect();
    assert_eq!(affected, [newer.as_str()].into());
    let [first, second] = [&verified["snapshots"][0], &verified["snapshots"][1]];
    assert_eq!((&first["snapshot"], first.get("class")), (&older.as_str().into(), None));
    assert_eq!((&second["snapshot"], &second["class"]), (&newer.as_str().into(), &"damaged".into()));
}

#[test]
fn a_damaged_snapshot_file_does_not_hide_the_other_snapshots() {
    let (world, [older, newer], _) = with_two_snapshots();
    change(&world.bulkhead().vault().join("snapshots").join(&newer), |content| content[20] ^= 1);
    assert_told!(world.run(&["snapshots"]));

    let listed = document(&world.run(&["snapshots", "--json"]));
    assert_eq!(listed["snapshots"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&listed["snapshots"][0]["id"], &listed["unreadable"][0]["id"]),
        (&older.as_str().into(), &newer.as_str().into())
    );
    assert_restores(&world, &older);

    let verified = document(&world.run(&["verify", "--all-snapshots", "--json"]));
    assert!(verified["vaults"][0]["damage"].to_string().contains(&newer), "{verified}");
    assert_eq!(verified["snapshots"][0]["snapshot"], older.as_str());
}
