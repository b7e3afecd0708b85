//! `cargo xtask bench wal`: a server under load whose log is followed, by Bulkhead, by `pg_receivewal`, and by nobody.

use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use bulkhead_test_support::postgres::Cluster;
use bulkhead_test_support::{Scratch, signal};

use super::Context;
use super::measure::{self, Cost, Job};
use super::report::{Quantity, Report, Samples, bytes, machine, seconds};
use super::vault::VaultSide;
use crate::error::{Error, Result};

/// Transactions a second of pgbench at full speed while the log is archived, what that costs, and how far the archive is behind.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long pgbench runs, for each side in each round.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(5..=3600))]
    seconds: u64,
    /// Connections of pgbench.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    clients: u32,
    /// Bulkhead's interval between commits, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
}

/// How often the archive's lag is looked at.
const SAMPLING: Duration = Duration::from_millis(250);

/// How long an archiver may take to begin.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Bulkhead,
    ReceiveWal,
    Nobody,
}

impl Who {
    const ALL: [Self; 3] = [Self::Bulkhead, Self::ReceiveWal, Self::Nobody];

    fn name(self) -> &'static str {
        match self {
            Self::Bulkhead => "bulkhead",
            Self::ReceiveWal => "pg_receivewal",
            Self::Nobody => "nobody",
        }
    }

    /// Begins to archive, into the vault or into a folder beside it; the slot is a new one.
    fn begin(self, cluster: &Cluster, vault: &VaultSide) -> Result<Option<Archiver>> {
        let command = match self {
            Self::Nobody => return Ok(None),
            Self::Bulkhead => vault.command(&["--quiet", "run", "log"]),
            Self::ReceiveWal => receive_wal(cluster, vault.scratch())?,
        };
        Archiver::start(command, cluster).map(Some)
    }
}

fn receive_wal(cluster: &Cluster, scratch: &Scratch) -> Result<Command> {
    let folder = scratch.folder("received")?;
    cluster.execute("postgres", "SELECT pg_create_physical_replication_slot('received', true)")?;
    let mut command = cluster.client(
        "pg_receivewal",
        ["--slot=received", "--no-loop", "--status-interval=1", "--directory"],
    )?;
    command.arg(folder).env("PGUSER", "backup").env("PGPASSWORD", "backup");
    Ok(command)
}

/// An archiver that follows the log, until this is dropped.
struct Archiver(Child);

impl Archiver {
    /// Starts it, and waits until it follows.
    fn start(mut command: Command, cluster: &Cluster) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut archiver = Self(command.spawn().map_err(Error::io("cannot start an archiver"))?);
        let begun = Instant::now();
        while cluster.execute("postgres", "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")? == "0" {
            let ended = archiver.0.try_wait().map_err(Error::io("cannot look at an archiver"))?;
            if ended.is_some() || begun.elapsed() > PATIENCE {
                return Err(Error::Broken("an archiver does not follow the log".to_owned()));
            }
            std::thread::sleep(SAMPLING);
        }
        Ok(archiver)
    }

    /// Ends it as Ctrl-C does, which lets it finish what it has.
    fn end(mut self) -> Result<()> {
        signal::interrupt(&self.0)?;
        self.0.wait().map(drop).map_err(Error::io("cannot wait for an archiver"))
    }
}

impl Drop for Archiver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How far an archive was behind, each time it was looked at.
#[derive(Default)]
struct Lag {
    bytes: Vec<f64>,
    seconds: Vec<f64>,
}

/// Looks at it until `over`: what the server has that is not durable in the archive, and since when it has that.
fn watch(cluster: &Cluster, over: &Receiver<()>) -> Result<Lag> {
    let mut lag = Lag::default();
    let mut written: Vec<(Instant, f64)> = Vec::new();
    let position = "SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0'), pg_wal_lsn_diff(coalesce(max(flush_lsn), '0/0'), '0/0') FROM pg_stat_replication";
    while over.recv_timeout(SAMPLING) == Err(RecvTimeoutError::Timeout) {
        let answer = cluster.execute("postgres", position)?;
        let place = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
        let (server, durable) = answer
            .split_once('|')
            .map_or((f64::NAN, f64::NAN), |(one, other)| (place(one), place(other)));
        let now = Instant::now();
        written.push((now, server));
        // Nothing is said to be durable before there is something.
        if durable > 0.0 {
            lag.bytes.push((server - durable).max(0.0));
            let since = written.iter().find(|(_, position)| *position > durable);
            lag.seconds
                .push(since.map_or(0.0, |(since, _)| now.duration_since(*since).as_secs_f64()));
        }
    }
    Ok(lag)
}

/// What one side did in all rounds.
#[derive(Default)]
struct Rounds {
    load: Vec<Cost>,
    transactions: Vec<f64>,
    archiver: Vec<Cost>,
    typical_bytes: Vec<f64>,
    most_bytes: Vec<f64>,
    most_seconds: Vec<f64>,
}

impl Rounds {
    fn add(&mut self, cluster: &Cluster, archiver: Option<Archiver>, arguments: &Arguments) -> Result<()> {
        let begun = Instant::now();
        let before = history(cluster)?;
        let (over, at_the_end) = mpsc::channel();
        let (load, lag) = std::thread::scope(|scope| {
            let watching = scope.spawn(move || watch(cluster, &at_the_end));
            let load = load(cluster, arguments);
            drop(over);
            (load, watching.join())
        });
        let load = load?;
        let lag = lag.map_err(|_| Error::Broken("the archive's lag could not be watched".to_owned()))??;
        self.transactions.push((history(cluster)? - before) / load.wall.as_secs_f64());
        self.load.push(load);
        let Some(archiver) = archiver else { return Ok(()) };
        self.archiver.push(measure::so_far(archiver.0.id(), begun.elapsed())?);
        archiver.end()?;
        let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
        self.most_bytes.push(most(&lag.bytes));
        self.most_seconds.push(most(&lag.seconds));
        let mut sorted = lag.bytes;
        sorted.sort_by(f64::total_cmp);
        self.typical_bytes.push(sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN));
        Ok(())
    }
}

fn load(cluster: &Cluster, arguments: &Arguments) -> Result<Cost> {
    let mut pgbench = cluster.client("pgbench", ["--no-vacuum", "--jobs=2"])?;
    pgbench
        .arg(format!("--client={}", arguments.clients))
        .arg(format!("--time={}", arguments.seconds));
    pgbench.arg("postgres");
    Job::command(pgbench).run()
}

/// Transactions so far.
fn history(cluster: &Cluster) -> Result<f64> {
    let count = cluster.execute("postgres", "SELECT count(*) FROM pgbench_history")?;
    count
        .parse()
        .map_err(|_| Error::Broken(format!("pgbench's history has `{count}` rows")))
}

/// Each round begins with another side, with an empty archive for each.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Report> {
    let cluster = Cluster::builder()
        .without_tls()
        .setting("max_wal_size", "4GB")
        .setting("shared_buffers", "256MB")
        .start()?;
    cluster.execute("postgres", "CREATE ROLE backup LOGIN REPLICATION PASSWORD 'backup'")?;
    let mut initialize = cluster.client("pgbench", ["--initialize", "--quiet", "--scale=20", "postgres"])?;
    bulkhead_test_support::run(&mut initialize)?;
    let mut rounds: [Rounds; 3] = Default::default();
    for round in 0..context.repetitions {
        context.console.note(&format!("Round {} of {}…", round + 1, context.repetitions));
        for turn in 0..Who::ALL.len() {
            let side = (turn + round as usize) % Who::ALL.len();
            let vault = VaultSide::new(context, &pipeline(&cluster, arguments))?;
            vault.scratch().private_file("postgres-password", "backup")?;
            vault.run(&["check", "log"])?;
            cluster.execute("postgres", "CHECKPOINT")?;
            let archiver = Who::ALL[side].begin(&cluster, &vault)?;
            rounds[side].add(&cluster, archiver, arguments)?;
            cluster.execute("postgres", "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")?;
        }
    }
    Ok(report(context, arguments, &cluster, rounds))
}

fn pipeline(cluster: &Cluster, arguments: &Arguments) -> String {
    format!(
        "[pipeline.log]\nplugin = \"postgres\"\nvault = \"main\"\nconfig = {{ mode = \"wal\", user = \"backup\", interval = \"{} s\" }}\n\
         endpoint.server = {{ address = \"{}\", tls = {{ mode = \"disable\" }} }}\n\
         secret.password = {{ file = \"{{folder}}/postgres-password\", reveal = true }}\n",
        arguments.interval,
        cluster.address(),
    )
}

fn report(context: &Context, arguments: &Arguments, cluster: &Cluster, rounds: [Rounds; 3]) -> Report {
    let quantity = |name, values, show| Quantity { name, values, show };
    let mut samples = Vec::new();
    for (who, done) in Who::ALL.into_iter().zip(rounds) {
        samples.push(Samples {
            what: "pgbench, while the log is archived",
            who: who.name(),
            costs: done.load,
            stored_bytes: Vec::new(),
            further: vec![quantity("transactions a second", done.transactions, |value| format!("{value:.0}"))],
        });
        if who == Who::Nobody {
            continue;
        }
        let share = done
            .archiver
            .iter()
            .map(|cost| 100.0 * cost.cpu.as_secs_f64() / cost.wall.as_secs_f64());
        samples.push(Samples {
            what: "archiver",
            who: who.name(),
            further: vec![
                quantity("share of a core", share.collect(), |value| format!("{value:.1} %")),
                quantity("typical lag", done.typical_bytes, bytes),
                quantity("largest lag", done.most_bytes, bytes),
                quantity("largest lag in time", done.most_seconds, seconds),
            ],
            costs: done.archiver,
            stored_bytes: Vec::new(),
        });
    }
    let mut circumstances = machine();
    circumstances.extend([
        ("binary", context.binary.display().to_string()),
        ("postgresql", cluster.installation().version().unwrap_or_default()),
        (
            "load",
            format!(
                "pgbench, scale 20, {} clients, {} s a side and round",
                arguments.clients, arguments.seconds
            ),
        ),
    ]);
    Report {
        name: "wal",
        circumstances,
        samples,
        remarks: vec![
            format!(
                "Lag is what the server has and the archive does not yet report as durable. Bulkhead commits every {} s, encrypted and deduplicated, and reports then; pg_receivewal writes \
                 plain files, and reports what it has synced: whole segments.",
                arguments.interval
            ),
            "The archiver's memory is what it has at the end of the load, its CPU time that of its own process; load, server and archiver share the machine.".to_owned(),
        ],
    }
}
