//! Where a secret comes from. A configuration never holds one: [`SecretSource`] names the place, the pipeline fetches it when a run needs it.

use std::path::PathBuf;

use serde::Serialize;

use crate::{
    diagnostic::Diagnostic,
    reader::{Fields, FromNode, Reader},
    tree::{Node, Value},
};

/// Where a secret comes from; each way takes the bytes with one trailing newline removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretSource {
    /// A file, best readable by its owner only.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// What a command prints; the first word is the program.
    Command(Vec<String>),
    /// A systemd credential of this name, found in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// How to write a secret, for messages.
pub(crate) const SECRET_EXAMPLE: &str = "{ file = \"/etc/bulkhead/…\" }";
const COMMAND_EXAMPLE: &str = "command = [\"pass\", \"show\", \"bulkhead\"]";
const FORMS: &str = "write where it comes from: `{ file = \"/path\" }`, `{ env = \"NAME\" }`, `{ command = [\"program\", \"argument\"] }` or `{ credential = \"name\" }`";

impl std::fmt::Display for SecretSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "file {}", path.display()),
            Self::Env(name) => write!(formatter, "environment variable {name}"),
            Self::Command(words) => write!(formatter, "command {}", words.join(" ")),
            Self::Credential(name) => write!(formatter, "systemd credential {name}"),
        }
    }
}

impl FromNode for SecretSource {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let mut fields = open(node, path, reader)?;
        let source = read_source(&mut fields, reader);
        fields.close_secret(reader);
        source
    }
}

/// Begins to read the table of a secret's source; a literal value is refused and blotted out.
pub(crate) fn open<'t>(node: &'t Node, path: &str, reader: &mut Reader<'_>) -> Option<Fields<'t>> {
    if let Value::Table(table) = &node.value {
        return Some(Fields::of(table, path, node.span.clone()));
    }
    reader.report.push(
        Diagnostic::error(format!("`{path}` must not be written here"), node.span.clone())
            .label("a secret in a configuration ends up in version control, backups and logs")
            .help(FORMS)
            .secret(),
    );
    None
}

/// The one place that `fields` names.
pub(crate) fn read_source(fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> Option<SecretSource> {
    let given: Vec<&str> = ["file", "env", "command", "credential"]
        .into_iter()
        .filter(|key| fields.entry(key).is_some())
        .collect();
    let [one] = given[..] else {
        let message = match given.len() {
            0 => format!("{} does not say where the secret comes from", fields.subject()),
            _ => format!(
                "{} names several places: {}",
                fields.subject(),
                given.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" and ")
            ),
        };
        let diagnostic = Diagnostic::error(message, fields.place());
        reader.report.push(if given.is_empty() {
            diagnostic.help(FORMS)
        } else {
            diagnostic.help("keep one of them")
        });
        return None;
    };
    match one {
        "file" => fields.optional("file", reader).map(SecretSource::File),
        "env" => fields.optional("env", reader).map(SecretSource::Env),
        "credential" => fields.optional("credential", reader).map(SecretSource::Credential),
        _ => words("command", COMMAND_EXAMPLE, fields, reader).map(SecretSource::Command),
    }
}

/// A command: words, the first of which is the program.
pub(crate) fn words(key: &'static str, example: &str, fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> Option<Vec<String>> {
    let words: Vec<String> = fields.optional(key, reader)?;
    if words.is_empty() {
        let diagnostic = Diagnostic::error(format!("`{}` has no words", fields.path_of(key)), fields.place());
        reader
            .report
            .push(diagnostic.help(format!("the first word is the program: `{example}`")));
        return None;
    }
    Some(words)
}
