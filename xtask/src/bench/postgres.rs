//! `cargo xtask bench postgres`: a whole cluster into a vault and back, beside `pg_basebackup` into restic and into zstd, and
//! pgBackRest.

use bulkhead_test_support::postgres::Cluster;
use bulkhead_test_support::{Tool, run as run_tool};

use super::measure::Cost;
use super::peer::{ResticSide, ZstdSide};
use super::pgbackrest::PgBackRestSide;
use super::report::{Report, Samples, machine};
use super::vault::VaultSide;
use super::{Context, cluster};
use crate::console::size;
use crate::error::{Error, Result};

/// Full backup, second backup after a change, and restore of a PostgreSQL cluster, beside `pg_basebackup` into restic and into zstd, and pgBackRest.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Size of the cluster in MiB.
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u64).range(32..=65_536))]
    size: u64,
    /// Change the rows in one stretch, instead of in runs that are scattered over the tables.
    #[arg(long)]
    one_range: bool,
}

/// Somebody who can back a cluster up and restore it.
trait Side {
    fn name(&self) -> &'static str;
    fn back_up(&self, cluster: &Cluster) -> Result<Cost>;
    fn restore(&self, cluster: &Cluster) -> Result<Cost>;
    fn stored_bytes(&self) -> Result<u64>;
}

/// What one side did in all rounds.
#[derive(Default)]
struct Rounds {
    full: Vec<Cost>,
    full_stored: Vec<u64>,
    second: Vec<Cost>,
    second_stored: Vec<u64>,
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
        for &side in &order {
            let (name, done) = &mut rounds[side];
            *name = sides[side].name();
            done.full.push(sides[side].back_up(&cluster)?);
            done.full_stored.push(sides[side].stored_bytes()?);
        }
        cluster::change_one_percent(&cluster, round, arguments.one_range)?;
        for &side in &order {
            let before = sides[side].stored_bytes()?;
            let done = &mut rounds[side].1;
            done.second.push(sides[side].back_up(&cluster)?);
            done.second_stored.push(sides[side].stored_bytes()? - before);
        }
        for side in order {
            rounds[side].1.restored.push(sides[side].restore(&cluster)?);
        }
    }
    report(context, arguments, &cluster, rounds)
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

fn report(context: &Context, arguments: &Arguments, cluster: &Cluster, rounds: Vec<(&'static str, Rounds)>) -> Result<Report> {
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
    let mut measured = [
        ("full backup", Vec::new()),
        ("second backup, 1 % of rows changed", Vec::new()),
        ("restore", Vec::new()),
    ];
    for (who, rounds) in rounds {
        measured[0].1.push((who, rounds.full, rounds.full_stored));
        measured[1].1.push((who, rounds.second, rounds.second_stored));
        measured[2].1.push((who, rounds.restored, Vec::new()));
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
        name: "postgres",
        circumstances,
        samples: samples.collect(),
        remarks: vec![
            if arguments.one_range {
                "The changed rows of each table lie in one stretch.".to_owned()
            } else {
                "The changed rows lie in runs of 1,000 (about 250 kB), scattered evenly over the tables.".to_owned()
            },
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
