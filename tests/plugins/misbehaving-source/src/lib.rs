//! A source for tests: deterministic content, and on demand every way in which a plugin can go wrong.
//!
//! `behaviour` picks what `backup` does. `good` writes `entries` entries of `entry-size` bytes that `seed` determines, restores them into the directory
//! `target` and verifies them; what else there is goes wrong in the middle of that.

mod behaviour;
pub mod content;

use std::io::Write;

use bulkhead_sdk::{entries::Finished, parts, prelude::*};

pub use behaviour::Behaviour;

/// What a test writes under `config`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// What to do.
    pub behaviour: Behaviour,
    /// How many entries, `data/00000000` and on.
    pub entries: u32,
    /// Bytes in each.
    pub entry_size: u64,
    /// Determines the content.
    pub seed: u64,
    /// Carry entries below this number forward from the parent snapshot, where there is one.
    pub keep: u32,
    /// Write through so many parts; 0 for none.
    pub parts: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            behaviour: Behaviour::Good,
            entries: 3,
            entry_size: 100_000,
            seed: 1,
            keep: 0,
            parts: 0,
        }
    }
}

/// The plugin.
#[derive(Debug)]
pub struct MisbehavingSource(Config);

/// The path of entry `number`.
#[must_use]
pub fn path(number: u32) -> String {
    format!("data/{number:08}")
}

impl Source for MisbehavingSource {
    type Config = Config;

    fn describe() -> Description {
        let all = Operations::CHECK | Operations::BACKUP | Operations::RESTORE | Operations::VERIFY | Operations::BROWSE;
        Description::new(
            "misbehaving-source",
            env!("CARGO_PKG_VERSION"),
            "Goes wrong in every way, for tests",
            all,
        )
        .endpoint("server", "Something to block on", Operations::none())
        .directory("target", "Where a restore writes", Access::ReadWrite, Operations::RESTORE)
        .directory("source", "Something to read only", Access::ReadOnly, Operations::none())
        .secret("password", "Something not to leak", Operations::none())
        .format("joined", "All entries one after the other, and a line with `end`")
    }

    fn new(config: Config) -> Result<Self> {
        if config.keep > config.entries {
            return Err(Error::config(
                "keep",
                format!("`keep` is {}, more than the {} entries", config.keep, config.entries),
            ));
        }
        Ok(Self(config))
    }

    fn check(&mut self) -> Result<Vec<Finding>> {
        match self.0.behaviour {
            Behaviour::Good => Ok(vec![Finding::info("good", "nothing is going to go wrong")]),
            Behaviour::Error => Err(behaviour::refused()),
            other => Ok(vec![
                Finding::warning("misbehaving", format!("`{other:?}` is going to happen")).with_setting("behaviour"),
            ]),
        }
    }

    fn backup(&mut self, request: BackupRequest) -> Result<BackupResult> {
        let mut proof = Proof {
            complete: true,
            ..Proof::default()
        };
        entries::add("data", &Metadata::directory())?;
        let kept = if request.checkpoint.is_some() { self.0.keep } else { 0 };
        for number in 0..kept {
            proof.count(&entries::keep(path(number))?);
        }
        self.write(kept, &mut proof)?;
        proof.fact("seed", self.0.seed);
        self.0.behaviour.act(&self.0, &mut proof)?;
        Ok(BackupResult {
            proof,
            checkpoint: Some(self.0.seed.to_le_bytes().to_vec()),
            findings: Vec::new(),
        })
    }

    fn run_part(&mut self, work: Vec<u8>) -> Result<Vec<u8>> {
        let numbers: Vec<u32> = serde_json::from_slice(&work).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        if self.0.behaviour == Behaviour::FailInPart {
            return Err(behaviour::refused());
        }
        let sizes = numbers
            .into_iter()
            .map(|number| Ok(content::write(&self.0, number)?.size))
            .collect::<Result<Vec<_>>>()?;
        serde_json::to_vec(&sizes).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))
    }

    fn restore(&mut self, request: RestoreRequest) -> Result<RestoreResult> {
        let target = directory::open("target")?;
        let mut result = RestoreResult::default();
        for entry in snapshot::walk("")? {
            let entry = entry?;
            if !request.selects(&entry.path) {
                continue;
            }
            match entry.metadata.node_type {
                NodeType::Directory => target.create_folders(&entry.path, entry.metadata.mode)?,
                _ => {
                    result.bytes += content::restore(&target, &entry.path)?;
                    result.entries += 1;
                }
            }
        }
        Ok(result)
    }

    fn verify(&mut self) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        for number in 0..self.0.entries {
            if !content::is_intact(&self.0, number)? {
                findings.push(Finding::error(
                    "content-differs",
                    format!("{} is not what was written", path(number)),
                ));
            }
        }
        Ok(findings)
    }

    fn browse(&mut self, request: BrowseRequest) -> Result<Vec<Item>> {
        let size = snapshot::stat(&request.entry)?.size;
        let lines = (0..size.div_ceil(1 << 20)).map(|part| format!("part-{part:08}"));
        let after = request.after.unwrap_or_default();
        let wanted = lines.filter(|name| name.starts_with(&request.prefix) && *name > after).take(10_000);
        Ok(wanted
            .map(|name| Item {
                name,
                size: Some(1 << 20),
                facts: Vec::new(),
            })
            .collect())
    }

    fn render(&mut self, request: RenderRequest, into: &mut dyn Write) -> Result<()> {
        for entry in snapshot::walk("")? {
            let entry = entry?;
            if request.selects(&entry.path) && entry.metadata.node_type == NodeType::File {
                self.render_entry(&entry.path, into)?;
            }
        }
        Ok(into.write_all(b"end\n")?)
    }
}

impl MisbehavingSource {
    /// Fails, or traps, after the first entry, where that is asked for.
    fn render_entry(&self, path: &[u8], into: &mut dyn Write) -> Result<()> {
        let mut entry = snapshot::open(path)?;
        while let Some(piece) = entry.read_bytes(1 << 20)? {
            into.write_all(&piece)?;
        }
        self.0.behaviour.act(&self.0, &mut Proof::default())
    }

    /// Writes the entries from number `first`, through parts where these are asked for.
    fn write(&self, first: u32, proof: &mut Proof) -> Result<()> {
        if self.0.parts == 0 {
            return (first..self.0.entries).try_for_each(|number| {
                proof.count(&content::write(&self.0, number)?);
                Ok(())
            });
        }
        let share = |part: u32| {
            (first..self.0.entries)
                .filter(move |number| number % self.0.parts == part)
                .collect::<Vec<_>>()
        };
        let begun = (0..self.0.parts).map(|part| parts::start(&serde_json::to_vec(&share(part)).unwrap_or_default()));
        for part in begun.collect::<Result<Vec<_>>>()? {
            let sizes: Vec<u64> = serde_json::from_slice(&part.wait()?).unwrap_or_default();
            sizes.into_iter().for_each(|size| {
                proof.count(&Finished {
                    entries: 1,
                    size,
                    digest: None,
                });
            });
        }
        Ok(())
    }
}

bulkhead_sdk::export_source!(MisbehavingSource);
