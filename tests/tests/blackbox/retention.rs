//! What a retention must not cost: beside others who change the vault.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::world::{GOOD, World, plugin_section};

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
