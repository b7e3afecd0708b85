//! What a plugin says about a server and what it wants of it: [`Login`] and [`Settings`].

use std::{collections::BTreeMap, time::Duration};

use crate::{layout::Layout, options::Parts};

/// How to reach a server and log in.
#[derive(Debug, Clone)]
pub struct Login {
    /// The granted endpoint.
    pub endpoint: &'static str,
    /// The granted secret with the role's password.
    pub secret: &'static str,
    /// The role.
    pub user: String,
    /// Whether a password is sent in clear text over a TCP connection without TLS.
    pub allow_cleartext_password: bool,
}

/// What is read of a server, and where it goes in a snapshot.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How to log in.
    pub login: Login,
    /// The database to connect to first.
    pub database: String,
    /// The databases to read, by name or pattern; empty for all.
    pub databases: Vec<String>,
    /// Databases to leave out, likewise.
    pub exclude_databases: Vec<String>,
    /// Which parts of them.
    pub parts: Parts,
    /// Tables whose rows are left out, by pattern with the schema.
    pub exclude_data: Vec<String>,
    /// Of these tables (`public.events`) only the rows that an SQL condition holds for.
    pub rows: BTreeMap<String, String>,
    /// The rows of these tables in the order of an SQL expression, in place of the server's own.
    pub order: BTreeMap<String, String>,
    /// How long to wait for whoever has locked a table.
    pub lock_timeout: Duration,
    /// How many connections read rows at the same time. Without further instances, that is who doesn't implement parts, 1.
    pub jobs: u32,
    /// Whether roles and tablespaces are read too.
    pub globals: bool,
    /// Where it all goes.
    pub layout: Layout,
}
