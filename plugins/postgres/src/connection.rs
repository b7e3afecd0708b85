//! The way to the server: from the granted endpoint to an authenticated [`Connection`].

pub(crate) use bulkhead_postgres_logical::{Connection, Purpose};
use bulkhead_postgres_logical::{Login, open as open_as};
use bulkhead_sdk::Result;

use crate::config::Config;

/// The endpoint that this plugin asks for.
pub(crate) const ENDPOINT: &str = "server";

/// The secret that this plugin asks for.
pub(crate) const PASSWORD: &str = "password";

/// How the config says to log in.
pub(crate) fn login(config: &Config) -> Login {
    Login {
        endpoint: ENDPOINT,
        secret: PASSWORD,
        user: config.user.clone(),
        allow_cleartext_password: config.allow_cleartext_password,
    }
}

/// Connects and logs in.
pub(crate) fn open(config: &Config, purpose: Purpose<'_>) -> Result<Connection> {
    open_as(&login(config), purpose)
}
