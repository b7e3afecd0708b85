//! The snapshot that `ls`, `dump` and `restore` read, and what of it: [`Stored`].

use std::{
    borrow::Cow,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
};

use bulkhead_config::{Config, Pipeline};
use bulkhead_model::EntryPath;
use bulkhead_pipeline::Place;
use clap::Args;

use crate::{
    commands::entry_path,
    error::CommandError,
    session::{pipeline_in, unknown},
};

/// Where a snapshot is, and which.
#[derive(Debug, Args)]
pub(crate) struct Stored {
    /// The pipeline; with --vault and --snapshot it can be left out, and paths then begin with `/`
    #[arg(value_name = "PIPELINE", required_unless_present = "vault")]
    pipeline: Option<OsString>,

    /// The beginning of a snapshot's id [default: latest]
    #[arg(long, value_name = "ID")]
    snapshot: Option<String>,

    /// Read from this sink, one of the vault's; the first one by default
    #[arg(long, value_name = "NAME")]
    pub(crate) sink: Option<String>,

    /// Read the copy in this vault, which is fed from the pipeline's own; without a pipeline, any snapshot in it, whatever wrote it
    #[arg(long, value_name = "VAULT")]
    vault: Option<String>,
}

/// What the words of the command line stand for.
pub(crate) struct Found<'c> {
    origin: Origin<'c>,
    /// What of the snapshot.
    pub(crate) paths: Vec<EntryPath>,
}

/// Among which snapshots.
enum Origin<'c> {
    Pipeline(Box<Cow<'c, Pipeline>>),
    Vault(&'c str),
}

impl Stored {
    /// Where the snapshot is, and the paths that `words` are. A first word that begins with `/` names no pipeline, and belongs to them.
    pub(crate) fn find<'c, 'w>(
        &'w self,
        config: &'c Config,
        words: impl IntoIterator<Item = &'w OsString>,
    ) -> Result<Found<'c>, CommandError> {
        let is_path = |word: &&OsString| word.as_bytes().starts_with(b"/");
        let name = self.pipeline.as_ref().filter(|word| !(is_path(word) && self.vault.is_some()));
        let path = self.pipeline.as_ref().filter(|_| name.is_none());
        let words = path.into_iter().chain(words);
        Ok(Found {
            origin: self.origin(config, name.map(OsString::as_os_str))?,
            paths: words.map(|word| entry_path(word)).collect::<Result<_, _>>()?,
        })
    }

    fn origin<'c>(&self, config: &'c Config, name: Option<&OsStr>) -> Result<Origin<'c>, CommandError> {
        if let Some(name) = name {
            let pipeline = pipeline_in(config, &name.to_string_lossy(), self.vault.as_deref())?;
            return Ok(Origin::Pipeline(Box::new(pipeline)));
        }
        let name = self.vault.as_deref().unwrap_or_default();
        let vault = config
            .vault(name)
            .ok_or_else(|| unknown("vault", name, config.vaults.iter().map(|vault| vault.name.as_str())))?;
        if self.snapshot.is_none() {
            return Err(CommandError::usage(
                "without a pipeline, the snapshot has to be named",
                format!("`--snapshot ID`; `bulkhead snapshots --vault {name}` lists what is in the vault"),
            ));
        }
        Ok(Origin::Vault(&vault.name))
    }

    /// `latest`, or the beginning of an id.
    pub(crate) fn selector(&self) -> &str {
        self.snapshot.as_deref().unwrap_or("latest")
    }
}

impl Found<'_> {
    pub(crate) fn place(&self) -> Place<'_> {
        match &self.origin {
            Origin::Pipeline(pipeline) => Place::from(&***pipeline),
            Origin::Vault(vault) => Place { vault, pipeline: None },
        }
    }

    /// The pipeline, for what only its plugin can do.
    pub(crate) fn pipeline(&self, what: &str) -> Result<&Pipeline, CommandError> {
        match &self.origin {
            Origin::Pipeline(pipeline) => Ok(pipeline),
            Origin::Vault(_) => Err(CommandError::usage(
                format!("`{what}` is done by a pipeline's plugin, and no pipeline is named"),
                "name the pipeline that the snapshot is of",
            )),
        }
    }

    /// At most one path.
    pub(crate) fn path(&self) -> Result<Option<&EntryPath>, CommandError> {
        match &self.paths[..] {
            [] => Ok(None),
            [path] => Ok(Some(path)),
            [_, further, ..] => Err(CommandError::usage(
                format!("`{further}` is one path too many"),
                "`bulkhead restore` takes several",
            )),
        }
    }
}
