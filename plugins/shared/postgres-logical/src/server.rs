//! What must be known of a server before its databases are read: [`Server`].

use bulkhead_sdk::{Error, Result};

use super::session::{Sql, number, text};

/// Major versions whose catalogs this mode knows.
pub(crate) const MAJORS: std::ops::RangeInclusive<u32> = 13..=17;

/// A server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// "15.18 (Debian 15.18-1)"
    pub(crate) version: String,
    pub(crate) major: u32,
    /// Whether the role that asked is a superuser.
    pub(crate) superuser: bool,
    /// Whether it may read the roles' passwords.
    pub(crate) sees_passwords: bool,
    /// The role that asked.
    pub(crate) role: String,
}

impl Server {
    /// Asks the server.
    pub(crate) fn inspect(sql: &mut Sql) -> Result<Self> {
        let version = sql.connection().parameter("server_version").unwrap_or("unknown").to_owned();
        let major = sql.connection().version_number().unwrap_or(0) / 10_000;
        if !MAJORS.contains(&major) {
            let message = format!("the server is PostgreSQL {version}; mode `logical` supports 13 to 17");
            return Err(Error::unsupported(message).with_hint("use a newer release of Bulkhead"));
        }
        let answer =
            sql.rows("SELECT current_user, current_setting('is_superuser') = 'on', has_table_privilege('pg_catalog.pg_authid', 'SELECT')")?;
        let mut row = answer.into_iter().next().unwrap_or_default().into_iter();
        let mut next = || text(row.next().flatten());
        Ok(Self {
            version,
            major,
            role: next(),
            superuser: next() == "t",
            sees_passwords: next() == "t",
        })
    }
}

/// A database of a server.
#[derive(Debug, Clone)]
pub(crate) struct DatabaseName {
    pub(crate) name: String,
    pub(crate) connectable: bool,
    /// Bytes on the server's disk; 0 where the role may not ask.
    pub(crate) size: u64,
}

/// All databases but `template0`, which nothing can change, and those that were dropped halfway, which nothing can be done with but dropping them.
pub(crate) fn databases(sql: &mut Sql) -> Result<Vec<DatabaseName>> {
    let rows = sql.rows(
        "SELECT datname, datallowconn, CASE WHEN has_database_privilege(oid, 'CONNECT') THEN pg_database_size(oid) END \
         FROM pg_database WHERE datname <> 'template0' AND datconnlimit <> -2 ORDER BY datname",
    )?;
    let database = |row: Vec<Option<String>>| DatabaseName {
        name: row.first().cloned().flatten().unwrap_or_default(),
        connectable: row.get(1).is_some_and(|value| value.as_deref() == Some("t")),
        size: number(row.get(2).and_then(Option::as_ref)),
    };
    Ok(rows.into_iter().map(database).collect())
}
