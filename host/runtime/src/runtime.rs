//! The engine with its compile cache, and the plugins that it has loaded.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use crate::cache::Cache;
use crate::engine::{self, Clock};
use crate::limits::{bytes, duration};
use crate::{Description, Grants, LimitKind, Limits, LoadError, LoadLimits, PluginKind, RuntimeError, describe, imports};

/// Where and how the runtime works.
#[derive(Debug, Clone)]
pub struct RuntimeOptions {
    /// Folder of compiled components; made with mode 0700. It must belong to this user alone.
    pub cache: PathBuf,
}

/// SHA-256 of a component's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginDigest([u8; 32]);

impl PluginDigest {
    /// A digest that is already known.
    #[must_use]
    pub fn new(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }

    /// The digest of these bytes.
    #[must_use]
    pub fn of(component: &[u8]) -> Self {
        Self(Sha256::digest(component).into())
    }

    /// The digest's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl std::fmt::Display for PluginDigest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "sha256:{}", self.hex())
    }
}

/// The engine, its clock thread and its compile cache. Clones share all three; the thread ends with the last one, and with the last plugin.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    engine: Engine,
    cache: Cache,
    loaded: Mutex<HashMap<PluginDigest, Plugin>>,
    clock: Arc<Clock>,
}

impl Runtime {
    /// Starts the engine.
    ///
    /// # Errors
    /// When the cache folder cannot be made, or could have been written by others.
    pub fn new(options: RuntimeOptions) -> Result<Self, RuntimeError> {
        let engine = engine::engine()?;
        let cache = Cache::open(options.cache, &engine)?;
        let clock = Arc::new(Clock::start(engine.clone())?);
        Ok(Self(Arc::new(Inner {
            engine,
            cache,
            loaded: Mutex::default(),
            clock,
        })))
    }

    /// Loads a component: checks its imports, compiles it or takes the compiled code from the cache, and asks it to describe itself. The same bytes
    /// are loaded once.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn load(&self, component: &[u8], limits: &LoadLimits) -> Result<Plugin, LoadError> {
        check_size(component.len() as u64, limits)?;
        self.load_checked(component, PluginDigest::of(component), limits).await
    }

    /// Loads a component from a file; `expected` is the digest that the operator pinned.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn load_file(&self, path: &Path, expected: Option<PluginDigest>, limits: &LoadLimits) -> Result<Plugin, LoadError> {
        let unreadable = |error: std::io::Error| LoadError::Unreadable {
            path: path.to_owned(),
            cause: error.to_string(),
        };
        // What a file's size says need not be what comes out of it.
        let mut component = Vec::new();
        let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
        let mut bounded = file.take(limits.component_size.saturating_add(1));
        bounded.read_to_end(&mut component).await.map_err(unreadable)?;
        check_size(component.len() as u64, limits)?;
        let digest = PluginDigest::of(&component);
        match expected {
            Some(expected) if expected != digest => Err(LoadError::Digest {
                expected: expected.hex(),
                found: digest.hex(),
            }),
            _ => self.load_checked(&component, digest, limits).await,
        }
    }

    async fn load_checked(&self, bytes: &[u8], digest: PluginDigest, limits: &LoadLimits) -> Result<Plugin, LoadError> {
        if let Some(plugin) = self.loaded().get(&digest) {
            return Ok(plugin.clone());
        }
        check_format(bytes)?;
        let component = match self.0.cache.load(&self.0.engine, &digest).map_err(LoadError::Cache)? {
            Some(component) => component,
            None => self.compile(bytes, digest, limits).await?,
        };
        let plugin = Plugin::describe(component, digest, self.0.engine.clone(), self.0.clock.clone()).await?;
        self.loaded().insert(digest, plugin.clone());
        Ok(plugin)
    }

    fn loaded(&self) -> std::sync::MutexGuard<'_, HashMap<PluginDigest, Plugin>> {
        self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compiles on the blocking pool. A compilation that takes too long is left behind: the compiler cannot be interrupted, but nobody waits for it.
    async fn compile(&self, bytes: &[u8], digest: PluginDigest, limits: &LoadLimits) -> Result<Component, LoadError> {
        let (runtime, bytes) = (self.clone(), bytes.to_vec());
        let compilation = tokio::task::spawn_blocking(move || {
            let component = Component::from_binary(&runtime.0.engine, &bytes).map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
            runtime.0.cache.store(&digest, &component);
            Ok(component)
        });
        match tokio::time::timeout(limits.compile_time, compilation).await {
            Ok(Ok(compiled)) => compiled,
            Ok(Err(panic)) => Err(LoadError::Invalid(panic.to_string())),
            Err(_) => Err(LoadError::Limit {
                limit: LimitKind::CompileTime,
                value: duration(limits.compile_time),
            }),
        }
    }
}

fn check_size(size: u64, limits: &LoadLimits) -> Result<(), LoadError> {
    if size > limits.component_size {
        return Err(LoadError::Limit {
            limit: LimitKind::ComponentSize,
            value: bytes(limits.component_size),
        });
    }
    Ok(())
}

/// Tells a component from a core module, from compiled code and from everything else, by the first bytes.
fn check_format(bytes: &[u8]) -> Result<(), LoadError> {
    if Engine::detect_precompiled(bytes).is_some() {
        return Err(LoadError::Precompiled);
    }
    match bytes.strip_prefix(b"\0asm") {
        Some([0x0d, 0, 1, 0, ..]) => Ok(()),
        Some([1, 0, 0, 0, ..]) => Err(LoadError::CoreModule),
        _ => Err(LoadError::NotWebAssembly),
    }
}

/// Whether an import is an interface of which nothing is used but types that another one uses too: it gives no right, and needs none.
fn names_types_only(engine: &Engine, import: &ComponentItem) -> bool {
    match import {
        ComponentItem::ComponentInstance(instance) => instance
            .exports(engine)
            .all(|(_, export)| matches!(export.ty, ComponentItem::Type(_))),
        _ => false,
    }
}

/// A loaded component. Cheap to clone.
#[derive(Clone)]
pub struct Plugin(Arc<Loaded>);

struct Loaded {
    kind: PluginKind,
    description: Description,
    digest: PluginDigest,
    imports: Vec<String>,
    component: Component,
    engine: Engine,
    _clock: Arc<Clock>,
}

impl Plugin {
    async fn describe(component: Component, digest: PluginDigest, engine: Engine, clock: Arc<Clock>) -> Result<Self, LoadError> {
        let types = component.component_type();
        let kind = imports::kind(types.exports(&engine).map(|(name, _)| name))?;
        imports::check(kind, types.imports(&engine).map(|(name, _)| name))?;
        let callable = types.imports(&engine).filter(|(_, import)| !names_types_only(&engine, &import.ty));
        let names = callable.map(|(name, _)| name.to_owned()).collect();
        let description = describe::describe(&engine, &component, kind).await?;
        Ok(Self(Arc::new(Loaded {
            kind,
            description,
            digest,
            imports: names,
            component,
            engine,
            _clock: clock,
        })))
    }

    /// Source or sink.
    #[must_use]
    pub fn kind(&self) -> PluginKind {
        self.0.kind
    }

    /// What it says of itself.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.0.description
    }

    /// SHA-256 of the component; displays as `sha256:…`.
    #[must_use]
    pub fn digest(&self) -> PluginDigest {
        self.0.digest
    }

    /// Everything that it imports and can call, by full name, for `plugin inspect`.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.0.imports
    }

    pub(crate) fn component(&self) -> &Component {
        &self.0.component
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Loaded {
            kind, description, digest, ..
        } = &*self.0;
        formatter
            .debug_struct("Plugin")
            .field("name", &description.name)
            .field("kind", kind)
            .field("digest", digest)
            .finish_non_exhaustive()
    }
}

/// How a pipeline or sink uses a plugin: its table in the TOML.
#[derive(Debug, Clone)]
pub struct PluginSetup {
    /// The TOML table, for messages ("pipeline.mainnet", "sink.nearline", "pipeline.mainnet.target.scratch").
    pub table: String,
    /// The plugin's `config`: a JSON object.
    pub config: serde_json::Value,
    /// What it may touch.
    pub grants: Grants,
    /// How much.
    pub limits: Limits,
}
