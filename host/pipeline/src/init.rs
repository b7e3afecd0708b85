//! `bulkhead init`: makes a vault on all of its sinks.

use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt as _, path::PathBuf};

use bulkhead_config::{self as config, Access, Config};
use bulkhead_vault::{Hint as _, InitError, InitOptions, SharedStore, Vault};
use serde::Serialize;

use crate::{
    access::{PasswordError, vault_site},
    failure::{Explain, Failure, FailureClass, Site},
    host::BuildError,
    operation::{Interrupted, Operation},
    replicate::{ReplicaReport, replicate},
};

/// What was made.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct InitReport {
    /// The vault.
    pub vault: String,
    /// Its id, the same that `restic cat config` shows.
    pub id: String,
    /// Folders that were made for its sinks, for this user alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<PathBuf>,
    /// Its first sink.
    pub sink: String,
    /// Its further sinks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<ReplicaReport>,
}

/// Why a vault could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InitVaultError {
    /// A plugin could not be made ready.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The vault's password could not be had.
    #[error(transparent)]
    Password(Box<PasswordError>),
    /// The vault could not be made.
    #[error("cannot make the vault `{vault}`")]
    Init {
        /// Its name.
        vault: String,
        /// Its table.
        site: Site,
        /// The table of its first sink.
        sink: Site,
        /// Why.
        source: Box<InitError>,
    },
    /// Cut short.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Explain for InitVaultError {
    fn explain(&self) -> Failure {
        match self {
            Self::Build(error) => error.explain(),
            Self::Password(error) => error.explain_for_a_new_vault(),
            Self::Interrupted(error) => crate::run::explain_interrupted(*error, None),
            Self::Init { site, sink, source, .. } => match source.as_ref() {
                InitError::Exists { .. } => Failure::new(FailureClass::Conflict, self)
                    .at(sink)
                    .hint("it is ready to be used: `bulkhead check`; to make another vault, give it another place"),
                InitError::Incomplete { .. } => Failure::of_vault(FailureClass::Conflict, source.as_ref(), source.hint()).at(sink),
                InitError::EmptyPassword => Failure::new(FailureClass::Credentials, self).at(site).setting("key"),
                InitError::Store(_) => Failure::of_vault(FailureClass::Plugin, source.as_ref(), source.hint()).at(sink),
                _ => Failure::of_vault(FailureClass::Internal, source.as_ref(), source.hint()).at(site),
            },
        }
    }
}

/// Makes the vault called `name`, and the folders of its sinks that are missing in one that is there.
///
/// # Errors
/// See [`InitVaultError`]; a replica that could not be made is in the report, the next run tries again.
pub async fn init(operation: &Operation, name: &str) -> Result<InitReport, InitVaultError> {
    operation.until_interrupted(None, make(operation, name)).await?
}

/// Makes the folders that the vault's sinks write to, and nothing above them: where that is missing, a path is mistyped or a disk is not mounted. What cannot be
/// made is told by the plugin that cannot open it.
fn make_folders(config: &Config, vault: &config::Vault) -> Vec<PathBuf> {
    let sinks = vault.sinks.iter().filter_map(|name| config.sink(name));
    let written = sinks
        .flat_map(|sink| &sink.grants.directories)
        .filter(|directory| directory.access == Access::ReadWrite);
    let made = written.filter(|directory| DirBuilder::new().mode(0o700).create(&directory.path).is_ok());
    made.map(|directory| directory.path.clone()).collect()
}

#[tracing::instrument(name = "init", skip(operation))]
async fn make(operation: &Operation, name: &str) -> Result<InitReport, InitVaultError> {
    let vault = operation.vault_named(name)?;
    let sinks = operation.sinks(vault).await?;
    let password = operation
        .password(vault)
        .await
        .map_err(|error| InitVaultError::Password(Box::new(error)))?;
    let folders = make_folders(&operation.config, vault);
    let store: SharedStore = sinks.first.clone();
    let options = InitOptions {
        host: Some(operation.host.name.clone()),
    };
    let made = Vault::init(store, &password, options)
        .await
        .map_err(|source| InitVaultError::Init {
            vault: vault.name.clone(),
            site: vault_site(vault),
            sink: sinks.first.site().clone(),
            source: Box::new(source),
        })?;
    let mut replicas = Vec::with_capacity(sinks.further.len());
    for sink in &sinks.further {
        replicas.push(replicate(&sinks.first, sink, &operation.cancellation).await);
    }
    Ok(InitReport {
        vault: vault.name.clone(),
        id: made.id().to_owned(),
        folders,
        sink: sinks.first.name().to_owned(),
        replicas,
    })
}
