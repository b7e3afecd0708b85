//! Which parts of a database a backup reads or a restore takes: [`Selection`].

use bulkhead_patterns::Patterns;
use bulkhead_sdk::{Error, Result};

use crate::options::{Content, Parts};

/// What is chosen, of every database.
#[derive(Debug)]
pub(crate) struct Selection {
    schemas: Patterns,
    exclude_schemas: Patterns,
    tables: Patterns,
    exclude_tables: Patterns,
    /// Whether anything is named that is wanted.
    named: bool,
    partial: bool,
    pub(crate) content: Content,
}

impl Selection {
    /// As the config says.
    pub(crate) fn new(parts: &Parts) -> Result<Self> {
        with_schema("tables", &parts.tables)?;
        with_schema("exclude-tables", &parts.exclude_tables)?;
        let named = !(parts.schemas.is_empty() && parts.tables.is_empty());
        Ok(Self {
            schemas: Patterns::new("schemas", &parts.schemas)?,
            exclude_schemas: Patterns::new("exclude-schemas", &parts.exclude_schemas)?,
            tables: Patterns::new("tables", &parts.tables)?,
            exclude_tables: Patterns::new("exclude-tables", &parts.exclude_tables)?,
            named,
            partial: named || !(parts.exclude_schemas.is_empty() && parts.exclude_tables.is_empty()),
            content: parts.content,
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
        let Some(schema) = schema else { return !self.named };
        let among = |schemas: &Patterns, tables: &Patterns| {
            let table = |relation: &str| tables.matches(format!("{schema}.{relation}").as_bytes());
            schemas.matches(schema.as_bytes()) || relation.is_some_and(table)
        };
        (!self.named || among(&self.schemas, &self.tables)) && !among(&self.exclude_schemas, &self.exclude_tables)
    }

    /// Whether statements of this kind, about something that belongs there, are run.
    pub(crate) fn statement(&self, kind: &str, name: &str, schema: Option<&str>, relation: Option<&str>) -> bool {
        self.of_content(kind, name) && self.takes(schema, relation)
    }

    /// Whether statements of this kind are among what is wanted of anything.
    pub(crate) fn of_content(&self, kind: &str, name: &str) -> bool {
        let data = matches!(kind, "SEQUENCE SET" | "MATERIALIZED VIEW DATA" | "LARGE OBJECT")
            || (kind == "ACL" && name.starts_with("LARGE OBJECT "));
        match self.content {
            Content::All => true,
            Content::Schema => !data,
            Content::Data => data,
        }
    }

    /// Whether a table is.
    pub(crate) fn takes_table(&self, schema: &str, relation: &str) -> bool {
        self.takes(Some(schema), Some(relation))
    }

    /// Whether rows of a table are.
    pub(crate) fn rows(&self, schema: &str, relation: &str) -> bool {
        self.content != Content::Schema && self.takes(Some(schema), Some(relation))
    }

    /// Whether rows that extensions leave to users are.
    pub(crate) fn configuration(&self, schema: &str, relation: &str) -> bool {
        !self.named && self.rows(schema, relation)
    }

    /// Whether content of large objects is.
    pub(crate) fn large_objects(&self) -> bool {
        self.content != Content::Schema && !self.named
    }
}

/// Tables are named with their schemas.
fn with_schema(setting: &str, tables: &[String]) -> Result<()> {
    match tables.iter().position(|table| !table.contains('.')) {
        None => Ok(()),
        Some(place) => {
            let message = format!("`{}` lacks the schema", tables[place]);
            Err(Error::config(format!("{setting}[{place}]"), message).with_hint("write `public.orders`, or `*.orders` for any schema"))
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::options::LiveOptions;

    fn selection(json: &str) -> Result<Selection> {
        Selection::new(&bulkhead_sdk::config::parse::<LiveOptions>(json)?.parts())
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

    #[test]
    fn what_is_excluded_is_left_out_of_what_is_chosen() {
        let patterns = |patterns: &[&str]| patterns.iter().map(|&pattern| pattern.to_owned()).collect::<Vec<_>>();
        let all_but = Selection::new(&Parts {
            exclude_schemas: patterns(&["old_*"]),
            exclude_tables: patterns(&["*.log"]),
            ..Parts::default()
        })
        .unwrap();
        assert!(all_but.statement("EXTENSION", "hstore", None, None) && all_but.large_objects());
        assert!(all_but.takes_table("public", "t") && !all_but.takes_table("public", "log") && !all_but.takes_table("old_one", "t"));
        let some_but = Selection::new(&Parts {
            schemas: patterns(&["sales"]),
            exclude_tables: patterns(&["sales.log"]),
            ..Parts::default()
        })
        .unwrap();
        assert!(some_but.takes_table("sales", "t") && !some_but.takes_table("sales", "log") && !some_but.takes_table("public", "t"));
    }
}
