//! SQL over a connection: [`Sql`], with what every session of this mode sets first.

use bulkhead_postgres_client::{ClientError, CopyEvent};
use bulkhead_sdk::{Error, Result, ResultExt};

use crate::{
    connection::{self, Connection, Purpose},
    settings::Settings,
};

/// The values of a row, in the order of the query's columns.
pub(crate) type Row = Vec<Option<String>>;

/// What every session sets, also one of psql, which doesn't know by which server a script will be replayed: some timeouts are known from PostgreSQL 14 or 17 on. A superuser's
/// session that its role or database lets begin as another role is the superuser's again; whoever is none may need that role.
macro_rules! every_session {
    () => {
        "SET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\nSET search_path = '';\nSET array_nulls = on;\nSET row_security = off;\n\
         SET statement_timeout = 0;\nSET lock_timeout = 0;\nSET idle_in_transaction_session_timeout = 0;\nSET default_transaction_read_only = off;\n\
         SELECT pg_catalog.set_config(timeout, '0', false) FROM pg_catalog.unnest('{idle_session_timeout,transaction_timeout}'::pg_catalog.text[]) timeout\n    \
         WHERE pg_catalog.current_setting(timeout, true) IS NOT NULL;\n\
         SELECT pg_catalog.set_config('role', 'none', false) FROM pg_catalog.pg_roles WHERE rolname = session_user AND rolsuper;\n"
    };
}
pub(crate) use every_session;

/// Makes values read the same wherever they are read, and names whole: nothing but the system's own catalogs is found without its schema. `row_security = off` makes
/// the server refuse what it would otherwise filter. A database or role may be set to read only; who reads says so for its transactions.
const SETTINGS: &str = concat!(
    every_session!(),
    "SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; SET extra_float_digits = 3; SET quote_all_identifiers = off; SET bytea_output = 'hex'; \
     SET xmloption = 'content'; SET synchronize_seqscans = off"
);

/// A session in one database.
pub(crate) struct Sql {
    connection: Connection,
}

impl Sql {
    /// Connects, logs in and sets what must be set.
    pub(crate) fn open(settings: &Settings, database: &str) -> Result<Self> {
        let connection = connection::open(&settings.login, Purpose::Database(database))
            .context(|| format!("database `{database}` cannot be reached"))?;
        let mut sql = Self { connection };
        sql.refuse_pooler()?;
        sql.run(SETTINGS)
            .context(|| format!("preparing the session in database `{database}` failed"))?;
        Ok(sql)
    }

    /// Behind a pooler a session's settings, snapshot and locks may be those of another one in its next transaction.
    fn refuse_pooler(&mut self) -> Result<()> {
        let Some(told) = self.connection.process() else { return Ok(()) };
        let process: u32 = number(Some(&self.value("SELECT pg_catalog.pg_backend_pid()")?));
        if process == told {
            return Ok(());
        }
        Err(
            Error::unsupported("a connection pooler answers in the server's place: it gives out a process number that the server doesn't know")
                .with_hint(
                    "set `endpoint.server` to the server's own address: PgBouncer's port is 6432, PostgreSQL's 5432; managed services have a direct address beside the pooled one",
                ),
        )
    }

    /// The connection itself.
    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Runs statements and forgets what they return.
    pub(crate) fn run(&mut self, statements: &str) -> Result<(), ClientError> {
        self.run_counting(statements).map_err(|(_, error)| error)
    }

    /// Runs statements; an error comes with the number of statements that were done before it.
    pub(crate) fn run_counting(&mut self, statements: &str) -> Result<(), (usize, ClientError)> {
        let mut done = 0;
        self.connection.start(statements).map_err(|error| (done, error))?;
        loop {
            match self.connection.next_event() {
                Ok(CopyEvent::CommandComplete(_)) => done += 1,
                Ok(CopyEvent::Ready) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err((done, error)),
            }
        }
    }

    /// Hands each row of a query to `each`.
    pub(crate) fn each(&mut self, query: &str, mut each: impl FnMut(Row) -> Result<()>) -> Result<()> {
        self.connection.start(query)?;
        // The answer is read to its end, so that the session stays usable.
        let mut outcome = Ok(());
        loop {
            match self.connection.next_event()? {
                CopyEvent::Row(row) if outcome.is_ok() => outcome = each(row),
                CopyEvent::Ready => return outcome,
                _ => {}
            }
        }
    }

    /// All rows of a query with a bounded answer.
    pub(crate) fn rows(&mut self, query: &str) -> Result<Vec<Row>> {
        let sets = self.connection.query(query)?;
        Ok(sets.into_iter().next_back().map(|set| set.rows).unwrap_or_default())
    }

    /// The first value of a query's answer, or nothing.
    pub(crate) fn value(&mut self, query: &str) -> Result<String> {
        Ok(self.rows(query)?.into_iter().flatten().next().flatten().unwrap_or_default())
    }

    /// Says good-bye.
    pub(crate) fn close(self) {
        self.connection.close();
    }
}

/// A value that a query always returns; an empty one where it does not.
pub(crate) fn text(value: Option<String>) -> String {
    value.unwrap_or_default()
}

/// A number that a query returns.
pub(crate) fn number<T: std::str::FromStr + Default>(value: Option<&String>) -> T {
    value.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The text of a query for a server of this major version. A line that begins with `--@14+ `, `--@<15 ` or `--@15-16 ` is there for these versions only; other lines that
/// begin with `--` are for readers.
pub(crate) fn for_major(query: &str, major: u32) -> String {
    let lines = query.lines().filter_map(|line| {
        let Some(conditional) = line.strip_prefix("--@") else {
            return (!line.starts_with("--")).then_some(line);
        };
        let (versions, line) = conditional.split_once(' ')?;
        applies(versions, major).then_some(line)
    });
    lines.fold(String::with_capacity(query.len()), |text, line| text + line + "\n")
}

fn applies(versions: &str, major: u32) -> bool {
    let is = |text: &str, holds: &dyn Fn(u32) -> bool| text.parse().is_ok_and(holds);
    if let Some(first) = versions.strip_suffix('+') {
        return is(first, &|first| major >= first);
    }
    if let Some(beyond) = versions.strip_prefix('<') {
        return is(beyond, &|beyond| major < beyond);
    }
    versions
        .split_once('-')
        .is_some_and(|(first, last)| is(first, &|first| major >= first) && is(last, &|last| major <= last))
}

/// An identifier, always in quotation marks.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string, always in the syntax that takes every character.
pub(crate) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_there_for_their_versions() {
        let query = "-- for readers\nSELECT a\n--@14+   , b\n--@<15 , c\n--@15-16 , d\nFROM t";
        assert_eq!(for_major(query, 13), "SELECT a\n, c\nFROM t\n");
        assert_eq!(for_major(query, 14), "SELECT a\n  , b\n, c\nFROM t\n");
        assert_eq!(for_major(query, 16), "SELECT a\n  , b\n, d\nFROM t\n");
        assert_eq!(for_major(query, 17), "SELECT a\n  , b\nFROM t\n");
    }

    #[test]
    fn quotation_marks_are_doubled() {
        assert_eq!(quoted(r#"a "b""#), r#""a ""b""""#);
    }
}
