//! Rows and values: [`dump`] streams each table with `COPY`, and reads sequences.
//!
//! An entry is a script of its own: the statement that takes the rows, the rows as the server sent them, and the end mark, whose absence tells a truncated one. The number
//! of rows is that of the server's command tag. Rows stay in the database's own encoding, which not every text can leave; the statement names it.

use std::collections::HashMap;

use bulkhead_patterns::Patterns;
use bulkhead_postgres_client::{ClientError, CopyEvent};
use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt, entries, metadata::Metadata, progress};

use super::{
    catalog::{Catalog, ObjectId, Place},
    database::{Run, of_table},
    index::Record,
    rows,
    script::{Script, Title},
    session::{Row, Sql, for_major, number, quoted, text},
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
            filter: None,
            order: None,
        }
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

/// Writes the rows of all tables, then the values of all sequences. Returns the number of tables.
pub(crate) fn dump(run: &mut Run<'_>, sql: &mut Sql, database: &str, encoding: &str, catalog: &Catalog) -> Result<u64> {
    let before = run.tables;
    let without_rows = Patterns::new("exclude-data", &run.settings.exclude_data)?;
    let mut tables = Vec::new();
    let mut left_out = 0_u64;
    sql.each(&for_major(include_str!("catalog/sql/data.sql"), run.server.major), |row| {
        let mut table = Table::read(row);
        if !table.configuration && catalog.links.ignored(table.id) {
            return Ok(());
        }
        let name = format!("{}.{}", table.schema, table.name);
        let chosen = match table.configuration {
            false => run.selection.rows(&table.schema, &table.name),
            true => run.selection.configuration(&table.schema, &table.name),
        };
        if !chosen {
            return Ok(());
        }
        if without_rows.matches(name.as_bytes()) {
            left_out += 1;
            return Ok(());
        }
        table.order = run.settings.order.get(&name).cloned();
        if let Some(filter) = run.settings.rows.get(&name) {
            run.filtered.insert(name);
            table.filter = Some(filter.clone());
        }
        tables.push(table);
        Ok(())
    })
    .context(|| "listing tables failed")?;
    if left_out > 0 {
        run.proof.fact("tables-without-rows", format!("{database}: {left_out}"));
    }
    for table in &in_order(sql, tables)? {
        table_rows(run, sql, database, encoding, table)?;
        run.tables += 1;
    }
    sequences(run, sql, database, catalog)?;
    Ok(run.tables - before)
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

fn table_rows(run: &mut Run<'_>, sql: &mut Sql, database: &str, encoding: &str, table: &Table) -> Result<()> {
    let path = run.settings.layout.table(database, &table.schema, &table.name, table.id.number);
    let mut entry = entries::create(&path, &Metadata::file())?;
    let mut pending = table.head(encoding).into_bytes();
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
    if let Some(observer) = &mut run.observer {
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
                if let Some(observer) = &mut run.observer {
                    // The server sends each row as a message of its own.
                    observer.row(rows::values(bytes)?)?;
                }
                pending.extend_from_slice(bytes);
                if pending.len() >= PIECE {
                    entry.write_bytes(&pending)?;
                    written += pending.len() as u64;
                    pending.clear();
                    progress::report(&phase, run.proof.bytes + written, None);
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
    run.proof.count(&entry.finish()?);
    run.rows += rows;
    run.index.add(&Record::Data {
        entry: path,
        table: table.full.clone(),
        schema: table.schema.clone(),
        relation: table.name.clone(),
        rows,
    })
}

/// Quoted names, with what would end a line escaped.
fn one_line(names: &str) -> String {
    if !names.contains(['\n', '\r']) {
        return names.to_owned();
    }
    let mut text = String::new();
    let mut pieces = names.split('"');
    text += pieces.next().unwrap_or_default();
    let mut inside = true;
    for piece in pieces {
        if inside && piece.contains(['\n', '\r']) {
            text += "U&\"";
            text += &piece.replace('\\', "\\\\").replace('\n', "\\000A").replace('\r', "\\000D");
        } else {
            text.push('"');
            text += piece;
        }
        inside = !inside;
    }
    text
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
    }
}
