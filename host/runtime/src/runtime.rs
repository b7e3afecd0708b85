//! The engine with its compile cache, and the plugins that it has loaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Description, Grants, Limits, LoadError, LoadLimits, PluginKind, RuntimeError};

/// Where and how the runtime works.
#[derive(Debug, Clone)]
pub struct RuntimeOptions {
    /// Folder of compiled components; made with mode 0700. It must belong to this user alone.
    pub cache: PathBuf,
}

/// SHA-256 of a component's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginDigest([u8; 32]);

/// The engine, its clock thread and its compile cache. Clones share all three; the thread ends with the last one.
#[derive(Clone)]
pub struct Runtime(Arc<()>);

impl Runtime {
    /// Starts the engine.
    ///
    /// # Errors
    /// When the cache folder cannot be made, or could have been written by others.
    pub fn new(options: RuntimeOptions) -> Result<Self, RuntimeError> {
        todo!()
    }

    /// Loads a component: checks its imports, compiles it or takes the compiled code from the cache, and asks it to describe itself. The same bytes
    /// are loaded once.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn load(&self, component: &[u8], limits: &LoadLimits) -> Result<Plugin, LoadError> {
        todo!()
    }

    /// Loads a component from a file; `expected` is the digest that the operator pinned.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn load_file(&self, path: &Path, expected: Option<PluginDigest>, limits: &LoadLimits) -> Result<Plugin, LoadError> {
        todo!()
    }
}

/// A loaded component. Cheap to clone.
#[derive(Clone)]
pub struct Plugin(Arc<()>);

impl Plugin {
    /// Source or sink.
    #[must_use]
    pub fn kind(&self) -> PluginKind {
        todo!()
    }

    /// What it says of itself.
    #[must_use]
    pub fn description(&self) -> &Description {
        todo!()
    }

    /// SHA-256 of the component; displays as `sha256:…`.
    #[must_use]
    pub fn digest(&self) -> PluginDigest {
        todo!()
    }

    /// Everything that it imports, by full name, for `plugin inspect`.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        todo!()
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
