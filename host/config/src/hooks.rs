//! What is run around a pipeline: [`Hooks`], for a snapshot of the file system or a service that must rest meanwhile.

use serde::Serialize;

use crate::{
    diagnostic::Diagnostic,
    reader::{Fields, Reader},
    secret,
};

/// Commands of the operator's, run by the host and not by a shell; the first word is the program. None where empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Hooks {
    /// Before the source is read. If it fails, so does the run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
    /// After the run, whatever came of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
}

impl Hooks {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }

    pub(crate) fn read(fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> Self {
        let path = fields.path_of("hooks");
        let Some(mut inner) = fields.entry("hooks").and_then(|entry| Fields::open_entry(entry, &path, reader)) else {
            return Self::default();
        };
        let hooks = Self {
            before: command("before", &mut inner, reader),
            after: command("after", &mut inner, reader),
        };
        inner.close(reader);
        hooks
    }
}

/// A program is named by its whole path: what `PATH` says is not the operator's decision when a scheduler runs this.
fn command(key: &'static str, fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> Vec<String> {
    let example = format!("{key} = [\"/usr/local/sbin/freeze\", \"{key}\"]");
    let words = secret::words(key, &example, fields, reader).unwrap_or_default();
    if words.first().is_some_and(|program| !program.starts_with('/')) {
        let place = fields.entry(key).map_or_else(|| fields.place(), |entry| entry.node.span.clone());
        let diagnostic = Diagnostic::error(format!("`{}` names a program without its whole path", fields.path_of(key)), place);
        reader.report.push(diagnostic.help(format!("write where it is: `{example}`")));
    }
    words
}
