//! `cargo xtask bench postgres`: a whole cluster into a vault and back, beside `pg_basebackup` into restic and into zstd, and
//! pgBackRest.

use bulkhead_test_support::postgres::Cluster;
use bulkhead_test_support::{Tool, run as run_tool};

use super::Context;
use super::cluster::{self, Change};
use super::measure::Cost;
use super::peer::{ResticSide, ZstdSide};
use super::pgbackrest::PgBackRestSide;
use super::report::{Report, Samples, machine};
use super::vault::VaultSide;
use crate::console::size;
use crate::error::{Error, Result};

/// Full backup, a backup after each of two changes, and restore of a PostgreSQL cluster, beside `pg_basebackup` into restic and into zstd, and pgBackRest.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Size of the cluster in MiB.
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u64).range(32..=65_536))]
    size: u64,
}

/// Somebody who can back a cluster up and restore it.
trait Side {
    fn name(&self) -> &'static str;
    fn back_up(&self, cluster: &Cluster) -> Result<Cost>;
    fn restore(&self, cluster: &Cluster) -> Result<Cost>;
    fn stored_bytes(&self) -> Result<u64>;
}

/// What is backed up, in this order: the cluster as it is, then as a change has left it.
const BACKUPS: [(&str, Option<Change>); 3] = [
    ("full backup", None),
    ("second backup, 1 % of the rows changed, all neighbours", Some(Change::OneRange)),
    ("third backup, every hundredth row changed", Some(Change::Scattered)),
];

/// What one side did in all rounds.
#[derive(Default)]
struct Rounds {
    backups: [(Vec<Cost>, Vec<u64>); BACKUPS.len()],
    restored: Vec<Cost>,
}

/// Each round gives all sides an empty repository; they take turns in going first, because the first one warms the page cache for the others.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Report> {
    let cluster = cluster::filled(&context.console, arguments.size << 20)?;
    let mut rounds: Vec<(&'static str, Rounds)> = Vec::new();
    for round in 0..context.repetitions {
        context.console.note(&format!("Round {} of {}…", round + 1, context.repetitions));
        let ours = VaultSide::new(context, &pipeline(&cluster))?;
        ours.scratch().private_file("postgres-password", "backup")?;
        // Compiles the plugin where that has not been done, and finds out what would fail.
        ours.run(&["check"])?;
        let (restic, zstd, rest) = (ResticSide::new()?, ZstdSide::new()?, PgBackRestSide::new(&cluster)?);
        let sides: [&dyn Side; 4] = [&ours, &restic, &zstd, &rest];
        rounds.resize_with(sides.len(), Default::default);
        let mut order: Vec<usize> = (0..sides.len()).collect();
        order.rotate_left(round as usize % sides.len());
        cluster::settle(&cluster)?;
        for (backup, (_, change)) in BACKUPS.into_iter().enumerate() {
            if let Some(change) = change {
                cluster::change_one_percent(&cluster, change, round)?;
            }
            for &side in &order {
                let before = sides[side].stored_bytes()?;
                let (name, done) = &mut rounds[side];
                *name = sides[side].name();
                let (costs, stored) = &mut done.backups[backup];
                costs.push(sides[side].back_up(&cluster)?);
                stored.push(sides[side].stored_bytes()?.saturating_sub(before));
            }
        }
        for side in order {
            rounds[side].1.restored.push(sides[side].restore(&cluster)?);
        }
    }
    report(context, &cluster, rounds)
}

fn pipeline(cluster: &Cluster) -> String {
    format!(
        "[pipeline.cluster]\nplugin = \"postgres\"\nvault = \"main\"\nconfig = {{ mode = \"physical\", user = \"backup\" }}\n\
         endpoint.server = {{ address = \"{}\", tls = {{ mode = \"require\" }} }}\n\
         secret.password = {{ file = \"{{folder}}/postgres-password\", reveal = true }}\n\
         [pipeline.cluster.target.elsewhere]\ndirectory.data = {{ path = \"{{folder}}/restored\", access = \"read-write\" }}\n",
        cluster.address(),
    )
}

fn report(context: &Context, cluster: &Cluster, rounds: Vec<(&'static str, Rounds)>) -> Result<Report> {
    let databases = cluster.execute("postgres", "SELECT sum(pg_database_size(oid))::bigint FROM pg_database")?;
    let mut circumstances = machine();
    circumstances.extend([
        ("cluster", size(databases.parse().unwrap_or(0))),
        (
            "bulkhead",
            version(&Tool::at(&context.binary, "cargo build --release --package bulkhead")?, "--version")?,
        ),
        ("postgresql", cluster.installation().version()?),
        ("restic", version(&Tool::find("restic", "apt-get install restic")?, "version")?),
        ("zstd", version(&Tool::find("zstd", "apt-get install zstd")?, "--version")?),
        (
            "pgbackrest",
            version(&Tool::find("pgbackrest", "apt-get install pgbackrest")?, "version")?,
        ),
    ]);
    let sample = |what, who, (costs, stored_bytes)| Samples {
        what,
        who,
        costs,
        stored_bytes,
        further: Vec::new(),
    };
    let mut samples = Vec::new();
    let mut restores = Vec::new();
    for (who, rounds) in rounds {
        let backups = BACKUPS.into_iter().zip(rounds.backups);
        samples.extend(backups.map(|((what, _), measured)| sample(what, who, measured)));
        restores.push(sample("restore", who, (rounds.restored, Vec::new())));
    }
    // By what was measured, and ours first in each: the sort keeps the order of the sides.
    samples.sort_by_key(|sample| BACKUPS.iter().position(|(what, _)| *what == sample.what));
    samples.extend(restores);
    Ok(Report {
        name: "postgres",
        circumstances,
        samples,
        remarks: vec![
            "Half of the cluster is pgbench's, half are texts of up to 6,000 bytes. Where every hundredth row changes, so does nearly every stretch of the tables.".to_owned(),
            "CPU and memory are those of the clients on each side; the server, which does the same for all but pgBackRest, is left out.".to_owned(),
            "pgBackRest reads the server's files itself, encrypts nothing, and leaves the log to an archive that isn't measured; its second backup is incremental, by file."
                .to_owned(),
            "Bulkhead verifies the manifest's checksum of every file as it passes, and restores entry by entry; restic and zstd store and restore \
             one tar file that nothing has looked into, and zstd encrypts and deduplicates nothing: its second backup is another full one."
                .to_owned(),
        ],
    })
}

fn version(tool: &Tool, argument: &str) -> Result<String> {
    let output = run_tool(&mut tool.command([argument]))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Side for VaultSide {
    fn name(&self) -> &'static str {
        "bulkhead"
    }

    fn back_up(&self, _cluster: &Cluster) -> Result<Cost> {
        self.run(&["run", "cluster"])
    }

    fn restore(&self, _cluster: &Cluster) -> Result<Cost> {
        let target = self.scratch().folder("restored")?;
        let cost = self.run(&["restore", "cluster", "--target", "elsewhere"])?;
        std::fs::remove_dir_all(&target).map_err(Error::io("cannot remove what was restored"))?;
        Ok(cost)
    }

    fn stored_bytes(&self) -> Result<u64> {
        VaultSide::stored_bytes(self)
    }
}

impl Side for ResticSide {
    fn name(&self) -> &'static str {
        "pg_basebackup | restic"
    }

    fn back_up(&self, cluster: &Cluster) -> Result<Cost> {
        ResticSide::back_up(self, cluster)
    }

    fn restore(&self, _cluster: &Cluster) -> Result<Cost> {
        ResticSide::restore(self)
    }

    fn stored_bytes(&self) -> Result<u64> {
        ResticSide::stored_bytes(self)
    }
}

impl Side for PgBackRestSide {
    fn name(&self) -> &'static str {
        "pgbackrest"
    }

    fn back_up(&self, cluster: &Cluster) -> Result<Cost> {
        PgBackRestSide::back_up(self, cluster)
    }

    fn restore(&self, cluster: &Cluster) -> Result<Cost> {
        PgBackRestSide::restore(self, cluster)
    }

    fn stored_bytes(&self) -> Result<u64> {
        PgBackRestSide::stored_bytes(self)
    }
}

impl Side for ZstdSide {
    fn name(&self) -> &'static str {
        "pg_basebackup | zstd"
    }

    fn back_up(&self, cluster: &Cluster) -> Result<Cost> {
        ZstdSide::back_up(self, cluster)
    }

    fn restore(&self, _cluster: &Cluster) -> Result<Cost> {
        ZstdSide::restore(self)
    }

    fn stored_bytes(&self) -> Result<u64> {
        ZstdSide::stored_bytes(self)
    }
}
