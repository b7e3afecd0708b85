//! Rows and values: [`dump`] streams each table with `COPY`, and reads sequences.
//!
//! An entry is a script of its own: the statement that takes the rows, the rows as the server sent them, and the end mark, whose absence tells a truncated one. The number
//! of rows is that of the server's command tag. Rows stay in the database's own encoding, which not every text can leave; the statement names it.

use std::collections::HashMap;

use bulkhead_patterns::Patterns;
use bulkhead_postgres_client::{ClientError, CopyEvent};
use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt, entries, metadata::Metadata, progress};

use serde::{Deserialize, Serialize};

use super::{
    catalog::{Catalog, ObjectId, Place},
    database::{Run, lock_tables, of_table},
    index::Record,
    parallel::{self, Work},
    rows::{self, Observer},
    script::{Script, Title},
    server::Server,
    session::{Row, Sql, for_major, literal, number, quoted, text},
    settings::Settings,
    sort::order,
};

/// What ends the rows.
pub(crate) const END: &[u8] = b"\\.\n";

/// The kind of statement that gives a sequence its value.
const VALUES: &str = "SEQUENCE SET";

/// Bytes that are collected before they go to the host.
const PIECE: usize = 256 << 10;

/// The first line of an entry: the encoding of the second one.
pub(crate) const HEAD: &str = "SET client_encoding = 'UTF8';\n";

struct Table {
    id: ObjectId,
    schema: String,
    name: String,
    /// With its schema, quoted.
    full: String,
    columns: Option<String>,
    /// Of an extension: which rows are the user's.
    condition: Option<String>,
    configuration: bool,
    /// The partitioned table that takes the rows in its place.
    root: Option<String>,
    partitioned: bool,
    /// Which rows the operator wants.
    filter: Option<String>,
    /// The expression that they are sorted by.
    order: Option<String>,
    /// Bytes on the server's disk.
    size: u64,
}

impl Table {
    fn read(row: Row) -> Self {
        let mut values = row.into_iter();
        let mut next = || values.next().flatten();
        Self {
            id: ObjectId::read(next(), next()),
            schema: text(next()),
            name: text(next()),
            full: text(next()),
            columns: next(),
            condition: next().filter(|condition| !condition.is_empty()),
            configuration: next().as_deref() == Some("t"),
            root: next(),
            partitioned: next().as_deref() == Some("t"),
            size: number(next().as_ref()),
            filter: None,
            order: None,
        }
    }

    /// With its schema, as patterns and the config have it.
    fn title(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Takes what the config says of its rows.
    fn configure(&mut self, settings: &Settings) {
        let title = self.title();
        self.order = settings.order.get(&title).cloned();
        self.filter = settings.rows.get(&title).cloned();
    }

    /// Its entry.
    fn path(&self, settings: &Settings, database: &str) -> String {
        settings.layout.table(database, &self.schema, &self.name, self.id.number)
    }

    fn list(&self) -> String {
        self.columns.as_ref().map(|columns| format!(" ({columns})")).unwrap_or_default()
    }

    fn out(&self, encoding: &str) -> String {
        let columns = self.columns.as_deref().unwrap_or("");
        let table = format!("{}{}", if self.partitioned { "" } else { "ONLY " }, self.full);
        let filter = self.filter.as_ref().map(|filter| format!(" WHERE ({filter})")).unwrap_or_default();
        let order = self.order.as_ref().map(|order| format!(" ORDER BY {order}")).unwrap_or_default();
        let rows = match &self.condition {
            None if filter.is_empty() && order.is_empty() => format!("{}{}", self.full, self.list()),
            None => format!("(SELECT {columns} FROM {table}{filter}{order})"),
            Some(condition) => format!(
                "(SELECT {columns} FROM (SELECT * FROM {table} {condition}) AS {}{filter}{order})",
                quoted(&self.name)
            ),
        };
        format!("COPY {rows} TO STDOUT WITH (ENCODING '{encoding}')")
    }

    /// What an entry begins with: two lines, the second of which takes the rows.
    fn head(&self, encoding: &str) -> String {
        let target = format!("{}{}", self.root.as_ref().unwrap_or(&self.full), self.list());
        // A name may have a line break in it, which SQL can also write otherwise.
        format!("{HEAD}COPY {} FROM stdin WITH (ENCODING '{encoding}');\n", one_line(&target))
    }
}

/// The transaction that a database is read in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) database: &'a str,
    pub(crate) encoding: &'a str,
    /// As it was exported.
    pub(crate) snapshot: &'a str,
}

/// Tables whose rows another instance reads, in the same snapshot.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Share {
    database: String,
    encoding: String,
    snapshot: String,
    tables: Vec<u32>,
}

/// Rows of a table that were stored.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stored {
    table: u32,
    rows: u64,
    /// Bytes of the entry.
    size: u64,
}

/// Writes the rows of all tables, then the values of all sequences. Returns the number of tables.
pub(crate) fn dump(run: &mut Run<'_>, sql: &mut Sql, source: Source<'_>, catalog: &Catalog) -> Result<u64> {
    let tables = wanted(run, sql, source.database, catalog)?;
    let tables = in_order(sql, tables)?;
    let mut stored: HashMap<u32, Stored> = match run.settings.jobs {
        2.. if run.observer.is_none() => in_shares(run, sql, source, &tables)?,
        _ => read_all(run, sql, source, &tables)?,
    };
    for table in &tables {
        let lost = || Error::new(ErrorKind::Internal, format!("nobody has read {}", table.full));
        let Stored { rows, size, .. } = stored.remove(&table.id.number).ok_or_else(lost)?;
        run.proof.entries += 1;
        run.proof.bytes += size;
        run.rows += rows;
        run.tables += 1;
        run.index.add(&Record::Data {
            entry: table.path(run.settings, source.database),
            table: table.full.clone(),
            schema: table.schema.clone(),
            relation: table.name.clone(),
            rows,
            in_turn: table.configuration,
        })?;
    }
    sequences(run, sql, source.database, catalog)?;
    Ok(tables.len() as u64)
}

/// The tables whose rows are chosen.
fn wanted(run: &mut Run<'_>, sql: &mut Sql, database: &str, catalog: &Catalog) -> Result<Vec<Table>> {
    let without_rows = Patterns::new("exclude-data", &run.settings.exclude_data)?;
    let mut tables = Vec::new();
    let mut left_out = 0_u64;
    for mut table in all(sql, run.server.major)? {
        if !table.configuration && catalog.links.ignored(table.id) {
            continue;
        }
        let chosen = match table.configuration {
            false => run.selection.rows(&table.schema, &table.name),
            true => run.selection.configuration(&table.schema, &table.name),
        };
        if !chosen {
            continue;
        }
        if without_rows.matches(table.title().as_bytes()) {
            left_out += 1;
            continue;
        }
        table.configure(run.settings);
        if table.filter.is_some() {
            run.filtered.insert(table.title());
        }
        tables.push(table);
    }
    if left_out > 0 {
        run.proof.fact("tables-without-rows", format!("{database}: {left_out}"));
    }
    Ok(tables)
}

/// Every table that has rows of its own.
fn all(sql: &mut Sql, major: u32) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    sql.each(&for_major(include_str!("catalog/sql/data.sql"), major), |row| {
        tables.push(Table::read(row));
        Ok(())
    })
    .context(|| "listing tables failed")?;
    Ok(tables)
}

/// Reads tables one after the other.
fn read_all(run: &mut Run<'_>, sql: &mut Sql, source: Source<'_>, tables: &[Table]) -> Result<HashMap<u32, Stored>> {
    let mut stored = HashMap::new();
    let mut before = run.proof.bytes;
    for table in tables {
        let observer = run.observer.as_mut().map(|observer| &mut **observer as &mut dyn Observer);
        let one = table_rows(run.settings, sql, source, table, before, observer)?;
        before += one.size;
        stored.insert(one.table, one);
    }
    Ok(stored)
}

/// Reads tables with several connections: this one, and those of further instances.
fn in_shares(run: &mut Run<'_>, sql: &mut Sql, source: Source<'_>, tables: &[Table]) -> Result<HashMap<u32, Stored>> {
    let sizes = tables.iter().map(|table| (table.size, table)).collect();
    let mut shares = parallel::split(sizes, run.settings.jobs as usize);
    let own: Vec<&Table> = shares.pop().unwrap_or_default();
    let mut parts = Vec::new();
    for tables in shares.into_iter().filter(|tables| !tables.is_empty()) {
        parts.push(parallel::start(&Work::Read(Share {
            database: source.database.to_owned(),
            encoding: source.encoding.to_owned(),
            snapshot: source.snapshot.to_owned(),
            tables: tables.iter().map(|table| table.id.number).collect(),
        }))?);
    }
    let mut stored = HashMap::new();
    for table in own {
        let one = table_rows(run.settings, sql, source, table, run.proof.bytes, None)?;
        stored.insert(one.table, one);
    }
    for part in parts {
        let theirs: Vec<Stored> = parallel::outcome(&part.wait()?)?;
        stored.extend(theirs.into_iter().map(|one| (one.table, one)));
    }
    Ok(stored)
}

/// Reads the tables of a share, in the snapshot of whoever shared it out.
pub(crate) fn read_share(settings: &Settings, share: &Share) -> Result<Vec<Stored>> {
    let source = Source {
        database: &share.database,
        encoding: &share.encoding,
        snapshot: &share.snapshot,
    };
    let mut sql = Sql::open(settings, source.database)?;
    sql.run(&format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}",
        literal(source.snapshot)
    ))
    .context(|| "taking over the snapshot failed")?;
    let server = Server::inspect(&mut sql)?;
    let mut tables: HashMap<u32, Table> = all(&mut sql, server.major)?
        .into_iter()
        .map(|table| (table.id.number, table))
        .collect();
    let shared: Vec<Table> = share.tables.iter().filter_map(|table| tables.remove(table)).collect();
    // Whoever waits to alter a table, because of the lock that the first connection holds, would let this one wait behind: for so long, and no longer.
    let names: Vec<String> = shared.iter().map(|table| table.full.clone()).collect();
    lock_tables(&mut sql, &names, settings.lock_timeout, source.database)?;
    let mut stored = Vec::new();
    for mut table in shared {
        table.configure(settings);
        let before = stored.iter().map(|one: &Stored| one.size).sum();
        stored.push(table_rows(settings, &mut sql, source, &table, before, None)?);
    }
    sql.close();
    Ok(stored)
}

/// Foreign keys of extensions are there before the rows, so what they lead to comes first. Where they lead in a circle, no order helps.
fn in_order(sql: &mut Sql, tables: Vec<Table>) -> Result<Vec<Table>> {
    if tables.iter().filter(|table| table.configuration).count() < 2 {
        return Ok(tables);
    }
    let places: HashMap<u32, usize> = tables.iter().enumerate().map(|(place, table)| (table.id.number, place)).collect();
    let mut needs = vec![Vec::new(); tables.len()];
    let place = |value: Option<&Option<String>>| places.get(&number(value.and_then(Option::as_ref))).copied();
    for row in sql
        .rows(include_str!("catalog/sql/data_order.sql"))
        .context(|| "reading foreign keys of extensions failed")?
    {
        if let (Some(from), Some(to)) = (place(row.first()), place(row.get(1))) {
            needs[from].push(to);
        }
    }
    let Ok(order) = order(&vec![0_u8; tables.len()], &needs) else {
        return Ok(tables);
    };
    let mut tables: Vec<Option<Table>> = tables.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|place| tables[place].take()).collect())
}

/// Stores the rows of a table. `before` are the bytes that were stored before it.
fn table_rows(
    settings: &Settings,
    sql: &mut Sql,
    source: Source<'_>,
    table: &Table,
    before: u64,
    mut observer: Option<&mut dyn Observer>,
) -> Result<Stored> {
    let Source { database, encoding, .. } = source;
    let mut entry = entries::create(table.path(settings, database), &Metadata::file())?;
    let mut pending = Vec::with_capacity(PIECE + PIECE / 4);
    pending.extend_from_slice(table.head(encoding).as_bytes());
    let phase = format!("reading {database} {}", table.full);
    let mut written = 0;
    let mut count = None;
    let fails = |error: ClientError| {
        let error = of_table(error, &table.full, database);
        match &table.filter {
            None => error,
            Some(filter) => error.context(format!("the condition in `rows` is: {filter}")),
        }
    };
    if let Some(observer) = &mut observer {
        let columns = rows::columns(&table.head(encoding)[HEAD.len()..]);
        observer.table(&rows::Table {
            database,
            schema: &table.schema,
            name: &table.name,
            columns: &columns,
        })?;
    }
    sql.connection().start(&table.out(encoding)).map_err(fails)?;
    loop {
        match sql.connection().next_event().map_err(fails)? {
            CopyEvent::CopyData { bytes, .. } => {
                if let Some(observer) = &mut observer {
                    // The server sends each row as a message of its own.
                    observer.row(rows::values(bytes)?)?;
                }
                pending.extend_from_slice(bytes);
                if pending.len() >= PIECE {
                    entry.write_bytes(&pending)?;
                    written += pending.len() as u64;
                    pending.clear();
                    progress::report(&phase, before + written, None);
                }
            }
            CopyEvent::CommandComplete(tag) => count = tag.strip_prefix("COPY ").and_then(|rows| rows.parse::<u64>().ok()),
            CopyEvent::Ready => break,
            _ => {}
        }
    }
    let rows = count.ok_or_else(|| {
        Error::new(
            ErrorKind::Protocol,
            format!("the server did not say how many rows of {} it sent", table.full),
        )
    })?;
    pending.extend_from_slice(END);
    entry.write_bytes(&pending)?;
    Ok(Stored {
        table: table.id.number,
        rows,
        size: entry.finish()?.size,
    })
}

/// Quoted names, with what would end a line escaped.
pub(crate) fn one_line(names: &str) -> String {
    let mut text = String::new();
    let mut rest = names;
    while let Some(start) = rest.find('"') {
        let (before, from) = rest.split_at(start);
        let (name, after) = from.split_at(quoted_length(from));
        text += before;
        text += &match name.contains(['\n', '\r']) {
            true => format!("U&{}", name.replace('\\', "\\\\").replace('\n', "\\000A").replace('\r', "\\000D")),
            false => name.to_owned(),
        };
        rest = after;
    }
    text + rest
}

/// The length of the quoted name that `text` begins with. Within it a quotation mark stands twice.
fn quoted_length(text: &str) -> usize {
    let mut length = 1;
    while let Some(place) = text[length..].find('"') {
        length += place + 1;
        if !text[length..].starts_with('"') {
            return length;
        }
        length += 1;
    }
    text.len()
}

/// Values of sequences, which are those of now, not of the snapshot: never lower, so that nothing that a row in the snapshot has is handed out again.
fn sequences(run: &mut Run<'_>, sql: &mut Sql, database: &str, catalog: &Catalog) -> Result<()> {
    let mut queries = Vec::new();
    sql.each(
        &for_major(include_str!("catalog/sql/sequence_values.sql"), run.server.major),
        |row| {
            let mut values = row.into_iter();
            let mut next = || values.next().flatten();
            let id = ObjectId::read(next(), next());
            let place = catalog.places.get(id);
            let chosen = |place: &Place| {
                let (schema, relation) = (place.schema.as_deref(), place.relation.as_deref());
                run.selection.statement(VALUES, "", schema, relation)
            };
            if !catalog.links.temporary(id) && chosen(&place) {
                queries.push((place, text(next()), text(next())));
            }
            Ok(())
        },
    )
    .context(|| "listing sequences failed")?;
    let mut script = Script::create(run.settings.layout.script(database, "sequences"))?;
    for (place, name, query) in queries {
        let statement = sql
            .value(&query)
            .context(|| format!("reading sequence {name} of database `{database}` failed"))?;
        script.add(&mut run.index, &Title::new(VALUES, &name).at(place), &statement)?;
    }
    run.proof.count(&script.finish()?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_one_line() {
        assert_eq!(one_line("public.t (a, \"B\")"), "public.t (a, \"B\")");
        assert_eq!(
            one_line("public.\"a\nb\" (\"x\\y\", \"c\rd\")"),
            "public.U&\"a\\000Ab\" (\"x\\y\", U&\"c\\000Dd\")"
        );
        assert_eq!(
            one_line("\"a\"\"\nb\".\"\"\"\" (\"c\nd\"\"\")"),
            "U&\"a\"\"\\000Ab\".\"\"\"\" (U&\"c\\000Ad\"\"\")"
        );
    }
}
