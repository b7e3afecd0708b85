//! What belongs to what: [`Links`], out of `pg_depend`, and with it the proof that nothing was overlooked.

use std::collections::{HashMap, HashSet};

use bulkhead_sdk::{Error, Result};

use super::Object;
use crate::session::{Sql, number, text};

/// Objects that a message lists at most.
const NAMED: usize = 10;

/// An object by the number of its catalog and its own. Small numbers of catalogs are ours, for second steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct ObjectId {
    pub(crate) catalog: u32,
    pub(crate) number: u32,
}

/// Catalogs of our own: steps of making an object that are made apart from it.
pub(crate) mod step {
    pub(crate) const SHELL: u32 = 0;
    pub(crate) const OWNED_BY: u32 = 1;
    pub(crate) const ATTACH: u32 = 2;
    pub(crate) const REFRESH: u32 = 3;
    pub(crate) const ATTACH_INDEX: u32 = 4;
    /// A view, before the views that it needs.
    pub(crate) const PLACEHOLDER: u32 = 6;
    pub(crate) const STORAGE: u32 = 7;
    /// Numbers of catalogs of PostgreSQL's are above.
    pub(crate) const LAST: u32 = 7;
}

impl ObjectId {
    pub(crate) fn read(catalog: Option<String>, object: Option<String>) -> Self {
        Self {
            catalog: number(catalog.as_ref()),
            number: number(object.as_ref()),
        }
    }

    /// The step `catalog` of this object.
    pub(crate) fn step(self, catalog: u32) -> Self {
        Self { catalog, ..self }
    }
}

/// A dependency: what, on what, and how (`pg_depend.deptype`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edge {
    pub(crate) from: ObjectId,
    pub(crate) to: ObjectId,
    kind: char,
    /// Added to what it depends on, by whoever.
    added: bool,
}

impl Edge {
    /// Whether what depends is dropped along with what it depends on, and not merely in its way.
    pub(crate) fn goes_along(&self) -> bool {
        self.kind != 'n'
    }

    /// Dropped along with it.
    pub(crate) fn automatic(&self) -> bool {
        self.kind == 'a'
    }

    /// Made along with it.
    fn part(&self) -> bool {
        matches!(self.kind, 'i' | 'P' | 'S')
    }

    /// Of an extension.
    fn member(&self) -> bool {
        self.kind == 'e'
    }
}

/// What belongs to what.
#[derive(Debug, Default)]
pub(crate) struct Links {
    pub(crate) edges: Vec<Edge>,
    /// What comes with something else, and with what.
    parents: HashMap<ObjectId, ObjectId>,
    /// Of extensions, with what belongs to them.
    ignored: HashSet<ObjectId>,
    temporary: HashSet<ObjectId>,
    /// What others than the extension added to what it owns.
    added: HashSet<ObjectId>,
    /// What an extension owns and others have said something about.
    said: HashSet<ObjectId>,
    known: HashSet<ObjectId>,
    /// Catalogs by name.
    catalogs: HashMap<String, u32>,
}

impl Links {
    /// Reads what depends on what.
    pub(crate) fn read(sql: &mut Sql) -> Result<Self> {
        let mut links = Self::default();
        for row in sql.rows(include_str!("sql/catalogs.sql"))? {
            let mut values = row.into_iter();
            let oid = number(values.next().flatten().as_ref());
            links.catalogs.insert(text(values.next().flatten()), oid);
        }
        let defaults = links.catalog("pg_attrdef");
        let edges = &mut links.edges;
        sql.each(include_str!("sql/dependencies.sql"), |row| {
            let mut values = row.into_iter();
            let mut next = || values.next().flatten();
            let (from, to) = (ObjectId::read(next(), next()), ObjectId::read(next(), next()));
            let (kind, added) = (text(next()), next().as_deref() == Some("t"));
            edges.push(Edge {
                from,
                to,
                kind: kind.chars().next().unwrap_or_default(),
                added,
            });
            Ok(())
        })?;
        for row in sql.rows(include_str!("sql/temporary.sql"))? {
            let mut values = row.into_iter();
            let mut next = || values.next().flatten();
            links.temporary.insert(ObjectId::read(next(), next()));
        }
        let relations = links.catalog("pg_class");
        // What a partition's trigger or constraint is, it is of its parent's in the first place, and of its table in the second.
        for kinds in [&['i', 'e'][..], &['P'], &['S', 'a']] {
            for edge in links.edges.iter().filter(|edge| kinds.contains(&edge.kind)) {
                // The expression of a generated column belongs to its table.
                if !edge.automatic() || (edge.from.catalog == defaults && edge.to.catalog == relations) {
                    links.parents.entry(edge.from).or_insert(edge.to);
                }
            }
        }
        links.ignored = links.with_parts(links.edges.iter().filter(|edge| edge.member()).map(|edge| edge.from).collect());
        links.temporary = links.with_parts(links.temporary.clone());
        Ok(links)
    }

    /// Reads what others did to what extensions own. Returns the names of what was added and is not carried.
    pub(crate) fn read_extended(&mut self, sql: &mut Sql) -> Result<Vec<String>> {
        let policies = self.catalog("pg_policy");
        let mut names = Vec::new();
        sql.each(include_str!("sql/extended.sql"), |row| {
            let mut values = row.into_iter();
            let mut next = || values.next().flatten();
            let what = text(next());
            let (object, name) = (ObjectId::read(next(), next()), text(next()));
            if what == "said" {
                self.said.insert(object);
            } else if object.catalog == policies {
                self.added.insert(object);
            } else {
                names.push(name);
            }
            Ok(())
        })?;
        Ok(names)
    }

    /// The number of a catalog; one that no object has where the server lacks it.
    pub(crate) fn catalog(&self, name: &str) -> u32 {
        self.catalogs.get(name).copied().unwrap_or(u32::MAX)
    }

    /// All catalogs but some, by name, with their numbers.
    pub(crate) fn catalogs(&self, but: &[&str]) -> Vec<(String, u32)> {
        let wanted = self.catalogs.iter().filter(|(name, _)| !but.contains(&name.as_str()));
        let mut catalogs: Vec<(String, u32)> = wanted.map(|(name, number)| (name.clone(), *number)).collect();
        catalogs.sort_unstable();
        catalogs
    }

    /// These objects, and whatever goes with them.
    fn with_parts(&self, all: HashSet<ObjectId>) -> HashSet<ObjectId> {
        with_all_along(all, self.edges.iter().filter(|edge| edge.part() || edge.added))
    }

    /// Whether it comes with an extension, or belongs to one session.
    pub(crate) fn ignored(&self, object: ObjectId) -> bool {
        let object = self.itself(object);
        self.ignored.contains(&object) || self.temporary.contains(&object)
    }

    /// The object that this is a step of, or itself.
    fn itself(&self, object: ObjectId) -> ObjectId {
        match object.catalog {
            step::SHELL => object.step(self.catalog("pg_type")),
            1..=step::LAST => object.step(self.catalog("pg_class")),
            _ => object,
        }
    }

    /// What of `object`, which comes with an extension, is carried all the same: all of a policy that somebody added and of a table's being protected by policies, and what was
    /// said about it.
    pub(crate) fn of_member(&self, object: &Object) -> Option<Object> {
        if self.temporary(self.itself(object.id)) {
            return None;
        }
        if self.added.contains(&object.id) || object.kind == "ROW SECURITY" {
            return Some(object.clone());
        }
        let about = |object: &Object| Object {
            owner: None,
            statement: String::new(),
            ..object.clone()
        };
        self.said.contains(&object.id).then(|| about(object))
    }

    /// Whether it is made with something else.
    pub(crate) fn is_part(&self, object: ObjectId) -> bool {
        self.parents.contains_key(&object)
    }

    /// Whether it belongs to one session.
    pub(crate) fn temporary(&self, object: ObjectId) -> bool {
        self.temporary.contains(&object)
    }

    /// These are objects that are carried.
    pub(crate) fn know(&mut self, objects: &[Object]) {
        self.known.extend(objects.iter().map(|object| object.id));
    }

    /// The carried object that `object` is, or comes with.
    pub(crate) fn resolve(&self, mut object: ObjectId) -> Option<ObjectId> {
        // An object has few ancestors; the bound is for a catalog that is damaged.
        for _ in 0..64 {
            if self.known.contains(&object) {
                return Some(object);
            }
            object = *self.parents.get(&object)?;
        }
        None
    }

    /// Looks at every object of every catalog. One that is neither carried nor comes with something fails the run.
    pub(crate) fn refuse_unknown(&self, sql: &mut Sql) -> Result<()> {
        // Labels of an enumeration are in its statement. What default privileges there are, the privileges' query finds. Large objects have a query of their own,
        // and so have user mappings, through a view that lists all of them to everybody.
        const PARTS: [&str; 4] = ["pg_enum", "pg_default_acl", "pg_largeobject_metadata", "pg_user_mapping"];
        let mut unknown = Vec::new();
        for (name, catalog) in self.catalogs(&PARTS) {
            sql.each(&format!("SELECT oid FROM pg_catalog.{name} WHERE oid >= 16384"), |row| {
                let object = ObjectId {
                    catalog,
                    number: number(row.into_iter().next().flatten().as_ref()),
                };
                if !self.ignored(object) && !self.is_part_of_ignored(object) && self.resolve(object).is_none() {
                    unknown.push(object);
                }
                Ok(())
            })?;
        }
        if unknown.is_empty() { Ok(()) } else { Err(told(sql, &unknown)) }
    }

    fn is_part_of_ignored(&self, object: ObjectId) -> bool {
        self.parents.get(&object).is_some_and(|parent| self.ignored(*parent))
    }
}

/// These objects, and what leads to them, step by step, along `edges`.
pub(crate) fn with_all_along<'e>(mut all: HashSet<ObjectId>, edges: impl Iterator<Item = &'e Edge>) -> HashSet<ObjectId> {
    let mut parts: HashMap<ObjectId, Vec<ObjectId>> = HashMap::new();
    for edge in edges {
        parts.entry(edge.to).or_default().push(edge.from);
    }
    let mut open: Vec<ObjectId> = all.iter().copied().collect();
    while let Some(object) = open.pop() {
        let new = parts
            .remove(&object)
            .unwrap_or_default()
            .into_iter()
            .filter(|part| all.insert(*part));
        open.extend(new.collect::<Vec<_>>());
    }
    all
}

/// Names objects as the server does.
fn told(sql: &mut Sql, unknown: &[ObjectId]) -> Error {
    let mut names = Vec::new();
    for object in unknown.iter().take(NAMED) {
        let query = format!(
            "SELECT type || ' ' || identity FROM pg_identify_object({}, {}, 0)",
            object.catalog, object.number
        );
        let name = sql.value(&query).unwrap_or_default();
        names.push(if name.is_empty() {
            format!("number {} of catalog {}", object.number, object.catalog)
        } else {
            name
        });
    }
    let more = unknown.len() - names.len();
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    Error::unsupported(format!(
        "{} objects are of a kind that mode `logical` does not carry: {}{rest}",
        unknown.len(),
        names.join(", ")
    ))
    .with_hint("nothing is left out silently: back the cluster up with `mode = \"physical\"`, or remove these objects")
}
