//! `cargo xtask bench files`: trees of files into a vault and back, beside restic, rustic and borg.

mod sides;

use std::path::Path;

use bulkhead_test_support::Scratch;

use super::Context;
use super::measure::Cost;
use super::report::{Report, Samples, machine};
use super::trees::{self, Kind};
use crate::error::Result;
use crate::setup;
use sides::Side;

/// Full and unchanged backup, backup of two changes, restore, and removal of all snapshots but the last, beside restic, rustic and borg.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What is backed up.
    #[arg(long, value_enum, default_value_t = Kind::Small)]
    tree: Kind,
    /// Size of the tree in MiB; by default 100,000 files of about 10 KiB, a file of 10 GiB, a source tree of 1 GiB, dumps of 2 GiB.
    #[arg(long, value_parser = clap::value_parser!(u64).range(8..=65_536))]
    size: Option<u64>,
}

/// What was measured, in this order.
const MEASURED: [&str; 6] = ["full", "unchanged", "changed", "changed again", "restore", "forget and prune"];

/// What one side did in all rounds: an element for each thing that was measured.
#[derive(Default)]
struct Rounds([(Vec<Cost>, Vec<u64>); MEASURED.len()]);

impl Rounds {
    fn add(&mut self, measured: usize, cost: Cost, stored: Option<u64>) {
        let (costs, bytes) = &mut self.0[measured];
        costs.push(cost);
        bytes.extend(stored);
    }
}

/// Each round gives all sides an empty repository; who goes first moves on by one with each, because the first one warms the page cache for the others.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Report> {
    setup::ensure_rustic(&context.console)?;
    let size = arguments.size.unwrap_or(arguments.tree.default_mebibytes()) << 20;
    let mut rounds: Vec<Rounds> = sides::NAMES.iter().map(|_| Rounds::default()).collect();
    for round in 0..context.repetitions {
        context
            .console
            .note(&format!("Round {} of {}: making the tree…", round + 1, context.repetitions));
        let scratch = Scratch::new()?;
        let tree = scratch.folder("tree")?;
        arguments.tree.make(&tree, size)?;
        let sides = sides::all(context, &tree)?;
        let mut order: Vec<usize> = (0..sides.len()).collect();
        order.rotate_left(round as usize % sides.len());
        for phase in 0..4 {
            if phase >= 2 {
                arguments.tree.change(&tree, size, phase as u64)?;
            }
            for &side in &order {
                let before = sides[side].stored_bytes()?;
                let cost = sides[side].back_up(&tree)?;
                rounds[side].add(phase, cost, Some(sides[side].stored_bytes()?.saturating_sub(before)));
            }
        }
        for &side in &order {
            rounds[side].add(4, restored(&*sides[side], &tree)?, None);
            rounds[side].add(5, sides[side].prune()?, Some(sides[side].stored_bytes()?));
        }
    }
    report(context, arguments.tree, size, rounds)
}

/// A restore into an empty folder, which must be the tree again.
fn restored(side: &dyn Side, tree: &Path) -> Result<Cost> {
    let scratch = Scratch::new()?;
    let cost = side.restore(scratch.path())?;
    trees::same(tree, &side.place(scratch.path(), tree))?;
    Ok(cost)
}

fn report(context: &Context, kind: Kind, size: u64, rounds: Vec<Rounds>) -> Result<Report> {
    let mut circumstances = machine();
    circumstances.push(("tree", kind.describe(size)));
    circumstances.extend(sides::versions(context)?);
    let mut columns: Vec<_> = rounds.into_iter().map(|rounds| rounds.0.into_iter()).collect();
    let mut samples = Vec::new();
    for what in MEASURED {
        let row: Vec<_> = columns.iter_mut().filter_map(Iterator::next).collect();
        samples.extend(sides::NAMES.into_iter().zip(row).map(|(who, (costs, stored_bytes))| Samples {
            what,
            who,
            costs,
            stored_bytes,
            further: Vec::new(),
        }));
    }
    Ok(Report {
        name: "files",
        circumstances,
        samples,
        remarks: vec![
            "`stored` of a backup is what the repository grew by; of `forget and prune`, what is left.".to_owned(),
            "Everything is in the page cache, and all sides write to the same disk. restic and rustic keep the cache that they keep by default.".to_owned(),
            "borg is told to compress as the others do (zstd, level 3), and keeps its cache of files; its `compact` is part of `forget and prune`.".to_owned(),
            kind.remark().to_owned(),
        ],
    })
}
