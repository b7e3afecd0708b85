//! The way to the server: from the granted endpoint to an authenticated [`Connection`].

use bulkhead_postgres_client::{ClientError, ConnectOptions, Session, auth::Password, connect};
use bulkhead_sdk::{Result, ResultExt, endpoint, secrets};

use crate::config::Config;

/// The endpoint that this plugin asks for.
pub(crate) const ENDPOINT: &str = "server";

/// The secret that this plugin asks for.
pub(crate) const PASSWORD: &str = "password";

/// A session over an endpoint of the host.
pub(crate) type Connection = Session<endpoint::Connection>;

/// What the connection is for: the startup parameters beside the user.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose<'a> {
    /// Commands of the replication protocol; no SQL, no database.
    PhysicalReplication,
    /// SQL in a database.
    Database(&'a str),
}

/// Connects and logs in.
pub(crate) fn open(config: &Config, purpose: Purpose<'_>) -> Result<Connection> {
    let settings = endpoint::settings(ENDPOINT)?;
    let transport = endpoint::open(ENDPOINT)?;
    let address = transport.address();
    let target = match purpose {
        Purpose::PhysicalReplication => ("replication", "true"),
        Purpose::Database(name) => ("database", name),
    };
    let options = ConnectOptions {
        user: &config.user,
        parameters: &[target, ("application_name", "bulkhead")],
        password: &password,
        allow_cleartext_password: config.allow_cleartext_password,
    };
    connect(transport, &settings, &options).context(|| format!("logging in to {address} as `{}` failed", config.user))
}

fn password() -> Result<Password, ClientError> {
    if !secrets::names().iter().any(|name| name == PASSWORD) {
        return Err(ClientError::PasswordMissing);
    }
    Ok(Password::new(secrets::reveal(PASSWORD)?.as_bytes().to_vec()))
}
