//! Vaults on servers that are elsewhere: what `cargo xtask bench s3` and `cargo xtask bench gdrive` have in common.

pub(super) mod gdrive;
pub(super) mod s3;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bulkhead_test_support::{Scratch, Tool, run as run_tool};

use super::Context;
use super::measure::{Cost, Job};
use super::report::{Report, Samples, machine};
use super::trees::{self, Kind};
use super::vault::VaultSide;
use crate::error::Result;

/// How far away the server is, and how what is measured there is called.
struct Distance {
    round_trip: Duration,
    backup: &'static str,
    restore: &'static str,
}

const HERE: Distance = Distance {
    round_trip: Duration::ZERO,
    backup: "backup, server on this machine",
    restore: "restore, server on this machine",
};
const AWAY: Distance = Distance {
    round_trip: Duration::from_millis(50),
    backup: "backup, server 50 ms away",
    restore: "restore, server 50 ms away",
};

/// Somebody who keeps a tree on the server, in a place of its own.
trait Side {
    fn name(&self) -> &'static str;
    fn back_up(&self, tree: &Path) -> Result<Cost>;
    /// Restores into an empty folder.
    fn restore(&self, into: &Path) -> Result<Cost>;
    /// Where the tree is in that folder.
    fn place(&self, into: &Path, tree: &Path) -> PathBuf;
}

impl Side for VaultSide {
    fn name(&self) -> &'static str {
        "bulkhead"
    }

    fn back_up(&self, _tree: &Path) -> Result<Cost> {
        self.run(&["run", "tree"])
    }

    fn restore(&self, into: &Path) -> Result<Cost> {
        self.run(&["restore", "tree", "--into", &into.join("restored").display().to_string()])
    }

    fn place(&self, into: &Path, _tree: &Path) -> PathBuf {
        into.join("restored/tree")
    }
}

/// Ours, with an empty vault on such a sink.
fn ours(context: &Context, scratch: Scratch, sink: &str, tree: &Path) -> Result<Box<dyn Side>> {
    let pipeline = format!(
        "[pipeline.tree]\nplugin = \"files\"\nvault = \"main\"\ndirectory.tree = {{ path = \"{}\", access = \"read-only\" }}\n",
        tree.display()
    );
    let side = VaultSide::on(context, scratch, sink, &pipeline)?;
    // Compiles the plugins where that has not been done.
    side.run(&["check"])?;
    Ok(Box::new(side))
}

/// `rclone copy`, which neither encrypts nor compresses nor cuts into pieces.
struct Rclone {
    /// Options and environment without which it does not reach the server.
    base: Box<dyn Fn() -> Result<Command>>,
    remote: String,
}

impl Rclone {
    fn copy(&self, from: &str, to: &str) -> Result<Cost> {
        let mut command = (self.base)()?;
        command.args(["copy", from, to]);
        Job::command(command).run()
    }
}

impl Side for Rclone {
    fn name(&self) -> &'static str {
        "rclone"
    }

    fn back_up(&self, tree: &Path) -> Result<Cost> {
        self.copy(&tree.display().to_string(), &self.remote)
    }

    fn restore(&self, into: &Path) -> Result<Cost> {
        self.copy(&self.remote, &into.display().to_string())
    }

    fn place(&self, into: &Path, _tree: &Path) -> PathBuf {
        into.to_owned()
    }
}

/// Each round gives every side an empty place on a server at each distance; who goes first moves on by one.
fn compare(
    context: &Context,
    size: u64,
    distances: &[Distance],
    mut sides: impl FnMut(&Distance, &Path) -> Result<Vec<Box<dyn Side>>>,
) -> Result<Vec<Samples>> {
    let scratch = Scratch::new()?;
    let tree = scratch.folder("tree")?;
    context.console.note("Making the tree…");
    Kind::Dumps.make(&tree, size)?;
    let mut samples: Vec<Samples> = Vec::new();
    for round in 0..context.repetitions as usize {
        context.console.note(&format!("Round {} of {}…", round + 1, context.repetitions));
        for distance in distances {
            let sides = sides(distance, &tree)?;
            let turns = || (0..sides.len()).map(|turn| &sides[(turn + round) % sides.len()]);
            for side in turns() {
                add(&mut samples, distance.backup, side.name(), side.back_up(&tree)?);
            }
            for side in turns() {
                let into = Scratch::new()?;
                add(&mut samples, distance.restore, side.name(), side.restore(into.path())?);
                trees::same(&tree, &side.place(into.path(), &tree))?;
            }
        }
    }
    // Of each thing, ours come before the others, whoever went first.
    samples.sort_by_key(|samples| samples.who != "bulkhead");
    Ok(samples)
}

fn add(samples: &mut Vec<Samples>, what: &'static str, who: &'static str, cost: Cost) {
    let found = samples.iter_mut().find(|samples| samples.what == what && samples.who == who);
    match found {
        Some(samples) => samples.costs.push(cost),
        None => samples.push(Samples {
            what,
            who,
            costs: vec![cost],
            stored_bytes: Vec::new(),
            further: Vec::new(),
        }),
    }
}

fn report(
    context: &Context,
    name: &'static str,
    size: u64,
    peers: &[&'static str],
    samples: Vec<Samples>,
    remarks: Vec<String>,
) -> Result<Report> {
    let mut circumstances = machine();
    circumstances.push(("tree", Kind::Dumps.describe(size)));
    circumstances.push(("bulkhead", first_line(Command::new(&context.binary).arg("--version"))?));
    for peer in peers {
        circumstances.push((peer, first_line(Command::new(peer).arg("version"))?));
    }
    Ok(Report {
        name,
        circumstances,
        samples,
        remarks,
    })
}

fn rclone() -> Result<Tool> {
    Ok(Tool::find("rclone", "apt-get install rclone")?)
}

fn first_line(command: &mut Command) -> Result<String> {
    let output = run_tool(command)?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
