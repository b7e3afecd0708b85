//! What a [`RespError`] means for an operator: kind, hint and whether a retry helps, as the SDK's error.
//!
//! Servers tell causes apart by the first word of an error. The settings and grants named here are those of the plugins that use this crate: `user`,
//! secret `password`, endpoint `server`.

use bulkhead_sdk::{Error, ErrorKind};

use crate::{RespError, ServerError};

const PASSWORD_LINE: &str = "secret.password = { file = \"…\", reveal = true }";

impl From<RespError> for Error {
    fn from(error: RespError) -> Self {
        let message = error.to_string();
        match error {
            RespError::Transport(error) => error,
            RespError::Closed => Self::new(ErrorKind::ConnectionLost, message).with_hint("the server's own log says why it went away"),
            RespError::Server(report) => explain(&report),
            RespError::Protocol(violation) => Self::protocol(message).with_cause(violation).with_hint(
                "check that the endpoint is the address of a Redis server, and that `tls` says what the server expects on that port",
            ),
            RespError::Answer { .. } => Self::protocol(message)
                .with_hint("check that the endpoint is the address of a Redis or Valkey server itself, not of a proxy"),
        }
    }
}

/// Kind, retryability and next action for an error of the server. What isn't here is `server`, in the server's own words.
#[must_use]
pub fn explain(report: &ServerError) -> Error {
    let (kind, retryable, hint): (_, _, Option<&str>) = match report.code.as_str() {
        "NOAUTH" => return noauth(report),
        "WRONGPASS" => {
            return told(
                report,
                ErrorKind::Unauthenticated,
                false,
                Some("check `secret.password` and `user`; ACL SETUSER … on '>password' sets them on the server"),
            )
            .with_setting("user");
        }
        "NOPERM" => return noperm(report),
        "LOADING" => (
            ErrorKind::Unreachable,
            true,
            Some("the server is loading its dataset into memory: try again when INFO says loading:0"),
        ),
        "MASTERDOWN" | "NOMASTERLINK" => (
            ErrorKind::Conflict,
            true,
            Some("the server is a replica that has lost its master: INFO replication there says why; or back up another one"),
        ),
        "CLUSTERDOWN" => (
            ErrorKind::Conflict,
            true,
            Some("the cluster lacks slots or masters: CLUSTER INFO on a node says which"),
        ),
        "READONLY" => (
            ErrorKind::Conflict,
            false,
            Some("the server is a replica: name the master's address in `endpoint.server`"),
        ),
        "MISCONF" => (
            ErrorKind::Server,
            true,
            Some("the server cannot save its own snapshots and refuses writes: its log says why"),
        ),
        "OOM" => (
            ErrorKind::StorageFull,
            false,
            Some("the server has reached `maxmemory`: raise it, or restore less (`keys`, `databases`)"),
        ),
        "BUSYKEY" => (
            ErrorKind::AlreadyExists,
            false,
            Some("say what to do with keys that exist: `existing = \"skip\"` or `\"replace\"` in the restore target's config"),
        ),
        "BUSY" => (ErrorKind::Server, true, Some("a script keeps the server busy: SCRIPT KILL ends it")),
        "DENIED" => (
            ErrorKind::PermissionDenied,
            false,
            Some("the server is in protected mode: give it a password, or set `protected-mode no` where the network is trusted"),
        ),
        "MOVED" | "ASK" | "CROSSSLOT" | "TRYAGAIN" => (
            ErrorKind::Conflict,
            true,
            Some("slots of the cluster are moving: try again when CLUSTER INFO says cluster_state:ok"),
        ),
        "ERR" => return plain(report),
        _ => (ErrorKind::Server, false, None),
    };
    told(report, kind, retryable, hint)
}

/// The server names the command in quotes, or says that it is about keys.
fn noperm(report: &ServerError) -> Error {
    let command = report
        .message
        .split('\'')
        .nth(1)
        .filter(|name| !name.is_empty() && !name.contains(' '));
    let right = match command {
        Some(command) => format!("+{command}"),
        None if report.message.contains(" key") => "'~*', or the keys that are meant".to_owned(),
        None => "the right to the command".to_owned(),
    };
    told(report, ErrorKind::PermissionDenied, false, None).with_hint(format!(
        "give the user the right on the server: ACL SETUSER NAME {right} (the documentation lists all that a backup and a restore need)"
    ))
}

fn noauth(report: &ServerError) -> Error {
    told(report, ErrorKind::Unauthenticated, false, None).with_hint(format!(
        "the server asks for a password: grant it in the pipeline: {PASSWORD_LINE}; a secret without `reveal = true` stays with the host"
    ))
}

/// `ERR` stands for everything else.
fn plain(report: &ServerError) -> Error {
    let about = |words: &str| report.message.to_ascii_lowercase().contains(words);
    if report.is_unknown_command() {
        return told(report, ErrorKind::Unsupported, false, None);
    }
    if about("max number of clients") {
        let hint = "raise `maxclients` on the server, or try again when others have disconnected";
        return told(report, ErrorKind::Limit, true, Some(hint));
    }
    if about("without any password configured") || about("client sent auth, but no password is set") {
        let hint = "the server has no password: remove `secret.password` from the pipeline, or set `requirepass` on the server";
        return told(report, ErrorKind::Unauthenticated, false, Some(hint));
    }
    if about("invalid password") {
        return told(report, ErrorKind::Unauthenticated, false, Some("check `secret.password`"));
    }
    if about("payload version or checksum") {
        let hint = "the target server is older than the one that was backed up (RDB versions go up only): restore into the same version or a newer one";
        return told(report, ErrorKind::Unsupported, false, Some(hint));
    }
    if about("bad data format") {
        let hint = "the target server does not know this kind of value: load the module that wrote it, or restore into the version that was backed up, or leave \
                    the key out with `keys`";
        return told(report, ErrorKind::Unsupported, false, Some(hint));
    }
    if about("can't sync while not connected with my master") {
        let hint = "the server is a replica that has lost its master: INFO replication there says why; or back up another one";
        return told(report, ErrorKind::Conflict, true, Some(hint));
    }
    told(report, ErrorKind::Server, false, None)
}

fn told(report: &ServerError, kind: ErrorKind, retryable: bool, hint: Option<&str>) -> Error {
    let mut error = Error::new(kind, format!("the server says: {report}")).with_retryable(retryable);
    error.hint = hint.map(str::to_owned);
    error
}
