//! Which parts of a database a restore takes: [`Selection`].

use bulkhead_patterns::Patterns;
use bulkhead_sdk::{Error, Result};

use crate::options::{Content, LiveOptions};

/// What is chosen, of every database that is restored.
#[derive(Debug)]
pub(crate) struct Selection {
    schemas: Patterns,
    tables: Patterns,
    partial: bool,
    pub(crate) content: Content,
}

impl Selection {
    /// As the target's config says.
    pub(crate) fn new(options: &LiveOptions) -> Result<Self> {
        if let Some(place) = options.tables.iter().position(|table| !table.contains('.')) {
            let message = format!("`{}` lacks the schema", options.tables[place]);
            return Err(Error::config(format!("tables[{place}]"), message).with_hint("write `public.orders`, or `*.orders` for any schema"));
        }
        Ok(Self {
            schemas: Patterns::new("schemas", &options.schemas)?,
            tables: Patterns::new("tables", &options.tables)?,
            partial: !(options.schemas.is_empty() && options.tables.is_empty()),
            content: options.content,
        })
    }

    /// Whether it is all that a database has.
    pub(crate) fn is_whole(&self) -> bool {
        !self.partial && self.content == Content::All
    }

    /// Whether only some schemas or tables are chosen.
    pub(crate) fn is_partial(&self) -> bool {
        self.partial
    }

    /// Whether what belongs there is chosen.
    fn takes(&self, schema: Option<&str>, relation: Option<&str>) -> bool {
        let Some(schema) = schema else { return !self.partial };
        let table = |relation: &str| self.tables.matches(format!("{schema}.{relation}").as_bytes());
        !self.partial || self.schemas.matches(schema.as_bytes()) || relation.is_some_and(table)
    }

    /// Whether statements of this kind, about something that belongs there, are run.
    pub(crate) fn statement(&self, kind: &str, name: &str, schema: Option<&str>, relation: Option<&str>) -> bool {
        let data = matches!(kind, "SEQUENCE SET" | "MATERIALIZED VIEW DATA" | "LARGE OBJECT")
            || (kind == "ACL" && name.starts_with("LARGE OBJECT "));
        let content = match self.content {
            Content::All => true,
            Content::Schema => !data,
            Content::Data => data,
        };
        content && self.takes(schema, relation)
    }

    /// Whether a table is.
    pub(crate) fn takes_table(&self, schema: &str, relation: &str) -> bool {
        self.takes(Some(schema), Some(relation))
    }

    /// Whether rows of a table are restored.
    pub(crate) fn rows(&self, schema: &str, relation: &str) -> bool {
        self.content != Content::Schema && self.takes(Some(schema), Some(relation))
    }

    /// Whether content of large objects is.
    pub(crate) fn large_objects(&self) -> bool {
        self.content != Content::Schema && !self.partial
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn selection(json: &str) -> Result<Selection> {
        Selection::new(&bulkhead_sdk::config::parse(json)?)
    }

    #[test]
    fn tables_are_chosen_by_name_and_by_schema() {
        let chosen = selection(r#"{"schemas": ["app_*"], "tables": ["public.orders"]}"#).unwrap();
        assert!(chosen.statement("TABLE", "public.orders", Some("public"), Some("orders")));
        assert!(chosen.statement("FUNCTION", "app_one.f", Some("app_one"), None));
        assert!(!chosen.statement("TABLE", "public.others", Some("public"), Some("others")));
        assert!(!chosen.statement("EXTENSION", "hstore", None, None));
        assert!(chosen.rows("app_two", "any") && !chosen.large_objects());
        assert_eq!(
            selection(r#"{"tables": ["orders"]}"#).unwrap_err().setting.as_deref(),
            Some("tables[0]")
        );
    }

    #[test]
    fn content_is_chosen_by_kind() {
        let schema = selection(r#"{"content": "schema"}"#).unwrap();
        assert!(
            schema.statement("EXTENSION", "hstore", None, None) && !schema.statement("SEQUENCE SET", "public.s", Some("public"), Some("s"))
        );
        let data = selection(r#"{"content": "data"}"#).unwrap();
        assert!(data.rows("public", "t") && !data.statement("TABLE", "public.t", Some("public"), Some("t")));
        assert!(data.statement("ACL", "LARGE OBJECT 5", None, None) && !data.statement("ACL", "TABLE t", Some("public"), Some("t")));
    }
}
