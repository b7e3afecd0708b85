//! What keeps a CA's identities and certificates: [`Store`], a file of SQLite or a database of PostgreSQL, with the tables that the server makes in each.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;

use crate::postgres::Cluster;
use crate::{Error, Result, Tool, run};

const INSTALL: &str = "apt-get install sqlite3";
/// The role that a CA logs in to PostgreSQL as, and owns its database.
pub const ROLE: &str = "fabric";

/// The tables of a fresh SQLite database, with the columns that the server gives them.
const SQLITE: &str = "
CREATE TABLE users (id VARCHAR(255), token bytea, type VARCHAR(256), affiliation VARCHAR(1024), attributes TEXT, state INTEGER, max_enrollments INTEGER,
    level INTEGER DEFAULT 0, incorrect_password_attempts INTEGER DEFAULT 0, PRIMARY KEY (id));
CREATE TABLE affiliations (name VARCHAR(1024) NOT NULL UNIQUE, prekey VARCHAR(1024), level INTEGER DEFAULT 0);
CREATE TABLE certificates (id VARCHAR(255), serial_number blob NOT NULL, authority_key_identifier blob NOT NULL, ca_label blob, status blob NOT NULL, reason int,
    expiry timestamp, revoked_at timestamp, pem blob NOT NULL, level INTEGER DEFAULT 0, PRIMARY KEY (serial_number, authority_key_identifier));
CREATE TABLE credentials (id VARCHAR(255), revocation_handle blob NOT NULL, cred blob NOT NULL, ca_label blob, status blob NOT NULL, reason int, expiry timestamp,
    revoked_at timestamp, level INTEGER DEFAULT 0, PRIMARY KEY (revocation_handle));
CREATE TABLE revocation_authority_info (epoch INTEGER, next_handle INTEGER, lasthandle_in_pool INTEGER, level INTEGER DEFAULT 0, PRIMARY KEY (epoch));
CREATE TABLE nonces (val VARCHAR(1024) NOT NULL UNIQUE, expiry timestamp, level INTEGER DEFAULT 0, PRIMARY KEY (val));
CREATE TABLE properties (property VARCHAR(255), value VARCHAR(256), PRIMARY KEY (property));
";

/// What both have from the beginning.
const ROWS: &str = "
INSERT INTO properties VALUES ('identity.level', '2'), ('affiliation.level', '1'), ('certificate.level', '1'), ('credential.level', '1'), ('rcinfo.level', '1'),
    ('nonce.level', '1');
INSERT INTO revocation_authority_info VALUES (1, 1, 1000, 1);
INSERT INTO affiliations VALUES ('org1', '', 1), ('org1.department1', 'org1', 1), ('org1.department2', 'org1', 1), ('org2', '', 1), ('org2.department1', 'org2', 1);
";

/// Where a CA has its database.
#[derive(Debug, Clone)]
pub(super) enum Store {
    Sqlite(PathBuf),
    Postgres { cluster: Arc<Cluster>, database: String },
}

impl Store {
    /// What the server's config says of it: type and place.
    pub(super) fn setting(&self) -> (&'static str, String) {
        match self {
            Self::Sqlite(path) => ("sqlite3", path.file_name().unwrap_or_default().to_string_lossy().into_owned()),
            Self::Postgres { cluster, database } => {
                let port = cluster.port();
                let text = format!("host=127.0.0.1 port={port} user={ROLE} password=secret dbname={database} sslmode=disable");
                ("postgres", text)
            }
        }
    }

    /// Makes the tables of a server that has just been started; in PostgreSQL the database, too, of a role that may log in.
    pub(super) fn create(&self) -> Result<()> {
        let Self::Postgres { cluster, database } = self else {
            return self.sql(&format!("{SQLITE}{ROWS}"));
        };
        let role = format!("SELECT 1 FROM pg_roles WHERE rolname = '{ROLE}'");
        if cluster.execute("postgres", &role)?.is_empty() {
            cluster.execute("postgres", &format!("CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD 'secret'"))?;
        }
        cluster.execute("postgres", &format!("CREATE DATABASE {database} OWNER {ROLE}"))?;
        self.sql(&format!(
            "{}{ROWS}",
            SQLITE
                .replace(" blob", " bytea")
                .replace("VARCHAR(1024) NOT NULL UNIQUE, expiry", "VARCHAR(255) NOT NULL UNIQUE, expiry")
        ))
    }

    /// Runs statements as one transaction, as the server does.
    pub(super) fn sql(&self, statements: &str) -> Result<()> {
        match self {
            Self::Sqlite(path) => query(path, &format!("BEGIN IMMEDIATE; {statements} COMMIT;")).map(drop),
            Self::Postgres { cluster, database } => {
                let statements = format!("BEGIN; SET LOCAL ROLE {ROLE}; SET LOCAL search_path = public; {statements} COMMIT;");
                cluster.execute(database, &statements).map(drop)
            }
        }
    }

    /// What its shell prints.
    pub(super) fn query(&self, sql: &str) -> Result<String> {
        match self {
            Self::Sqlite(path) => query(path, sql),
            Self::Postgres { cluster, database } => cluster.execute(database, sql),
        }
    }

    /// Bytes as a statement has them.
    pub(super) fn bytes(&self, hexadecimal: &str) -> String {
        match self {
            Self::Sqlite(_) => format!("x'{hexadecimal}'"),
            Self::Postgres { .. } => format!("'\\x{hexadecimal}'::bytea"),
        }
    }

    /// A column of bytes that are text, as a query has it.
    pub(super) fn text(&self, column: &str) -> String {
        match self {
            Self::Sqlite(_) => column.to_owned(),
            Self::Postgres { .. } => format!("convert_from({column}, 'UTF8')"),
        }
    }

    /// Rows as objects: columns with what they are made of.
    pub(super) fn rows(&self, columns: &[(&str, String)], from: &str) -> Result<Vec<Value>> {
        let members: Vec<String> = columns.iter().map(|(name, made)| format!("'{name}', {made}")).collect();
        let (members, empty) = (members.join(", "), "'[]'");
        let text = match self {
            Self::Sqlite(_) => self.query(&format!(
                "SELECT json_group_array(json_object({members})) FROM (SELECT * FROM {from});"
            ))?,
            Self::Postgres { .. } => self.query(&format!(
                "SELECT coalesce(json_agg(json_build_object({members})), {empty}) FROM (SELECT * FROM {from}) AS rows;"
            ))?,
        };
        serde_json::from_str(&text).map_err(|error| Error::Unusable(format!("the database's shell prints no JSON: {error}")))
    }
}

/// What SQLite's shell prints of a database.
pub fn query(database: &Path, sql: &str) -> Result<String> {
    let tool = Tool::find("sqlite3", INSTALL)?;
    let mut command = Command::new(tool.path());
    let output = run(command.args(["-cmd", ".timeout 20000"]).arg(database).arg(sql))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
