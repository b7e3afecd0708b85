//! `cargo xtask fuzz`: the readers of foreign bytes, under a fuzzer that begins with what real servers say.

use std::path::PathBuf;

use bulkhead_test_support::seeds;

use crate::console::Console;
use crate::error::{Error, Result};
use crate::process;
use crate::setup::{self, Need};

/// The targets, `fuzz/fuzz_targets`.
const TARGETS: [&str; 5] = ["rdb", "resp", "http2", "protobuf", "bbolt"];

/// What an input may take: far more than the seeds, far less than a machine has.
const LIMITS: [&str; 3] = ["-timeout=20", "-rss_limit_mb=1024", "-max_len=1048576"];

/// Fuzz the readers of foreign bytes: RDB, RESP, HTTP/2, protobuf and bbolt.
///
/// Seeds come from real servers. Runs on the stable toolchain, so without sanitizers: what it finds are panics, hangs and memory without bound. An input
/// that fails stays in fuzz/artifacts; inputs that reach something new stay in fuzz/corpus, and the next run begins with them.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Targets; without any, all of them.
    #[arg(value_name = "TARGET", value_parser = clap::builder::PossibleValuesParser::new(TARGETS))]
    targets: Vec<String>,
    /// How long each runs.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Where chance begins, for a run that can be repeated; without it, each run is another one.
    #[arg(long, default_value_t = 0)]
    seed: u32,
}

/// Fuzzes each target in turn; the first that fails ends it.
pub(crate) fn run(console: &Console, arguments: &Arguments) -> Result<()> {
    setup::ensure(console, Need::Fuzzing)?;
    setup::install_tool(console, "fuzz")?;
    console.step("Record what real servers say");
    plant(console)?;
    let all = TARGETS.map(str::to_owned);
    let targets = if arguments.targets.is_empty() {
        &all[..]
    } else {
        &arguments.targets
    };
    for target in targets {
        console.step(&format!("Fuzz {target}"));
        let (time, seed) = (
            format!("-max_total_time={}", arguments.seconds),
            format!("-seed={}", arguments.seed),
        );
        let mut fuzz = process::cargo(["fuzz", "run", "--sanitizer=none", target, "--", &time, &seed, "-verbosity=0"]);
        fuzz.args(LIMITS);
        console.command(&process::line(&fuzz));
        process::run(&mut fuzz)?;
    }
    Ok(())
}

/// Writes the seeds of every target.
fn plant(console: &Console) -> Result<()> {
    let etcd = seeds::etcd()?;
    let files = [
        ("rdb", seeds::rdb()?),
        ("resp", seeds::resp()?),
        ("http2", etcd.http2),
        ("protobuf", etcd.messages),
        ("bbolt", vec![etcd.store]),
    ];
    for (target, seeds) in files {
        let folder = corpus().join(target);
        std::fs::create_dir_all(&folder).map_err(Error::io(format!("cannot make {}", folder.display())))?;
        for (number, seed) in seeds.iter().enumerate() {
            let file = folder.join(format!("seed-{number}"));
            std::fs::write(&file, seed).map_err(Error::io(format!("cannot write {}", file.display())))?;
        }
        console.note(&format!("{target}: {} seeds", seeds.len()));
    }
    Ok(())
}

/// Where `cargo fuzz` looks for them.
fn corpus() -> PathBuf {
    process::workspace().join("fuzz/corpus")
}
