//! Restores into servers that are running, and refusals of targets.

use bulkhead_plugin_redis::Redis;
use bulkhead_sdk::{
    ErrorKind,
    testing::{Directory, Harness, Snapshot},
};
use bulkhead_test_support::{
    Scratch,
    redis::{Frozen, Server, cluster},
};

use crate::setup::{Operations, assert_same, assert_says, codes, content, fact, filled, into_folder, into_server, over_tcp};

fn snapshot_of(server: &Server) -> Snapshot {
    let harness = over_tcp(server);
    harness.backup_with("{}").unwrap();
    harness.last().unwrap()
}

#[test]
fn existing_keys_by_policy() {
    let server = filled(Server::builder());
    let snapshot = snapshot_of(&server);
    let before = content(&server);
    let target = Server::start_default().unwrap();
    target.call(&["SET", "string:byte", "other"]).unwrap();

    let error = into_server(&snapshot, &target, "{}").unwrap_err();
    assert_eq!((error.kind, error.setting.as_deref()), (ErrorKind::AlreadyExists, Some("existing")));
    assert_says(&error, "string:byte", "existing = \"skip\"");
    assert_eq!(target.call(&["DBSIZE"]).unwrap(), "1", "nothing was written");

    let result = into_server(&snapshot, &target, r#"{"existing":"skip"}"#).unwrap();
    assert_eq!(fact(&result.facts, "keys-skipped"), "1");
    assert_eq!(target.call(&["GET", "string:byte"]).unwrap(), "other");

    into_server(&snapshot, &target, r#"{"existing":"replace"}"#).unwrap();
    assert_same(&before, &content(&target));
}

#[test]
fn a_library_of_functions_in_the_way_is_found_before_anything_is_written() {
    let server = filled(Server::builder());
    let snapshot = snapshot_of(&server);
    let target = Server::start_default().unwrap();
    into_server(&snapshot, &target, r#"{"keys":["none"],"functions":true}"#).unwrap();
    // One who may look at libraries, and one who learns it only when the first of them is written: before any key.
    let rights = "reset on >pw ~* +restore +exists +select +info +ping +function|restore";
    for more in ["+function|list", "-function|list"] {
        let words: Vec<&str> = ["ACL", "SETUSER", "restorer"]
            .into_iter()
            .chain(rights.split(' '))
            .chain([more])
            .collect();
        target.call(&words).unwrap();
        let harness = over_tcp(&target).secret("password", "pw").snapshot(snapshot.clone());
        let error = harness.restore::<Redis>("{}", r#"{"user":"restorer"}"#).unwrap_err();
        assert_eq!(
            (error.kind, error.setting.as_deref()),
            (ErrorKind::AlreadyExists, Some("existing")),
            "{error}"
        );
        assert_eq!(target.call(&["DBSIZE"]).unwrap(), "0", "{more}: keys were written");
    }
    into_server(&snapshot, &target, r#"{"existing":"skip"}"#).unwrap();
    assert_same(&content(&server), &content(&target));
}

#[test]
fn keys_with_very_long_names_stop_only_who_wants_them() {
    let server = Server::start_default().unwrap();
    let name = vec![b'n'; (1 << 20) + 1];
    server.client().unwrap().call(&[&b"SET"[..], &name, b"v"]).unwrap();
    server.call(&["SET", "short", "v"]).unwrap();
    let harness = over_tcp(&server);
    for mode in ["replica", "scan"] {
        let result = harness.backup_with(&format!(r#"{{"mode":"{mode}"}}"#)).unwrap();
        assert!(codes(&result.findings).contains(&"long-names"), "{:?}", result.findings);
    }
    let snapshot = harness.last().unwrap();
    let target = Server::start_default().unwrap();
    let error = into_server(&snapshot, &target, "{}").unwrap_err();
    assert_eq!((error.kind, error.setting.as_deref()), (ErrorKind::Limit, Some("keys")), "{error}");
    let result = into_server(&snapshot, &target, r#"{"keys":["*"],"existing":"replace"}"#).unwrap();
    assert_eq!(target.call(&["KEYS", "*"]).unwrap(), "short");
    assert!(codes(&result.findings).contains(&"long-names"), "{:?}", result.findings);
}

#[test]
fn by_pattern_and_database() {
    let server = filled(Server::builder());
    let snapshot = snapshot_of(&server);
    let before = content(&server);
    let target = Server::start_default().unwrap();
    let options = r#"{"keys":["string:*","list"],"map-databases":{"5":3},"databases":[0,5]}"#;
    let result = into_server(&snapshot, &target, options).unwrap();
    let after = content(&target);
    let wanted = before
        .iter()
        .filter(|((database, key), _)| *database != u32::MAX && (key.starts_with(b"string:") || key == b"list"))
        .map(|((database, key), value)| ((if *database == 5 { 3 } else { *database }, key.clone()), value.clone()))
        .collect();
    // The target has no functions, which is a list without elements.
    let after: Frozen = after.into_iter().filter(|((database, _), _)| *database != u32::MAX).collect();
    assert_eq!(fact(&result.facts, "keys-restored"), after.len().to_string());
    assert_eq!(fact(&result.facts, "functions-restored"), "0");
    assert_same(&wanted, &after);
}

#[test]
fn values_larger_than_what_is_kept_and_lru_and_expired_keys() {
    let server = Server::builder()
        .setting("maxmemory-policy", "allkeys-lfu")
        .setting("maxmemory", "1gb")
        .start()
        .unwrap();
    let large = vec![b'x'; 40 << 20];
    let mut client = server.client().unwrap();
    client.call(&[&b"CONFIG"[..], b"SET", b"rdbcompression", b"no"]).unwrap();
    client.call(&[&b"SET"[..], b"large", &large]).unwrap();
    for number in 0..3000 {
        client.call(&["HSET", "many", &number.to_string(), &"y".repeat(3000)]).unwrap();
    }
    client.call(&["SET", "gone", "soon", "PX", "3000"]).unwrap();
    let snapshot = snapshot_of(&server);
    server
        .wait_until("a key did not expire", |client| {
            client.call(&["EXISTS", "gone"]).unwrap().text() == "0"
        })
        .unwrap();
    let target = Server::builder().setting("maxmemory-policy", "allkeys-lfu").start().unwrap();
    let result = into_server(&snapshot, &target, "{}").unwrap();
    assert_eq!(fact(&result.facts, "keys-restored"), "2");
    assert_eq!(fact(&result.facts, "keys-expired"), "1");
    assert_eq!(target.client().unwrap().call(&["GET", "large"]).unwrap().bytes(), large);
    assert_eq!(target.call(&["HLEN", "many"]).unwrap(), "3000");
}

#[test]
fn a_value_that_the_server_does_not_take_at_once() {
    let server = Server::start_default().unwrap();
    let large = vec![b'x'; 8 << 20];
    let mut client = server.client().unwrap();
    client.call(&["CONFIG", "SET", "rdbcompression", "no"]).unwrap();
    client.call(&[&b"SET"[..], b"large", &large]).unwrap();
    let snapshot = snapshot_of(&server);
    for (setting, enough) in [("proto-max-bulk-len", 9 << 20), ("client-query-buffer-limit", 10 << 20)] {
        let target = Server::builder().setting(setting, 2 << 20).start().unwrap();
        let error = into_server(&snapshot, &target, "{}").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Limit, "{error}");
        assert_says(&error, setting, "CONFIG SET");
        target.call(&["CONFIG", "SET", setting, &enough.to_string()]).unwrap();
        into_server(&snapshot, &target, "{}").unwrap();
        assert_eq!(target.call(&["STRLEN", "large"]).unwrap(), large.len().to_string());
    }
}

#[test]
fn many_keys_through_the_window() {
    let server = Server::builder().debug().start().unwrap();
    server.call(&["DEBUG", "POPULATE", "50000", "key", "20"]).unwrap();
    let snapshot = snapshot_of(&server);
    let target = Server::start_default().unwrap();
    into_server(&snapshot, &target, "{}").unwrap();
    assert_eq!(target.call(&["DBSIZE"]).unwrap(), "50000");
    assert_eq!(
        target.call(&["GET", "key:49999"]).unwrap(),
        server.call(&["GET", "key:49999"]).unwrap()
    );
}

#[test]
fn folders_that_hold_something_and_damaged_files_are_refused() {
    let server = filled(Server::builder());
    let snapshot = snapshot_of(&server);
    let folder = Scratch::new().unwrap();
    into_folder(&snapshot, &folder, "{}").unwrap();
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(folder.join("dump.rdb")).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let error = into_folder(&snapshot, &folder, "{}").unwrap_err();
    assert_eq!((error.kind, error.setting.as_deref()), (ErrorKind::Conflict, Some("overwrite")));
    into_folder(&snapshot, &folder, r#"{"overwrite":true}"#).unwrap();
    std::fs::remove_file(folder.join("dump.rdb")).unwrap();
    let error = into_folder(&snapshot, &folder, "{}").unwrap_err();
    assert_says(&error, "`acl.txt` already", "overwrite");
    assert!(!folder.join("dump.rdb").exists(), "the dataset was placed first");
    folder.folder("appendonlydir").unwrap();
    assert_says(
        &into_folder(&snapshot, &folder, r#"{"overwrite":true}"#).unwrap_err(),
        "appendonlydir",
        "empty directory",
    );

    let mut damaged = snapshot.clone();
    damaged.entries.get_mut(&b"dump.rdb"[..]).unwrap().content[500] ^= 1;
    let empty = Scratch::new().unwrap();
    let error = into_folder(&damaged, &empty, "{}").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt);
    assert!(!empty.join("dump.rdb").exists());
    let findings = Harness::new().snapshot(damaged).verified();
    assert_eq!(crate::setup::codes(&findings), ["rdb-damaged"]);
}

#[test]
fn a_target_says_what_it_is() {
    let server = filled(Server::builder());
    let snapshot = snapshot_of(&server);
    let folder = Scratch::new().unwrap();
    let both = over_tcp(&server)
        .snapshot(snapshot.clone())
        .directory("data", Directory::at(folder.path()));
    assert_eq!(both.restore::<Redis>("{}", "{}").unwrap_err().kind, ErrorKind::Config);
    let neither = Harness::new().snapshot(snapshot);
    assert_eq!(neither.restore::<Redis>("{}", "{}").unwrap_err().kind, ErrorKind::NotGranted);
}

#[test]
fn a_cluster_of_one_keeps_its_slots_together() {
    let servers = cluster(1, || Server::builder().debug()).unwrap();
    let mut client = servers[0].client().unwrap();
    for number in 0..100 {
        client.call(&["SET", &format!("key:{number}"), "v"]).unwrap();
    }
    let harness = over_tcp(&servers[0]);
    let result = harness.backup_with("{}").unwrap();
    let snapshot = harness.last().unwrap();
    assert_eq!(fact(&result.proof.facts, "keys"), "100");
    assert!(snapshot.entries.contains_key(&b"topology.json"[..]));
    assert!(
        snapshot
            .entries
            .keys()
            .any(|path| path.starts_with(b"shards/") && path.ends_with(b"/dump.rdb"))
    );
    let target = Server::start_default().unwrap();
    into_server(&snapshot, &target, "{}").unwrap();
    assert_eq!(target.call(&["DBSIZE"]).unwrap(), "100");
}
