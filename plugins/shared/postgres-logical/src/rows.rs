//! Rows of a dump, as somebody looks at them who knows the tables: an [`Observer`] is told of every row while it is stored, again by [`replay`] of what was stored, and by
//! [`observe`] of what a server has now.
//!
//! Source: PostgreSQL's documentation of `COPY`, "Text Format".

use std::{
    io::{BufRead as _, Read as _},
    iter::Peekable,
    str::Chars,
};

use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt, snapshot};

use super::{
    data,
    index::{IndexReader, Record},
    replay::{ends_with, head},
    session::{Sql, quoted},
};
use crate::{layout::Layout, settings::Settings};

/// The longest row that is looked at: PostgreSQL's own limit of a field, escaped, is beyond what anybody would look at.
const LONGEST_ROW: u64 = 64 << 20;

/// A table whose rows come next.
#[derive(Debug, Clone, Copy)]
pub struct Table<'t> {
    /// The database that it is in.
    pub database: &'t str,
    /// Its schema, without quotation marks.
    pub schema: &'t str,
    /// Its name, likewise.
    pub name: &'t str,
    /// Names of the values of each row, in their order.
    pub columns: &'t [String],
}

/// Who is told of rows.
pub trait Observer {
    /// A table begins; the rows that follow are its own.
    ///
    /// # Errors
    /// What ends the work.
    fn table(&mut self, table: &Table<'_>) -> Result<()>;

    /// A row: `None` stands for NULL. Bytes are in hexadecimal digits after `\x`, as the server writes them.
    ///
    /// # Errors
    /// What ends the work.
    fn row(&mut self, values: Vec<Option<String>>) -> Result<()>;
}

/// Tells `observer` all rows that a dump has, table by table, in the order in which they were stored. Whatever ends a truncated one, or one with fewer rows than the index says,
/// is an error.
///
/// # Errors
/// `Corrupt`; what reading the snapshot or `observer` fails with.
pub fn replay(layout: &Layout, observer: &mut dyn Observer) -> Result<()> {
    let mut index = IndexReader::open(layout)?;
    let mut database = String::new();
    while let Some(record) = index.next_record()? {
        match record {
            Record::Database { name, .. } => database = name,
            Record::Data {
                entry,
                schema,
                relation,
                rows,
                ..
            } => stored(&entry, (&database, &schema, &relation), rows, observer)?,
            _ => {}
        }
    }
    Ok(())
}

/// Tells the rows of one entry.
fn stored(path: &str, (database, schema, name): (&str, &str, &str), expected: u64, observer: &mut dyn Observer) -> Result<()> {
    let mut entry = snapshot::open(path)?;
    ends_with(&entry, path, data::END)?;
    let columns = columns(&head(path, &mut entry)?);
    observer.table(&Table {
        database,
        schema,
        name,
        columns: &columns,
    })?;
    let (mut line, mut rows) = (Vec::new(), 0);
    loop {
        line.clear();
        entry.by_ref().take(LONGEST_ROW).read_until(b'\n', &mut line)?;
        if line == data::END {
            break;
        }
        observer.row(values(&line).context(|| format!("{path} is damaged"))?)?;
        rows += 1;
    }
    if rows != expected {
        let message = format!("{path} has {rows} rows, the index says {expected}");
        return Err(Error::new(ErrorKind::Corrupt, message).with_hint("restore from another snapshot"));
    }
    Ok(())
}

/// What to read of a table.
#[derive(Debug, Clone, Copy)]
pub struct Projection<'p> {
    /// Its schema.
    pub schema: &'p str,
    /// Its name.
    pub name: &'p str,
    /// The columns to read.
    pub columns: &'p [&'p str],
}

/// Tells `observer` what tables of a database have now, in one transaction. Nothing is stored.
///
/// # Errors
/// What the server says, and what `observer` fails with.
pub fn observe(settings: &Settings, database: &str, tables: &[Projection<'_>], observer: &mut dyn Observer) -> Result<()> {
    let mut sql = Sql::open(settings, database)?;
    sql.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .context(|| format!("beginning a transaction in database `{database}` failed"))?;
    for table in tables {
        let columns: Vec<String> = table.columns.iter().map(|column| (*column).to_owned()).collect();
        observer.table(&Table {
            database,
            schema: table.schema,
            name: table.name,
            columns: &columns,
        })?;
        let listed = columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
        let query = format!("SELECT {listed} FROM {}.{}", quoted(table.schema), quoted(table.name));
        sql.each(&query, |row| observer.row(row))
            .context(|| format!("reading {} of database `{database}` failed", table.name))?;
    }
    sql.close();
    Ok(())
}

/// The columns that a `COPY` statement names, without quotation marks.
pub(crate) fn columns(statement: &str) -> Vec<String> {
    let (mut columns, mut name) = (Vec::new(), String::new());
    let (mut is_quoted, mut inside, mut has_escapes) = (false, false, false);
    let mut characters = statement.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => {
                name.push('"');
                characters.next();
            }
            '"' => {
                is_quoted = !is_quoted;
                has_escapes &= is_quoted;
            }
            // A name that is quoted with `U&` has line breaks as escapes.
            'U' if !is_quoted && characters.next_if_eq(&'&').is_some() => has_escapes = true,
            '\\' if has_escapes => name.extend(escaped(&mut characters)),
            '(' if !is_quoted && !inside => {
                inside = true;
                name.clear();
            }
            ',' if !is_quoted && inside => columns.push(std::mem::take(&mut name)),
            ')' if !is_quoted && inside => {
                columns.push(name);
                return columns;
            }
            ' ' if !is_quoted => {}
            character => name.push(character),
        }
    }
    Vec::new()
}

/// The character that stands behind a backslash: itself, or its number in four digits.
fn escaped(characters: &mut Peekable<Chars<'_>>) -> Option<char> {
    if let Some(backslash) = characters.next_if_eq(&'\\') {
        return Some(backslash);
    }
    let digits: String = characters.by_ref().take(4).collect();
    u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)
}

/// The values of a row in the text format of `COPY`.
pub(crate) fn values(line: &[u8]) -> Result<Vec<Option<String>>> {
    let whole = || Error::new(ErrorKind::Corrupt, "a row is cut off");
    let row = line.strip_suffix(b"\n").ok_or_else(whole)?;
    Ok(row.split(|byte| *byte == b'\t').map(value).collect())
}

fn value(field: &[u8]) -> Option<String> {
    if field == b"\\N" {
        return None;
    }
    let mut text = Vec::with_capacity(field.len());
    let mut bytes = field.iter();
    while let Some(byte) = bytes.next() {
        text.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'v') => 11,
                Some(other) => *other,
                None => b'\\',
            },
            other => *other,
        });
    }
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// The bytes of a value of the type `bytea`; those of a text as they are.
#[must_use]
pub fn bytes(value: &str) -> Vec<u8> {
    value
        .strip_prefix("\\x")
        .and_then(|digits| hex::decode(digits).ok())
        .unwrap_or_else(|| value.as_bytes().to_vec())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::data::one_line;

    #[test]
    fn columns_are_those_of_the_statement() {
        assert_eq!(
            columns("COPY public.users (id, token, \"Odd \"\"one\"\", (\", level) FROM stdin WITH (ENCODING 'UTF8');\n"),
            ["id", "token", "Odd \"one\", (", "level"]
        );
        assert_eq!(columns("COPY public.\"a (b\" (c) FROM stdin"), ["c"]);
        assert_eq!(columns("COPY public.nothing"), Vec::<String>::new());
        let names = "public.\"a\n\" (\"x\\y\", \"b\n\"\"\\000A\", plain, \"c\rd\")";
        assert_eq!(columns(&one_line(names)), ["x\\y", "b\n\"\\000A", "plain", "c\rd"]);
    }

    #[test]
    fn values_are_what_was_escaped() {
        let row = values(b"a\\tb\t\\N\t\t\\\\x6162\\nc\n").unwrap();
        assert_eq!(
            row,
            [Some("a\tb".to_owned()), None, Some(String::new()), Some("\\x6162\nc".to_owned())]
        );
        assert_eq!(values(b"cut").unwrap_err().kind, ErrorKind::Corrupt);
        assert_eq!(
            (bytes("\\x6162"), bytes("ab"), bytes("\\xyz")),
            (b"ab".to_vec(), b"ab".to_vec(), b"\\xyz".to_vec())
        );
    }
}
