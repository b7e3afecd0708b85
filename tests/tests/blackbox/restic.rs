//! Plain restic from Debian lists, checks and restores what Bulkhead writes.

use std::collections::BTreeMap;

use bulkhead_test_support::restic::Restic;
use bulkhead_test_support::{Bulkhead, Tree, run};

use crate::world::{World, plugin_section};

#[test]
fn restic_lists_a_snapshot_with_its_pipeline_as_path_and_tag() {
    let world = World::with_a_snapshot();
    let listed: serde_json::Value = serde_json::from_str(&world.restic().text(["snapshots", "--json"]).unwrap()).unwrap();
    let [snapshot] = listed.as_array().unwrap().as_slice() else {
        panic!("{listed}")
    };
    assert_eq!(snapshot["paths"], serde_json::json!(["/good"]));
    assert_eq!(snapshot["tags"], serde_json::json!(["bulkhead", "pipeline:good"]));
}

#[test]
fn restic_reads_every_byte_without_complaint() {
    let world = World::with_a_snapshot();
    world.succeed(&["run", "good"]);
    world.restic().check().unwrap();
}

#[test]
fn restic_restores_the_bytes_sizes_modes_and_times_that_bulkhead_restores() {
    let world = World::with_a_snapshot();
    world.succeed(&["restore", "good", "--into", "ours"]);
    let theirs = world.bulkhead().scratch().folder("theirs").unwrap();
    world.restic().restore("latest", &theirs).unwrap();
    let ours = Tree::of(&world.folder().join("ours")).unwrap();
    assert_eq!(ours.0.len(), 4, "a folder and three files: {:?}", ours.0.keys());
    assert_eq!(ours, Tree::of(&theirs).unwrap().without(&[".bulkhead"]));
}

#[test]
fn a_run_that_changes_nothing_stores_next_to_nothing() {
    let world = World::with_a_snapshot();
    let bytes = || {
        Tree::of(&world.bulkhead().vault())
            .unwrap()
            .0
            .values()
            .map(|node| node.size)
            .sum::<u64>()
    };
    let before = bytes();
    world.succeed(&["run", "good"]);
    assert!(bytes() - before < 10_000, "{} more bytes", bytes() - before);
    assert_eq!(world.snapshots(), 2);
}

#[test]
fn restic_and_bulkhead_dump_the_same_entry() {
    let world = World::with_a_snapshot();
    let theirs = world.restic().run(["dump", "latest", "/data/00000001"]).unwrap().stdout;
    let ours = world.bulkhead().command(["dump", "good", "data/00000001"]).output().unwrap();
    assert!(ours.status.success());
    assert_eq!(theirs.len(), 300_000);
    assert!(ours.stdout == theirs, "the entries differ");
}

#[test]
fn a_restic_prune_beside_it_leaves_what_bulkhead_can_read() {
    let world = World::with_a_snapshot();
    world.succeed(&["run", "good"]);
    world.restic().run(["forget", "--keep-last", "1", "--prune"]).unwrap();
    world.succeed(&["restore", "good", "--into", "after"]);
    assert_eq!(world.snapshots(), 1);
    let contents: BTreeMap<_, _> = Tree::of(&world.folder().join("after")).unwrap().contents();
    assert_eq!(contents.len(), 3);
    world.succeed(&["verify", "good", "--read-data"]);
}

#[test]
fn a_repository_that_restic_made_is_a_vault_and_its_snapshots_are_snapshots() {
    let bulkhead = Bulkhead::new().unwrap();
    let restic = Restic::new(bulkhead.vault(), bulkhead.vault_password_file()).unwrap();
    restic.run(["init"]).unwrap();
    let files = bulkhead.scratch().folder("files/below").unwrap();
    std::fs::write(files.join("a"), b"written by restic").unwrap();
    std::os::unix::fs::symlink("a", files.join("link")).unwrap();
    let mut backup = restic.command(["backup", "files", "--tag", "bulkhead", "--tag", "pipeline:good"]);
    run(backup.current_dir(bulkhead.scratch().path())).unwrap();
    bulkhead
        .configure(&format!(
            "{}\n[pipeline.good]\nplugin = \"misbehaving-source\"\nvault = \"main\"\n",
            plugin_section("misbehaving-source")
        ))
        .unwrap();
    let succeed = |arguments: &[&str]| {
        let outcome = bulkhead.run(arguments).unwrap();
        assert_eq!(outcome.code, Some(0), "{arguments:?}: {}", outcome.stderr);
        outcome.stdout
    };
    succeed(&["check"]);
    let listed: serde_json::Value = serde_json::from_str(&succeed(&["snapshots", "--json"])).unwrap();
    assert_eq!(listed["snapshots"][0]["proof"], serde_json::Value::Null);
    assert!(succeed(&["ls", "good"]).lines().any(|line| line == "files/below/link"));
    succeed(&["restore", "good", "--into", "restored"]);
    let restored = Tree::of(&bulkhead.scratch().join("restored/files")).unwrap();
    assert_eq!(restored, Tree::of(&bulkhead.scratch().join("files")).unwrap());
    succeed(&["verify", "good", "--vault-only", "--read-data"]);
    succeed(&["run", "good"]);
    succeed(&["verify", "good", "--read-data"]);
    restic.check().unwrap();
}

#[test]
fn what_restic_took_is_listed_and_restored_without_a_pipeline() {
    let world = World::with_a_snapshot();
    let scratch = world.bulkhead().scratch();
    let files = scratch.folder("files/below").unwrap();
    std::fs::write(files.join("a"), b"written by restic").unwrap();
    std::os::unix::fs::symlink("a", files.join("link")).unwrap();
    run(world.restic().command(["backup", "files"]).current_dir(scratch.path())).unwrap();
    let listed = world.run(&["snapshots"]);
    assert!(
        listed.stderr.contains("and 1 snapshot that no pipeline of the configuration took"),
        "{}",
        listed.stderr
    );
    assert_eq!(
        world.json(&["snapshots", "--json"])["others"],
        serde_json::json!([{ "vault": "main", "snapshots": 1 }])
    );
    let all = world.json(&["snapshots", "--vault", "main", "--json"]);
    let mut all = all["snapshots"].as_array().unwrap().iter();
    let theirs = all.find(|snapshot| snapshot["pipeline"].is_null()).unwrap();
    let id = theirs["id"].as_str().unwrap();
    let of_it = |words: &[&str]| world.succeed(&[&[words[0], "--vault", "main", "--snapshot", id], &words[1..]].concat());
    assert_eq!(of_it(&["ls", "/files/below"]), "files/below\nfiles/below/a\nfiles/below/link\n");
    assert_eq!(of_it(&["dump", "/files/below/a"]), "written by restic");
    of_it(&["restore", "--into", "whole"]);
    let whole = Tree::of(&scratch.join("whole")).unwrap();
    let restored = scratch.folder("theirs").unwrap();
    world.restic().restore(id, &restored).unwrap();
    assert_eq!(whole, Tree::of(&restored).unwrap());
    assert_eq!(whole.contents().len(), 1);
    of_it(&["restore", "/files/below/a", "--into", "part"]);
    assert_eq!(std::fs::read(scratch.join("part/files/below/a")).unwrap(), b"written by restic");
    assert!(!scratch.join("part/files/below/link").exists());
}

#[test]
fn without_a_pipeline_a_snapshot_is_named_and_no_plugin_works() {
    let world = World::with_a_snapshot();
    let listed = world.json(&["snapshots", "--json"]);
    let id = listed["snapshots"][0]["id"].as_str().unwrap();
    let report = world.json(&["restore", "--vault", "main", "--snapshot", id, "--into", "ours", "--json"]);
    assert_eq!(report["pipeline"], "good", "the snapshot says whose it is");
    for (arguments, said) in [
        (&["ls", "--vault", "main"][..], "the snapshot has to be named"),
        (&["ls", "--vault", "nowhere", "--snapshot", id], "there is no vault `nowhere`"),
        (&["ls", "--vault", "main", "--snapshot", id, "/data", "/data"], "one path too many"),
        (&["dump", "--vault", "main", "--snapshot", id], "`dump` writes one entry"),
        (
            &["dump", "--vault", "main", "--snapshot", id, "--format", "joined"],
            "no pipeline is named",
        ),
        (
            &["restore", "--vault", "main", "--snapshot", id, "--target", "folder"],
            "no pipeline is named",
        ),
        (&["restore", "/data", "--into", "nowhere"], "there is no pipeline `/data`"),
    ] {
        let outcome = world.run(arguments);
        assert_eq!(outcome.code, Some(2), "{arguments:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(said), "{arguments:?}: {}", outcome.stderr);
    }
    world.configure("\n[pipeline.other]\nplugin = \"misbehaving-source\"\nvault = \"main\"\n");
    let not_its_own = world.run(&["restore", "other", "--snapshot", id, "--into", "nowhere"]);
    assert_eq!(not_its_own.code, Some(13), "{}", not_its_own.stderr);
    assert!(not_its_own.stderr.contains("`--vault`"), "{}", not_its_own.stderr);
}

#[test]
fn a_vault_of_the_old_format_is_told_before_a_run_fails() {
    let world = World::empty();
    std::fs::remove_dir_all(world.bulkhead().vault()).unwrap();
    world.restic().run(["init", "--repository-version", "1"]).unwrap();
    for (arguments, exit) in [(["check", "good"], 14), (["run", "good"], 6)] {
        let outcome = world.run(&arguments);
        assert_eq!(outcome.code, Some(exit), "{arguments:?}: {}{}", outcome.stdout, outcome.stderr);
        for part in ["format version 1", "`restic migrate upgrade_repo_v2`"] {
            assert!(outcome.stderr.contains(part), "{arguments:?}: {}", outcome.stderr);
        }
    }
    world.restic().run(["migrate", "upgrade_repo_v2"]).unwrap();
    world.succeed(&["check", "good"]);
    world.succeed(&["run", "good"]);
}
