//! A dataset goes into a snapshot and comes back the same, whichever way it goes.

use bulkhead_plugin_redis::Redis;
use bulkhead_sdk::testing::{Endpoint, Harness};
use bulkhead_test_support::{
    Scratch,
    redis::{Program, Server},
};

use crate::setup::{Operations, assert_same, codes, content, fact, filled, into_folder, into_server, over_tcp};

/// Backs up, verifies, checks with Redis' own tool, and loads the file into a fresh server.
fn round_trip(server: &Server, harness: &Harness, config: &str) -> Vec<String> {
    let before = content(server);
    let result = harness.backup_with(config).unwrap();
    assert_eq!(codes(&harness.verified()), ["rdb-verified"]);
    let snapshot = harness.last().unwrap();
    let folder = Scratch::new().unwrap();
    let restored = into_folder(&snapshot, &folder, "{}").unwrap();
    let keys = before.len() - usize::from(before.contains_key(&(u32::MAX, Vec::new())));
    assert_eq!(fact(&restored.facts, "keys"), keys.to_string());
    assert_eq!(fact(&result.proof.facts, "keys"), keys.to_string());
    server.program().check_rdb(&folder.join("dump.rdb")).unwrap();
    let fresh = Server::builder()
        .program(server.program().clone())
        .rdb(folder.join("dump.rdb"))
        .start()
        .unwrap();
    assert_same(&before, &content(&fresh));
    let codes = codes(&result.findings).into_iter().map(str::to_owned).collect();
    assert_eq!(fact(&result.proof.facts, "counts-compared"), "exact");
    codes
}

#[test]
fn a_diskless_transfer() {
    let server = filled(
        Server::builder()
            .setting("repl-diskless-sync", "yes")
            .setting("repl-diskless-sync-delay", 0),
    );
    assert_eq!(
        round_trip(&server, &over_tcp(&server), r#"{"mode":"replica"}"#),
        Vec::<String>::new()
    );
    assert!(
        server.log().contains("sent to replicas sockets") || server.log().contains("replicas sockets"),
        "{}",
        server.log()
    );
}

#[test]
fn a_transfer_from_a_file() {
    let server = filled(Server::builder().setting("repl-diskless-sync", "no"));
    assert_eq!(round_trip(&server, &over_tcp(&server), "{}"), Vec::<String>::new());
    assert!(server.log().contains("target: disk"), "{}", server.log());
}

#[test]
fn a_transfer_that_waits_for_other_replicas_and_a_password_over_a_unix_socket() {
    let server = filled(Server::builder().password("sesame").setting("repl-diskless-sync-delay", 2));
    let harness = Harness::new()
        .endpoint("server", Endpoint::unix(server.socket()))
        .secret("password", "sesame");
    assert_eq!(round_trip(&server, &harness, "{}"), Vec::<String>::new());
    let snapshot = harness.last().unwrap();
    let text = |path: &str| String::from_utf8(snapshot.entries[path.as_bytes()].content.clone()).unwrap();
    assert!(text("acl.txt").starts_with("user default on #"), "{}", text("acl.txt"));
    assert!(text("config.json").contains("\"maxmemory\""));
    for (path, entry) in &snapshot.entries {
        let found = entry.content.windows(6).any(|window| window == b"sesame");
        assert!(!found, "the password is in {}", path.escape_ascii());
    }
}

#[test]
fn key_by_key() {
    let server = filled(Server::builder());
    let codes = round_trip(&server, &over_tcp(&server), r#"{"mode":"scan"}"#);
    assert_eq!(codes, ["no-point-in-time"]);
}

#[test]
fn key_by_key_where_the_server_hides_replication() {
    let server = filled(
        Server::builder()
            .words("rename-command", &["PSYNC", ""])
            .words("rename-command", &["SYNC", ""]),
    );
    assert_eq!(round_trip(&server, &over_tcp(&server), "{}"), ["no-point-in-time"]);
}

#[test]
fn into_a_live_server() {
    let server = filled(Server::builder());
    let before = content(&server);
    let harness = over_tcp(&server);
    harness.backup_with("{}").unwrap();
    let fresh = Server::start_default().unwrap();
    let restored = into_server(&harness.last().unwrap(), &fresh, "{}").unwrap();
    assert_eq!(fact(&restored.facts, "functions-restored"), "1");
    assert_same(&before, &content(&fresh));
}

/// What docs/configuration.md says that users need.
#[test]
fn users_with_no_more_rights_than_documented() {
    const REPLICA: &str = "+psync +replconf +info +ping";
    const SCAN: &str = "~* +scan +dump +pttl +pexpiretime +randomkey +select +info +ping +function|dump";
    const BESIDE: &str = "+acl|list +config|get";
    const RESTORE: &str = "~* +restore +exists +select +info +ping +function|restore +function|list";
    let allow = |server: &Server, rights: &str| {
        let words = ["ACL", "SETUSER", "backup", "reset", "on", ">pw"]
            .into_iter()
            .chain(rights.split(' '));
        server.call(&words.collect::<Vec<_>>()).unwrap();
    };
    let server = filled(Server::builder());
    let before = content(&server);
    let harness = over_tcp(&server).secret("password", "pw");
    for (mode, rights, finding) in [("replica", REPLICA, &[][..]), ("scan", SCAN, &["no-point-in-time"])] {
        allow(&server, &format!("{rights} {BESIDE}"));
        let config = format!(r#"{{"mode":"{mode}","user":"backup"}}"#);
        harness.check_with(&config).unwrap();
        let result = harness.backup_with(&config).unwrap();
        assert_eq!(codes(&result.findings), finding, "{mode}");

        let fresh = Server::start_default().unwrap();
        allow(&fresh, RESTORE);
        let target = over_tcp(&fresh).secret("password", "pw").snapshot(harness.last().unwrap());
        target.restore::<Redis>("{}", r#"{"user":"backup"}"#).unwrap();
        assert_same(&before, &content(&fresh));
    }
}

#[test]
fn other_versions_every_way() {
    for program in Program::others().unwrap() {
        let builder = || Server::builder().program(program.clone());
        let server = filled(builder());
        let harness = over_tcp(&server);
        assert_eq!(
            round_trip(&server, &harness, r#"{"mode":"replica"}"#),
            Vec::<String>::new(),
            "{}",
            program.line
        );
        let fresh = builder().start().unwrap();
        into_server(&harness.last().unwrap(), &fresh, "{}").unwrap();
        assert_same(&content(&server), &content(&fresh));
        assert_eq!(
            round_trip(&server, &harness, r#"{"mode":"scan"}"#),
            ["no-point-in-time"],
            "{}",
            program.line
        );
    }
}

#[test]
fn a_file_for_a_newer_server_is_refused_by_an_older_one_with_advice() {
    let others = Program::others().unwrap();
    let newer = others.iter().find(|program| program.line == "Redis 8.2").unwrap();
    let server = filled(Server::builder().program(newer.clone()));
    let harness = over_tcp(&server);
    harness.backup_with("{}").unwrap();
    let older = Server::start_default().unwrap();
    let error = into_server(&harness.last().unwrap(), &older, "{}").unwrap_err();
    assert_eq!(error.kind, bulkhead_sdk::ErrorKind::Unsupported, "{error}");
}
