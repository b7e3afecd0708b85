//! Why there is no measurement.

use bulkhead_runtime::{LoadError, PluginError, RuntimeError};
use bulkhead_vault::{InitError, WriteError};

/// Whatever went wrong; `Debug`, which `main` shows, is the message with its causes.
#[derive(thiserror::Error)]
pub(crate) enum Failure {
    #[error("the binary has no plugin `postgres`")]
    NoPlugin,
    #[error("the plugin host cannot start")]
    Runtime(#[from] RuntimeError),
    #[error("the plugin cannot be loaded")]
    Load(#[from] LoadError),
    #[error("the sandboxed plugin failed")]
    Plugin(#[from] PluginError),
    #[error("the native plugin failed: {0}")]
    Native(String),
    #[error("the vault cannot be made")]
    Init(#[from] InitError),
    #[error("the vault cannot be written")]
    Write(#[from] WriteError),
    #[error("the system's accounting cannot be read")]
    Accounting(#[from] std::io::Error),
}

impl std::fmt::Debug for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{self}")?;
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(formatter, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
