//! The way to the server: from the granted endpoint to an authenticated [`Connection`].

use bulkhead_postgres_client::{ClientError, ConnectOptions, Session, auth::Password, connect};
use bulkhead_sdk::{Error, Result, ResultExt, endpoint, secrets};

use crate::settings::Login;

/// A session over an endpoint of the host.
pub type Connection = Session<endpoint::Connection>;

/// What the connection is for: the startup parameters beside the user.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// Commands of the replication protocol; no SQL, no database.
    PhysicalReplication,
    /// SQL in a database.
    Database(&'a str),
}

/// Connects and logs in.
///
/// # Errors
/// `NotGranted`, `Unreachable`, `Unauthenticated`, and what the server says.
pub fn open(login: &Login, purpose: Purpose<'_>) -> Result<Connection> {
    let settings = endpoint::settings(login.endpoint)?;
    let transport = endpoint::open(login.endpoint)?;
    let address = transport.address();
    let target = match purpose {
        Purpose::PhysicalReplication => ("replication", "true"),
        Purpose::Database(name) => ("database", name),
    };
    let options = ConnectOptions {
        user: &login.user,
        parameters: &[target, ("application_name", "bulkhead")],
        password: &|| password(login.secret),
        allow_cleartext_password: login.allow_cleartext_password,
    };
    connect(transport, &settings, &options)
        .map_err(|error| granted(error.into(), login))
        .context(|| format!("logging in to {address} as `{}` failed", login.user))
}

/// The client's advice names the grants of the plugin `postgres`.
fn granted(mut error: Error, login: &Login) -> Error {
    let named = |hint: String| {
        let hint = hint.replace("endpoint.server", &format!("endpoint.{}", login.endpoint));
        hint.replace("secret.password", &format!("secret.{}", login.secret))
    };
    error.hint = error.hint.map(named);
    error
}

fn password(secret: &str) -> Result<Password, ClientError> {
    if !secrets::names().iter().any(|name| name == secret) {
        return Err(ClientError::PasswordMissing);
    }
    Ok(Password::new(secrets::reveal(secret)?.as_bytes().to_vec()))
}
