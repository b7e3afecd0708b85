//! What a restore will do: [`Plan`], known before anything is written.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt, source::RestoreRequest};

use super::{
    clean::{Dropping, Occupied, Wanted},
    index::{IndexReader, Record},
    selection::Selection,
    server::{Server, databases},
    session::{Row, Sql, literal},
};
use crate::{
    layout::Layout,
    options::{Content, LiveOptions},
    settings::Settings,
};

/// Objects of users in a database: one is enough.
const OCCUPANT: &str = "SELECT 'schema ' || nspname FROM pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_' \
    UNION ALL SELECT 'relation ' || c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid >= 16384 AND n.nspname !~ '^pg_' \
    UNION ALL SELECT 'function ' || p.oid::regprocedure FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid >= 16384 AND n.nspname !~ '^pg_' \
    UNION ALL SELECT 'type ' || t.oid::regtype FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid >= 16384 AND n.nspname !~ '^pg_' \
    UNION ALL SELECT 'extension ' || extname FROM pg_extension WHERE oid >= 16384 \
    UNION ALL SELECT 'large object ' || oid FROM pg_largeobject_metadata LIMIT 1";

/// What will be done, known before anything is.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) selection: Selection,
    /// Of the server that was backed up.
    pub(crate) major: u32,
    /// Whether roles and tablespaces are restored too.
    pub(crate) globals: bool,
    /// Databases by their names in the snapshot, with those that they get.
    pub(crate) databases: BTreeMap<String, String>,
    roles: BTreeSet<String>,
    tablespaces: BTreeSet<String>,
    /// Of each database, by its name in the snapshot: the tables with rows that are chosen, as the index has them.
    tables: BTreeMap<String, BTreeSet<Table>>,
    /// Of each database, likewise: the schemas that something chosen is in.
    schemas: BTreeMap<String, BTreeSet<String>>,
    /// Of each database with rows, by its name in the snapshot: their encoding.
    encodings: BTreeMap<String, String>,
    /// Whether what is in the way is dropped.
    pub(crate) clean: bool,
    /// Connections at the same time.
    pub(crate) jobs: u32,
    /// Of each database, likewise: the objects that are made.
    wanted: BTreeMap<String, Wanted>,
}

/// A table of the snapshot: schema, name, and both as SQL has them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Table {
    schema: String,
    name: String,
    full: String,
}

impl Plan {
    /// Reads the whole index.
    pub(crate) fn make(layout: &Layout, request: &RestoreRequest, options: &LiveOptions) -> Result<Self> {
        let mut index = IndexReader::open(layout)?;
        let mut selection = Selection::new(&options.parts())?;
        selection.content = stored(index.content, options.content)?;
        if options.clean && selection.content == Content::Data {
            return Err(Error::config(
                "clean",
                "rows alone are put into tables that are there: nothing is dropped for them",
            )
            .with_hint("TRUNCATE the tables, or restore definitions too"));
        }
        let whole = request.paths.is_empty() && options.databases.is_empty() && selection.is_whole();
        let mut plan = Self {
            globals: options
                .globals
                .unwrap_or(whole || (!request.paths.is_empty() && request.selects(layout.globals().as_bytes()))),
            selection,
            major: 0,
            databases: BTreeMap::new(),
            roles: BTreeSet::new(),
            tablespaces: BTreeSet::new(),
            tables: BTreeMap::new(),
            schemas: BTreeMap::new(),
            encodings: BTreeMap::new(),
            clean: options.clean,
            jobs: options.jobs.get(),
            wanted: BTreeMap::new(),
        };
        let mut current = None;
        let mut encoding_of_current = String::new();
        let mut there = BTreeSet::new();
        plan.major = index.major;
        if plan.clean && !index.identities {
            return Err(
                Error::unsupported("the snapshot does not say how its objects are identified, so `clean` cannot find them")
                    .with_hint("restore into another database (`rename`), or from a newer snapshot"),
            );
        }
        while let Some(record) = index.next_record()? {
            match record {
                Record::Database { name, encoding, .. } => {
                    encoding_of_current = encoding;
                    let asked = options.databases.is_empty() || options.databases.contains(&name);
                    if asked && request.selects(layout.database(&name).as_bytes()) {
                        let target = options.rename.get(&name).unwrap_or(&name).clone();
                        plan.databases.insert(name.clone(), target);
                        current = Some(name.clone());
                    } else {
                        current = None;
                    }
                    there.insert(name);
                }
                Record::Statement { kind, name, .. } if plan.globals && there.is_empty() && kind == "ROLE" => _ = plan.roles.insert(name),
                Record::Statement { kind, name, .. } if plan.globals && there.is_empty() && kind == "TABLESPACE" => {
                    _ = plan.tablespaces.insert(name)
                }
                Record::Statement {
                    kind,
                    name,
                    schema,
                    relation,
                    identity,
                    ..
                } => {
                    let is_chosen = plan.selection.statement(&kind, &name, schema.as_deref(), relation.as_deref());
                    if let Some(database) = current.as_ref().filter(|_| is_chosen && plan.needs_identities()) {
                        plan.wanted.entry(database.clone()).or_default().add(&kind, &name, identity);
                        if let Some(schema) = schema.filter(|_| kind != "SCHEMA") {
                            plan.schemas.entry(database.clone()).or_default().insert(schema);
                        }
                    }
                }
                Record::Data {
                    table, schema, relation, ..
                } if plan.selection.rows(&schema, &relation) => {
                    let Some(database) = &current else { continue };
                    plan.encodings
                        .entry(database.clone())
                        .or_insert_with(|| encoding_of_current.clone());
                    if !plan.selection.is_whole() {
                        let table = Table {
                            schema,
                            name: relation,
                            full: table,
                        };
                        plan.tables.entry(database.clone()).or_default().insert(table);
                    }
                }
                _ => {}
            }
        }
        plan.refuse_absent("databases", options.databases.iter(), &there)?;
        plan.refuse_absent("rename", options.rename.keys(), &there)?;
        let distinct: BTreeSet<&String> = plan.databases.values().collect();
        if distinct.len() < plan.databases.len() {
            return Err(Error::config("rename", "two databases would get the same name"));
        }
        if plan.selection.is_partial() && plan.selection.content == Content::Data && plan.tables.is_empty() {
            return Err(
                Error::new(ErrorKind::NotFound, "no table of the snapshot is among those that are chosen")
                    .with_hint("`bulkhead ls` lists them: `databases/<name>/data/<schema>.<table>.copy`"),
            );
        }
        if plan.databases.is_empty() && !plan.globals {
            return Err(
                Error::new(ErrorKind::NotFound, "no database of the snapshot is among what is to be restored")
                    .with_hint(format!("select whole databases, such as `{}`", layout.database("NAME"))),
            );
        }
        Ok(plan)
    }

    fn refuse_absent<'a>(&self, setting: &str, mut names: impl Iterator<Item = &'a String>, there: &BTreeSet<String>) -> Result<()> {
        match names.find(|name| !there.contains(*name)) {
            None => Ok(()),
            Some(absent) => {
                let have: Vec<&str> = there.iter().map(String::as_str).collect();
                Err(Error::config(setting, format!("the snapshot has no database `{absent}`"))
                    .with_hint(format!("it has {}", have.join(", "))))
            }
        }
    }

    /// A server without a choice of provider had one, which isn't what the target's template has for certain.
    pub(crate) fn provider(&self, target: u32) -> &'static str {
        if self.major < 15 && target >= 15 {
            " LOCALE_PROVIDER = libc"
        } else {
            ""
        }
    }

    /// From 16 on, whoever grants a role must have the right to: what an older server says of it doesn't hold there.
    pub(crate) fn without_grantor<'a>(&self, target: u32, kind: &str, statement: &'a str) -> Option<&'a str> {
        let applies = self.major < 16 && target >= 16 && kind == "ROLE MEMBERSHIP";
        applies
            .then(|| statement.rsplit_once(" GRANTED BY "))
            .flatten()
            .map(|(grant, _)| grant)
    }

    /// Looks at the target, and ends the restore where something is in its way; returns the databases and roles that are there.
    pub(crate) fn refuse_occupied(&self, settings: &Settings, sql: &mut Sql, server: &Server) -> Result<Existing> {
        let names = |rows: Vec<Row>| rows.into_iter().flatten().flatten().collect::<BTreeSet<String>>();
        let mut existing = Existing {
            databases: databases(sql)?.into_iter().map(|database| database.name).collect(),
            roles: names(sql.rows("SELECT rolname FROM pg_roles")?),
            tablespaces: names(sql.rows("SELECT spcname FROM pg_tablespace")?),
            dropping: BTreeMap::new(),
        };
        let first = sql.value("SELECT rolname FROM pg_roles WHERE oid = 10")?;
        let occupied = |what: String, hint: &str| Err(Error::new(ErrorKind::Conflict, what).with_hint(hint));
        let role_in_the_way = |role: &&String| existing.roles.contains(*role) && **role != first && **role != server.role;
        if let Some(role) = self.roles.iter().find(role_in_the_way).filter(|_| !self.clean) {
            return occupied(
                format!("the target has a role `{role}` already"),
                "set `clean = true` in the target's config to give it the attributes that it had, or `globals = false` and see that all roles of the snapshot are there",
            );
        }
        let tablespace_in_the_way = self.tablespaces.intersection(&existing.tablespaces).next();
        if let Some(tablespace) = tablespace_in_the_way.filter(|_| !self.clean) {
            return occupied(
                format!("the target has a tablespace `{tablespace}` already"),
                "set `clean = true` in the target's config to keep it as it is, or `globals = false`",
            );
        }
        for (name, target) in &self.databases {
            if !existing.databases.contains(target) {
                if self.selection.content == Content::Data {
                    return occupied(
                        format!("the target has no database `{target}` to put rows into"),
                        "restore it with `content = \"schema\"` first",
                    );
                }
                continue;
            }
            let mut inside = Sql::open(settings, target)?;
            self.refuse_encoding(&mut inside, name, target)?;
            if self.clean {
                existing.dropping.insert(target.clone(), self.dropping(&mut inside, name, target)?);
                inside.close();
                continue;
            }
            if self.selection.content == Content::Data {
                self.refuse_occupied_tables(&mut inside, name, target)?;
                inside.close();
                continue;
            }
            if self.selection.is_partial() {
                self.refuse_occupied_places(&mut inside, name, target)?;
                inside.close();
                continue;
            }
            let occupant = inside.value(OCCUPANT)?;
            inside.close();
            if !occupant.is_empty() {
                return occupied(
                    format!("database `{target}` of the target is not empty: it has {occupant}"),
                    "restore into another name (`rename = { \"old\" = \"new\" }` in the target's config), have what is restored dropped first (`clean = true`), or drop the database",
                );
            }
        }
        Ok(existing)
    }
}

impl Plan {
    /// Text must have room in a database that is there: any but that of unknown encoding has in UTF-8.
    fn refuse_encoding(&self, sql: &mut Sql, name: &str, target: &str) -> Result<()> {
        let Some(stored) = self.encodings.get(name) else { return Ok(()) };
        let there = sql.value("SELECT pg_catalog.current_setting('server_encoding')")?;
        if there == *stored || (there == "UTF8" && stored != "SQL_ASCII") {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "database `{target}` of the target has the encoding {there}, which does not take all that {stored} of the snapshot has"
            ),
        )
        .with_hint("drop the database, so that the restore makes it with its own encoding, or restore into another name (`rename`)"))
    }

    /// Whether objects are looked for one by one in a target that has some.
    fn needs_identities(&self) -> bool {
        self.clean || self.selection.is_partial()
    }

    /// What is dropped in a database before it is restored. Ends the restore where that isn't possible.
    pub(crate) fn dropping(&self, sql: &mut Sql, name: &str, target: &str) -> Result<Dropping> {
        let Some(wanted) = self.wanted.get(name) else {
            return Ok(Dropping::default());
        };
        let occupied = Occupied::find(sql, wanted).context(|| format!("looking for what is in the way in database `{target}` failed"))?;
        occupied.dropping(sql, target)
    }

    /// What is to be made must not be there.
    fn refuse_occupied_places(&self, sql: &mut Sql, name: &str, target: &str) -> Result<()> {
        let Some(wanted) = self.wanted.get(name) else { return Ok(()) };
        let occupied = Occupied::find(sql, wanted)?;
        match occupied.first() {
            None => Ok(()),
            Some(object) => Err(Error::new(
                ErrorKind::Conflict,
                format!("database `{target}` of the target has {object} already"),
            )
            .with_hint(
                "set `clean = true` in the target's config to have what is restored dropped first, rename it, or restore into another database (`rename`)",
            )),
        }
    }

    /// Tables that are to be filled must be there, without rows.
    fn refuse_occupied_tables(&self, sql: &mut Sql, name: &str, target: &str) -> Result<()> {
        let conflict = |message: String, hint: &str| Err(Error::new(ErrorKind::Conflict, message).with_hint(hint));
        for table in self.tables.get(name).into_iter().flatten() {
            let there = sql.value(&format!(
                "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = {} AND c.relname = {})",
                literal(&table.schema),
                literal(&table.name)
            ))? == "t";
            let full = &table.full;
            if !there {
                return conflict(
                    format!("database `{target}` of the target has no table {full} to put rows into"),
                    "restore it with `content = \"schema\"` first",
                );
            } else if sql.value(&format!("SELECT EXISTS (SELECT FROM {full})"))? == "t" {
                return conflict(
                    format!("table {full} of database `{target}` of the target is not empty"),
                    "TRUNCATE it first",
                );
            }
        }
        Ok(())
    }

    /// Whether a schema is needed by what is chosen in it.
    pub(crate) fn needs_schema(&self, database: &str, schema: &str) -> bool {
        self.schemas.get(database).is_some_and(|schemas| schemas.contains(schema))
    }
}

/// What can be restored of what the snapshot has.
fn stored(snapshot: Content, asked: Content) -> Result<Content> {
    match (snapshot, asked) {
        (Content::All, content) | (content, Content::All) => Ok(content),
        (snapshot, asked) if snapshot == asked => Ok(asked),
        _ => Err(Error::config("content", "the snapshot has nothing of it")
            .with_hint("`content` of the pipeline says what a snapshot has: schema or data only, or all")),
    }
}

/// What the target has.
pub(crate) struct Existing {
    pub(crate) databases: BTreeSet<String>,
    pub(crate) roles: BTreeSet<String>,
    pub(crate) tablespaces: BTreeSet<String>,
    /// Of databases, by their names in the target.
    pub(crate) dropping: BTreeMap<String, Dropping>,
}
