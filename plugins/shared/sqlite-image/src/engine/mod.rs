//! SQLite itself, reading an image: [`Engine`]. It decides whether an image is whole, and says what is in it; what it reads, it reads through [`Pages`].
//!
//! The library runs in the plugin's sandbox. An image may be a hostile one: it has no files, no network and no memory but the sandbox's, whatever the schema says.

mod vfs;

use std::rc::Rc;

use bulkhead_sdk::{Error, ErrorKind, Result};
use rusqlite::{Connection, OpenFlags, Row};

use crate::{Check, Contents, Verdict, pages::Pages};

/// KiB of pages that SQLite keeps.
const CACHE: i32 = 8 << 10;
/// Complaints that an error tells.
const TOLD: usize = 3;

/// A database that is open for reading.
pub struct Engine {
    // Before what it reads through, so that it is closed first.
    connection: Connection,
    registered: vfs::Registered,
}

impl Engine {
    /// Opens what is to be read as `pages`.
    ///
    /// # Errors
    /// `SourceDamaged`; what reading failed with.
    pub fn open(pages: Rc<dyn Pages>) -> Result<Self> {
        let registered = vfs::register(pages);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags_and_vfs(registered.name(), flags, vfs::NAME).map_err(internal)?;
        let engine = Self { connection, registered };
        let settings = format!("PRAGMA cache_size = -{CACHE}; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;");
        engine.asked(engine.connection.execute_batch(&settings))?;
        Ok(engine)
    }

    /// Has SQLite check it.
    ///
    /// # Errors
    /// `SourceDamaged`, with what SQLite complains about; what reading failed with.
    pub fn check(&self, check: Check) -> Result<Verdict> {
        let pragma = match check {
            Check::Full => "PRAGMA integrity_check",
            Check::Quick => "PRAGMA quick_check",
            Check::None => return Ok(Verdict::Unknown("the config asks for no check".to_owned())),
        };
        match self.complaints(pragma) {
            Ok(complaints) if complaints == ["ok"] => Ok(Verdict::Whole),
            Ok(complaints) => {
                let told: Vec<&str> = complaints.iter().take(TOLD).map(|complaint| complaint.trim()).collect();
                let more = complaints.len().saturating_sub(TOLD);
                let more = if more == 0 { String::new() } else { format!(", and {more} more") };
                Err(damaged(&format!("{}{more}", told.join("; "))))
            }
            Err(rusqlite::Error::SqliteFailure(error, Some(message))) if error.code == rusqlite::ErrorCode::Unknown => {
                Ok(Verdict::Unknown(message))
            }
            Err(error) => Err(self.explain(error)),
        }
    }

    fn complaints(&self, pragma: &str) -> rusqlite::Result<Vec<String>> {
        let mut statement = self.connection.prepare(pragma)?;
        statement.query_map((), |row| row.get(0))?.collect()
    }

    /// Schema and row counts. Tables that only their program can read (virtual ones) have no count.
    ///
    /// # Errors
    /// `SourceDamaged`; what reading failed with.
    pub fn contents(&self) -> Result<Contents> {
        let read = || -> rusqlite::Result<Contents> {
            let mut contents = Contents {
                encoding: self.pragma("encoding")?,
                user_version: self.pragma("user_version")?,
                application_id: self.pragma("application_id")?,
                ..Contents::default()
            };
            let mut statement = self
                .connection
                .prepare("SELECT type, name, rootpage, sql FROM sqlite_schema ORDER BY type, name")?;
            let mut rows = statement.query(())?;
            while let Some(row) = rows.next()? {
                let (kind, name, root): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
                if kind == "table" && root > 0 {
                    let count = format!("SELECT count(*) FROM \"{}\"", name.replace('"', "\"\""));
                    let count = self.connection.query_row(&count, (), |row| row.get(0))?;
                    contents.rows.insert(name, count);
                }
                contents.schema.extend(row.get::<_, Option<String>>(3)?);
            }
            Ok(contents)
        };
        self.asked(read())
    }

    /// Gives `take` what `read` makes of each row that `sql` yields, in its order, one after the other.
    ///
    /// # Errors
    /// `SourceDamaged`, also where a table or column is not there; what reading failed with; what `take` fails with.
    pub fn each<T>(&self, sql: &str, read: impl Fn(&Row<'_>) -> rusqlite::Result<T>, mut take: impl FnMut(T) -> Result<()>) -> Result<()> {
        let mut statement = self.asked(self.connection.prepare(sql))?;
        let mut rows = self.asked(statement.query(()))?;
        while let Some(row) = self.asked(rows.next())? {
            take(self.asked(read(row))?)?;
        }
        Ok(())
    }

    fn pragma<T: rusqlite::types::FromSql>(&self, name: &str) -> rusqlite::Result<T> {
        self.connection.pragma_query_value(None, name, |row| row.get(0))
    }

    fn asked<T>(&self, answer: rusqlite::Result<T>) -> Result<T> {
        answer.map_err(|error| self.explain(error))
    }

    /// What kept SQLite from reading is the cause; otherwise the image is to blame.
    fn explain(&self, error: rusqlite::Error) -> Error {
        self.registered.content.take_error().unwrap_or_else(|| damaged(&error.to_string()))
    }
}

fn damaged(message: &str) -> Error {
    Error::new(ErrorKind::SourceDamaged, format!("SQLite finds it damaged: {message}")).with_hint(
        "see what `sqlite3 … .recover` can save, or take the database from an earlier snapshot; `check = \"none\"` stores it as it is",
    )
}

fn internal(error: rusqlite::Error) -> Error {
    Error::new(ErrorKind::Internal, "SQLite cannot be started").with_cause(error)
}
