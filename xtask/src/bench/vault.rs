//! Bulkhead's side of a benchmark: a fresh vault, a configuration, and its commands.

use std::path::PathBuf;
use std::process::Command;

use bulkhead_test_support::Scratch;

use super::Context;
use super::measure::{Cost, Job};
use crate::error::Result;
use crate::process::bytes_below;

/// A folder with `bulkhead.toml` and an initialized vault.
pub(super) struct VaultSide {
    binary: PathBuf,
    scratch: Scratch,
}

impl VaultSide {
    /// A new vault in a folder, and `pipelines` in the configuration; `{folder}` in it stands for the scratch folder.
    pub(super) fn new(context: &Context, pipelines: &str) -> Result<Self> {
        let scratch = Scratch::new()?;
        scratch.folder("vault")?;
        let disk = "plugin = \"local\"\ndirectory.root = { path = \"{folder}/vault\", access = \"read-write\" }";
        Self::on(context, scratch, disk, pipelines)
    }

    /// A new vault on a sink with these settings; `{folder}` stands for the scratch folder there too.
    pub(super) fn on(context: &Context, scratch: Scratch, sink: &str, pipelines: &str) -> Result<Self> {
        let side = Self {
            binary: context.binary.clone(),
            scratch,
        };
        side.scratch.private_file("vault-password", "benchmark")?;
        let text = format!(
            "version = 1\n[vault.main]\nkey = {{ file = \"{{folder}}/vault-password\" }}\nsinks = [\"only\"]\n[sink.only]\n{sink}\n{pipelines}"
        );
        let text = text.replace("{folder}", &side.scratch.path().display().to_string());
        side.scratch.private_file("bulkhead.toml", text)?;
        side.run(&["init", "main"])?;
        Ok(side)
    }

    pub(super) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Runs `bulkhead` and says what it cost. Compiled components stay in a cache beside the binary, as they stay in a user's.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<Cost> {
        Job::command(self.command(arguments)).run()
    }

    /// The same, to be run.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).current_dir(self.scratch.path());
        command
            .env("BULKHEAD_CACHE_DIR", self.binary.with_file_name("bulkhead-bench-cache"))
            .env_remove("BULKHEAD_CONFIG");
        command
    }

    /// Bytes in the vault.
    pub(super) fn stored_bytes(&self) -> Result<u64> {
        bytes_below(&self.scratch.join("vault"))
    }
}
