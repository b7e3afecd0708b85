//! Runs that are cut off: by a dying server, by `kill -9`, by Ctrl-C.

use std::io::Read as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use bulkhead_test_support::{Outcome, signal};
use serde_json::Value;

use crate::postgres::Shop;
use crate::world::{World, assert_told, plugin_section};

/// A run that would take minutes: it hangs after some megabytes have been written.
const ENDLESS: &str = "limits = { wall-clock = \"5 min\" }";

/// A run of the pipeline `bad` whose source goes wrong now.
fn spawn(world: &World) -> Child {
    spawn_until(world, &["run", "bad"], "going wrong now")
}

/// A command whose plugin has just logged `words`.
pub(crate) fn spawn_until(world: &World, arguments: &[&str], words: &str) -> Child {
    try_spawn_until(world, arguments, words).unwrap_or_else(|ended| panic!("it ended by itself: {ended:?}"))
}

/// The same, where it may end without that.
fn try_spawn_until(world: &World, arguments: &[&str], words: &str) -> Result<Child, Outcome> {
    let mut command = world.bulkhead().command(arguments);
    command
        .env("BULKHEAD_LOG", "bulkhead::plugin=info")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stderr = child.stderr.as_mut().unwrap();
    let mut line = Vec::new();
    while !(line.ends_with(b"\n") && String::from_utf8_lossy(&line).contains(words)) {
        let mut byte = [0];
        if stderr.read(&mut byte).unwrap() == 0 {
            return Err(outcome(child));
        }
        line.push(byte[0]);
    }
    Ok(child)
}

pub(crate) fn outcome(mut child: Child) -> Outcome {
    let mut stdout = String::new();
    let mut stderr = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    Outcome {
        code: child.wait().unwrap().code(),
        stdout,
        stderr,
    }
}

#[test]
fn an_interrupt_ends_a_run_within_a_second_and_cleans_up() {
    for (name, behaviour) in [("hanging", "hang"), ("looping", "loop-forever")] {
        let world = World::with_a_snapshot();
        world.configure_misbehaviour(behaviour, ENDLESS);
        let child = spawn(&world);
        let begin = Instant::now();
        signal::interrupt(&child).unwrap();
        let outcome = outcome(child);
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(1), "a {name} plugin was cancelled after {took:?}");
        assert_told!(format!("interrupted_while_{name}"), outcome);
        assert_eq!(outcome.code, Some(130));
        assert_eq!(
            std::fs::read_dir(world.bulkhead().vault().join("locks")).unwrap().count(),
            0,
            "the lock is gone"
        );
        world.assert_nothing_was_lost();
    }
}

#[test]
fn a_killed_run_leaves_a_vault_that_works() {
    let world = World::with_a_snapshot();
    world.configure_misbehaviour("hang", ENDLESS);
    let mut child = spawn(&world);
    child.kill().unwrap();
    child.wait().unwrap();
    // Its lock is still there, and must not keep a later run from working.
    world.configure("");
    world.succeed(&["verify", "good"]);
    world.restic().run(["unlock", "--remove-all"]).unwrap();
    world.assert_nothing_was_lost();
    world.succeed(&["run", "good"]);
    assert_eq!(world.snapshots(), 2);
    world.restic().check().unwrap();
}

#[test]
fn a_server_that_dies_in_the_middle_of_a_backup_fails_the_run() {
    let shop = Shop::open();
    shop.succeed(&["run", "shop"]);
    // Slow enough to be killed half way.
    let slowly = std::fs::read_to_string(shop.bulkhead.scratch().join("bulkhead.toml")).unwrap();
    let slowly = slowly.replace("user = \"backup\"", "user = \"backup\", max-rate = \"2 MiB/s\"");
    shop.bulkhead.write_configuration(&slowly).unwrap();
    let child = shop
        .bulkhead
        .command(["run", "shop"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let streaming = "SELECT count(*) FROM pg_stat_progress_basebackup WHERE backup_streamed > 3000000";
    while shop.cluster.execute("postgres", streaming).unwrap() == "0" {
        assert!(begin.elapsed() < Duration::from_secs(30), "the backup never began");
        std::thread::sleep(Duration::from_millis(50));
    }
    shop.cluster.kill().unwrap();
    let killed = Instant::now();
    let outcome = outcome(child);
    assert!(
        killed.elapsed() < Duration::from_secs(5),
        "it took {:?} to notice",
        killed.elapsed()
    );
    assert_told!(outcome);
    assert_ne!(outcome.code, Some(0));
    shop.cluster.start().unwrap();
    let listed: serde_json::Value = serde_json::from_str(&shop.succeed(&["snapshots", "--json"])).unwrap();
    assert_eq!(listed["snapshots"].as_array().unwrap().len(), 1);
    shop.succeed(&["verify", "shop", "--read-data"]);
}

/// The document of a command that was interrupted when its plugin hung.
fn interrupted(world: &World, arguments: &[&str]) -> Value {
    let child = spawn_until(world, arguments, "going wrong now");
    signal::interrupt(&child).unwrap();
    let outcome = outcome(child);
    assert_eq!(outcome.code, Some(130), "{}{}", outcome.stdout, outcome.stderr);
    serde_json::from_str(&outcome.stdout).unwrap()
}

#[test]
fn pipelines_that_an_interrupt_left_out_are_documented_as_failed_runs_are() {
    let world = World::with_a_snapshot();
    world.configure_misbehaviour(
        "hang",
        &format!("{ENDLESS}\n\n[pipeline.next]\nplugin = \"misbehaving-source\"\nvault = \"main\""),
    );
    let document = interrupted(&world, &["run", "--all", "--json"]);
    for (at, name) in [(1, "bad"), (2, "next")] {
        let run = &document["runs"][at];
        assert_eq!((&run["pipeline"], &run["class"]), (&name.into(), &"cancelled".into()), "{run}");
        assert_eq!(
            (&run["committed"], &run["commit-unknown"]),
            (&Value::Array(Vec::new()), &false.into()),
            "{run}"
        );
    }
}

/// The vault `main`, and beside it `beside` on a sink that behaves as told.
fn configure_two_vaults(world: &World, behaviour: &str) {
    configure_two_vaults_with(world, behaviour, 0);
}

/// The same, with a sink that misbehaves from when it has so many packs.
fn configure_two_vaults_with(world: &World, behaviour: &str, after: u64) {
    world.bulkhead().scratch().folder("beside").unwrap();
    world.configure(&format!(
        "{}\n[vault.beside]\nkey = {{ file = \"vault-password\" }}\nsinks = [\"beside\"]\n\n[sink.beside]\nplugin = \"misbehaving-sink\"\n\
         config = {{ behaviour = \"{behaviour}\", after = {after} }}\ndirectory.root = {{ path = \"beside\", access = \"read-write\" }}\n\n\
         [pipeline.beside]\nplugin = \"misbehaving-source\"\nvault = \"beside\"\n",
        plugin_section("misbehaving-sink"),
    ));
}

#[test]
fn vaults_that_an_interrupt_left_out_are_neither_good_nor_made() {
    let world = World::with_a_snapshot();
    configure_two_vaults(&world, "hang");
    let document = interrupted(&world, &["init", "beside", "main", "--json"]);
    for (at, name) in [(0, "beside"), (1, "main")] {
        let vault = &document["vaults"][at];
        assert_eq!((&vault["vault"], &vault["class"]), (&name.into(), &"cancelled".into()), "{vault}");
    }

    std::fs::remove_dir_all(world.folder().join("beside")).unwrap();
    configure_two_vaults(&world, "good");
    world.succeed(&["init", "beside"]);
    configure_two_vaults(&world, "hang");
    let document = interrupted(&world, &["verify", "--json"]);
    for (list, of, names) in [
        ("vaults", "vault", ["beside", "main"]),
        ("snapshots", "pipeline", ["good", "beside"]),
    ] {
        let told = document[list].as_array().unwrap().iter();
        let told: Vec<(&str, &str)> = told
            .map(|each| (each[of].as_str().unwrap(), each["class"].as_str().unwrap()))
            .collect();
        assert_eq!(told, names.map(|name| (name, "cancelled")));
    }
}

/// Objects of this kind on the sink `beside`.
fn objects_beside(world: &World, kind: &str) -> u64 {
    let objects = std::fs::read_dir(world.folder().join("beside")).unwrap();
    let of_kind = objects.filter(|object| object.as_ref().unwrap().file_name().to_string_lossy().starts_with(kind));
    of_kind.count() as u64
}

/// Rounds of [`interrupt_at_each_pack`]: the packs that follow are as these.
const ROUNDS: u64 = 4;

/// Interrupts a command in the first call of its sink that hangs, then in the one after its first pack, and so on, until it has no more; how often.
fn interrupt_at_each_pack(world: &World, arguments: &[&str]) -> u64 {
    for stored in 0..ROUNDS {
        let snapshots = objects_beside(world, "snapshots@");
        configure_two_vaults_with(world, "hang", objects_beside(world, "data@") + stored);
        let child = match try_spawn_until(world, arguments, "going wrong now") {
            Ok(child) => child,
            Err(ended) => {
                assert_eq!(ended.code, Some(0), "{}", ended.stderr);
                return stored;
            }
        };
        let begin = Instant::now();
        signal::interrupt(&child).unwrap();
        let outcome = outcome(child);
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(5), "{arguments:?} was left after {took:?}");
        // Only a run whose snapshot was stored by then, and which removed its lock, has done what it was to do.
        let is_committed = objects_beside(world, "snapshots@") > snapshots;
        assert_eq!(
            outcome.code,
            Some(if is_committed { 0 } else { 130 }),
            "{arguments:?}: {}",
            outcome.stderr
        );
        configure_two_vaults(world, "good");
        world.succeed(&["verify", "beside", "--vault-only", "--read-data"]);
    }
    ROUNDS
}

#[test]
fn commands_are_interrupted_wherever_their_sink_hangs() {
    let world = World::with_a_snapshot();
    configure_two_vaults(&world, "good");
    world.succeed(&["init", "beside"]);
    world.succeed(&["run", "beside"]);
    let interrupted = [
        &["run", "beside"][..],
        &["restore", "beside", "--into", "into", "--delta"],
        &["prune", "beside", "--yes"],
    ]
    .map(|arguments| interrupt_at_each_pack(&world, arguments));
    assert!(
        interrupted[0] >= 2 && interrupted.iter().all(|times| *times >= 1),
        "{interrupted:?}"
    );
    configure_two_vaults(&world, "good");
    world.succeed(&["verify", "beside", "--read-data"]);
    world.assert_nothing_was_lost();
}
