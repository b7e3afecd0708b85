//! What an operator chooses of a dump that goes into a live server: [`LiveOptions`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The config of a restore target of mode `logical`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct LiveOptions {
    /// The role to restore as, a superuser; without it, the pipeline's `user`.
    pub user: Option<String>,
    /// The database of the target to connect to first; without it, the pipeline's.
    pub database: Option<String>,
    /// Restore only these databases; without it, all of the snapshot.
    pub databases: Vec<String>,
    /// Restore a database under another name: `{ shop = "shop-restored" }`.
    pub rename: BTreeMap<String, String>,
    /// Restore roles and tablespaces. Without it, they are restored unless something else chooses.
    pub globals: Option<bool>,
    /// Restore only these schemas, by name or pattern, into a database that may have others.
    pub schemas: Vec<String>,
    /// Restore only these tables, views and sequences, by name or pattern with the schema (`public.orders`), with all that belongs to them.
    pub tables: Vec<String>,
    /// `all` (the default), `schema` (without rows and values), or `data` (rows and values only, into tables that are there and empty).
    pub content: Content,
    /// How many connections restore rows, indexes and keys at the same time; 1 without it.
    pub jobs: Jobs,
    /// Drop what is about to be restored and is there already: only what is chosen, and nothing where something else needs it.
    pub clean: bool,
}

/// What of a database is read or restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// Everything.
    #[default]
    All,
    /// Without rows, values of sequences and large objects.
    Schema,
    /// Only those.
    Data,
}

/// How many connections work at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "u32")]
#[schemars(extend("minimum" = 1, "maximum" = Jobs::MOST))]
pub struct Jobs(u32);

impl Jobs {
    /// More than these are of no use to any server.
    const MOST: u32 = 64;

    /// The number, from 1 to 64.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl Default for Jobs {
    fn default() -> Self {
        Self(1)
    }
}

impl TryFrom<u32> for Jobs {
    type Error = String;

    fn try_from(jobs: u32) -> Result<Self, String> {
        match jobs {
            1..=Self::MOST => Ok(Self(jobs)),
            _ => Err(format!("`{jobs}` is no number of connections: write one from 1 to {}", Self::MOST)),
        }
    }
}

/// Which parts of each database are meant. Patterns of schemas, and of tables, views and sequences with their schema; without any of the first and the third, all.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// These schemas with what is in them.
    pub schemas: Vec<String>,
    /// But for these.
    pub exclude_schemas: Vec<String>,
    /// These tables, with what belongs to them.
    pub tables: Vec<String>,
    /// But for these.
    pub exclude_tables: Vec<String>,
    /// What of them.
    pub content: Content,
}

impl LiveOptions {
    /// Which parts are restored.
    pub(crate) fn parts(&self) -> Parts {
        Parts {
            schemas: self.schemas.clone(),
            tables: self.tables.clone(),
            content: self.content,
            ..Parts::default()
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_connections_have_bounds_that_the_schema_tells() {
        assert_eq!(serde_json::from_str::<Jobs>("64").unwrap().get(), 64);
        for wrong in ["0", "65"] {
            assert!(
                serde_json::from_str::<Jobs>(wrong)
                    .unwrap_err()
                    .to_string()
                    .contains("from 1 to 64")
            );
        }
        let schema = schemars::schema_for!(Jobs);
        let bound = |name: &str| schema.get(name).and_then(serde_json::Value::as_u64);
        assert_eq!((bound("minimum"), bound("maximum")), (Some(1), Some(64)));
    }
}
