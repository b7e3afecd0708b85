//! The way to a server: from a granted endpoint to an authenticated [`Connection`].

use bulkhead_resp::{Command, RespError, Session};
use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt,
    endpoint::{self, Settings, TlsMode, Transport},
    secrets,
};

/// The endpoint of the server.
pub(crate) const SERVER: &str = "server";
/// The endpoint of the Sentinels.
pub(crate) const SENTINEL: &str = "sentinel";
/// The server's password.
pub(crate) const PASSWORD: &str = "password";
/// The Sentinels' password.
pub(crate) const SENTINEL_PASSWORD: &str = "sentinel-password";

/// A session over an endpoint of the host.
pub(crate) type Connection = Session<endpoint::Connection>;

/// Who connects, and to what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Login<'a> {
    endpoint: &'a str,
    secret: &'a str,
    user: Option<&'a str>,
}

impl<'a> Login<'a> {
    /// To a server.
    pub(crate) fn server(user: Option<&'a str>) -> Self {
        Self {
            endpoint: SERVER,
            secret: PASSWORD,
            user,
        }
    }

    /// To a Sentinel.
    pub(crate) fn sentinel(user: Option<&'a str>) -> Self {
        Self {
            endpoint: SENTINEL,
            secret: SENTINEL_PASSWORD,
            user,
        }
    }

    /// Connects to the endpoint, or to an address that it was told of, and logs in; also where that was.
    pub(crate) fn open(&self, address: Option<&str>) -> Result<(Connection, String)> {
        let settings = endpoint::settings(self.endpoint)?;
        let mut transport = match address {
            Some(address) => endpoint::open_address(self.endpoint, address),
            None => endpoint::open(self.endpoint),
        }?;
        let place = transport.address();
        if uses_tls(&settings, self.endpoint)? {
            transport.start_tls()?;
        }
        let mut session = Session::new(transport);
        self.authenticate(&mut session)
            .context(|| format!("logging in to {place} failed"))?;
        Ok((session, place))
    }

    fn authenticate(&self, session: &mut Connection) -> Result<()> {
        if secrets::names().iter().any(|name| name == self.secret) {
            let password = secrets::reveal(self.secret)?;
            let mut command = Command::of(if self.user.is_some() { 3 } else { 2 });
            command.argument(b"AUTH");
            if let Some(user) = self.user {
                command.argument(user.as_bytes());
            }
            command.argument(password.as_bytes());
            session.send(&command)?;
            session.receive()?;
        } else if let Some(user) = self.user {
            return Err(Error::new(
                ErrorKind::Unauthenticated,
                format!("user `{user}` is configured, and no password for it was granted"),
            )
            .with_setting("user")
            .with_hint(format!(
                "grant it in the pipeline: secret.{} = {{ file = \"…\", reveal = true }}",
                self.secret
            )));
        }
        // Whoever is not logged in, or is not talking to Redis, learns it here and not in the middle of something.
        match session.call(&["PING"]) {
            Ok(_) => Ok(()),
            // The right to PING is not needed for anything else.
            Err(RespError::Server(error)) if error.code == "NOPERM" || error.code == "LOADING" || error.code == "MASTERDOWN" => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Redis' ports speak TLS from the first byte or not at all: nothing can be asked for on the way.
pub(crate) fn uses_tls(settings: &Settings, endpoint: &str) -> Result<bool> {
    match (settings.transport, settings.tls) {
        (Transport::Unix, _) | (_, TlsMode::Disable) => Ok(false),
        (Transport::Tcp, TlsMode::Prefer) => Err(Error::new(
            ErrorKind::Config,
            format!("`endpoint.{endpoint}` prefers TLS, but a Redis port either speaks TLS or does not: there is nothing to choose"),
        )
        .with_hint("write `tls = { mode = \"verify-full\", ca = \"…\" }` for a TLS port (`tls-port`), `tls = { mode = \"disable\" }` for the other")),
        (Transport::Tcp, _) => Ok(true),
    }
}
