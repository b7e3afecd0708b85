//! What a restore would meet in a database: [`Occupied`], and dropping it, where the target's config says `clean`.
//!
//! Objects are found by what `pg_identify_object` calls them, in the snapshot and in the target. The target's own dependencies then tell what would go along with them. Something that is
//! not chosen, and needs what is, ends the restore before anything is written; so `CASCADE` can drop the chosen ones in any order, and circles too, without ever reaching further.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt};

use super::{
    catalog::{Edge, Links, ObjectId, each_identity, with_all_along},
    session::{Sql, literal, number},
};

/// Objects that a message lists at most.
const NAMED: usize = 10;

/// Statements, and numbers of large objects, that go to the server at once.
const AT_ONCE: usize = 1_000;

/// Catalogs whose rows are parts of objects, and are found as such.
const PARTS: [&str; 4] = ["pg_attrdef", "pg_enum", "pg_default_acl", "pg_largeobject_metadata"];

/// This database's; their catalog is the cluster's.
const SUBSCRIPTIONS: &str = "(SELECT s.tableoid, s.oid FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database())";

/// The schema that every new database has: a snapshot only says whose it is, so it is never dropped.
const PUBLIC: &str = "schema public";

/// What a snapshot has of a database, as far as it is chosen.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// Objects by what the server calls them.
    pub(crate) identities: BTreeSet<String>,
    pub(crate) large_objects: Vec<u32>,
}

impl Wanted {
    /// Adds what a statement makes.
    pub(crate) fn add(&mut self, kind: &str, name: &str, identity: Option<String>) {
        match (kind, identity) {
            ("LARGE OBJECT", _) => self.large_objects.extend(name.parse::<u32>()),
            ("SCHEMA", None) if name == "public" => _ = self.identities.insert(PUBLIC.to_owned()),
            (_, identity) => self.identities.extend(identity),
        }
    }
}

/// What of it a target has already.
#[derive(Debug, Default)]
pub(crate) struct Occupied {
    links: Links,
    /// Those that are wanted, with what they are called.
    found: BTreeMap<ObjectId, String>,
    /// Others that have such a name.
    others: BTreeMap<ObjectId, String>,
    /// Tables: they don't go along with what they are partitions of.
    tables: HashSet<ObjectId>,
    large_objects: Vec<u32>,
    /// Schemas that stay whatever they have.
    kept: Vec<String>,
}

impl Occupied {
    /// Looks for what is wanted.
    pub(crate) fn find(sql: &mut Sql, wanted: &Wanted) -> Result<Self> {
        let mut occupied = Self {
            links: Links::read(sql).context(|| "reading what depends on what failed")?,
            ..Self::default()
        };
        let places: HashSet<String> = wanted.identities.iter().map(|identity| place(identity)).collect();
        let catalogs = occupied.links.catalogs(&PARTS).into_iter();
        let own = catalogs.map(|(catalog, _)| format!("(SELECT tableoid, oid FROM pg_catalog.{catalog} WHERE oid >= 16384)"));
        for objects in own.chain([SUBSCRIPTIONS.to_owned()]).collect::<Vec<_>>() {
            each_identity(sql, &objects, |id, identity, is_table| {
                if is_table {
                    occupied.tables.insert(id);
                }
                if identity != PUBLIC && wanted.identities.contains(&identity) {
                    occupied.found.insert(id, identity);
                } else if places.contains(&place(&identity)) {
                    occupied.others.insert(id, identity);
                }
            })?;
        }
        occupied.kept.extend(wanted.identities.get(PUBLIC).cloned());
        for some in wanted.large_objects.chunks(AT_ONCE) {
            let query = format!("SELECT oid FROM pg_largeobject_metadata WHERE oid = ANY ({})", array(some));
            let there = sql.rows(&query)?;
            occupied
                .large_objects
                .extend(there.into_iter().flatten().flatten().map(|value| number::<u32>(Some(&value))));
        }
        Ok(occupied)
    }

    /// One of the objects, for a message; schemas may be shared.
    pub(crate) fn first(&self) -> Option<&str> {
        let all = self.found.values().chain(self.others.values());
        all.map(String::as_str).find(|identity| !is_schema(identity))
    }

    /// What will be dropped. A schema that has something else too stays.
    pub(crate) fn dropping(mut self, sql: &mut Sql, database: &str) -> Result<Dropping> {
        let subscription = self.found.values().find(|identity| identity.starts_with("subscription "));
        if let Some(subscription) = subscription {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("database `{database}` of the target has {subscription}, which `clean` does not drop"),
            )
            .with_hint("DROP SUBSCRIPTION also drops its slot at the publisher: that is for you to decide"));
        }
        let goes = self.goes();
        let shared: BTreeSet<ObjectId> = self.in_the_way(&goes).into_iter().map(|(_, schema)| schema).collect();
        let schemas = shared
            .into_iter()
            .filter(|object| self.found.get(object).is_some_and(|identity| is_schema(identity)));
        let schemas: Vec<ObjectId> = schemas.collect();
        self.kept.extend(schemas.iter().filter_map(|schema| self.found.remove(schema)));
        let goes = self.goes();
        let others = self.in_the_way(&goes);
        if !others.is_empty() {
            return Err(self.needed(sql, database, &others));
        }
        if let Some((_, other)) = self.others.iter().find(|(object, _)| !goes.contains(object)) {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("database `{database}` of the target has {other}, in the place of something else that is to be restored"),
            )
            .with_hint("rename or drop it, or restore into another database (`rename`)"));
        }
        let parts: HashSet<ObjectId> = self.along().filter(|edge| goes.contains(&edge.to)).map(|edge| edge.from).collect();
        let whole = self.found.iter().filter(|(object, _)| !parts.contains(object));
        let tables = self.found.iter().filter(|(object, _)| self.tables.contains(object));
        Ok(Dropping {
            tables: tables
                .filter_map(|(_, identity)| identity.strip_prefix("table ").map(str::to_owned))
                .collect(),
            statements: whole.filter_map(|(_, identity)| drop_statement(identity)).collect(),
            kept: self.kept,
            large_objects: self.large_objects,
        })
    }

    /// Dependencies by which something is dropped along with what it belongs to. A partition belongs to its table, but its rows are its own.
    fn along(&self) -> impl Iterator<Item = &Edge> {
        let is_partition = |edge: &Edge| self.tables.contains(&edge.from) && self.tables.contains(&edge.to);
        self.links.edges.iter().filter(move |edge| edge.goes_along() && !is_partition(edge))
    }

    /// What was found, with all that goes along.
    fn goes(&self) -> HashSet<ObjectId> {
        with_all_along(self.found.keys().copied().collect(), self.along())
    }

    /// What stays and needs something that goes: both.
    fn in_the_way(&self, goes: &HashSet<ObjectId>) -> BTreeSet<(ObjectId, ObjectId)> {
        let edges = self
            .links
            .edges
            .iter()
            .filter(|edge| goes.contains(&edge.to) && !goes.contains(&edge.from));
        edges.map(|edge| (edge.from, edge.to)).collect()
    }

    fn needed(&self, sql: &mut Sql, database: &str, others: &BTreeSet<(ObjectId, ObjectId)>) -> Error {
        let mut named = |object: &ObjectId| {
            let query = format!("SELECT pg_describe_object({}, {}, 0)", object.catalog, object.number);
            sql.value(&query).unwrap_or_default()
        };
        let list: Vec<String> = others
            .iter()
            .take(NAMED)
            .map(|(other, chosen)| format!("{} needs {}", named(other), named(chosen)))
            .collect();
        let more = others.len() - list.len();
        let rest = if more == 0 { String::new() } else { format!("; and {more} more") };
        Error::new(
            ErrorKind::Conflict,
            format!(
                "what is to be dropped in database `{database}` of the target is needed by what is not restored: {}{rest}",
                list.join("; ")
            ),
        )
        .with_hint("drop or change what needs it, restore more than this, or restore into another database (`rename`)")
    }
}

/// What is dropped in a database, known before anything is.
#[derive(Debug, Default)]
pub(crate) struct Dropping {
    /// Tables, as SQL has them.
    tables: Vec<String>,
    statements: Vec<String>,
    /// Schemas (`schema sales`) that have something else.
    kept: Vec<String>,
    large_objects: Vec<u32>,
}

impl Dropping {
    /// Drops all of it or nothing. `look` looks once more when nobody else can get at the tables: what others have made of them by then is seen, and from then on they make nothing.
    pub(crate) fn carry_out(&self, sql: &mut Sql, database: &str, look: impl FnOnce(&mut Sql) -> Result<Self>) -> Result<u64> {
        let failed = || format!("dropping what is to be restored in database `{database}` failed; nothing was dropped");
        sql.run("BEGIN; SET LOCAL client_min_messages = error").context(failed)?;
        for some in self.tables.chunks(AT_ONCE) {
            sql.run(&format!("LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE", some.join(", ONLY ")))
                .context(failed)?;
        }
        let dropped = look(sql).context(failed)?.drop_all(sql).context(failed)?;
        sql.run("COMMIT").context(failed)?;
        Ok(dropped)
    }

    /// Schemas that stay lose the privileges that others than their owners have: the snapshot says which they had.
    fn drop_all(&self, sql: &mut Sql) -> Result<u64> {
        for some in self.statements.chunks(AT_ONCE) {
            sql.run(&some.join(";"))?;
        }
        for some in self.large_objects.chunks(AT_ONCE) {
            sql.run(&format!("SELECT pg_catalog.lo_unlink(number) FROM unnest({}) number", array(some)))?;
        }
        self.revoke(sql)?;
        Ok((self.statements.len() + self.large_objects.len()) as u64)
    }

    fn revoke(&self, sql: &mut Sql) -> Result<()> {
        let kept: Vec<String> = self.kept.iter().map(|schema| literal(schema)).collect();
        let held = sql.rows(&format!(
            "SELECT DISTINCT format('REVOKE ALL ON SCHEMA %I FROM %s CASCADE', n.nspname, CASE held.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(held.grantee)) END) \
             FROM pg_namespace n, aclexplode(n.nspacl) held WHERE held.grantee <> n.nspowner AND format('schema %I', n.nspname) = ANY (ARRAY[{}]::text[])",
            kept.join(", ")
        ))?;
        for statement in held.into_iter().flatten().flatten() {
            sql.run(&statement)?;
        }
        Ok(())
    }
}

fn is_schema(identity: &str) -> bool {
    identity.starts_with("schema ")
}

/// Numbers as SQL has them.
fn array(numbers: &[u32]) -> String {
    let list: Vec<String> = numbers.iter().map(u32::to_string).collect();
    format!("'{{{}}}'::pg_catalog.oid[]", list.join(","))
}

/// Kinds of which no two can have the same name.
const RELATIONS: [&str; 7] = [
    "table ",
    "foreign table ",
    "view ",
    "materialized view ",
    "sequence ",
    "index ",
    "composite type ",
];

/// What only one object can have: its name, with the kinds that share such names.
fn place(identity: &str) -> String {
    let share = |kinds: &[&str], place: &str| {
        let name = kinds.iter().find_map(|kind| identity.strip_prefix(kind));
        name.map(|name| format!("{place} {name}"))
    };
    share(&RELATIONS, "relation")
        .or_else(|| share(&["function ", "aggregate "], "routine"))
        .unwrap_or_else(|| identity.to_owned())
}

/// What goes only with something else.
const NEVER_ALONE: [&str; 9] = [
    "index ",
    "default value ",
    "table constraint ",
    "domain constraint ",
    "operator of access method ",
    "function of access method ",
    "publication relation ",
    "publication namespace ",
    "user mapping ",
];

/// Types of `pg_identify_object` that SQL calls otherwise, or whose names it writes otherwise; any other is itself.
const OTHERWISE: [(&str, &str); 6] = [
    ("foreign-data wrapper ", "FOREIGN DATA WRAPPER "),
    ("statistics object ", "STATISTICS "),
    ("composite type ", "TYPE "),
    ("function ", "ROUTINE "),
    ("aggregate ", "ROUTINE "),
    ("domain ", "TYPE "),
];

/// Types whose names are of two or three words; the others' are of one.
const LONG: [&str; 11] = [
    "FOREIGN DATA WRAPPER ",
    "materialized view ",
    "foreign table ",
    "operator class ",
    "operator family ",
    "event trigger ",
    "access method ",
    "text search parser ",
    "text search template ",
    "text search dictionary ",
    "text search configuration ",
];

/// The statement that drops an object; `None` for one that goes only with another.
fn drop_statement(identity: &str) -> Option<String> {
    if NEVER_ALONE.iter().any(|part| identity.starts_with(part)) {
        return None;
    }
    let renamed = OTHERWISE
        .iter()
        .find_map(|(own, sql)| identity.strip_prefix(own).map(|rest| format!("{sql}{rest}")));
    let object = renamed.unwrap_or_else(|| identity.to_owned());
    let length = LONG
        .iter()
        .find(|kind| object.starts_with(*kind))
        .map_or_else(|| object.find(' ').map_or(0, |space| space + 1), |kind| kind.len());
    let (kind, name) = object.split_at(length);
    let name = match kind {
        "transform " => name.replacen(" on language ", " LANGUAGE ", 1),
        _ => name.to_owned(),
    };
    Some(format!("DROP {}IF EXISTS {name} CASCADE", kind.to_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_dropped_as_sql_calls_them() {
        for (identity, statement) in [
            ("table public.orders", Some("DROP TABLE IF EXISTS public.orders CASCADE")),
            (
                "aggregate public.f(integer)",
                Some("DROP ROUTINE IF EXISTS public.f(integer) CASCADE"),
            ),
            (
                "procedure public.p(IN a integer, OUT b integer)",
                Some("DROP PROCEDURE IF EXISTS public.p(IN a integer, OUT b integer) CASCADE"),
            ),
            ("foreign-data wrapper w", Some("DROP FOREIGN DATA WRAPPER IF EXISTS w CASCADE")),
            (
                "operator class public.c USING btree",
                Some("DROP OPERATOR CLASS IF EXISTS public.c USING btree CASCADE"),
            ),
            (
                "transform for integer on language sql",
                Some("DROP TRANSFORM IF EXISTS for integer LANGUAGE sql CASCADE"),
            ),
            ("operator of access method 1 (integer, integer) of x", None),
            ("policy p on public.t", Some("DROP POLICY IF EXISTS p on public.t CASCADE")),
        ] {
            assert_eq!(drop_statement(identity).as_deref(), statement, "{identity}");
        }
    }
}
