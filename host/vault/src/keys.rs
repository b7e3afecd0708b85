//! The passwords of a vault.

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{
    access,
    error::{Corruption, KeyError},
    format::key_file::KeyFile,
    id::ObjectId,
    password::Password,
    vault::{PutKeyError, Vault, put_key},
};

/// One password of a vault. The password itself cannot be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// The key file's name.
    pub id: ObjectId,
    /// Host that made it.
    pub host: Option<String>,
    /// User that made it.
    pub user: Option<String>,
    /// When it was made (RFC 3339).
    pub created: Option<String>,
    /// Whether this vault was opened with it.
    pub current: bool,
}

impl Vault {
    /// All keys, in order of their names.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn keys(&self) -> Result<Vec<KeyInfo>, KeyError> {
        let ids = access::list_ids(&*self.core.store, "keys/").await?;
        stream::iter(ids)
            .map(|id| self.key_info(id))
            .buffered(self.core.concurrency())
            .try_collect()
            .await
    }

    async fn key_info(&self, id: ObjectId) -> Result<KeyInfo, KeyError> {
        let object = format!("keys/{id}");
        let content = access::get(&*self.core.store, &object, None).await?;
        let corrupt = |error: serde_json::Error| Corruption {
            object,
            blob: None,
            reason: error.to_string(),
        };
        let file: KeyFile = serde_json::from_slice(&content).map_err(corrupt)?;
        Ok(KeyInfo {
            id,
            host: file.hostname,
            user: file.username,
            created: file.created,
            current: id == self.core.key_file,
        })
    }

    /// Lets `password` open the vault, too. Takes one key derivation.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn add_key(&self, password: &Password, host: Option<&str>) -> Result<ObjectId, KeyError> {
        if password.is_empty() {
            return Err(KeyError::EmptyPassword);
        }
        put_key(&self.core.store, &self.core.key, password, host)
            .await
            .map_err(|error| match error {
                PutKeyError::Store(error) => error.into(),
                PutKeyError::Key(reason) => KeyError::Internal(reason),
            })
    }

    /// Removes a key. Its password opens this vault no more, but whoever has used it before may have kept the master key: after a leak, copy into a
    /// new vault.
    ///
    /// # Errors
    /// [`KeyError::LastKey`]: the last key stays.
    pub async fn remove_key(&self, id: ObjectId) -> Result<(), KeyError> {
        let ids = access::list_ids(&*self.core.store, "keys/").await?;
        if !ids.contains(&id) {
            return Err(KeyError::NotFound(id));
        }
        if ids.len() == 1 {
            return Err(KeyError::LastKey(id));
        }
        Ok(access::delete(&*self.core.store, &format!("keys/{id}")).await?)
    }
}
