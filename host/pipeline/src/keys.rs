//! `bulkhead key`: the passwords that open a vault. Each has a key file, which is the same on all sinks.

use std::{collections::BTreeSet, path::Path};

use bulkhead_config::{self as config, SecretSource};
use bulkhead_vault::{Hint as _, KeyError, KeyInfo, ObjectId, Password, Vault};
use serde::Serialize;

use crate::{
    access::{AccessError, vault_site},
    failure::{Explain, Failure, FailureClass, Site},
    host::BuildError,
    maintenance::{MaintainError, Replica, Replicas, SinkOutcome},
    operation::{Interrupted, Operation},
    replicate,
    secrets::SecretError,
};

/// A password of a vault, which itself cannot be seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct VaultKey {
    /// The key file's name.
    pub id: String,
    /// Host that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// User that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// When it was made (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Whether it is the one that the configuration names.
    pub current: bool,
}

impl From<KeyInfo> for VaultKey {
    fn from(key: KeyInfo) -> Self {
        Self {
            id: key.id.to_string(),
            host: key.host,
            user: key.user,
            created: key.created,
            current: key.current,
        }
    }
}

/// The keys of a vault, and what became of its sinks.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct KeyReport {
    /// The vault.
    pub vault: String,
    /// Its keys, of the first sink; after a change, those that were added or removed.
    pub keys: Vec<VaultKey>,
    /// Each further sink that was to be changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sinks: Vec<SinkOutcome>,
}

/// Why keys could not be listed or changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeKeyError {
    /// The vault can't be opened.
    #[error(transparent)]
    Vault(#[from] MaintainError),
    /// The new password can't be had.
    #[error("cannot get the new password")]
    Password(#[source] SecretError),
    /// No key of that name.
    #[error("no key of the vault `{vault}` begins with `{prefix}`")]
    Unknown {
        /// The vault.
        vault: String,
        /// What was asked for.
        prefix: String,
    },
    /// Several keys.
    #[error("{keys} keys of the vault `{vault}` begin with `{prefix}`")]
    Ambiguous {
        /// The vault.
        vault: String,
        /// What was asked for.
        prefix: String,
        /// How many.
        keys: usize,
    },
    /// The key that the configuration names would go.
    #[error("the key {id} is the one that the configuration opens the vault `{vault}` with")]
    Current {
        /// The vault.
        vault: String,
        /// Its table.
        site: Site,
        /// The key.
        id: ObjectId,
    },
    /// The keys can't be read or changed.
    #[error("cannot {action} of the vault `{vault}`")]
    Keys {
        /// The vault.
        vault: String,
        /// What was to be done.
        action: &'static str,
        /// Its table.
        site: Site,
        /// Why not.
        source: Box<KeyError>,
    },
}

impl From<BuildError> for ChangeKeyError {
    fn from(error: BuildError) -> Self {
        Self::Vault(error.into())
    }
}

impl From<AccessError> for ChangeKeyError {
    fn from(error: AccessError) -> Self {
        Self::Vault(error.into())
    }
}

impl From<Interrupted> for ChangeKeyError {
    fn from(error: Interrupted) -> Self {
        Self::Vault(error.into())
    }
}

impl Explain for ChangeKeyError {
    fn explain(&self) -> Failure {
        match self {
            Self::Vault(error) => error.explain(),
            Self::Password(error) => Failure::new(FailureClass::Credentials, self).hint(error.hint()),
            Self::Unknown { vault, .. } => {
                Failure::new(FailureClass::NotFound, self).hint(format!("`bulkhead key list {vault}` lists them"))
            }
            Self::Ambiguous { .. } => Failure::new(FailureClass::Config, self).hint("give more digits"),
            Self::Current { site, .. } => Failure::new(FailureClass::Conflict, self)
                .at(site)
                .setting("key")
                .hint("add another key, let `key` name it, and then remove this one"),
            Self::Keys { site, source, .. } => Failure::of_vault(class_of(source), self, source.hint()).at(site),
        }
    }
}

fn class_of(error: &KeyError) -> FailureClass {
    match error {
        KeyError::NotFound(_) => FailureClass::NotFound,
        KeyError::LastKey(_) => FailureClass::Conflict,
        KeyError::EmptyPassword => FailureClass::Credentials,
        KeyError::Corrupt(_) => FailureClass::Damaged,
        _ => FailureClass::Internal,
    }
}

fn failed(vault: &config::Vault, action: &'static str) -> impl Fn(KeyError) -> ChangeKeyError {
    move |source| ChangeKeyError::Keys {
        vault: vault.name.clone(),
        action,
        site: vault_site(vault),
        source: Box::new(source),
    }
}

/// The keys of the vault called `name`, as the sink has them that is read from.
///
/// # Errors
/// See [`ChangeKeyError`].
pub async fn keys(operation: &Operation, name: &str) -> Result<KeyReport, ChangeKeyError> {
    operation.until_interrupted(None, list(operation, name)).await?
}

#[tracing::instrument(name = "key list", skip(operation))]
async fn list(operation: &Operation, name: &str) -> Result<KeyReport, ChangeKeyError> {
    let vault = operation.vault_named(name)?;
    let store = operation.sink_to_read(vault).await?;
    let keys = operation.open_on(vault, &store).await?.keys().await;
    let keys = keys.map_err(failed(vault, "list the keys"))?;
    Ok(report(name, keys))
}

fn report(vault: &str, keys: impl IntoIterator<Item = KeyInfo>) -> KeyReport {
    KeyReport {
        vault: vault.to_owned(),
        keys: keys.into_iter().map(VaultKey::from).collect(),
        sinks: Vec::new(),
    }
}

/// Lets the password in `file` (without the newline at its end) open the vault called `name`, too; it has opened it when this returns.
///
/// # Errors
/// See [`ChangeKeyError`]; what couldn't be done on a further sink is in the report, and the next run does it.
pub async fn add_key(operation: &Operation, name: &str, file: &Path) -> Result<KeyReport, ChangeKeyError> {
    operation.until_interrupted(None, add(operation, name, file)).await?
}

#[tracing::instrument(name = "key add", skip(operation))]
async fn add(operation: &Operation, name: &str, file: &Path) -> Result<KeyReport, ChangeKeyError> {
    let vault = operation.vault_named(name)?;
    let secret = operation.host.secrets.password(&SecretSource::File(file.to_owned())).await;
    let password = Password::new(secret.map_err(ChangeKeyError::Password)?.to_vec());
    let added = admit(operation, vault, &password, &operation.host.name).await?;
    let keys = added.opened.keys().await.map_err(failed(vault, "list the keys"))?;
    let mut report = report(name, keys.into_iter().filter(|key| key.id == added.id));
    // The configuration names another one.
    report.keys.iter_mut().for_each(|key| key.current = false);
    report.sinks = added.sinks;
    Ok(report)
}

/// A password that opens a vault now.
pub(crate) struct Admitted {
    pub(crate) id: ObjectId,
    /// The vault, as it opens it.
    pub(crate) opened: Vault,
    /// Each further sink.
    pub(crate) sinks: Vec<SinkOutcome>,
}

/// Lets `password` open `vault` on all sinks, made by `host`; it has opened it when this returns.
pub(crate) async fn admit(
    operation: &Operation,
    vault: &config::Vault,
    password: &Password,
    host: &str,
) -> Result<Admitted, ChangeKeyError> {
    let replicas = operation.open_replicas(vault).await?;
    let first = &replicas.first;
    let added = first.vault.add_key(password, Some(host)).await;
    let id = added.map_err(failed(vault, "add a key"))?;
    let opened = Vault::open(first.store.clone(), password)
        .await
        .map_err(|source| AccessError::Open {
            vault: vault.name.clone(),
            site: vault_site(vault),
            sink: first.store.site().clone(),
            source: Box::new(source),
        })?;
    let mut sinks = Vec::new();
    for replica in &replicas.further {
        sinks.push(give(first, replica, id).await);
    }
    sinks.extend(replicas.unusable);
    Ok(Admitted { id, opened, sinks })
}

/// Copies a key file to a replica.
async fn give(first: &Replica, replica: &Replica, id: ObjectId) -> SinkOutcome {
    let key = format!("keys/{id}");
    match replicate::copy(&first.store, &replica.store, &key).await {
        Ok(_) => SinkOutcome::done(replica.name(), 0),
        Err(fault) => SinkOutcome::failed(replica.name(), 0, &Failure::of_fault(&fault)),
    }
}

/// Removes the key of the vault called `name` whose id begins with `prefix`, from all sinks. Its password opens the vault no more; whoever has used it
/// may have kept the master key.
///
/// # Errors
/// See [`ChangeKeyError`]; what couldn't be done on a further sink is in the report.
pub async fn remove_key(operation: &Operation, name: &str, prefix: &str) -> Result<KeyReport, ChangeKeyError> {
    operation.until_interrupted(None, remove(operation, name, prefix)).await?
}

#[tracing::instrument(name = "key remove", skip(operation))]
async fn remove(operation: &Operation, name: &str, prefix: &str) -> Result<KeyReport, ChangeKeyError> {
    let vault = operation.vault_named(name)?;
    let replicas = operation.open_replicas(vault).await?;
    let key = find(vault, &replicas, prefix).await?;
    let mut report = report(name, [key.clone()]);
    for (number, replica) in std::iter::once(&replicas.first).chain(&replicas.further).enumerate() {
        let removed = match replica.vault.remove_key(key.id).await {
            Ok(()) => 1,
            // It was removed before, while another sink could not be reached.
            Err(KeyError::NotFound(_)) => 0,
            Err(error) if number == 0 => return Err(failed(vault, "remove a key")(error)),
            Err(error) => {
                let failure = failed(vault, "remove a key")(error).explain();
                report.sinks.push(SinkOutcome::failed(replica.name(), 0, &failure));
                continue;
            }
        };
        if number > 0 {
            report.sinks.push(SinkOutcome::done(replica.name(), removed));
        }
    }
    report.sinks.extend(replicas.unusable);
    Ok(report)
}

/// The only key, on whichever sink, whose id begins with `prefix`; it must be another one than the vault was opened with.
async fn find(vault: &config::Vault, replicas: &Replicas, prefix: &str) -> Result<KeyInfo, ChangeKeyError> {
    let mut found: Vec<KeyInfo> = Vec::new();
    let mut seen = BTreeSet::new();
    for replica in std::iter::once(&replicas.first).chain(&replicas.further) {
        let keys = replica.vault.keys().await.map_err(failed(vault, "list the keys"))?;
        found.extend(
            keys.into_iter()
                .filter(|key| key.id.to_string().starts_with(prefix) && seen.insert(key.id)),
        );
    }
    match found.as_slice() {
        [] => Err(ChangeKeyError::Unknown {
            vault: vault.name.clone(),
            prefix: prefix.to_owned(),
        }),
        [key] if key.current => Err(ChangeKeyError::Current {
            vault: vault.name.clone(),
            site: vault_site(vault),
            id: key.id,
        }),
        [key] => Ok(key.clone()),
        several => Err(ChangeKeyError::Ambiguous {
            vault: vault.name.clone(),
            prefix: prefix.to_owned(),
            keys: several.len(),
        }),
    }
}
