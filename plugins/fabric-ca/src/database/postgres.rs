//! A CA's database in PostgreSQL: [`store`] dumps it and reads its rows as they pass, [`replay`] reads them again from a snapshot, [`look`] those that the server has now.
//!
//! Its rows are dumped in the order of their keys, which is that of the inventory: it is made as they come, whatever their number, and the same rows are the same bytes.

use std::collections::BTreeMap;

use bulkhead_postgres_logical::{
    self as logical, Layout, Login, Parts, Settings,
    rows::{self, Observer, Projection, bytes},
};
use bulkhead_sdk::{Error, ErrorKind, Result, endpoint, snapshot, source::BackupResult};

use super::{Census, Identity, Issued, Reading, TABLES, Terms, no_database_of_a_ca};
use crate::{config::Config, inventory::Line, stores::Served};

/// The grants of the server.
pub(crate) const ENDPOINT: &str = "database";
pub(crate) const PASSWORD: &str = "database-password";
/// Where dumps are in a snapshot.
pub(crate) const LAYOUT: Layout = Layout::below("database");
/// The schema that Fabric CA's tables are in.
const SCHEMA: &str = "public";
/// The database that every cluster has.
const MAINTENANCE: &str = "postgres";

/// How the rows of a table are sorted, as SQLite sorts those of the same table: byte by byte.
const ORDER: [(&str, &str); 3] = [
    ("public.affiliations", "name COLLATE \"C\""),
    ("public.certificates", "serial_number, authority_key_identifier"),
    ("public.users", "id COLLATE \"C\""),
];

/// What a look takes, without what anybody enrols with.
const PROJECTIONS: [Projection<'static>; 3] = [
    projection("affiliations", &["name"]),
    projection(
        "certificates",
        &[
            "id",
            "serial_number",
            "authority_key_identifier",
            "status",
            "reason",
            "revoked_at",
            "pem",
        ],
    ),
    projection("users", &["id", "type", "affiliation", "attributes", "state", "max_enrollments"]),
];

const fn projection(name: &'static str, columns: &'static [&'static str]) -> Projection<'static> {
    Projection {
        schema: SCHEMA,
        name,
        columns,
    }
}

/// How the server is reached and what of it is read. The role is that of the CAs' configs, unless the operator names one.
///
/// # Errors
/// `NotGranted`: no endpoint; `Config`: no role.
pub(crate) fn settings(config: &Config, served: &Served<'_>) -> Result<Settings> {
    let (server, names) = (served.server(), served.names().cloned().collect::<Vec<_>>());
    if endpoint::settings(ENDPOINT).is_err() {
        let message = format!(
            "the database `{}` is in PostgreSQL on {server}, and no endpoint is granted",
            names.join("`, `")
        );
        return Err(Error::new(ErrorKind::NotGranted, message).with_hint(format!(
            "add `endpoint.{ENDPOINT} = {{ address = \"{server}\" }}` and `secret.{PASSWORD} = {{ file = \"…\", reveal = true }}`; where somebody else backs it up, \
             `config = {{ database = \"elsewhere\" }}`"
        )));
    }
    let user = config.database_user.clone().or_else(|| served.user());
    Ok(Settings {
        login: Login {
            endpoint: ENDPOINT,
            secret: PASSWORD,
            user: user.ok_or_else(no_user)?,
            allow_cleartext_password: false,
        },
        database: names.first().cloned().unwrap_or_else(|| MAINTENANCE.to_owned()),
        databases: names,
        exclude_databases: Vec::new(),
        parts: Parts::default(),
        exclude_data: Vec::new(),
        rows: BTreeMap::new(),
        order: ORDER
            .into_iter()
            .map(|(table, order)| (table.to_owned(), order.to_owned()))
            .collect(),
        lock_timeout: config.busy_timeout.0,
        jobs: 1,
        // Roles are those of whoever runs the server, and other databases have theirs.
        globals: false,
        layout: LAYOUT,
    })
}

fn no_user() -> Error {
    Error::config(
        "database-user",
        "the configs of the CAs do not agree on a role for their databases, or name none",
    )
    .with_hint("set `database-user` to a role that may read all of them")
}

/// The same, to log in to a restore target with: to the database that every cluster has.
pub(crate) fn target(config: &Config, served: &Served<'_>, user: Option<&String>) -> Result<Settings> {
    let config = Config {
        database_user: user.or(config.database_user.as_ref()).cloned(),
        ..config.clone()
    };
    let settings = settings(&config, served)?;
    Ok(Settings {
        database: MAINTENANCE.to_owned(),
        ..settings
    })
}

/// What was found in each database, by its CA's folder.
pub(crate) type Censuses = BTreeMap<Vec<u8>, Census>;

/// Dumps all of them; `add` gets their inventory.
///
/// # Errors
/// Those of the dump; `SourceDamaged`: one is no CA's database; what `add` fails with.
pub(crate) fn store(
    settings: &Settings,
    served: &Served<'_>,
    terms: &Terms<'_>,
    add: &mut dyn FnMut(&Line) -> Result<()>,
) -> Result<(BackupResult, Censuses)> {
    let mut tables = Tables::new(served, terms, add);
    let result = logical::backup(settings, Some(&mut tables))?;
    Ok((result, tables.end()?))
}

/// Reads all that a snapshot has.
///
/// # Errors
/// `Corrupt`; as [`store`].
pub(crate) fn replay(served: &Served<'_>, terms: &Terms<'_>, add: &mut dyn FnMut(&Line) -> Result<()>) -> Result<Censuses> {
    let mut tables = Tables::new(served, terms, add);
    rows::replay(&LAYOUT, &mut tables)?;
    tables.end()
}

/// Reads what all of them have now.
///
/// # Errors
/// As [`store`].
pub(crate) fn look(settings: &Settings, served: &Served<'_>, terms: &Terms<'_>, add: &mut dyn FnMut(&Line) -> Result<()>) -> Result<()> {
    let mut tables = Tables::new(served, terms, add);
    for name in served.names() {
        rows::observe(settings, name, &PROJECTIONS, &mut tables)?;
    }
    tables.end().map(drop)
}

/// Tells `take` what one database has now.
///
/// # Errors
/// Those of the server.
pub(crate) fn each_now(settings: &Settings, database: &str, take: &mut dyn FnMut(Record)) -> Result<()> {
    rows::observe(settings, database, &PROJECTIONS, &mut Each::of(database, take))
}

/// Tells `take` what one database of a snapshot has.
///
/// # Errors
/// `Corrupt`.
pub(crate) fn each_stored(database: &str, take: &mut dyn FnMut(Record)) -> Result<()> {
    rows::replay(&LAYOUT, &mut Each::of(database, take))
}

/// Whether the snapshot has a dump.
pub(crate) fn is_stored() -> Result<bool> {
    match snapshot::stat(LAYOUT.index()) {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
        found => found.map(|_| true),
    }
}

/// A row of a table that this plugin knows.
pub(crate) enum Record {
    /// By its name.
    Affiliation(String),
    Identity(Identity),
    Certificate(Issued),
}

/// A table whose rows are read.
#[derive(Default)]
struct Table {
    name: String,
    columns: Vec<String>,
}

impl Table {
    fn of(table: &rows::Table<'_>) -> Self {
        let name = if table.schema == SCHEMA { table.name } else { "" };
        Self {
            name: name.to_owned(),
            columns: table.columns.to_vec(),
        }
    }

    /// What a row tells; `None` of tables that nothing is known of.
    fn record(&self, values: Vec<Option<String>>) -> Option<Record> {
        let named = self.columns.iter().map(String::as_str).zip(values);
        let mut values: BTreeMap<&str, String> = named.filter_map(|(column, value)| Some((column, value?))).collect();
        // What the server keeps as bytes is text all the same.
        let mut text = |column: &str| String::from_utf8_lossy(&bytes(&values.remove(column).unwrap_or_default())).into_owned();
        Some(match &self.name[..] {
            "affiliations" => Record::Affiliation(text("name")),
            "users" => Record::Identity(Identity {
                id: text("id"),
                kind: text("type"),
                affiliation: text("affiliation"),
                attributes: text("attributes"),
                state: number(&text("state")).unwrap_or_default(),
                max_enrollments: number(&text("max_enrollments")).unwrap_or_default(),
            }),
            "certificates" => Record::Certificate(Issued {
                id: text("id"),
                serial: text("serial_number"),
                aki: text("authority_key_identifier"),
                status: text("status"),
                reason: number(&text("reason")),
                revoked_at: Some(text("revoked_at")).filter(|time| !time.is_empty()),
                pem: text("pem"),
            }),
            _ => return None,
        })
    }
}

fn number(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// Makes an inventory and a census of each database that it is told of.
struct Tables<'a> {
    served: &'a Served<'a>,
    terms: &'a Terms<'a>,
    add: &'a mut dyn FnMut(&Line) -> Result<()>,
    current: Option<Current<'a>>,
    done: Censuses,
}

/// A database that is being read.
struct Current<'a> {
    database: String,
    folder: Vec<u8>,
    reading: Reading<'a>,
    /// Rows of each table.
    rows: BTreeMap<String, i64>,
    table: Table,
}

impl<'a> Tables<'a> {
    fn new(served: &'a Served<'a>, terms: &'a Terms<'a>, add: &'a mut dyn FnMut(&Line) -> Result<()>) -> Self {
        Self {
            served,
            terms,
            add,
            current: None,
            done: Censuses::new(),
        }
    }

    /// The last database has come to its end.
    fn close(&mut self) -> Result<()> {
        let Some(current) = self.current.take() else { return Ok(()) };
        if let Some(missing) = TABLES.iter().find(|table| !current.rows.contains_key(**table)) {
            return Err(no_database_of_a_ca(missing).context(format!("the database `{}` cannot be used", current.database)));
        }
        for (name, rows) in current.rows {
            let ca = current.reading.ca.clone();
            (self.add)(&Line::Table { ca, name, rows })?;
        }
        self.done.insert(current.folder, current.reading.end());
        Ok(())
    }

    fn end(mut self) -> Result<Censuses> {
        self.close()?;
        match self.served.folders().find(|folder| !self.done.contains_key(*folder)) {
            None => Ok(self.done),
            Some(_) => Err(no_database_of_a_ca(TABLES[0])),
        }
    }
}

impl Observer for Tables<'_> {
    fn table(&mut self, table: &rows::Table<'_>) -> Result<()> {
        if self.current.as_ref().is_none_or(|current| current.database != table.database) {
            self.close()?;
            let Some(authority) = self.served.authority(table.database) else {
                return Ok(());
            };
            self.current = Some(Current {
                database: table.database.to_owned(),
                folder: authority.folder.clone(),
                reading: Reading::new(&authority.label(), self.terms),
                rows: BTreeMap::new(),
                table: Table::default(),
            });
        }
        if let Some(current) = &mut self.current {
            current.table = Table::of(table);
            if !current.table.name.is_empty() {
                current.rows.insert(current.table.name.clone(), 0);
            }
        }
        Ok(())
    }

    fn row(&mut self, values: Vec<Option<String>>) -> Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        if let Some(rows) = current.rows.get_mut(&current.table.name) {
            *rows += 1;
        }
        let line = match current.table.record(values) {
            None => return Ok(()),
            Some(Record::Affiliation(name)) => current.reading.affiliation(name),
            Some(Record::Identity(row)) => current.reading.identity(row),
            Some(Record::Certificate(row)) => current.reading.certificate(row),
        };
        (self.add)(&line)
    }
}

/// Tells the rows of one database.
struct Each<'a> {
    database: &'a str,
    table: Option<Table>,
    take: &'a mut dyn FnMut(Record),
}

impl<'a> Each<'a> {
    fn of(database: &'a str, take: &'a mut dyn FnMut(Record)) -> Self {
        Self {
            database,
            table: None,
            take,
        }
    }
}

impl Observer for Each<'_> {
    fn table(&mut self, table: &rows::Table<'_>) -> Result<()> {
        self.table = (table.database == self.database).then(|| Table::of(table));
        Ok(())
    }

    fn row(&mut self, values: Vec<Option<String>>) -> Result<()> {
        if let Some(record) = self.table.as_ref().and_then(|table| table.record(values)) {
            (self.take)(record);
        }
        Ok(())
    }
}
