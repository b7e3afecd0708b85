//! Every way in, and what is said where there is none.

use bulkhead_sdk::{
    ErrorKind,
    endpoint::{TlsMode, TlsSession},
    testing::{Endpoint, Harness},
};
use bulkhead_test_support::postgres::Cluster;

use crate::{
    setup::{Operations, assert_says, builder, codes, config, over_tcp, superuser},
    tls,
};

const PASSWORD: &str = "päss wörd";

/// One server with a role for each method.
fn cluster() -> Cluster {
    let rules = [
        "hostssl   replication scram   127.0.0.1/32 scram-sha-256",
        "hostnossl replication scram   127.0.0.1/32 scram-sha-256",
        "host      replication md5     127.0.0.1/32 md5",
        "host      replication clear   127.0.0.1/32 password",
        "hostssl   replication cert    127.0.0.1/32 cert",
        "host      replication trusted 127.0.0.1/32 trust",
        "host      replication denied  127.0.0.1/32 reject",
        "host      all         nosql   127.0.0.1/32 reject",
    ];
    let cluster = rules
        .into_iter()
        .fold(builder(), |builder, rule| builder.rule(rule))
        .start()
        .unwrap();
    let roles: String = ["scram", "clear", "cert", "trusted", "denied"]
        .iter()
        .map(|role| format!("CREATE ROLE {role} LOGIN REPLICATION PASSWORD '{PASSWORD}';"))
        .collect();
    cluster.execute("postgres", &roles).unwrap();
    cluster
        .execute(
            "postgres",
            &format!("SET password_encryption = 'md5'; CREATE ROLE md5 LOGIN REPLICATION PASSWORD '{PASSWORD}'; CREATE ROLE plain LOGIN"),
        )
        .unwrap();
    cluster
        .execute("postgres", &format!("ALTER ROLE plain PASSWORD '{PASSWORD}'"))
        .unwrap();
    cluster
}

#[test]
fn every_method_lets_in_who_knows_the_secret() {
    let cluster = cluster();
    let tcp = || Endpoint::tcp(cluster.address());
    let way_in = |endpoint: Endpoint, user: &str, more: &str| {
        let harness = Harness::new().endpoint("server", endpoint).secret("password", PASSWORD);
        let findings = harness.check_as(&config(user, more)).unwrap();
        let reached = findings.iter().find(|finding| finding.code == "server-reached").unwrap();
        reached.message.rsplit_once("replication ").unwrap().1.to_owned()
    };
    assert_eq!(
        way_in(tls::endpoint(&cluster, None), "scram", ""),
        "with SCRAM-SHA-256-PLUS over TLS"
    );
    assert_eq!(way_in(tcp(), "scram", ""), "with SCRAM-SHA-256 over unencrypted TCP");
    assert_eq!(way_in(tcp(), "md5", ""), "with an md5 password over unencrypted TCP");
    assert_eq!(
        way_in(tls::endpoint(&cluster, None), "clear", ""),
        "with a password in clear text over TLS"
    );
    assert_eq!(
        way_in(tcp(), "clear", r#", "allow-cleartext-password": true"#),
        "with a password in clear text over unencrypted TCP"
    );
    let client = cluster.certificates().unwrap().issue_client("cert").unwrap();
    assert_eq!(
        way_in(tls::endpoint(&cluster, Some(&client)), "cert", ""),
        "without being asked for a password over TLS"
    );
    assert_eq!(
        way_in(tcp(), "trusted", ""),
        "without being asked for a password over unencrypted TCP"
    );
    assert_eq!(
        way_in(Endpoint::unix(cluster.socket()), "postgres", ""),
        "without being asked for a password over a Unix socket"
    );
}

#[test]
fn who_is_refused_learns_what_to_change() {
    let cluster = cluster();
    let refused = |endpoint: Endpoint, user: &str, password: Option<&str>| {
        let harness = Harness::new().endpoint("server", endpoint);
        let harness = match password {
            Some(password) => harness.secret("password", password),
            None => harness,
        };
        let error = harness.check_as(&config(user, "")).unwrap_err();
        assert!(!error.retryable, "{error}");
        assert!(
            !format!("{error:?} {:?}", harness.logs()).contains(password.unwrap_or("\0")),
            "the password is in {error:?}"
        );
        error
    };
    let tcp = || Endpoint::tcp(cluster.address());

    let wrong = refused(tls::endpoint(&cluster, None), "scram", Some("wrong secret"));
    assert_eq!(wrong.kind, ErrorKind::Unauthenticated);
    assert_says(&wrong, "password authentication failed", "secret.password");

    let none = refused(tcp(), "scram", None);
    assert_eq!(none.kind, ErrorKind::Unauthenticated);
    assert_says(&none, "asks for a password", "reveal = true");

    let clear = refused(tcp(), "clear", Some(PASSWORD));
    assert_eq!(
        (clear.kind, clear.setting.as_deref()),
        (ErrorKind::Unauthenticated, Some("allow-cleartext-password"))
    );
    assert_says(&clear, "in clear text over an unencrypted connection", "scram-sha-256");

    let denied = refused(tcp(), "denied", Some(PASSWORD));
    assert_eq!(denied.kind, ErrorKind::PermissionDenied);
    assert_says(&denied, "pg_hba.conf rejects replication connection", "pg_hba.conf");

    let plain = refused(tcp(), "plain", Some(PASSWORD));
    assert_eq!(plain.kind, ErrorKind::PermissionDenied);
    assert_says(&plain, "replication", "ALTER ROLE … REPLICATION");

    let unknown = refused(tcp(), "nobody", Some(PASSWORD));
    assert_eq!(unknown.kind, ErrorKind::Unauthenticated);

    let certificate = refused(tls::endpoint(&cluster, None), "cert", Some(PASSWORD));
    assert_says(&certificate, "certificate", "client certificate");

    let peer = refused(Endpoint::unix(cluster.socket()), "scram", Some(PASSWORD));
    assert_eq!(peer.kind, ErrorKind::Unauthenticated);
    assert_says(&peer, "Peer authentication failed", "pg_ident.conf");
}

#[test]
fn tls_is_given_up_only_where_the_operator_prefers_it() {
    let cluster = builder().without_tls().start().unwrap();
    let session = TlsSession {
        protocol: String::new(),
        peer_certificate: Vec::new(),
    };
    let endpoint = |mode| Endpoint::tcp(cluster.address()).tls(mode, session.clone());
    let harness = |mode| {
        Harness::new()
            .endpoint("server", endpoint(mode))
            .secret("password", cluster.password())
    };
    assert!(codes(&harness(TlsMode::Prefer).check_as(&superuser()).unwrap()).contains(&"server-reached"));
    for mode in [TlsMode::Require, TlsMode::VerifyCa, TlsMode::VerifyFull] {
        let error = harness(mode).check_as(&superuser()).unwrap_err();
        assert_eq!((error.kind, error.retryable), (ErrorKind::Unreachable, false));
        assert_says(&error, "does not offer TLS", "ssl = on");
    }
}

#[test]
fn a_role_without_sql_can_still_be_checked() {
    let cluster = cluster();
    cluster
        .execute("postgres", &format!("CREATE ROLE nosql LOGIN REPLICATION PASSWORD '{PASSWORD}'"))
        .unwrap();
    let harness = Harness::new()
        .endpoint("server", Endpoint::tcp(cluster.address()))
        .secret("password", PASSWORD);
    assert_eq!(
        codes(&harness.check_as(&config("nosql", "")).unwrap()),
        ["server-reached", "no-sql"]
    );
    assert_eq!(codes(&over_tcp(&cluster).check_as(&superuser()).unwrap()), ["server-reached"]);
}
