//! [`Vault`]: creating and opening, and what its parts share.

use std::sync::{Arc, RwLock, atomic::AtomicBool};

use bulkhead_model::FaultKind;

use crate::{
    access,
    chunker::Chunker,
    crew::Crew,
    crypto::MasterKey,
    error::{Corruption, InitError, OpenError, RepositoryError, StoreError, WriteError},
    format::{
        config::Config,
        document,
        key_file::{KeyFile, Unusable},
    },
    id::ObjectId,
    index::Index,
    options::{InitOptions, VaultOptions},
    password::Password,
    rustic,
    store::{ObjectBody, SharedStore, StoreTraits},
};

/// Versions of the format that can be read.
const READABLE_VERSIONS: std::ops::RangeInclusive<u32> = 1..=2;
/// The version that is written: the first with compression.
const WRITTEN_VERSION: u32 = 2;

/// An open vault. Cheap to clone; clones share the index.
#[derive(Clone)]
pub struct Vault {
    pub(crate) core: Arc<Core>,
    pub(crate) options: VaultOptions,
}

/// What all users of an open vault share.
pub(crate) struct Core {
    pub(crate) store: SharedStore,
    pub(crate) traits: StoreTraits,
    pub(crate) key: MasterKey,
    /// The key file that opened it.
    pub(crate) key_file: ObjectId,
    pub(crate) config: Config,
    pub(crate) chunker: Chunker,
    pub(crate) crew: Crew,
    pub(crate) index: RwLock<Index>,
    /// Held while the index is brought up to date.
    pub(crate) refreshing: tokio::sync::Mutex<()>,
    /// Whether the store has said that we may remove nothing.
    pub(crate) may_only_add: AtomicBool,
}

impl Vault {
    /// Creates a vault in an empty store and opens it. What remains of an attempt that failed is at most a key file.
    ///
    /// # Errors
    /// [`InitError`].
    pub async fn init(store: SharedStore, password: &Password, options: InitOptions) -> Result<Self, InitError> {
        if password.is_empty() {
            return Err(InitError::EmptyPassword);
        }
        let location = || store.location();
        if access::exists(&*store, "config").await? {
            return Err(InitError::Exists { location: location() });
        }
        if !access::list(&*store, "keys/").await?.is_empty() {
            return Err(InitError::Incomplete { location: location() });
        }
        let initialized = store.initialize().await;
        initialized.map_err(|fault| StoreError::new(&*store, "preparing", "", fault))?;
        let master = MasterKey::random();
        put_key(&store, &master, password, options.host.as_deref())
            .await
            .map_err(|error| match error {
                PutKeyError::Store(error) => InitError::Store(error),
                PutKeyError::Key(reason) => InitError::Repository(RepositoryError(reason)),
            })?;
        let (config_store, runtime) = (Arc::clone(&store), tokio::runtime::Handle::current());
        let created = tokio::task::spawn_blocking(move || rustic::create_config(config_store, runtime, &master)).await;
        created
            .map_err(|error| RepositoryError(error.to_string()))
            .and_then(|created| created)
            .map_err(InitError::Repository)?;
        Self::open(store, password).await.map_err(|error| InitError::Open(Box::new(error)))
    }

    /// Opens a vault: one key derivation for each key file until one opens, then `config`.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(store: SharedStore, password: &Password) -> Result<Self, OpenError> {
        let location = || store.location();
        let keys = access::list_ids(&*store, "keys/").await?;
        let config = match access::get(&*store, "config", None).await {
            Ok(config) => config,
            Err(error) if error.fault.kind == FaultKind::NotFound && keys.is_empty() => {
                return Err(OpenError::NotAVault { location: location() });
            }
            Err(error) if error.fault.kind == FaultKind::NotFound => return Err(OpenError::ConfigMissing { location: location() }),
            Err(error) => return Err(error.into()),
        };
        let (key_file, key) = find_key(&store, &keys, password).await?;
        let corrupt = |reason| Corruption {
            object: "config".to_owned(),
            blob: None,
            reason,
        };
        let config: Config = document::decode(&key, config.to_vec()).map_err(corrupt)?;
        if !READABLE_VERSIONS.contains(&config.version) {
            return Err(OpenError::UnsupportedVersion {
                location: location(),
                version: config.version,
            });
        }
        let chunker = Chunker::new(config.polynomial().map_err(corrupt)?);
        let traits = store.traits().await;
        let traits = traits.map_err(|fault| StoreError::new(&*store, "asking about", "", fault))?;
        let core = Core {
            store,
            traits,
            key,
            key_file,
            config,
            chunker,
            crew: Crew::default(),
            index: RwLock::default(),
            refreshing: tokio::sync::Mutex::default(),
            may_only_add: AtomicBool::default(),
        };
        Ok(Self {
            core: Arc::new(core),
            options: VaultOptions::default(),
        })
    }

    /// The same vault with other sizes.
    #[must_use]
    pub fn with_options(mut self, options: VaultOptions) -> Self {
        self.options = options.bounded();
        self
    }

    /// The repository's id (`restic cat config`).
    #[must_use]
    pub fn id(&self) -> &str {
        &self.core.config.id
    }

    /// Whether snapshots can be written into it.
    ///
    /// # Errors
    /// [`WriteError::OldFormat`].
    pub fn expect_writable(&self) -> Result<(), WriteError> {
        if self.core.config.version < WRITTEN_VERSION {
            return Err(WriteError::OldFormat { location: self.location() });
        }
        Ok(())
    }

    /// Where the store is, for messages.
    #[must_use]
    pub fn location(&self) -> String {
        self.core.store.location()
    }
}

/// Why a key file was not stored.
pub(crate) enum PutKeyError {
    /// It could not be made.
    Key(String),
    /// It could not be stored.
    Store(StoreError),
}

/// Stores the master key under a password.
pub(crate) async fn put_key(
    store: &SharedStore,
    master: &MasterKey,
    password: &Password,
    host: Option<&str>,
) -> Result<ObjectId, PutKeyError> {
    let (master, password) = (
        MasterKey::new(zeroize::Zeroizing::new(*master.bytes())),
        Password::new(password.as_bytes()),
    );
    let host = host.map(str::to_owned);
    let create = move || {
        let file = KeyFile::create(&master, password.as_bytes(), host.as_deref())?;
        serde_json::to_vec(&file).map_err(|error| error.to_string())
    };
    let created = tokio::task::spawn_blocking(create)
        .await
        .unwrap_or_else(|error| Err(error.to_string()));
    let json = created.map_err(PutKeyError::Key)?;
    let id = ObjectId::of(&json);
    access::put(&**store, &format!("keys/{id}"), ObjectBody::new(json))
        .await
        .map_err(PutKeyError::Store)?;
    Ok(id)
}

/// Tries key files until one opens.
async fn find_key(store: &SharedStore, keys: &[ObjectId], password: &Password) -> Result<(ObjectId, MasterKey), OpenError> {
    let mut unusable = None;
    for id in keys {
        let bad_key = |reason| OpenError::BadKey {
            location: store.location(),
            id: *id,
            reason,
        };
        let content = match access::get(&**store, &format!("keys/{id}"), None).await {
            Ok(content) => content,
            // Removed since it was listed.
            Err(error) if error.fault.kind == FaultKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        let password = Password::new(password.as_bytes());
        let as_stored = ObjectId::of(&content) == *id;
        let open = move || {
            let file: KeyFile = serde_json::from_slice(&content).map_err(|error| Unusable::File(format!("it is malformed: {error}")))?;
            file.open(password.as_bytes())
        };
        match tokio::task::spawn_blocking(open)
            .await
            .unwrap_or_else(|error| Err(Unusable::File(error.to_string())))
        {
            Ok(key) => return Ok((*id, key)),
            Err(Unusable::Password) if as_stored => {}
            Err(Unusable::Password) => unusable = Some(bad_key("its content does not match its name".to_owned())),
            Err(Unusable::File(reason)) => unusable = Some(bad_key(reason)),
        }
    }
    Err(match unusable {
        Some(error) => error,
        None if keys.is_empty() => OpenError::NoKeys {
            location: store.location(),
        },
        None => OpenError::WrongPassword {
            location: store.location(),
            keys: keys.len(),
        },
    })
}
