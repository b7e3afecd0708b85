//! Which kinds of objects there are, the query for each, and where each has its place.

/// Whether something is made before the rows are there, or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Section {
    Before,
    After,
}

/// What is read, and how. Rows are: catalog, number, kind, schema, name, what COMMENT ON calls it, owner, statement.
pub(crate) const QUERIES: [(&str, &str); 37] = [
    ("schemas", include_str!("sql/schemas.sql")),
    ("extensions", include_str!("sql/extensions.sql")),
    ("languages", include_str!("sql/languages.sql")),
    ("types", include_str!("sql/types.sql")),
    ("base types", include_str!("sql/shell_types.sql")),
    ("constraints of domains", include_str!("sql/domain_constraints.sql")),
    ("functions", include_str!("sql/functions.sql")),
    ("aggregates", include_str!("sql/aggregates.sql")),
    ("operators", include_str!("sql/operators.sql")),
    ("operator families", include_str!("sql/operator_families.sql")),
    ("operator classes", include_str!("sql/operator_classes.sql")),
    ("members of operator families", include_str!("sql/family_members.sql")),
    ("casts", include_str!("sql/casts.sql")),
    ("transforms", include_str!("sql/transforms.sql")),
    ("access methods", include_str!("sql/access_methods.sql")),
    ("collations", include_str!("sql/collations.sql")),
    ("conversions", include_str!("sql/conversions.sql")),
    ("text search", include_str!("sql/text_search.sql")),
    ("foreign data", include_str!("sql/foreign_data.sql")),
    ("sequences", include_str!("sql/sequences.sql")),
    ("owners of sequences", include_str!("sql/owned_sequences.sql")),
    ("tables", concat!(include_str!("sql/within.sql"), include_str!("sql/tables.sql"))),
    ("partitions", include_str!("sql/partitions.sql")),
    ("storage of columns", include_str!("sql/column_storage.sql")),
    ("defaults", include_str!("sql/defaults.sql")),
    ("checks", concat!(include_str!("sql/within.sql"), include_str!("sql/checks.sql"))),
    ("views", include_str!("sql/views.sql")),
    ("materialized views", include_str!("sql/refreshes.sql")),
    ("constraints", include_str!("sql/constraints.sql")),
    ("indexes", include_str!("sql/indexes.sql")),
    ("partitions of indexes", include_str!("sql/index_partitions.sql")),
    ("statistics", include_str!("sql/statistics.sql")),
    (
        "rules, triggers and policies",
        concat!(
            include_str!("sql/rules.sql"),
            "UNION ALL\n",
            include_str!("sql/triggers.sql"),
            "UNION ALL\n",
            include_str!("sql/policies.sql"),
            "UNION ALL\n",
            include_str!("sql/row_security.sql")
        ),
    ),
    ("event triggers", include_str!("sql/event_triggers.sql")),
    ("publications", include_str!("sql/publications.sql")),
    ("subscriptions", include_str!("sql/subscriptions.sql")),
    ("large objects", include_str!("sql/large_objects.sql")),
];

/// Kinds in the order in which they are made where nothing else decides. What is after the rows is after [`FIRST_AFTER`].
const ORDER: [&str; 46] = [
    "SCHEMA",
    "EXTENSION",
    "LANGUAGE",
    "ACCESS METHOD",
    "COLLATION",
    "CONVERSION",
    "SHELL TYPE",
    "TYPE",
    "DOMAIN",
    "FUNCTION",
    "PROCEDURE",
    "AGGREGATE",
    "OPERATOR",
    "OPERATOR FAMILY",
    "OPERATOR CLASS",
    "FAMILY MEMBER",
    "CAST",
    "TRANSFORM",
    "DOMAIN CONSTRAINT",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH CONFIGURATION",
    "FOREIGN DATA WRAPPER",
    "SERVER",
    "USER MAPPING",
    "FOREIGN TABLE",
    "SEQUENCE",
    "TABLE",
    "TABLE ATTACH",
    "COLUMN STORAGE",
    "IDENTITY",
    "SEQUENCE OWNED BY",
    "DEFAULT",
    "CHECK CONSTRAINT",
    "VIEW",
    "MATERIALIZED VIEW",
    "LARGE OBJECT",
    FIRST_AFTER,
    "INDEX",
    "INDEX ATTACH",
    "STATISTICS",
    "RULE",
    "TRIGGER",
    "FK CONSTRAINT",
    "POLICY",
];

/// Primary keys and the like.
const FIRST_AFTER: &str = "CONSTRAINT";

/// What comes after everything, privileges included.
const LAST: [&str; 2] = ["MATERIALIZED VIEW DATA", "EVENT TRIGGER"];

/// Whether a kind comes after the privileges.
pub(crate) fn is_last(kind: &str) -> bool {
    LAST.contains(&kind)
}

/// The place of a kind among the others. What isn't named is after the rows, and comes towards the end.
pub(crate) fn rank(kind: &str) -> (Section, usize) {
    let place = match ORDER.iter().position(|known| *known == kind) {
        Some(place) => place,
        None => ORDER.len() + LAST.iter().position(|last| *last == kind).map_or(0, |place| place + 1),
    };
    let first_after = ORDER.iter().position(|known| *known == FIRST_AFTER).unwrap_or(ORDER.len());
    (if place < first_after { Section::Before } else { Section::After }, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_their_places() {
        assert_eq!(rank("TABLE").0, Section::Before);
        for kind in [
            "CONSTRAINT",
            "INDEX",
            "PUBLICATION",
            "SUBSCRIPTION",
            "ROW SECURITY",
            "MATERIALIZED VIEW DATA",
        ] {
            assert_eq!(rank(kind).0, Section::After, "{kind}");
        }
        assert!(rank("INDEX") < rank("PUBLICATION"));
        assert!(rank("PUBLICATION") < rank("MATERIALIZED VIEW DATA"));
        assert!(rank("MATERIALIZED VIEW DATA") < rank("EVENT TRIGGER"));
    }
}
