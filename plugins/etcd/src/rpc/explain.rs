//! What a failed call means for an operator: [`explain`].
//!
//! etcd's errors are gRPC codes with a fixed English text ("etcdserver: …"); the text tells apart what a code does not.

use bulkhead_grpc::{Code, GrpcError, Status};
use bulkhead_sdk::{Error, ErrorKind};

/// Said where something answers that is not etcd's client port, or not over what the TOML says.
const WRONG_PORT: &str =
    "check that `endpoint.server` is etcd's client port (2379 as a rule), and that `tls` is set where the port speaks TLS";

/// Said where a TLS server ends the session as soon as it has seen who connects.
const CERTIFICATE: &str = "the server ended the TLS session after the handshake: it wants a client certificate of its authority, and one that has not \
    expired; set `certificate` and `key` in the endpoint's `tls` (K3s: server/tls/etcd/client.crt and .key, kubeadm: pki/etcd/healthcheck-client.crt \
    and .key), and look at it with `openssl x509 -enddate -noout -in FILE`";

/// A failed call to the member at `address`, as the SDK's error.
pub(crate) fn explain(error: GrpcError, address: &str) -> Error {
    let known = error.status().and_then(known);
    let is_foreign = matches!(
        &error,
        GrpcError::NotGrpc { .. } | GrpcError::Decode(_) | GrpcError::MessageCount(_)
    );
    let is_closed = matches!(&error, GrpcError::Closed);
    let unimplemented = error.status().is_some_and(|status| status.code == Code::Unimplemented);
    let mut error = Error::from(error);
    if let Some((kind, retryable, hint)) = known {
        (error.kind, error.retryable, error.hint) = (kind, retryable, Some(hint.to_owned()));
    } else if unimplemented {
        error.hint = Some(
            "this server has no such call: it is older than etcd 3.4, or no etcd at all. K3s without embedded etcd (SQLite, MySQL, PostgreSQL \
             behind kine) is backed up as that database"
                .to_owned(),
        );
    } else if error.hint.is_none() {
        error = below(error, is_foreign, is_closed);
    }
    error.context(format!("etcd at {address} failed"))
}

/// The error of a server that has never answered anything: how the connection ends says less than that it does.
pub(crate) fn hung_up(error: Error) -> Error {
    if error.kind == ErrorKind::ConnectionLost && error.hint.is_none() {
        return error.with_hint(WRONG_PORT);
    }
    error
}

/// What fails below etcd itself.
fn below(error: Error, is_foreign: bool, is_closed: bool) -> Error {
    let text = error.to_string();
    if error.kind == ErrorKind::ConnectionLost && text.contains("alert") {
        let (kind, retryable) = (ErrorKind::Unauthenticated, false);
        return Error { kind, retryable, ..error }.with_hint(CERTIFICATE);
    }
    if is_foreign || is_closed || error.kind == ErrorKind::Protocol {
        return error.with_hint(WRONG_PORT);
    }
    error
}

/// Kind, whether a retry helps, and what to do, by the server's own text.
fn known(status: &Status) -> Option<(ErrorKind, bool, &'static str)> {
    const KNOWN: &[(&str, ErrorKind, bool, &str)] = &[
        (
            "authentication failed, invalid user ID or password",
            ErrorKind::Unauthenticated,
            false,
            "check `user` and `secret.password`; `etcdctl user passwd NAME` sets it",
        ),
        (
            "authentication is not enabled",
            ErrorKind::Config,
            false,
            "this cluster asks nobody for a password: take `user` out of the config",
        ),
        (
            "user name is empty",
            ErrorKind::Unauthenticated,
            false,
            "this cluster wants a user: set `user` in the config and grant `secret.password`, or set a client certificate whose common name is the user",
        ),
        (
            "invalid auth token",
            ErrorKind::Unauthenticated,
            true,
            "the token has expired or the member was restarted meanwhile; `--auth-token-ttl` sets how long it lives",
        ),
        (
            "permission denied",
            ErrorKind::PermissionDenied,
            false,
            "a snapshot needs the role `root`: etcdctl user grant-role NAME root",
        ),
        (
            "no leader",
            ErrorKind::Server,
            true,
            "the cluster has lost its quorum: bring members back (`etcdctl endpoint status --cluster` says which are there)",
        ),
        ("leader changed", ErrorKind::Server, true, "an election was going on: try again"),
        (
            "request timed out",
            ErrorKind::TimedOut,
            true,
            "the cluster does not agree in time: it has lost its quorum, or its disks are too slow (`etcdctl endpoint health --cluster`)",
        ),
        (
            "database space exceeded",
            ErrorKind::StorageFull,
            false,
            "compact and defragment the cluster, or raise `--quota-backend-bytes`, then `etcdctl alarm disarm`",
        ),
        (
            "required revision has been compacted",
            ErrorKind::Conflict,
            true,
            "the cluster was compacted meanwhile: try again",
        ),
        (
            "corrupt cluster",
            ErrorKind::SourceDamaged,
            false,
            "members disagree about the content: find the odd one with `etcdctl endpoint hashkv --cluster`, remove it and add it anew",
        ),
        (
            "request is too large",
            ErrorKind::Limit,
            false,
            "raise the servers' `--max-request-bytes`, or lower `request-size` of this target",
        ),
        (
            "too many operations in txn request",
            ErrorKind::Limit,
            false,
            "raise the servers' `--max-txn-ops` to its default of 128",
        ),
        (
            "lease already exists",
            ErrorKind::AlreadyExists,
            false,
            "another lease has this number",
        ),
        (
            "rpc not supported for learner",
            ErrorKind::Unsupported,
            false,
            "this member is a learner: name a voting member's address too",
        ),
    ];
    let known = KNOWN.iter().find(|(text, ..)| status.message.contains(text))?;
    Some((known.1, known.2, known.3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: Code, message: &str) -> Error {
        let message = message.to_owned();
        explain(GrpcError::Status(Status { code, message }), "a:2379")
    }

    #[test]
    fn the_servers_texts_are_told_apart() {
        let cases = [
            (
                Code::InvalidArgument,
                "etcdserver: authentication failed, invalid user ID or password",
                ErrorKind::Unauthenticated,
                false,
            ),
            (
                Code::PermissionDenied,
                "etcdserver: permission denied",
                ErrorKind::PermissionDenied,
                false,
            ),
            (Code::Unavailable, "etcdserver: no leader", ErrorKind::Server, true),
            (
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
                ErrorKind::StorageFull,
                false,
            ),
            (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
                ErrorKind::Conflict,
                true,
            ),
            (
                Code::Unimplemented,
                "unknown service etcdserverpb.Maintenance",
                ErrorKind::Unsupported,
                false,
            ),
        ];
        for (code, message, kind, retryable) in cases {
            let error = told(code, message);
            assert_eq!((error.kind, error.retryable), (kind, retryable), "{message}");
            assert!(error.hint.is_some() && error.to_string().contains(message), "{error}");
        }
    }

    #[test]
    fn what_nobody_knows_is_told_in_the_servers_words() {
        let error = told(Code::Internal, "etcdserver: something new");
        assert_eq!((error.kind, error.hint), (ErrorKind::Server, None));
        assert_eq!(error.message, "etcd at a:2379 failed");
        assert_eq!(error.causes, ["etcdserver: something new"]);
    }

    #[test]
    fn a_refused_client_certificate_is_not_a_lost_connection() {
        let lost = Error::new(ErrorKind::ConnectionLost, "reading from a:2379 failed").with_cause("received fatal alert: BadCertificate");
        let error = explain(GrpcError::Transport(lost), "a:2379");
        assert_eq!((error.kind, error.retryable), (ErrorKind::Unauthenticated, false));
    }
}
