//! What `check` finds, and what it changes: nothing.

use bulkhead_sdk::{
    ErrorKind,
    testing::{Endpoint, Harness},
    types::Severity,
};
use bulkhead_test_support::redis::Server;

use crate::setup::{Operations, assert_says, codes, filled, over_tcp};

#[test]
fn a_server_that_is_fit_and_nothing_is_started_on_it() {
    let server = filled(Server::builder());
    assert_eq!(codes(&over_tcp(&server).check_with("{}").unwrap()), ["server-reached"]);
    let stats = server.call(&["INFO", "all"]).unwrap();
    assert!(stats.contains("sync_full:0\r\n") && stats.contains("total_forks:0\r\n"), "{stats}");
}

#[test]
fn what_would_make_a_backup_fail_is_an_error() {
    let server = Server::builder().setting("rdbchecksum", "no").start().unwrap();
    assert_eq!(
        codes(&over_tcp(&server).check_with("{}").unwrap()),
        ["server-reached", "no-keys", "checksum-off"]
    );
    assert_eq!(
        codes(&over_tcp(&server).check_with(r#"{"allow-empty":true}"#).unwrap()),
        ["server-reached", "checksum-off"]
    );

    server.call(&["SET", "a", "b"]).unwrap();
    server
        .call(&["ACL", "SETUSER", "reader", "on", ">pw", "allkeys", "+@all", "-psync"])
        .unwrap();
    server
        .call(&["ACL", "SETUSER", "backup", "on", ">pw", "+psync", "+replconf", "+info", "+ping"])
        .unwrap();
    let harness = |user: &str| {
        let harness = over_tcp(&server).secret("password", "pw");
        harness.check_with(&format!(r#"{{"user":"{user}"}}"#)).unwrap()
    };
    let findings = harness("reader");
    let denied = findings.iter().find(|finding| finding.code == "replication-denied").unwrap();
    assert_eq!(denied.severity, Severity::Error);
    // A user with the bare rights cannot be told that it has them.
    assert_eq!(codes(&harness("backup")), ["server-reached", "replication-right-unknown"]);

    server.call(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();
    let findings = over_tcp(&server).check_with("{}").unwrap();
    assert!(codes(&findings).contains(&"replica-disconnected"), "{findings:?}");
}

#[test]
fn who_is_refused_learns_what_to_change() {
    let server = Server::builder().password("sesame").start().unwrap();
    server.call(&["SET", "a", "b"]).unwrap();
    let refused = |harness: Harness, config: &str| harness.check_with(config).unwrap_err();

    let none = refused(over_tcp(&server), "{}");
    assert_eq!((none.kind, none.retryable), (ErrorKind::Unauthenticated, false));
    assert_says(&none, "NOAUTH", "reveal = true");

    let wrong = refused(over_tcp(&server).secret("password", "wrong secret"), "{}");
    assert_eq!(wrong.kind, ErrorKind::Unauthenticated);
    assert_says(&wrong, "WRONGPASS", "secret.password");
    assert!(!format!("{wrong:?}").contains("wrong secret"));

    let nobody = refused(over_tcp(&server), r#"{"user":"backup"}"#);
    assert_eq!((nobody.kind, nobody.setting.as_deref()), (ErrorKind::Unauthenticated, Some("user")));

    let open = Server::start_default().unwrap();
    let needless = refused(over_tcp(&open).secret("password", "x"), "{}");
    assert_says(&needless, "without any password configured", "remove `secret.password`");

    let gone = refused(Harness::new().endpoint("server", Endpoint::unreachable()), "{}");
    assert_eq!((gone.kind, gone.retryable), (ErrorKind::Unreachable, true));
}

#[test]
fn a_buffer_that_would_cut_a_large_dataset_off() {
    let server = Server::builder().debug().start().unwrap();
    server.call(&["DEBUG", "POPULATE", "1000", "key", "100"]).unwrap();
    server
        .call(&["CONFIG", "SET", "client-output-buffer-limit", "replica 1000 1000 60"])
        .unwrap();
    let findings = over_tcp(&server).check_with("{}").unwrap();
    assert_eq!(codes(&findings), ["server-reached", "output-buffer-limit"]);
}

#[test]
fn a_replica_that_lags() {
    let lagging = "role:slave\r\nmaster_link_status:up\r\nmaster_last_io_seconds_ago:45\r\ndb0:keys=1,expires=0\r\n";
    let harness = crate::failures::played_with(lagging, Vec::new());
    let findings = harness.check_with("{}").unwrap();
    let lags = findings.iter().find(|finding| finding.code == "replica-lags").unwrap();
    assert_eq!(lags.severity, Severity::Error);
    let findings = harness.check_with(r#"{"max-silence":"60 s"}"#).unwrap();
    assert!(codes(&findings).contains(&"server-is-replica"), "{findings:?}");
}

#[test]
fn what_reading_key_by_key_takes_is_tried() {
    let server = filled(Server::builder());
    let harness = over_tcp(&server).secret("password", "pw");
    let findings = |rights: &[&str]| {
        let words = ["ACL", "SETUSER", "reader", "reset", "on", ">pw", "+info", "+ping", "+select"];
        server.call(&[&words, rights].concat()).unwrap();
        harness.check_with(r#"{"mode":"scan","user":"reader"}"#).unwrap()
    };
    let rights = ["~*", "+scan", "+dump", "+pttl", "+pexpiretime", "+randomkey"];
    assert_eq!(codes(&findings(&rights)), ["server-reached"]);
    for missing in ["~*", "+scan", "+dump", "+pexpiretime", "+randomkey"] {
        let rest: Vec<&str> = rights.into_iter().filter(|right| *right != missing).collect();
        let findings = findings(&rest);
        let [_, denied] = findings.as_slice() else {
            panic!("without {missing}: {findings:?}")
        };
        assert_eq!((denied.code.as_str(), denied.severity), ("scan-fails", Severity::Error));
        assert!(denied.hint.as_deref().unwrap().contains("+scan +dump"), "{denied:?}");
    }
    // The same for a run that is not checked before.
    let error = harness.backup_with(r#"{"mode":"scan","user":"reader"}"#).unwrap_err();
    assert_says(&error, "NOPERM", "+scan +dump");
}
