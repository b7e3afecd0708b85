//! `cargo xtask bench sandbox-tax`: the postgres plugin in its sandbox beside the same plugin compiled natively over the same capabilities.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use bulkhead_test_support::postgres::Cluster;
use bulkhead_test_support::{Scratch, run as run_tool};
use serde::Deserialize;

use super::measure::Cost;
use super::report::{Report, Samples, machine};
use super::{Context, cluster};
use crate::console::size;
use crate::error::{Error, Result};
use crate::process;

/// The postgres plugin in its sandbox beside the same code compiled natively over the same host capabilities.
///
/// Into a vault, which is what a run pays, and into nothing, which leaves only the way of the bytes through the plugin.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Size of the cluster in MiB.
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u64).range(32..=65_536))]
    size: u64,
}

/// The line that the measuring program prints.
#[derive(Deserialize)]
struct Answer {
    wall_seconds: f64,
    cpu_seconds: f64,
    memory_bytes: u64,
    bytes: u64,
}

/// What is compared: words for the report, and for the measuring program.
const VARIANTS: [(&str, &str, &str); 4] = [
    ("into a vault, TLS", "vault", "require"),
    ("into nothing, TLS", "nothing", "require"),
    ("into a vault, no TLS", "vault", "disable"),
    ("into nothing, no TLS", "nothing", "disable"),
];

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Report> {
    let program = build(context)?;
    let cluster = cluster::filled(&context.console, arguments.size << 20)?;
    let cache = Scratch::new()?;
    let measure = |mode: &str, destination: &str, tls: &str| -> Result<Answer> { once(&program, &cluster, &cache, mode, destination, tls) };
    // Fills the cache of compiled components, and the server's.
    measure("sandboxed", "nothing", "disable")?;
    let mut samples = Vec::new();
    let mut bytes = 0;
    for (what, destination, tls) in VARIANTS {
        let (mut sandboxed, mut native) = (Vec::new(), Vec::new());
        for round in 0..context.repetitions {
            context
                .console
                .note(&format!("{what}: round {} of {}…", round + 1, context.repetitions));
            let mut modes = [("sandboxed", &mut sandboxed), ("native", &mut native)];
            if round % 2 == 1 {
                modes.reverse();
            }
            for (mode, costs) in modes {
                let answer = measure(mode, destination, tls)?;
                bytes = answer.bytes;
                costs.push(answer.into());
            }
        }
        samples.push(Samples {
            what,
            who: "sandboxed",
            costs: sandboxed,
            stored_bytes: Vec::new(),
            further: Vec::new(),
        });
        samples.push(Samples {
            what,
            who: "native",
            costs: native,
            stored_bytes: Vec::new(),
            further: Vec::new(),
        });
    }
    let mut circumstances = machine();
    circumstances.extend([
        ("bytes through the plugin", size(bytes)),
        ("postgresql", cluster.installation().version()?),
    ]);
    let remarks = vec!["Throughput of the sandbox, in units of native code, is 1 divided by the ratio of the wall times.".to_owned()];
    Ok(Report {
        name: "sandbox-tax",
        circumstances,
        samples,
        remarks,
    })
}

fn build(context: &Context) -> Result<PathBuf> {
    let mut build = process::cargo(["build", "--release", "--package", "bulkhead-sandbox-tax"]);
    context.console.command(&process::line(&build));
    process::run(&mut build)?;
    Ok(process::target_folder().join("release/bulkhead-sandbox-tax"))
}

fn once(program: &PathBuf, cluster: &Cluster, cache: &Scratch, mode: &str, destination: &str, tls: &str) -> Result<Answer> {
    let vault = Scratch::new()?;
    let mut command = Command::new(program);
    command.args([
        mode,
        destination,
        "--tls",
        tls,
        "--password",
        "backup",
        "--address",
        &cluster.address(),
    ]);
    command.arg("--vault").arg(vault.join("vault")).arg("--cache").arg(cache.path());
    let output = run_tool(&mut command)?;
    serde_json::from_slice(&output.stdout)
        .map_err(|error| Error::Broken(format!("the measuring program said what is no measurement: {error}")))
}

impl From<Answer> for Cost {
    fn from(answer: Answer) -> Self {
        Self {
            wall: Duration::from_secs_f64(answer.wall_seconds),
            cpu: Duration::from_secs_f64(answer.cpu_seconds),
            memory_bytes: answer.memory_bytes,
        }
    }
}
