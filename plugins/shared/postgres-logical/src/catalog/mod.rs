//! What a database consists of: [`Catalog`], read by one query for each kind of object, sorted by what depends on what.

mod chosen;
mod graph;
mod kinds;
mod links;

use std::collections::HashMap;

use bulkhead_sdk::{Error, Result, ResultExt};

pub(crate) use chosen::Left;
pub(crate) use links::{Edge, Links, ObjectId, with_all_along};

use super::{
    selection::Selection,
    session::{Row, Sql, for_major, number, text},
};
use crate::options::Content;
use chosen::Chosen;
use graph::Sorted;
use kinds::{QUERIES, Section};

/// Objects that the server is asked about with one query.
const IDENTIFIED_AT_ONCE: usize = 2_000;

/// Where a subscription connects to, not everybody may read.
const MAY_READ_SUBSCRIPTIONS: &str = "SELECT has_table_privilege('pg_catalog.pg_subscription', 'SELECT')";

/// How many subscriptions the database has: everybody may know that.
const SUBSCRIPTIONS: &str =
    "SELECT count(*) FROM pg_subscription s WHERE s.subdbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())";

/// An object, with the statements that make it again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Object {
    pub(crate) id: ObjectId,
    /// As PostgreSQL calls it: `TABLE`, `FK CONSTRAINT`.
    pub(crate) kind: String,
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
    /// What COMMENT ON and ALTER … OWNER TO call it.
    target: Option<String>,
    owner: Option<String>,
    /// Without the last semicolon; empty where it comes with something else.
    statement: String,
    /// The number of the table that it belongs to.
    table: Option<u32>,
}

impl Object {
    fn read(row: Row) -> Self {
        let mut values = row.into_iter();
        let mut next = || values.next().flatten();
        Self {
            id: ObjectId::read(next(), next()),
            kind: text(next()),
            schema: next(),
            name: text(next()),
            target: next(),
            owner: next(),
            statement: text(next()),
            table: next().map(|number_of_table| number(Some(&number_of_table))),
        }
    }

    /// The number of the relation that it is, or belongs to.
    fn relation(&self) -> Option<u32> {
        let itself = matches!(
            self.kind.as_str(),
            "TABLE" | "FOREIGN TABLE" | "VIEW" | "MATERIALIZED VIEW" | "MATERIALIZED VIEW DATA" | "TABLE ATTACH"
        );
        if itself { Some(self.id.number) } else { self.table }
    }

    /// What a message calls it.
    pub(crate) fn title(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.name),
            None => self.name.clone(),
        }
    }
}

/// What a script has of an object.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) statements: String,
    /// As any server would identify it; none of what is only a step, or said about something.
    pub(crate) identity: Option<String>,
}

/// Where something belongs, so that a restore can choose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) schema: Option<String>,
    /// Table, view or sequence.
    pub(crate) relation: Option<String>,
}

/// Where objects belong.
#[derive(Debug, Default)]
pub(crate) struct Places {
    relations: HashMap<u32, Place>,
    all: HashMap<ObjectId, Place>,
}

impl Places {
    fn of(objects: &[Object]) -> Self {
        let mut places = Self::default();
        for object in objects {
            let schema = object
                .schema
                .clone()
                .or_else(|| (object.kind == "SCHEMA").then(|| object.name.clone()));
            let is_relation = object.relation() == Some(object.id.number);
            let relation = is_relation.then(|| object.name.clone());
            let place = Place { schema, relation };
            if is_relation {
                places.relations.insert(object.id.number, place.clone());
            }
            places.all.insert(object.id, place);
        }
        for object in objects {
            if let Some(of_table) = object.relation().and_then(|table| places.relations.get(&table)) {
                places.all.insert(object.id, of_table.clone());
            }
        }
        places
    }

    pub(crate) fn get(&self, object: ObjectId) -> Place {
        self.all.get(&object).cloned().unwrap_or_default()
    }
}

/// A database, in the order in which it is made again.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    /// Before the rows.
    pub(crate) before: Vec<Written>,
    /// After them.
    pub(crate) after: Vec<Written>,
    /// Indexes that are there but not valid, which are not carried.
    pub(crate) invalid_indexes: Vec<String>,
    /// Mappings of users to foreign servers, whose options only a superuser sees all of.
    pub(crate) user_mappings: u64,
    /// Subscriptions, where this role may not read them.
    pub(crate) hidden_subscriptions: u64,
    /// What others than an extension added to its tables and operator families, which is not carried.
    pub(crate) added_to_extensions: Vec<String>,
    /// What comes with an extension, or belongs to a session.
    pub(crate) links: Links,
    pub(crate) places: Places,
    /// What a selection cuts off, and what it brings along.
    pub(crate) left: Left,
    /// Large objects.
    pub(crate) large_objects: Vec<u32>,
}

impl Catalog {
    /// Reads all of it. Fails where there is an object that none of the queries knows.
    pub(crate) fn read(sql: &mut Sql, major: u32, selection: &Selection) -> Result<Self> {
        let mut links = Links::read(sql).context(|| "reading what depends on what failed")?;
        let mut catalog = Self {
            added_to_extensions: links.read_extended(sql).context(|| "reading what was added to extensions failed")?,
            ..Self::default()
        };
        let mut objects = Vec::new();
        for (what, query) in QUERIES {
            if what == "subscriptions" && sql.value(MAY_READ_SUBSCRIPTIONS)? != "t" {
                catalog.hidden_subscriptions = number(Some(&sql.value(SUBSCRIPTIONS)?));
                continue;
            }
            sql.each(&for_major(query, major), |row| {
                objects.push(Object::read(row));
                Ok(())
            })
            .context(|| format!("reading {what} from the catalogs failed"))?;
        }
        // Constructors of a range, and the cast to its multirange, come with the type.
        let comes_along = |object: &Object| matches!(object.kind.as_str(), "FUNCTION" | "CAST") && links.is_part(object.id);
        let of_interest = |object: Object| match links.ignored(object.id) {
            true => links.of_member(&object),
            false => (!comes_along(&object)).then_some(object),
        };
        let objects: Vec<Object> = objects.into_iter().filter_map(of_interest).collect();
        links.know(&objects);
        links.refuse_unknown(sql)?;
        let mut said = said(sql, &links)?;
        let places = Places::of(&objects);
        let privileges = privileges(sql, major, &links, &places)?;
        let Sorted { objects, order, needs } = graph::sorted(sql, objects, &links)?;
        let chosen = Chosen::of(&objects, &needs, &places, selection);
        let mut identities = identities(sql, &objects).context(|| "asking how objects are identified failed")?;
        for (place, section) in order.into_iter().filter(|(place, _)| chosen.carries(*place)) {
            let object = &objects[place];
            if object.kind == "INVALID INDEX" {
                catalog.invalid_indexes.push(object.title());
            }
            if object.kind == "USER MAPPING" {
                catalog.user_mappings += 1;
            }
            if object.kind == "LARGE OBJECT" {
                catalog.large_objects.push(object.id.number);
            }
            // Of something that is made in two steps, only the last one has an owner and comments.
            let about = said.remove(&object.id).unwrap_or_default();
            let statements = statements(object, &about);
            if !statements.is_empty() {
                let written = Written {
                    kind: object.kind.clone(),
                    name: object.title(),
                    place: places.get(object.id),
                    statements,
                    identity: identities.remove(&object.id),
                };
                match section {
                    Section::Before => catalog.before.push(written),
                    Section::After => catalog.after.push(written),
                }
            }
        }
        let known: HashMap<ObjectId, bool> = objects
            .iter()
            .enumerate()
            .map(|(place, object)| (object.id, chosen.carries(place)))
            .collect();
        let held = |(id, written): (ObjectId, Written)| {
            let of_part = selection.statement(&written.kind, &written.name, None, None);
            let carried = known
                .get(&id)
                .map_or(of_part, |carried| *carried && selection.of_content(&written.kind, &written.name));
            carried.then_some(written)
        };
        catalog.place_privileges(privileges.into_iter().filter_map(held).collect());
        if !selection.is_partial() && selection.content != Content::Data {
            catalog.public_is_gone(&objects);
        }
        catalog.left = chosen.left;
        catalog.links = links;
        catalog.places = places;
        Ok(catalog)
    }

    /// Privileges come when everything is there, but before materialized views are filled and event triggers fire.
    fn place_privileges(&mut self, privileges: Vec<Written>) {
        let place = self
            .after
            .iter()
            .position(|written| kinds::is_last(&written.kind))
            .unwrap_or(self.after.len());
        self.after.splice(place..place, privileges);
    }

    /// A new database has a schema `public`.
    fn public_is_gone(&mut self, objects: &[Object]) {
        if !objects.iter().any(|object| object.kind == "SCHEMA" && object.name == "public") {
            self.before.insert(
                0,
                Written {
                    kind: "SCHEMA".to_owned(),
                    name: "public".to_owned(),
                    place: Place {
                        schema: Some("public".to_owned()),
                        relation: None,
                    },
                    statements: "DROP SCHEMA IF EXISTS public".to_owned(),
                    identity: None,
                },
            );
        }
    }
}

/// How a server identifies what is made of these objects, but for large ones, whose number is their name.
fn identities(sql: &mut Sql, objects: &[Object]) -> Result<HashMap<ObjectId, String>> {
    let mut identities = HashMap::new();
    let real: Vec<ObjectId> = objects
        .iter()
        .filter(|object| object.id.catalog > links::step::LAST && object.kind != "LARGE OBJECT" && !object.statement.is_empty())
        .map(|object| object.id)
        .collect();
    for some in real.chunks(IDENTIFIED_AT_ONCE) {
        let list = |of: fn(&ObjectId) -> u32| some.iter().map(|id| of(id).to_string()).collect::<Vec<_>>().join(",");
        let objects = format!(
            "unnest('{{{}}}'::oid[], '{{{}}}'::oid[])",
            list(|id| id.catalog),
            list(|id| id.number)
        );
        each_identity(sql, &objects, |id, identity, _| _ = identities.insert(id, identity))?;
    }
    Ok(identities)
}

/// Hands over how objects are identified, and whether they are tables. `objects` is what a FROM clause takes: catalogs and numbers.
pub(crate) fn each_identity(sql: &mut Sql, objects: &str, mut each: impl FnMut(ObjectId, String, bool)) -> Result<()> {
    let query = for_major(include_str!("sql/identities.sql"), 0).replace("{objects}", objects);
    sql.each(&query, |row| {
        let mut values = row.into_iter();
        let mut next = || values.next().flatten();
        each(ObjectId::read(next(), next()), text(next()), next().as_deref() == Some("t"));
        Ok(())
    })
}

/// An object, its owner, and what is said about it.
fn statements(object: &Object, said: &[Said]) -> String {
    let mut parts: Vec<String> = Vec::new();
    if !object.statement.is_empty() {
        parts.push(object.statement.trim_end().trim_end_matches(';').to_owned());
    }
    if let (Some(target), Some(owner)) = (&object.target, &object.owner) {
        parts.push(format!("ALTER {target} OWNER TO {}", super::session::quoted(owner)));
    }
    for said in said {
        let Some(target) = said.about.as_ref().or(object.target.as_ref()) else {
            continue;
        };
        parts.push(format!("{} {target} {}", said.before, said.after));
    }
    parts.join(";\n")
}

/// A comment, a security label, or that it goes with an extension: a statement without what it is about.
struct Said {
    before: String,
    /// What it is about, where that is not what others call the object.
    about: Option<String>,
    after: String,
}

/// All that is said about objects.
fn said(sql: &mut Sql, links: &Links) -> Result<HashMap<ObjectId, Vec<Said>>> {
    let mut said: HashMap<_, Vec<_>> = HashMap::new();
    sql.each(include_str!("sql/comments.sql"), |row| {
        let mut values = row.into_iter();
        let mut next = || values.next().flatten();
        let (id, before, about) = (ObjectId::read(next(), next()), text(next()), next());
        // The columns of a composite type are those of a relation that comes with it.
        let object = if about.is_some() { links.resolve(id).unwrap_or(id) } else { id };
        said.entry(object).or_default().push(Said {
            before,
            about,
            after: text(next()),
        });
        Ok(())
    })
    .context(|| "reading comments and security labels failed")?;
    Ok(said)
}

/// All privileges that differ from what the target will have by itself.
fn privileges(sql: &mut Sql, major: u32, links: &Links, places: &Places) -> Result<Vec<(ObjectId, Written)>> {
    let mut all = Vec::new();
    sql.each(&with_passed_on(include_str!("sql/acl.sql"), major), |row| {
        let mut values = row.into_iter();
        let mut next = || values.next().flatten();
        let id = ObjectId::read(next(), next());
        let written = Written {
            kind: "ACL".to_owned(),
            name: text(next()),
            place: places.get(id),
            statements: text(next()),
            identity: None,
        };
        if !links.temporary(id) {
            all.push((id, written));
        }
        Ok(())
    })
    .context(|| "reading privileges failed")?;
    Ok(all)
}

/// The text of a query for a server of this major version, which may ask over how many hands privileges came.
pub(crate) fn with_passed_on(query: &str, major: u32) -> String {
    for_major(&query.replace("{passed_on}", include_str!("sql/passed_on.sql")), major)
}

/// Objects that need each other, and none of them can be made in two steps.
fn circular(objects: &[&Object]) -> Error {
    let names: Vec<String> = objects.iter().map(|object| format!("{} {}", object.kind, object.title())).collect();
    Error::unsupported(format!(
        "these objects need each other in a circle that this mode cannot cut: {}",
        names.join(", ")
    ))
    .with_hint("back the cluster up with `mode = \"physical\"`, and tell us about these objects")
}
