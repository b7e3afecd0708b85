//! `cargo xtask bench logical`: a database as SQL into a vault and back into a live server, beside `pg_dump` and `pg_restore`.

use std::path::PathBuf;

use bulkhead_test_support::postgres::Cluster;
use bulkhead_test_support::{Scratch, Tool, run as run_tool};

use super::Context;
use super::measure::{Cost, Job};
use super::report::{Report, Samples, machine};
use super::vault::VaultSide;
use crate::console::{Console, size};
use crate::error::{Error, Result};
use crate::process::bytes_below;

/// Dump of a database and its restore into a live server over two connections, beside `pg_dump` and `pg_restore`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Size of the database in MiB: a half is pgbench's tables with their keys, a half text.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(32..=65_536))]
    size: u64,
}

/// Connections of those who can have several.
const JOBS: &str = "2";

/// Bytes of pgbench's tables and keys with a scale of 1.
const SCALE_BYTES: u64 = 15 << 20;

/// Bytes of a row with text, and tables that have such rows.
const TEXT_ROW_BYTES: u64 = 1024;
const TEXT_TABLES: u64 = 3;

/// The database on both servers.
const DATABASE: &str = "bench";

/// What both servers must say the same of.
const CENSUS: &str = "SELECT (SELECT count(*) || ' ' || sum(aid) FROM pgbench_accounts), (SELECT count(*) || ' ' || sum(length(body)) FROM text_0), (SELECT count(*) FROM pg_index)";

/// Somebody who can dump a database and restore it.
trait Side {
    fn name(&self) -> &'static str;
    fn dump(&self, from: &Cluster) -> Result<Cost>;
    fn restore(&self, into: &Cluster) -> Result<Cost>;
    fn stored_bytes(&self) -> Result<u64>;
}

/// What one side did in all rounds.
#[derive(Default)]
struct Rounds {
    name: &'static str,
    dumped: Vec<Cost>,
    stored: Vec<u64>,
    restored: Vec<Cost>,
}

/// Each round gives all sides an empty folder; they take turns in going first.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Report> {
    let original = filled(&context.console, arguments.size << 20)?;
    let target = builder().start()?;
    let mut rounds: Vec<Rounds> = Vec::new();
    for round in 0..context.repetitions {
        context.console.note(&format!("Round {} of {}…", round + 1, context.repetitions));
        let ours = VaultSide::new(context, &pipeline(&original, &target))?;
        for (file, cluster) in [("original-password", &original), ("target-password", &target)] {
            ours.scratch().private_file(file, cluster.password())?;
        }
        // Compiles the plugin where that has not been done, and finds out what would fail.
        ours.run(&["check"])?;
        let (directory, custom) = (PgDump::new(Format::Directory)?, PgDump::new(Format::Custom)?);
        let sides: [&dyn Side; 3] = [&ours, &directory, &custom];
        rounds.resize_with(sides.len(), Default::default);
        let mut order: Vec<usize> = (0..sides.len()).collect();
        order.rotate_left(round as usize % sides.len());
        for &side in &order {
            let done = &mut rounds[side];
            done.name = sides[side].name();
            done.dumped.push(sides[side].dump(&original)?);
            done.stored.push(sides[side].stored_bytes()?);
        }
        for side in order {
            target.execute("postgres", "CHECKPOINT")?;
            rounds[side].restored.push(sides[side].restore(&target)?);
            compare(&original, &target)?;
            target.execute("postgres", &format!("DROP DATABASE {DATABASE}"))?;
        }
    }
    report(context, &original, rounds)
}

fn builder() -> bulkhead_test_support::postgres::Builder {
    Cluster::builder()
        .without_tls()
        .setting("max_wal_size", "4GB")
        .setting("shared_buffers", "256MB")
        .setting("maintenance_work_mem", "128MB")
}

/// A server with the database.
fn filled(console: &Console, bytes: u64) -> Result<Cluster> {
    let cluster = builder().start()?;
    console.note(&format!("Filling a database with {}…", size(bytes)));
    cluster.execute("postgres", &format!("CREATE DATABASE {DATABASE}"))?;
    let scale = (bytes / 2 / SCALE_BYTES).max(1);
    let arguments = ["--initialize", "--quiet", &format!("--scale={scale}"), DATABASE];
    run_tool(&mut cluster.client("pgbench", arguments)?)?;
    let rows = bytes / 2 / TEXT_ROW_BYTES / TEXT_TABLES;
    for table in 0..TEXT_TABLES {
        let sql = format!(
            "CREATE TABLE text_{table} AS SELECT n AS id, now() - n * interval '1 s' AS at, repeat(md5(n::text || '{table}') || ' carried forward, \\ not audited' || chr(9), 16) AS body
             FROM generate_series(1, {rows}) AS n; ALTER TABLE text_{table} ADD PRIMARY KEY (id); CREATE INDEX ON text_{table} (at)"
        );
        cluster.execute(DATABASE, &sql)?;
    }
    cluster.execute(DATABASE, "VACUUM FREEZE ANALYZE; CHECKPOINT")?;
    Ok(cluster)
}

fn pipeline(original: &Cluster, target: &Cluster) -> String {
    let grants = |cluster: &Cluster, file: &str| {
        format!(
            "endpoint.server = {{ address = \"{}\", tls = {{ mode = \"disable\" }} }}\nsecret.password = {{ file = \"{{folder}}/{file}\", reveal = true }}\n",
            cluster.address()
        )
    };
    format!(
        "[pipeline.database]\nplugin = \"postgres\"\nvault = \"main\"\nconfig = {{ mode = \"logical\", user = \"postgres\", databases = [\"{DATABASE}\"], jobs = {JOBS} }}\n{}\
         [pipeline.database.target.live]\nconfig = {{ globals = false, jobs = {JOBS} }}\n{}",
        grants(original, "original-password"),
        grants(target, "target-password"),
    )
}

/// The figures of a restore that left something out would mean nothing.
fn compare(original: &Cluster, target: &Cluster) -> Result<()> {
    let (one, other) = (original.execute(DATABASE, CENSUS)?, target.execute(DATABASE, CENSUS)?);
    if one == other {
        return Ok(());
    }
    Err(Error::Broken(format!("the original has {one}, what was restored {other}")))
}

impl Side for VaultSide {
    fn name(&self) -> &'static str {
        "bulkhead, jobs = 2"
    }

    fn dump(&self, _from: &Cluster) -> Result<Cost> {
        self.run(&["run", "database"])
    }

    fn restore(&self, _into: &Cluster) -> Result<Cost> {
        self.run(&["restore", "database", "--target", "live"])
    }

    fn stored_bytes(&self) -> Result<u64> {
        VaultSide::stored_bytes(self)
    }
}

/// How `pg_dump` writes.
#[derive(Clone, Copy)]
enum Format {
    /// A file for each table, over several connections.
    Directory,
    /// One file, over one.
    Custom,
}

/// PostgreSQL's own tools.
struct PgDump {
    format: Format,
    scratch: Scratch,
}

impl PgDump {
    fn new(format: Format) -> Result<Self> {
        Ok(Self {
            format,
            scratch: Scratch::new()?,
        })
    }

    fn place(&self) -> PathBuf {
        self.scratch.join("dump")
    }

    fn own(&self, program: &str) -> Vec<String> {
        let jobs = format!("--jobs={JOBS}");
        match (self.format, program) {
            (Format::Directory, "pg_dump") => vec!["--format=directory".to_owned(), jobs, "--compress=1".to_owned()],
            (Format::Directory, _) => vec![jobs],
            (Format::Custom, "pg_dump") => vec!["--format=custom".to_owned()],
            (Format::Custom, _) => Vec::new(),
        }
    }
}

impl Side for PgDump {
    fn name(&self) -> &'static str {
        match self.format {
            Format::Directory => "pg_dump -Fd -j2 -Z1, pg_restore -j2",
            Format::Custom => "pg_dump -Fc, pg_restore",
        }
    }

    fn dump(&self, from: &Cluster) -> Result<Cost> {
        let mut command = from.client("pg_dump", self.own("pg_dump"))?;
        command.arg("--file").arg(self.place()).arg(DATABASE);
        Job::command(command).run()
    }

    fn restore(&self, into: &Cluster) -> Result<Cost> {
        into.execute("postgres", &format!("CREATE DATABASE {DATABASE}"))?;
        let mut command = into.client("pg_restore", self.own("pg_restore"))?;
        command.args(["--exit-on-error", "--dbname", DATABASE]).arg(self.place());
        Job::command(command).run()
    }

    fn stored_bytes(&self) -> Result<u64> {
        match self.format {
            Format::Directory => bytes_below(&self.place()),
            Format::Custom => Ok(std::fs::metadata(self.place()).map_err(Error::io("cannot look at the dump"))?.len()),
        }
    }
}

fn report(context: &Context, original: &Cluster, rounds: Vec<Rounds>) -> Result<Report> {
    let bytes = original.execute(DATABASE, "SELECT pg_database_size(current_database())")?;
    let version = |mut command: std::process::Command| -> Result<String> {
        Ok(String::from_utf8_lossy(&run_tool(&mut command)?.stdout).trim().to_owned())
    };
    let mut circumstances = machine();
    circumstances.extend([
        ("database", size(bytes.parse().unwrap_or(0))),
        (
            "bulkhead",
            version(Tool::at(&context.binary, "cargo build --release --package bulkhead")?.command(["--version"]))?,
        ),
        ("postgresql", original.installation().version()?),
        ("pg_dump", version(original.client("pg_dump", ["--version"])?)?),
    ]);
    let mut measured = [("dump", Vec::new()), ("restore into a live server", Vec::new())];
    for rounds in rounds {
        measured[0].1.push((rounds.name, rounds.dumped, rounds.stored));
        measured[1].1.push((rounds.name, rounds.restored, Vec::new()));
    }
    let samples = measured.into_iter().flat_map(|(what, sides)| {
        sides.into_iter().map(move |(who, costs, stored_bytes)| Samples {
            what,
            who,
            costs,
            stored_bytes,
            further: Vec::new(),
        })
    });
    Ok(Report {
        name: "logical",
        circumstances,
        samples: samples.collect(),
        remarks: vec![
            "CPU and memory are those of the clients on each side; the server, which does the same for all, is left out, but works on the same cores.".to_owned(),
            "Bulkhead deduplicates, compresses with zstd, encrypts and syncs; pg_dump compresses with zlib and does none of the rest. Its run also reads roles, which \
             pg_dump does not, and its restore makes the database, which is made for pg_restore beforehand."
                .to_owned(),
        ],
    })
}
