//! What a plugin may touch: endpoints, directories and secrets by name. What isn't listed here does not exist for the plugin.

use std::path::PathBuf;

use serde::Serialize;

use crate::{
    diagnostic::Diagnostic,
    endpoint::{self, Endpoint},
    reader::{Fields, FromNode, Reader, word},
    secret::{self, SecretSource},
    tree::{Entry, Node},
};

/// Everything that one plugin may touch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Grants {
    /// Network destinations.
    pub endpoints: Vec<Endpoint>,
    /// Folders.
    pub directories: Vec<Directory>,
    /// Secrets that the plugin may see.
    pub secrets: Vec<Secret>,
}

/// A folder that is granted under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Directory {
    /// The name that the plugin uses.
    pub name: String,
    /// Where it is. Relative paths have been resolved against the folder of the file.
    pub path: PathBuf,
    /// What may be done in it.
    pub access: Access,
}

/// What may be done in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Look, don't touch.
    ReadOnly,
    /// Change.
    ReadWrite,
}

/// A secret that is granted under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Secret {
    /// The name that the plugin uses.
    pub name: String,
    /// Where it comes from.
    pub source: SecretSource,
    /// Whether the plugin gets the bytes. Must be true: a secret that stays in the host belongs into an endpoint's `auth`.
    pub reveal: bool,
}

impl FromNode for Access {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        word(
            node,
            path,
            &[("read-only", Self::ReadOnly), ("read-write", Self::ReadWrite)],
            reader,
        )
    }
}

/// Reads `endpoint`, `directory` and `secret` of a plugin's table.
pub(crate) fn read(fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> Grants {
    let endpoints = each(fields, "endpoint", reader, endpoint::read);
    let directories = each(fields, "directory", reader, directory);
    let secrets = each(fields, "secret", reader, secret);
    Grants {
        endpoints,
        directories,
        secrets,
    }
}

fn each<T>(
    fields: &mut Fields<'_>,
    kind: &'static str,
    reader: &mut Reader<'_>,
    read: impl Fn(&Entry, &str, &mut Reader<'_>) -> Option<T>,
) -> Vec<T> {
    let path = fields.path_of(kind);
    fields
        .named(kind, reader)
        .into_iter()
        .filter_map(|entry| read(entry, &format!("{path}.{}", entry.key), reader))
        .collect()
}

fn directory(entry: &Entry, path: &str, reader: &mut Reader<'_>) -> Option<Directory> {
    let mut fields = Fields::open_entry(entry, path, reader)?;
    let folder = fields.required("path", "\"/var/lib/…\"", reader);
    let access = fields.required("access", "\"read-only\"` or `access = \"read-write\"", reader);
    fields.close(reader);
    Some(Directory {
        name: entry.key.clone(),
        path: folder?,
        access: access?,
    })
}

fn secret(entry: &Entry, path: &str, reader: &mut Reader<'_>) -> Option<Secret> {
    let mut fields = secret::open(&entry.node, path, reader)?;
    let source = secret::read_source(&mut fields, reader);
    let reveal = fields.optional("reveal", reader);
    let is_readable = reveal.is_some() || fields.entry("reveal").is_none();
    if source.is_some() && is_readable && reveal != Some(true) {
        reader.report.push(
            Diagnostic::error(
                format!("`{path}` is granted but not revealed, so the plugin can't use it"),
                entry.key_span.clone(),
            )
            .help("add `reveal = true` if the plugin's protocol needs the bytes (SCRAM, for one)")
            .help("for HTTP, give the secret to the host instead: `endpoint.NAME.auth = …`"),
        );
    }
    fields.close_secret(reader);
    Some(Secret {
        name: entry.key.clone(),
        source: source?,
        reveal: reveal?,
    })
}
