//! Snapshots as `tag` and `hold` are told of them: [`Chosen`].

use bulkhead_config::Config;
use clap::Args;

use crate::{
    error::CommandError,
    session::{one_pipeline, unknown},
};

/// Which snapshots.
#[derive(Debug, Args)]
pub(crate) struct Chosen {
    /// The pipeline
    #[arg(value_name = "PIPELINE", required_unless_present = "vault")]
    pipeline: Option<String>,

    /// The vault of the snapshots, whatever wrote them
    #[arg(long, value_name = "VAULT", conflicts_with = "pipeline", requires = "snapshots")]
    vault: Option<String>,

    /// The beginning of a snapshot's id; can be given several times
    #[arg(long = "snapshot", value_name = "ID", default_value = "latest")]
    pub(crate) snapshots: Vec<String>,
}

impl Chosen {
    /// The vault, and the pipeline where one was named.
    pub(crate) fn place<'c>(&self, config: &'c Config) -> Result<(&'c str, Option<&'c str>), CommandError> {
        if let Some(name) = &self.pipeline {
            let pipeline = one_pipeline(config, name)?;
            return Ok((&pipeline.vault, Some(&pipeline.name)));
        }
        let name = self.vault.as_deref().unwrap_or_default();
        match config.vault(name) {
            Some(vault) => Ok((&vault.name, None)),
            None => Err(unknown("vault", name, config.vaults.iter().map(|vault| vault.name.as_str()))),
        }
    }
}
