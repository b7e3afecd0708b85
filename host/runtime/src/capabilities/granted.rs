//! Looking up a grant by name, and the answer when there is none.

use std::collections::BTreeMap;

use bulkhead_model::{Fault, FaultKind};

/// Grants of one kind with what a denial has to say.
#[derive(Debug, Clone)]
pub struct Granted<T> {
    table: String,
    kind: &'static str,
    example: &'static str,
    grants: BTreeMap<String, T>,
}

/// The line that would grant it.
pub(crate) fn grant_hint(kind: &str, name: &str, example: &str, table: &str) -> String {
    let more = match kind {
        "endpoint" => "; of a Unix socket, `{ socket = \"/…\" }`",
        _ => "",
    };
    format!("add `{kind}.{name} = {example}` to [{table}]{more}")
}

impl<T> Granted<T> {
    /// Grants of `kind` ("endpoint") of the TOML table `table`; `example` is how a grant's value is written.
    #[must_use]
    pub fn new(table: impl Into<String>, kind: &'static str, example: &'static str, grants: BTreeMap<String, T>) -> Self {
        Self {
            table: table.into(),
            kind,
            example,
            grants,
        }
    }

    /// The grant of that name.
    ///
    /// # Errors
    /// `not-granted` with the TOML line that would grant it.
    pub fn get(&self, name: &str) -> Result<&T, Fault> {
        self.grants.get(name).ok_or_else(|| {
            let Self { table, kind, example, .. } = self;
            Fault::new(FaultKind::NotGranted, format!("`{table}` does not grant the {kind} `{name}`")).hint(format!(
                "{}{}",
                grant_hint(kind, name, example, table),
                self.misnamed()
            ))
        })
    }

    /// What there is, which may have the wrong name.
    fn misnamed(&self) -> String {
        let there: Vec<String> = self.grants.keys().map(|name| format!("`{}.{name}`", self.kind)).collect();
        match &there[..] {
            [] => String::new(),
            there => format!(", or call {} so, if that is meant", there.join(" or ")),
        }
    }

    /// All grants in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &T)> {
        self.grants.iter()
    }
}

impl<T> Granted<T> {
    /// The same grants as something else.
    #[must_use]
    pub fn map<U>(&self, convert: impl Fn(&T) -> U) -> Granted<U> {
        let grants = self.grants.iter().map(|(name, grant)| (name.clone(), convert(grant))).collect();
        Granted {
            table: self.table.clone(),
            kind: self.kind,
            example: self.example,
            grants,
        }
    }
}
