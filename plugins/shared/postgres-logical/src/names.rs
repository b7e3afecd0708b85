//! Whether what is named is there: [`refuse_unmatched`].

use bulkhead_patterns::Patterns;
use bulkhead_sdk::{Error, Result, ResultExt};

use super::{
    server::DatabaseName,
    session::{Sql, text},
};
use crate::settings::Settings;

/// Schemas, and what has a name of its own in them: a sequence that a column owns goes by its table.
const NAMES: &str = "SELECT n.nspname, '' FROM pg_namespace n WHERE n.nspname !~ '^pg_' \
    UNION ALL SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' \
      AND NOT (c.relkind = 'S' AND EXISTS (SELECT FROM pg_depend d WHERE d.classid = c.tableoid AND d.objid = c.oid AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')))";

/// A pattern of the config that nothing has matched yet.
struct Open {
    setting: String,
    pattern: String,
    compiled: Patterns,
}

/// Fails where a pattern of `schemas` or `tables` matches nothing in any of the databases: what is meant has another name, or is gone.
pub(crate) fn refuse_unmatched(settings: &Settings, databases: &[DatabaseName]) -> Result<()> {
    let mut open = Vec::new();
    for (setting, patterns) in [("schemas", &settings.parts.schemas), ("tables", &settings.parts.tables)] {
        for (place, pattern) in patterns.iter().enumerate() {
            open.push(Open {
                setting: format!("{setting}[{place}]"),
                pattern: pattern.clone(),
                compiled: Patterns::new(setting, std::slice::from_ref(pattern))?,
            });
        }
    }
    for database in databases {
        if open.is_empty() {
            break;
        }
        let mut sql = Sql::open(settings, &database.name)?;
        sql.each(NAMES, |row| {
            let mut values = row.into_iter();
            let mut next = || text(values.next().flatten());
            let (schema, relation) = (next(), next());
            let name = if relation.is_empty() {
                schema
            } else {
                format!("{schema}.{relation}")
            };
            let of_tables = !relation.is_empty();
            open.retain(|open| open.setting.starts_with("tables") != of_tables || !open.compiled.matches(name.as_bytes()));
            Ok(())
        })
        .context(|| format!("listing what database `{}` has failed", database.name))?;
        sql.close();
    }
    match open.into_iter().next() {
        None => Ok(()),
        Some(open) => {
            let message = format!("`{}` matches nothing in the databases that are backed up", open.pattern);
            Err(Error::config(open.setting, message)
                .with_hint("compare it with the names that the server has; patterns are globs, and tables are written with their schemas"))
        }
    }
}
