//! What a [`ClientError`] means for an operator: kind, hint and whether a retry helps, as the SDK's error.
//!
//! A server's message is in its own language (`lc_messages`), so causes are told apart by SQLSTATE and, where one stands for several, by the C function
//! that raised it, which has kept its name across the versions that are supported. The settings and grants named here are those of the plugins that
//! use this crate: `user`, secret `password`, endpoint `server`.

use bulkhead_sdk::{Error, ErrorKind};

use crate::{ClientError, ServerReport, auth::ScramError};

const PASSWORD_LINE: &str = "secret.password = { file = \"…\", reveal = true }";

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        match error {
            ClientError::Transport(error) => error,
            ClientError::Closed => Self::new(ErrorKind::ConnectionLost, message).with_hint("the server's own log says why it went away"),
            ClientError::Server(report) => explain(&report),
            ClientError::Protocol(violation) => Self::new(ErrorKind::Protocol, message)
                .with_cause(violation)
                .with_hint("check that `endpoint.server` is the address of a PostgreSQL server itself, not of a pooler or of something else"),
            ClientError::TlsNotOffered => Self::new(ErrorKind::Unreachable, message)
                .with_retryable(false)
                .with_hint("set `ssl = on` in postgresql.conf, or, where the network is trusted, `tls = { mode = \"disable\" }` in `endpoint.server`"),
            ClientError::PasswordMissing => Self::new(ErrorKind::Unauthenticated, message).with_hint(format!(
                "grant it in the pipeline: {PASSWORD_LINE}; a secret without `reveal = true` stays with the host"
            )),
            ClientError::CleartextRefused => Self::new(ErrorKind::Unauthenticated, message)
                .with_setting("allow-cleartext-password")
                .with_hint(
                    "use `scram-sha-256` in pg_hba.conf, or TLS (`tls = { mode = \"verify-full\" }` in `endpoint.server`); on a trusted network \
                     `allow-cleartext-password = true` permits it",
                ),
            ClientError::UnsupportedMethod(_) => Self::new(ErrorKind::Unsupported, message)
                .with_hint("give the role a line in pg_hba.conf with `scram-sha-256`, `cert` or, on a Unix socket, `peer`"),
            ClientError::Scram(reason) => scram(message, &reason),
            ClientError::Random => Self::new(ErrorKind::Internal, message),
            ClientError::ZeroByte("the password") => Self::new(ErrorKind::Config, message).with_hint(PASSWORD_LINE),
            ClientError::ZeroByte(_) => Self::new(ErrorKind::Config, message),
            ClientError::Answer { .. } => Self::new(ErrorKind::Protocol, message)
                .with_hint("check that `endpoint.server` is the address of a PostgreSQL server itself, not of a pooler or of something else"),
        }
    }
}

fn scram(message: String, reason: &ScramError) -> Error {
    let kind = match reason {
        ScramError::Malformed | ScramError::ForeignNonce => ErrorKind::Protocol,
        ScramError::Iterations(_) => ErrorKind::Limit,
        ScramError::ServerSignature | ScramError::Refused(_) => ErrorKind::Unauthenticated,
    };
    let error = Error::new(kind, message).with_cause(reason);
    match reason {
        ScramError::ServerSignature => error.with_hint("whoever answers at `endpoint.server` is not the server that knows this password"),
        ScramError::Iterations(_) => error.with_hint("lower `scram_iterations` on the server and set the password again"),
        ScramError::Malformed | ScramError::ForeignNonce | ScramError::Refused(_) => error,
    }
}

/// Kind, retryability and next action for an error of the server. What isn't here is `server`, with the server's own words and hint.
fn explain(report: &ServerReport) -> Error {
    let (kind, retryable, hint): (_, _, Option<&str>) = match report.code.as_str() {
        "28P01" => (
            ErrorKind::Unauthenticated,
            false,
            Some("check `secret.password` and `user`; ALTER ROLE … PASSWORD sets it on the server"),
        ),
        "28000" => return refused(report),
        "42501" => (
            ErrorKind::PermissionDenied,
            false,
            Some("give the role the right on the server: ALTER ROLE … REPLICATION"),
        ),
        "53300" if report.is_from("InitProcess") || report.is_from("InitWalSenderSlot") => (
            ErrorKind::Limit,
            true,
            Some(
                "all WAL senders are in use: raise `max_wal_senders` in postgresql.conf (restart), or wait for another backup or standby to end; a server with `wal_level = minimal` has none: set `wal_level = replica`",
            ),
        ),
        "53300" => (
            ErrorKind::Limit,
            true,
            Some("raise `max_connections` in postgresql.conf (restart), or the role's CONNECTION LIMIT"),
        ),
        "53400" => (
            ErrorKind::Limit,
            true,
            Some(
                "raise `max_replication_slots` in postgresql.conf (restart), or drop a slot that nobody uses: SELECT pg_drop_replication_slot(…)",
            ),
        ),
        "53100" => (
            ErrorKind::StorageFull,
            false,
            Some("the disk of the PostgreSQL server is full, not the vault's: free space there"),
        ),
        "53200" => (ErrorKind::Server, true, Some("the PostgreSQL server is out of memory")),
        "57P01" | "57P02" => (
            ErrorKind::ConnectionLost,
            true,
            Some("the server was shut down or the connection was terminated by an administrator"),
        ),
        "57P03" => (
            ErrorKind::Unreachable,
            true,
            Some("the server is starting up or shutting down: try again when it accepts connections"),
        ),
        "57014" => (ErrorKind::Server, true, Some("an administrator cancelled the command")),
        "58030" | "XX001" | "XX002" => (ErrorKind::SourceDamaged, false, None),
        "0A000" | "42601" => (ErrorKind::Unsupported, false, None),
        _ => (ErrorKind::Server, false, None),
    };
    told(report, kind, retryable, hint)
}

/// 28000 stands for a missing line in `pg_hba.conf`, a failed `peer` or `cert`, and a role that doesn't exist or may not log in.
fn refused(report: &ServerReport) -> Error {
    let (kind, hint) = match report.routine.as_deref() {
        Some("ClientAuthentication") => (
            ErrorKind::PermissionDenied,
            "add a line to the server's pg_hba.conf that names the database (`replication` for physical backups), the role and this host, e.g. \
             `hostssl replication backup 10.0.0.0/8 scram-sha-256`, and reload it; where the line that matches is `cert`, set the client certificate in \
             the endpoint's `tls`",
        ),
        Some("auth_failed") => (
            ErrorKind::Unauthenticated,
            "the server's pg_hba.conf asks for `peer` (the operating system's user must be the role, or be mapped in pg_ident.conf) or `cert` (the \
             client certificate's name must be the role): check `user` and `tls` in `endpoint.server`",
        ),
        _ => (
            ErrorKind::Unauthenticated,
            "check `user`: the role must exist and have LOGIN: CREATE ROLE … LOGIN REPLICATION PASSWORD '…'",
        ),
    };
    told(report, kind, false, Some(hint)).with_setting("user")
}

fn told(report: &ServerReport, kind: ErrorKind, retryable: bool, hint: Option<&str>) -> Error {
    let mut error = Error::new(kind, report.message.clone())
        .with_retryable(retryable)
        .with_cause(format!("SQLSTATE {}", report.code));
    error.causes.extend(report.detail.clone());
    error.hint = match (hint, report.hint.as_deref()) {
        (Some(ours), Some(theirs)) => Some(format!("{ours} (the server adds: {theirs})")),
        (one, other) => one.or(other).map(str::to_owned),
    };
    error
}
