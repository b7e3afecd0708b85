//! What a plugin is and what it wants: the answer to `describe`, which the operator reads in `bulkhead plugin inspect` and the host compares with the
//! grants in the TOML.

use std::ops::BitOr;

/// Operations of a plugin. A set: join them with `|`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Operations(u8);

impl Operations {
    /// Preflight.
    pub const CHECK: Self = Self(1);
    /// Reading the source (or, of a sink, storing).
    pub const BACKUP: Self = Self(1 << 1);
    /// Bringing a snapshot back (or, of a sink, reading).
    pub const RESTORE: Self = Self(1 << 2);
    /// Whether stored content makes sense.
    pub const VERIFY: Self = Self(1 << 3);
    /// Listing what is inside an entry.
    pub const BROWSE: Self = Self(1 << 4);
    /// Writing a snapshot in another format. [`Description::format`] adds it.
    pub const RENDER: Self = Self(1 << 5);
    /// Bringing what a target has up to a snapshot, and saying what that would change: a restore whose options have `delta`, an object with the boolean
    /// `dry-run`. The host asks nobody else for it, as a plugin that does not read the option would write.
    pub const RESTORE_DELTA: Self = Self(1 << 6);

    /// No operation.
    #[must_use]
    pub const fn none() -> Self {
        Self(0)
    }

    /// Whether all of `other` are in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Operations {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What may be done in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reading.
    ReadOnly,
    /// Reading and changing.
    ReadWrite,
}

/// An endpoint that the plugin wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointRequest {
    /// As the TOML names it; one that ends in `*` stands for any number of grants with that prefix.
    pub name: String,
    /// One sentence for the operator: what for.
    pub purpose: String,
    /// Operations that cannot work without it.
    pub required_for: Operations,
}

/// A directory that the plugin wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryRequest {
    /// As the TOML names it; one that ends in `*` stands for any number of grants with that prefix.
    pub name: String,
    /// One sentence for the operator: what for.
    pub purpose: String,
    /// What is done in it.
    pub access: Access,
    /// Operations that cannot work without it.
    pub required_for: Operations,
}

/// A secret that the plugin wants to see in clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRequest {
    /// As the TOML names it.
    pub name: String,
    /// One sentence for the operator: what for.
    pub purpose: String,
    /// Operations that cannot work without it.
    pub required_for: Operations,
}

/// A format that a source renders its snapshots in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// In kebab-case, as in `--format`.
    pub name: String,
    /// One sentence for the operator: what it is, and what reads it.
    pub summary: String,
}

/// What a plugin is and what it wants. The SDK adds the JSON Schema of the config from its Rust type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Kebab-case, as in `plugin = "…"`.
    pub name: String,
    /// The plugin's own version (semver).
    pub version: String,
    /// One sentence.
    pub summary: String,
    /// Operations that the plugin implements.
    pub operations: Operations,
    /// Endpoints that it wants.
    pub endpoints: Vec<EndpointRequest>,
    /// Directories that it wants.
    pub directories: Vec<DirectoryRequest>,
    /// Secrets that it wants to see.
    pub secrets: Vec<SecretRequest>,
    /// Formats that snapshots are rendered in.
    pub formats: Vec<Format>,
}

impl Description {
    /// A plugin that wants nothing yet; `version` is `env!("CARGO_PKG_VERSION")` as a rule.
    #[must_use]
    pub fn new(name: impl Into<String>, version: impl Into<String>, summary: impl Into<String>, operations: Operations) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            summary: summary.into(),
            operations,
            endpoints: Vec::new(),
            directories: Vec::new(),
            secrets: Vec::new(),
            formats: Vec::new(),
        }
    }

    /// Asks for an endpoint.
    #[must_use]
    pub fn endpoint(mut self, name: impl Into<String>, purpose: impl Into<String>, required_for: Operations) -> Self {
        self.endpoints.push(EndpointRequest {
            name: name.into(),
            purpose: purpose.into(),
            required_for,
        });
        self
    }

    /// Asks for a directory.
    #[must_use]
    pub fn directory(mut self, name: impl Into<String>, purpose: impl Into<String>, access: Access, required_for: Operations) -> Self {
        self.directories.push(DirectoryRequest {
            name: name.into(),
            purpose: purpose.into(),
            access,
            required_for,
        });
        self
    }

    /// Asks for a secret in clear.
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>, purpose: impl Into<String>, required_for: Operations) -> Self {
        self.secrets.push(SecretRequest {
            name: name.into(),
            purpose: purpose.into(),
            required_for,
        });
        self
    }

    /// Offers a format, and with it the operation `render`.
    #[must_use]
    pub fn format(mut self, name: impl Into<String>, summary: impl Into<String>) -> Self {
        self.operations = self.operations | Operations::RENDER;
        self.formats.push(Format {
            name: name.into(),
            summary: summary.into(),
        });
        self
    }
}
