//! What a retention must not cost: beside others who change the vault, and with a clock that is wrong.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use bulkhead_test_support::{Outcome, WrongClock};
use serde_json::Value;

use crate::world::{GOOD, World, plugin_section};

const DAY: i64 = 86_400;

/// The pipeline `good` with content of its own for each `seed`, and `policy`.
fn configure(world: &World, seed: u64, policy: &str) {
    let good = GOOD.replace("seed = 7 }", &format!("seed = {seed} }}\n{policy}\n"));
    world.write(&format!(
        "{}{}{good}",
        world.bulkhead().vault_section(),
        plugin_section("misbehaving-source")
    ));
}

fn ids(world: &World) -> Vec<String> {
    let listed: Value = serde_json::from_str(&world.restic().text(["snapshots", "--json"]).unwrap()).unwrap();
    let listed = listed.as_array().unwrap().iter();
    listed.map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect()
}

/// A command at a terminal, up to its question.
struct Asked {
    process: Child,
    said: String,
}

impl Asked {
    fn begin(world: &World, arguments: &[&str]) -> Self {
        let command = world.bulkhead().command(arguments);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let line: Vec<&str> = words.map(|word| word.to_str().unwrap()).collect();
        let mut process = Command::new("script")
            .args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"])
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .current_dir(world.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut said, mut byte) = (Vec::new(), [0]);
        while !said.ends_with(b"[y/N] ") {
            let read = process.stdout.as_mut().unwrap().read(&mut byte).unwrap();
            assert_eq!(read, 1, "it ended without a question: {}", String::from_utf8_lossy(&said));
            said.push(byte[0]);
        }
        let said = String::from_utf8_lossy(&said).into_owned();
        Self { process, said }
    }

    /// Says yes; the exit code and what was said in answer.
    fn yes(mut self) -> (Option<i32>, String) {
        let mut input = self.process.stdin.take().unwrap();
        input.write_all(b"y\n").unwrap();
        let mut said = String::new();
        self.process.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        drop(input);
        (self.process.wait().unwrap().code(), said)
    }
}

#[test]
fn nothing_goes_by_a_plan_that_no_longer_holds() {
    let world = World::empty();
    for seed in 0..3 {
        configure(&world, seed, "retention = { last = 1 }");
        world.succeed(&["run", "good"]);
    }
    let before = ids(&world);
    // What was to stay goes meanwhile: all would be gone.
    let asked = Asked::begin(&world, &["forget", "good"]);
    assert!(asked.said.contains("2 snapshots forgotten, 1 kept"), "{}", asked.said);
    world.succeed(&["forget", "good", "--snapshot", &before[2], "--yes"]);
    let (code, said) = asked.yes();
    assert_eq!(code, Some(12), "{said}");
    assert!(said.contains("has changed since the plan was shown"), "{said}");
    assert_eq!(ids(&world), before[..2]);
    // What was to go is held meanwhile.
    let asked = Asked::begin(&world, &["forget", "good"]);
    let hold = [
        "hold",
        "add",
        "good",
        "--name",
        "Jane Doe",
        "--reason",
        "audit",
        "--snapshot",
        &before[0],
    ];
    world.succeed(&hold);
    let (code, said) = asked.yes();
    assert_eq!(code, Some(12), "{said}");
    assert_eq!(ids(&world).len(), 2);
    // What came meanwhile is no obstacle.
    let asked = Asked::begin(&world, &["forget", "good", "--snapshot", &before[1], "--verified"]);
    world.succeed(&["run", "good"]);
    let (code, said) = asked.yes();
    assert_eq!(code, Some(0), "{said}");
    let left = ids(&world);
    assert!(left.len() == 2 && !left.contains(&before[1]), "{left:?}");
    world.restic().check().unwrap();
}

#[test]
fn what_is_kept_indefinitely_may_be_named_by_a_timer() {
    let world = World::empty();
    for seed in 0..2 {
        configure(&world, seed, "retention = \"indefinite\"");
        world.succeed(&["run", "good"]);
    }
    let told = world.succeed(&["forget", "good", "--yes"]);
    assert!(told.contains("kept: indefinite"), "{told}");
    assert_eq!(ids(&world).len(), 2);
    assert!(world.succeed(&["plan"]).contains("keeps     everything"));
}

#[test]
fn a_clock_that_jumps_costs_no_snapshot_and_no_pack() {
    let world = World::empty();
    let clock = WrongClock::new(world.bulkhead().scratch()).unwrap();
    let at = |day: i64, arguments: &[&str]| -> Outcome {
        let mut command = world.bulkhead().command(arguments);
        let outcome: Outcome = clock.set(&mut command, day * DAY).output().unwrap().into();
        assert_eq!(outcome.code, Some(0), "{arguments:?}: {}{}", outcome.stdout, outcome.stderr);
        outcome
    };
    let json = |day: i64, arguments: &[&str]| -> Value {
        let outcome = at(day, &[arguments, &["--json"]].concat());
        serde_json::from_str(&outcome.stdout).unwrap()
    };
    let policy = "retention = { within = \"5 d\", daily = 2 }\nobjectives = { rpo = \"26 h\" }";
    for day in -4_i64..=0 {
        configure(&world, day.unsigned_abs() + 10, policy);
        at(day, &["run", "good"]);
    }
    let first = ids(&world).remove(0);
    at(0, &["forget", "good", "--snapshot", &first, "--yes"]);
    let prune = ["prune", "main", "--yes", "--max-unused", "0", "--max-repack", "unlimited"];
    let marked = json(0, &prune);
    assert!(marked["vaults"][0]["unused-packs"].as_u64().unwrap() > 0, "{marked}");
    // The clock is more than a year fast for the run and for all that follows.
    configure(&world, 1, policy);
    at(400, &["run", "good"]);
    let before = ids(&world);
    let told = at(400, &["forget", "good", "--yes"]);
    assert!(told.stdout.contains("kept: pause"), "{}", told.stdout);
    assert!(told.stderr.contains("--clock-is-right"), "{}", told.stderr);
    assert_eq!(ids(&world), before);
    let kept = json(400, &prune);
    assert_eq!(kept["vaults"][0]["deleted-packs"], 0, "{kept}");
    assert!(kept["vaults"][0]["waiting-packs"].as_u64().unwrap() > 0, "{kept}");
    // Unless somebody says that there was a pause.
    at(400, &["forget", "good", "--yes", "--clock-is-right"]);
    assert_eq!(ids(&world).len(), 2, "the newest of two days");
    let deleted = json(400, &[&prune[..], &["--clock-is-right"]].concat());
    assert!(deleted["vaults"][0]["deleted-packs"].as_u64().unwrap() > 0, "{deleted}");
    world.restic().check().unwrap();
}
