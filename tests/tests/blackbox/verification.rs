//! `verify` looks at everything that it can: what can't be looked at, or is damaged, does not keep the rest from being looked at.

use bulkhead_test_support::Tree;

use crate::world::{World, assert_told, plugin_section};

/// Two vaults, `main` with a snapshot and `other` without a repository, each with a pipeline.
fn with_an_unusable_vault() -> World {
    let world = World::with_a_snapshot();
    let head = world.bulkhead().vault_section();
    world.bulkhead().scratch().folder("nothing").unwrap();
    world.write(&format!(
        "{head}\n[vault.earlier]\nkey = {{ file = \"vault-password\" }}\nsinks = [\"nothing\"]\n\n[sink.nothing]\nplugin = \"local\"\n\
         directory.root = {{ path = \"nothing\", access = \"read-write\" }}\n{}\n[pipeline.first]\nplugin = \"misbehaving-source\"\nvault = \"earlier\"\n{}",
        plugin_section("misbehaving-source"),
        crate::world::GOOD,
    ));
    world
}

#[test]
fn a_vault_that_cannot_be_opened_does_not_hide_the_others() {
    let world = with_an_unusable_vault();
    let outcome = world.run(&["verify"]);
    assert_told!(outcome);
    assert_eq!(outcome.code, Some(13));
    let outcome = world.run(&["verify", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let vaults = document["vaults"].as_array().unwrap();
    assert_eq!((&vaults[0]["vault"], &vaults[0]["class"]), (&"earlier".into(), &"not-found".into()));
    assert_eq!((&vaults[1]["vault"], &vaults[1]["snapshots"]), (&"main".into(), &1.into()));
    assert_eq!(document["snapshots"].as_array().unwrap().len(), 1);
}

#[test]
fn damage_decides_the_exit_code() {
    let world = with_an_unusable_vault();
    let pack = crate::damage::largest_pack(&world.bulkhead().vault());
    crate::damage::change(&pack, |content| content[1000] ^= 1);
    let outcome = world.run(&["verify", "--read-data"]);
    assert_eq!(outcome.code, Some(10), "{}{}", outcome.stdout, outcome.stderr);
}

#[test]
fn a_sink_that_a_vault_is_not_on_is_a_usage_error() {
    let world = with_an_unusable_vault();
    let outcome = world.run(&["verify", "good", "--sink", "nothing"]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
    let outcome = world.run(&["verify", "good", "--sink", "dist"]);
    assert!(outcome.stderr.contains("did you mean `disk`?"), "{}", outcome.stderr);
}

#[test]
fn a_damaged_last_snapshot_does_not_keep_the_next_from_being_taken() {
    let world = World::with_a_snapshot();
    // The smaller pack holds the trees.
    let packs = Tree::of(&world.bulkhead().vault().join("data")).unwrap();
    let smallest = packs.0.iter().filter(|(_, node)| node.size > 0).min_by_key(|(_, node)| node.size);
    let pack = world.bulkhead().vault().join("data").join(smallest.unwrap().0);
    crate::damage::change(&pack, |content| content.iter_mut().for_each(|byte| *byte ^= 0x55));
    world.configure("");
    let text = std::fs::read_to_string(world.folder().join("bulkhead.toml")).unwrap();
    world.write(&text.replace("seed = 7", "seed = 8"));
    let outcome = world.run(&["run", "good"]);
    assert_told!(outcome);
    assert_eq!(outcome.code, Some(0));
    world.succeed(&["restore", "good", "--into", "restored"]);
}

#[test]
fn a_pipeline_without_snapshots_has_nothing_that_could_be_good() {
    let world = World::empty();
    for arguments in [&["verify", "good"][..], &["verify", "good", "--all-snapshots"]] {
        let outcome = world.run(arguments);
        assert_eq!(outcome.code, Some(13), "{arguments:?}: {}{}", outcome.stdout, outcome.stderr);
    }
}

#[test]
fn without_a_pipeline_there_is_nothing_to_say_that_all_is_well_about() {
    let world = World::empty();
    world.write(&world.bulkhead().vault_section());
    for arguments in [&["run", "--all"][..], &["check"], &["verify"], &["snapshots"]] {
        let outcome = world.run(arguments);
        assert_eq!(outcome.code, Some(3), "{arguments:?}: {}{}", outcome.stdout, outcome.stderr);
        assert!(outcome.stderr.contains("the configuration has no pipeline"), "{}", outcome.stderr);
    }
    world.succeed(&["snapshots", "--vault", "main"]);
}
