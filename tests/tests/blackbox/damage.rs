//! Damage to what is stored is found, named, and confined.

use std::path::{Path, PathBuf};

use crate::world::{World, assert_told};

/// The largest pack below `data/`: one with content of entries.
pub(crate) fn largest_pack(vault: &Path) -> PathBuf {
    let folders = std::fs::read_dir(vault.join("data")).unwrap().map(|entry| entry.unwrap().path());
    let packs = folders.flat_map(|folder| {
        std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<_>>()
    });
    packs.max_by_key(|pack| std::fs::metadata(pack).unwrap().len()).unwrap()
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
