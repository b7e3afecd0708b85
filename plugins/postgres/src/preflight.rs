//! What a check of any kind of replication says first: [`reached`] and [`protection`].

use bulkhead_postgres_client::{AuthenticationMethod, Encryption};
use bulkhead_sdk::{endpoint, types::Finding};

use crate::{
    connection::{Connection, ENDPOINT},
    server::Server,
};

/// That the server was reached, and how.
pub(crate) fn reached(session: &Connection, server: &Server) -> Finding {
    let how = match session.authentication() {
        AuthenticationMethod::NotAsked => "without being asked for a password",
        AuthenticationMethod::CleartextPassword => "with a password in clear text",
        AuthenticationMethod::Md5 => "with an md5 password",
        AuthenticationMethod::ScramSha256 => "with SCRAM-SHA-256",
        AuthenticationMethod::ScramSha256Plus => "with SCRAM-SHA-256-PLUS",
    };
    let over = match session.encryption() {
        Encryption::LocalSocket => "a Unix socket",
        Encryption::Tls => "TLS",
        Encryption::None => "unencrypted TCP",
    };
    let message = format!(
        "PostgreSQL {}, system {}, timeline {} at {}, wal_level {}: logged in for replication {how} over {over}",
        server.version, server.identity.system_identifier, server.identity.timeline, server.identity.position, server.wal_level
    );
    Finding::info("server-reached", message)
}

/// What somebody on the way could do.
pub(crate) fn protection(session: &Connection) -> Option<Finding> {
    let settings = endpoint::settings(ENDPOINT).ok()?;
    match session.encryption() {
        Encryption::None if !settings.is_local() => Some(
            Finding::warning("connection-unencrypted", "everything would pass over the network unencrypted")
                .with_hint("set `tls = { mode = \"verify-full\", ca = \"…\" }` in `endpoint.server`"),
        ),
        Encryption::Tls
            if settings.tls < endpoint::TlsMode::VerifyCa && session.authentication() != AuthenticationMethod::ScramSha256Plus =>
        {
            Some(
                Finding::warning(
                    "server-unverified",
                    "nobody checks that the server is the right one: its certificate is not verified",
                )
                .with_hint("set `tls = { mode = \"verify-full\", ca = \"…\" }` in `endpoint.server`"),
            )
        }
        _ => None,
    }
}
