//! Opening a vault through its sinks: the way into every operation but `plan`.

use std::sync::Arc;

use bulkhead_config as config;
use bulkhead_vault::{self as vault, Hint as _, OpenError, Password, Vault, VaultOptions};

use crate::{
    failure::{Explain, Failure, FailureClass, Site},
    host::{BuildError, site},
    kit,
    operation::Operation,
    secrets::SecretError,
    store::SinkStore,
};

/// A vault's sinks, ready to work: the one that must succeed, and those that catch up.
#[derive(Clone)]
pub(crate) struct Sinks {
    pub(crate) first: Arc<SinkStore>,
    pub(crate) further: Vec<Arc<SinkStore>>,
}

/// A vault that is open on its first sink, for what reads and writes it several times: opening derives a key, which takes its time by design.
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) name: String,
    pub(crate) sinks: Sinks,
    pub(crate) vault: Vault,
}

/// Why a vault could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A plugin could not be made ready.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The vault's password could not be had.
    #[error(transparent)]
    Password(Box<PasswordError>),
    /// The vault can't be opened.
    #[error("cannot open the vault `{vault}`")]
    Open {
        /// Its name.
        vault: String,
        /// Its table.
        site: Site,
        /// The table of its first sink.
        sink: Site,
        /// Why.
        source: Box<OpenError>,
    },
}

/// A vault's password could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot get the password of the vault `{vault}`")]
pub struct PasswordError {
    pub(crate) vault: String,
    pub(crate) site: Site,
    pub(crate) source: SecretError,
}

impl PasswordError {
    /// The failure, for a vault that is there.
    pub(crate) fn explain(&self) -> Failure {
        self.explain_with(self.source.hint())
    }

    /// The failure, for a vault that is being made: its password may have to be made, too.
    pub(crate) fn explain_for_a_new_vault(&self) -> Failure {
        self.explain_with(self.source.hint_to_make())
    }

    fn explain_with(&self, hint: String) -> Failure {
        Failure::new(FailureClass::Credentials, self)
            .at(&self.site)
            .setting("key")
            .hint(hint)
    }
}

impl Explain for AccessError {
    fn explain(&self) -> Failure {
        match self {
            Self::Build(error) => error.explain(),
            Self::Password(error) => error.explain(),
            Self::Open { vault, site, sink, source } => {
                let failure = Failure::of_vault(class_of_open(source), self, source.hint());
                match source.as_ref() {
                    OpenError::WrongPassword { .. } => failure.at(site).setting("key"),
                    OpenError::NotAVault { .. } => failure.at(site).hint(format!("create it: `bulkhead init {vault}`")),
                    OpenError::Store(_) => failure.at(sink),
                    _ => failure.at(site),
                }
            }
        }
    }
}

fn class_of_open(error: &OpenError) -> FailureClass {
    match error {
        OpenError::NotAVault { .. } => FailureClass::NotFound,
        OpenError::ConfigMissing { .. } | OpenError::NoKeys { .. } | OpenError::BadKey { .. } | OpenError::Corrupt(_) => {
            FailureClass::Damaged
        }
        OpenError::WrongPassword { .. } => FailureClass::Credentials,
        OpenError::UnsupportedVersion { .. } => FailureClass::Config,
        _ => FailureClass::Internal,
    }
}

/// The table of `vault`.
pub(crate) fn vault_site(vault: &config::Vault) -> Site {
    site(format!("vault.{}", vault.name), &vault.origin)
}

impl Operation {
    /// The vault called `name`, which a parsed configuration has.
    pub(crate) fn vault_named(&self, name: &str) -> Result<&config::Vault, BuildError> {
        self.config.vault(name).ok_or_else(|| BuildError::Dangling {
            kind: "vault",
            name: name.to_owned(),
        })
    }

    /// The sinks of `vault`, loaded but not yet used.
    pub(crate) async fn sinks(&self, vault: &config::Vault) -> Result<Sinks, BuildError> {
        let context = self.sink_context();
        let mut stores = Vec::with_capacity(vault.sinks.len());
        for name in &vault.sinks {
            stores.push(Arc::new(self.host.sink(&self.config, name, &context).await?));
        }
        let mut stores = stores.into_iter();
        let first = stores.next().ok_or_else(|| BuildError::Dangling {
            kind: "sink",
            name: String::new(),
        })?;
        Ok(Sinks {
            first,
            further: stores.collect(),
        })
    }

    /// The password of `vault`.
    pub(crate) async fn password(&self, vault: &config::Vault) -> Result<Password, PasswordError> {
        if let Some(warning) = crate::secrets::exposed(&vault.key) {
            tracing::warn!("{warning}");
        }
        let password = self.host.secrets.password(&vault.key).await;
        let password = password.map_err(|source| PasswordError {
            vault: vault.name.clone(),
            site: vault_site(vault),
            source,
        })?;
        if kit::password::is_mistyped(&password) {
            tracing::warn!(
                vault = vault.name,
                "the password is written as a recovery kit's, but its last two characters don't fit: it is mistyped"
            );
        }
        Ok(Password::new(password.to_vec()))
    }

    /// The sink of `vault` that is read from.
    pub(crate) async fn sink_to_read(&self, vault: &config::Vault) -> Result<Arc<SinkStore>, BuildError> {
        let name = self.read_from.as_deref();
        let found = match name {
            None => vault.sinks.first(),
            Some(name) => vault.sinks.iter().find(|sink| *sink == name),
        };
        let dangling = || BuildError::Dangling {
            kind: "sink",
            name: name.unwrap_or_default().to_owned(),
        };
        self.sink_named(found.ok_or_else(dangling)?).await
    }

    /// The sink called `name`, which a parsed configuration has.
    pub(crate) async fn sink_named(&self, name: &str) -> Result<Arc<SinkStore>, BuildError> {
        Ok(Arc::new(self.host.sink(&self.config, name, &self.sink_context()).await?))
    }

    /// Opens `vault` on its first sink, with all of its sinks ready.
    pub(crate) async fn open_with_sinks(&self, vault: &config::Vault) -> Result<Opened, AccessError> {
        let sinks = self.sinks(vault).await?;
        Ok(Opened {
            name: vault.name.clone(),
            vault: self.open(vault, &sinks).await?,
            sinks,
        })
    }

    /// Opens `vault` on its first sink.
    pub(crate) async fn open(&self, vault: &config::Vault, sinks: &Sinks) -> Result<Vault, AccessError> {
        self.open_on(vault, &sinks.first).await
    }

    /// Opens `vault` on one of its sinks.
    pub(crate) async fn open_on(&self, vault: &config::Vault, sink: &Arc<SinkStore>) -> Result<Vault, AccessError> {
        self.open_store(vault, sink.site(), sink.clone()).await
    }

    /// Opens `vault` in `store`, which is that of the sink at `sink`.
    pub(crate) async fn open_store(&self, vault: &config::Vault, sink: &Site, store: vault::SharedStore) -> Result<Vault, AccessError> {
        let password = self.password(vault).await.map_err(|error| AccessError::Password(Box::new(error)))?;
        let opened = Vault::open(store, &password).await.map_err(|source| AccessError::Open {
            vault: vault.name.clone(),
            site: vault_site(vault),
            sink: sink.clone(),
            source: Box::new(source),
        })?;
        Ok(opened.with_options(VaultOptions {
            scratch: Some(self.host.scratch.clone()),
            ..VaultOptions::default()
        }))
    }

    /// Opens the vault called `name` for reading what is stored in it.
    pub(crate) async fn open_named(&self, name: &str) -> Result<Vault, AccessError> {
        let (_, opened) = self.open_to_read(self.vault_named(name)?).await?;
        Ok(opened)
    }
}
