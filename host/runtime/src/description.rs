//! What a plugin says it is and wants (`describe` of the ABI), as plain data.

use serde::{Deserialize, Serialize};

/// Source or sink, as its exports say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginKind {
    /// Exports `source`.
    Source,
    /// Exports `sink`.
    Sink,
}

impl std::fmt::Display for PluginKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Source => "source",
            Self::Sink => "sink",
        })
    }
}

/// An operation of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Preflight.
    Check,
    /// Reading the source and writing entries; for a sink, storing objects.
    Backup,
    /// Bringing a snapshot back; for a sink, fetching objects.
    Restore,
    /// Whether stored content makes sense.
    Verify,
    /// Listing what is inside an entry.
    Browse,
    /// Writing a snapshot in another format.
    Render,
    /// Bringing what a target has up to a snapshot, or saying what that would change: a restore with the option `delta`.
    RestoreDelta,
}

impl Operation {
    /// All of them, in the ABI's order.
    pub const ALL: [Self; 7] = [
        Self::Check,
        Self::Backup,
        Self::Restore,
        Self::Verify,
        Self::Browse,
        Self::Render,
        Self::RestoreDelta,
    ];
}

impl std::fmt::Display for Operation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Check => "check",
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Verify => "verify",
            Self::Browse => "browse",
            Self::Render => "render",
            Self::RestoreDelta => "restore-delta",
        })
    }
}

/// A set of operations, in the ABI's order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Operations(Vec<Operation>);

impl Operations {
    /// Whether `operation` is in the set.
    #[must_use]
    pub fn contains(&self, operation: Operation) -> bool {
        self.0.contains(&operation)
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The operations in order.
    pub fn iter(&self) -> impl Iterator<Item = Operation> {
        self.0.iter().copied()
    }
}

impl FromIterator<Operation> for Operations {
    fn from_iter<I: IntoIterator<Item = Operation>>(operations: I) -> Self {
        let mut operations: Vec<_> = operations.into_iter().collect();
        operations.sort_unstable();
        operations.dedup();
        Self(operations)
    }
}

/// What may be done in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Nothing is changed.
    ReadOnly,
    /// Everything.
    ReadWrite,
}

/// An endpoint that a plugin wants. A `name` that ends in `*` stands for any number of grants with that prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EndpointRequest {
    /// The grant's name in the TOML (`endpoint.NAME`).
    pub name: String,
    /// One sentence for the operator: what for.
    pub purpose: String,
    /// Operations that cannot work without it.
    pub required_for: Operations,
}

/// A directory that a plugin wants. A `name` that ends in `*` stands for any number of grants with that prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DirectoryRequest {
    /// The grant's name in the TOML (`directory.NAME`).
    pub name: String,
    /// One sentence for the operator: what for.
    pub purpose: String,
    /// The most that the plugin will do there; a wider grant is narrowed to it.
    pub access: Access,
    /// Operations that cannot work without it.
    pub required_for: Operations,
}

/// A secret that a plugin wants to see in clear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SecretRequest {
    /// The grant's name in the TOML (`secret.NAME`).
    pub name: String,
    /// One sentence for the operator: what for.
    pub purpose: String,
    /// Operations that cannot work without it.
    pub required_for: Operations,
}

/// A format that a source renders its snapshots in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Format {
    /// Kebab-case, as in `--format`.
    pub name: String,
    /// One sentence for the operator: what it is, and what reads it.
    pub summary: String,
}

/// What a plugin is and what it wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Description {
    /// Kebab-case, as in `plugin = "…"`.
    pub name: String,
    /// The plugin's own version (semver).
    pub version: String,
    /// One sentence.
    pub summary: String,
    /// JSON Schema (2020-12) of the plugin's config.
    pub config_schema: serde_json::Value,
    /// Operations that the plugin implements.
    pub operations: Operations,
    /// Endpoints that it wants.
    pub endpoints: Vec<EndpointRequest>,
    /// Directories that it wants.
    pub directories: Vec<DirectoryRequest>,
    /// Secrets that it wants.
    pub secrets: Vec<SecretRequest>,
    /// Formats that it renders snapshots in.
    pub formats: Vec<Format>,
}
