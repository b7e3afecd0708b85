//! `cargo xtask bench`: figures that mean something, because both sides of a comparison run in the same minutes on the same machine.
//!
//! A benchmark makes its surroundings, measures each side in turn with [`measure::Job`], a few bounded times, and hands the samples to a
//! [`report::Report`], which shows minimum, median and maximum, the ratio of the medians, and the versions and the machine beside them.

mod cluster;
mod couchdb;
mod etcd;
mod files;
mod logical;
mod measure;
mod peer;
mod pgbackrest;
mod postgres;
mod redis;
mod report;
mod sandbox_tax;
mod sinks;
mod startup;
mod trees;
mod vault;
mod wal;

use std::path::PathBuf;

use crate::binary;
use crate::console::Console;
use crate::error::Result;
use crate::setup::{self, Need};

/// Measure Bulkhead beside others, or beside itself, in one run.
///
/// Figures compare only within one run: quote the ratio, not the seconds.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    benchmark: Benchmark,
    /// How often each side is measured.
    #[arg(long, global = true, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    repetitions: u32,
    /// Print one JSON document on standard output instead of tables.
    #[arg(long, global = true)]
    json: bool,
    /// Measure this binary instead of building one.
    #[arg(long, global = true, value_name = "PATH")]
    binary: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Benchmark {
    Couchdb(couchdb::Arguments),
    Etcd(etcd::Arguments),
    Files(files::Arguments),
    Gdrive(sinks::gdrive::Arguments),
    Logical(logical::Arguments),
    Postgres(postgres::Arguments),
    Redis(redis::Arguments),
    S3(sinks::s3::Arguments),
    SandboxTax(sandbox_tax::Arguments),
    Startup(startup::Arguments),
    Wal(wal::Arguments),
}

/// What every benchmark needs.
struct Context {
    console: Console,
    binary: PathBuf,
    repetitions: u32,
}

/// Builds with optimizations, measures, reports.
pub(crate) fn run(console: &Console, arguments: &Arguments) -> Result<()> {
    let narrator = if arguments.json { Console::beside_data() } else { Console::new() };
    setup::ensure(&narrator, Need::Benchmarks)?;
    let binary = binary::find(&narrator, arguments.binary.as_deref(), true)?;
    let context = Context {
        console: narrator,
        binary,
        repetitions: arguments.repetitions,
    };
    let report = match &arguments.benchmark {
        Benchmark::Couchdb(arguments) => couchdb::run(&context, arguments)?,
        Benchmark::Etcd(arguments) => etcd::run(&context, arguments)?,
        Benchmark::Files(arguments) => files::run(&context, arguments)?,
        Benchmark::Gdrive(arguments) => sinks::gdrive::run(&context, arguments)?,
        Benchmark::Logical(arguments) => logical::run(&context, arguments)?,
        Benchmark::Postgres(arguments) => postgres::run(&context, arguments)?,
        Benchmark::Redis(arguments) => redis::run(&context, arguments)?,
        Benchmark::S3(arguments) => sinks::s3::run(&context, arguments)?,
        Benchmark::SandboxTax(arguments) => sandbox_tax::run(&context, arguments)?,
        Benchmark::Startup(arguments) => startup::run(&context, arguments)?,
        Benchmark::Wal(arguments) => wal::run(&context, arguments)?,
    };
    if arguments.json {
        console.data(&report.json());
    } else {
        report.print(console);
    }
    Ok(())
}
