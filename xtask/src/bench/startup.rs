//! `cargo xtask bench startup`: what a run costs that has nothing to do.

use bulkhead_test_support::plugins;

use super::Context;
use super::report::{Report, Samples, machine};
use super::vault::VaultSide;
use crate::error::Result;

/// A run of a pipeline with nothing in it, components compiled already, beside a command that only opens the vault.
///
/// Opening derives the vault's key with scrypt, which takes its time on purpose; the difference of the two is what starting, loading components and
/// committing an empty snapshot cost.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

pub(super) fn run(context: &Context, _arguments: &Arguments) -> Result<Report> {
    let component = plugins::component("misbehaving-source")?;
    let pipeline = format!(
        "[plugin.empty]\npath = {:?}\n[pipeline.nothing]\nplugin = \"empty\"\nvault = \"main\"\nconfig = {{ entries = 0 }}\nexpect = {{ min-entries = 0, min-bytes = \"0 B\" }}\n",
        component.display().to_string()
    );
    let vault = VaultSide::new(context, &pipeline)?;
    // Fills the cache of compiled components.
    vault.run(&["run", "nothing"])?;
    let (mut runs, mut openings) = (Vec::new(), Vec::new());
    for _ in 0..context.repetitions {
        runs.push(vault.run(&["run", "nothing"])?);
        openings.push(vault.run(&["snapshots"])?);
    }
    let samples = |who, costs| Samples {
        what: "start to end",
        who,
        costs,
        stored_bytes: Vec::new(),
        further: Vec::new(),
    };
    Ok(Report {
        name: "startup",
        circumstances: machine(),
        samples: vec![
            samples("bulkhead run, of nothing", runs),
            samples("bulkhead snapshots, which opens the vault", openings),
        ],
        remarks: Vec::new(),
    })
}
