//! `verify` and `snapshots` look at everything that they can: what can't be looked at, or is damaged, does not keep the rest from being looked at.

use bulkhead_test_support::Tree;

use crate::history::History;
use crate::replicas::Pair;
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
    for arguments in [&["run", "--all"][..], &["check"], &["verify"], &["snapshots"], &["plan"]] {
        let outcome = world.run(arguments);
        assert_eq!(outcome.code, Some(3), "{arguments:?}: {}{}", outcome.stdout, outcome.stderr);
        assert!(outcome.stderr.contains("the configuration has no pipeline"), "{}", outcome.stderr);
    }
    world.succeed(&["snapshots", "--vault", "main"]);
}

#[test]
fn a_vault_that_cannot_be_opened_does_not_hide_the_snapshots_of_others() {
    let world = with_an_unusable_vault();
    let listed = world.run(&["snapshots"]);
    assert_eq!(listed.code, Some(13), "{}", listed.stderr);
    assert_eq!(
        listed.stdout.lines().filter(|line| line.contains(" good ")).count(),
        1,
        "{}",
        listed.stdout
    );
    assert!(listed.stderr.contains("bulkhead init earlier"), "{}", listed.stderr);
    let json = world.run(&["snapshots", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json.code, Some(13));
    assert_eq!(document["snapshots"].as_array().unwrap().len(), 1, "{document}");
    assert_eq!(
        (&document["errors"][0]["vault"], &document["errors"][0]["exit-code"]),
        (&"earlier".into(), &13.into())
    );
    let alone = world.run(&["snapshots", "--vault", "earlier", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&alone.stdout).unwrap();
    assert_eq!((alone.code, &document["kind"]), (Some(13), &"error".into()));
}

#[test]
fn all_parts_of_a_verification_read_every_pack_once() {
    let history = History::eventful();
    let part = |number: u32, code: i32| {
        let subset = format!("{number}/3");
        history.json(code, &["verify", "good", "--vault-only", "--subset", &subset])["vaults"][0].clone()
    };
    let number = |vault: &serde_json::Value, field: &str| vault[field].as_u64().unwrap();
    let parts: Vec<_> = (1..=3).map(|number| part(number, 0)).collect();
    let sum = |field: &str| parts.iter().map(|part| number(part, field)).sum::<u64>();
    assert_eq!(sum("packs-read"), number(&parts[0], "packs"));
    assert_eq!(sum("bytes-read"), number(&parts[0], "pack-bytes"));
    for part in &parts {
        assert_eq!(part["read-data"], false, "a part is not all");
        assert!(number(part, "packs-read") < number(part, "packs"), "{part}");
    }
    assert_eq!(parts[1]["subset"], "2/3");

    // A byte of content, which nothing but reading it shows.
    let pack = history.packs().pop().unwrap();
    let mut content = std::fs::read(&pack).unwrap();
    content[100_000] ^= 1;
    let mut permissions = std::fs::metadata(&pack).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    std::fs::set_permissions(&pack, permissions).unwrap();
    std::fs::write(&pack, content).unwrap();
    history.json(0, &["verify", "good", "--vault-only"]);
    let run = |number: u32| history.run(&["verify", "good", "--vault-only", "--subset", &format!("{number}/3")]);
    let codes: Vec<_> = (1..=3).map(|number| run(number).code).collect();
    assert_eq!(codes.iter().filter(|code| **code == Some(10)).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 2, "{codes:?}");
}

#[test]
fn a_verification_says_which_share_it_read() {
    let history = History::eventful();
    let verify = |subset: &str| history.run(&["verify", "good", "--vault-only", "--subset", subset]);
    let packs = history.packs().len();
    for (subset, told) in [
        ("1 B", format!("1 B read: 1 of {packs} packs, ")),
        ("100%", format!("100% read: {packs} of {packs} packs, ")),
        ("rotating/1", format!("1/1 read: {packs} of {packs} packs, ")),
    ] {
        let outcome = verify(subset);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(outcome.stdout.contains(&told), "{subset}: {}", outcome.stdout);
    }
    for nonsense in ["0/7", "8/7", "0%", "all"] {
        let outcome = verify(nonsense);
        assert_eq!(outcome.code, Some(2), "{nonsense}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("rotating/7"), "{}", outcome.stderr);
    }
    assert_eq!(history.run(&["verify", "--subset", "1/2", "--read-data"]).code, Some(2));
}

/// The plan of `forget` for `good`: what is kept, oldest first, and why.
fn kept(world: &World) -> Vec<(String, Vec<String>)> {
    let plan = world.json(&["forget", "good", "--dry-run", "--json"]);
    let kept = plan["vaults"][0]["plan"]["kept"].as_array().unwrap().iter();
    kept.map(|snapshot| {
        let reasons = snapshot["reasons"].as_array().unwrap().iter();
        let reasons = reasons.map(|reason| reason.as_str().unwrap().to_owned()).collect();
        (snapshot["id"].as_str().unwrap().to_owned(), reasons)
    })
    .collect()
}

#[test]
fn the_last_verified_snapshot_stays_until_a_newer_one_is_verified() {
    let pair = Pair::with_snapshots(1, 1);
    let world = &pair.world;
    assert_eq!(world.json(&["snapshots", "--json"])["snapshots"][0].get("verified"), None);
    let told = world.succeed(&["verify", "--vault-only", "--read-data"]);
    assert!(told.contains("1 snapshot"), "{told}");
    let verified = pair.snapshots("disk").remove(0);
    let listed = world.json(&["snapshots", "--json"]);
    let depths: Vec<&serde_json::Value> = listed["snapshots"][0]["verified"].as_array().unwrap().iter().collect();
    assert_eq!([&depths[0]["depth"], &depths[1]["depth"]], ["structure", "data"]);
    assert_eq!(depths[1]["sink"], "disk");
    for seed in 1..4 {
        pair.run(seed, 1);
    }
    // A verification after which two of them are newer: they don't count, and it is not too old.
    let plan = kept(world);
    assert_eq!(plan.len(), 2);
    assert_eq!(plan[0], (verified.clone(), vec!["verified".to_owned()]));
    world.succeed(&["forget", "good", "--yes"]);
    for sink in ["disk", "second"] {
        assert!(
            pair.snapshots(sink).len() == 2 && pair.snapshots(sink).contains(&verified),
            "{sink}"
        );
    }
    let status = world.json(&["status", "--json"]);
    assert_eq!(status["pipelines"][0]["last-verified"]["id"], verified.as_str());
    let named = ["forget", "good", "--snapshot", &verified];
    let refused = world.run(&[&named[..], &["--yes"]].concat());
    assert_eq!(refused.code, Some(12), "{}", refused.stderr);
    assert!(refused.stderr.contains("among the last of `good` that were verified") && refused.stderr.contains("`--verified`"));
    world.succeed(&[&named[..], &["--verified", "--dry-run"]].concat());
    // What is verified now takes its place, and what was said of it before is said no more.
    world.succeed(&["verify", "--read-data"]);
    assert_eq!(kept(world).len(), 1);
    world.succeed(&["forget", "good", "--yes"]);
    assert_eq!(pair.snapshots("disk").len(), 1);
    world.restic().check().unwrap();
    // The one that stays, and what was found of it in the vault and by the plugin.
    assert!((1..=2).contains(&world.records()), "{} records", world.records());
}

#[test]
fn damage_takes_the_mark_from_the_sink_that_has_it() {
    let pair = Pair::with_snapshots(1, 1);
    let world = &pair.world;
    let marks = || {
        let listed = world.json(&["snapshots", "--json"]);
        let marks = listed["snapshots"][0]["verified"].as_array().cloned().unwrap_or_default();
        marks
            .iter()
            .map(|mark| mark["sink"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    world.succeed(&["verify", "--vault-only", "--read-data"]);
    assert_eq!(marks(), ["disk", "disk"]);
    let pack = crate::damage::largest_pack(&world.bulkhead().vault());
    crate::damage::change(&pack, |content| content[1000] ^= 1);
    assert_eq!(world.run(&["verify", "--vault-only", "--read-data"]).code, Some(10));
    assert_eq!(marks(), <[&str; 0]>::default());
    // A look that is not as deep says nothing of it.
    world.succeed(&["verify", "--vault-only"]);
    assert_eq!(marks(), <[&str; 0]>::default());
    world.succeed(&["verify", "--vault-only", "--read-data", "--sink", "second"]);
    assert_eq!(marks(), ["second", "second"]);
    world.succeed(&["repair", "objects", "main", "--read-data", "--yes"]);
    world.succeed(&["verify", "--vault-only", "--read-data"]);
    assert_eq!(marks(), ["disk", "disk"]);
}

#[test]
fn plain_restic_restores_the_backup_that_was_verified_last() {
    let world = World::with_a_snapshot();
    let restored = |selector: &str| {
        let target = world.bulkhead().scratch().folder(format!("restic-{selector}")).unwrap();
        world.restic().restore(selector, &target).unwrap();
        Tree::of(&target).unwrap().contents()
    };
    let listed = world.json(&["snapshots", "--json"]);
    let before = restored(listed["snapshots"][0]["id"].as_str().unwrap());
    world.succeed(&["verify", "--read-data"]);
    assert!(world.records() > 0 && !before.is_empty());
    assert_eq!(restored("latest"), before);
}

#[test]
fn a_vault_that_takes_no_record_is_verified_all_the_same() {
    let world = World::with_a_snapshot();
    let locks = world.bulkhead().vault().join("locks");
    std::fs::remove_dir(&locks).unwrap();
    std::fs::write(&locks, "").unwrap();
    let outcome = world.run(&["verify", "--vault-only", "--json"]);
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    let document: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert!(document["vaults"][0]["not-recorded"].is_string(), "{document}");
    let told = world.run(&["verify", "--vault-only"]);
    assert!(told.code == Some(0) && told.stderr.contains("not recorded"), "{}", told.stderr);
}
