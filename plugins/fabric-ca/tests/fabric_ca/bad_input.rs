//! Homes that are none, and databases that cannot be had: errors that say what to do, and no snapshot.

use std::fs;

use bulkhead_plugin_fabric_ca::FabricCa;
use bulkhead_sdk::{
    Error, ErrorKind,
    testing::{Directory, Harness},
    types::Severity,
};
use bulkhead_test_support::fabric_ca::CONFIG;

use crate::setup::{Desk, errors, told};

#[track_caller]
fn fails(desk: &Desk, config: &str, kind: ErrorKind, text: &str) -> Error {
    let error = desk.backup_with(config).unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.to_string().contains(text), "{error}");
    assert!(error.hint.is_some(), "{error}");
    assert!(desk.harness.snapshots().is_empty(), "nothing is committed");
    error
}

#[test]
fn a_folder_without_a_ca_is_not_mounted_rather_than_empty() {
    let harness = Harness::new().directory("home", Directory::temporary().read_only());
    let error = harness.backup::<FabricCa>("{}").unwrap_err();
    assert!(error.kind == ErrorKind::NotFound && error.hint.unwrap().contains("mounted"));
}

#[test]
fn a_database_that_stays_locked_is_waited_for_and_then_told() {
    use std::io::Write as _;
    let desk = Desk::root();
    let mut writer = std::process::Command::new("sqlite3")
        .arg(desk.home.join("fabric-ca-server.db"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = writer.stdin.take().unwrap();
    writeln!(input, "BEGIN EXCLUSIVE; SELECT 'locked';").unwrap();
    let mut line = [0; 7];
    std::io::Read::read_exact(writer.stdout.as_mut().unwrap(), &mut line).unwrap();
    let error = fails(&desk, r#"{ "busy-timeout": "200 ms" }"#, ErrorKind::TimedOut, "fabric-ca-server.db");
    assert!(error.retryable);
    let findings = desk.harness.check::<FabricCa>(r#"{ "busy-timeout": "100 ms" }"#).unwrap();
    assert_eq!(errors(&findings)[0].code, "database-unusable");
    drop(input);
    writer.wait().unwrap();
    desk.backup().unwrap();
}

#[test]
fn a_damaged_database_fails_the_run() {
    let desk = Desk::root();
    let path = desk.home.join("fabric-ca-server.db");
    let whole = fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 3000].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    fails(&desk, "{}", ErrorKind::SourceDamaged, "fabric-ca-server.db");
    fs::write(&path, vec![7; 5000]).unwrap();
    fails(&desk, "{}", ErrorKind::SourceDamaged, "no SQLite database");
    // A database, but none of a CA.
    fs::remove_file(&path).unwrap();
    bulkhead_test_support::fabric_ca::query(&path, "CREATE TABLE other (x)").unwrap();
    fails(&desk, "{}", ErrorKind::SourceDamaged, "no table `affiliations`");
    fs::write(&path, &whole).unwrap();
    desk.backup().unwrap();
}

#[test]
fn a_database_that_is_not_in_the_home_is_somebody_elses_to_back_up() {
    let desk = Desk::root();
    fs::rename(desk.home.join("fabric-ca-server.db"), desk.tree.path().join("moved.db")).unwrap();
    let error = fails(&desk, "{}", ErrorKind::NotFound, "fabric-ca-server.db");
    assert_eq!(error.setting.as_deref(), Some("server-home"));
    desk.home.change_config("type: sqlite3", "type: postgres").unwrap();
    desk.home
        .change_config(
            "datasource: fabric-ca-server.db",
            "datasource: host=db port=5432 user=ca password=x dbname=ca sslmode=verify-full",
        )
        .unwrap();
    let error = fails(&desk, "{}", ErrorKind::NotGranted, "`ca` is in PostgreSQL on db:5432");
    assert!(error.hint.unwrap().contains("database = \"elsewhere\""));
    let result = desk.backup_with(r#"{ "database": "elsewhere" }"#).unwrap();
    told(&result.findings, "database-elsewhere", Severity::Warning, "not of the same moment");
    let findings = desk.harness.verify::<FabricCa>(r#"{ "database": "elsewhere" }"#).unwrap();
    assert!(errors(&findings).is_empty(), "{findings:#?}");
}

#[test]
fn a_config_that_cannot_be_read_is_named() {
    let desk = Desk::root();
    desk.home.file(CONFIG, 0o644, "ca: [\n  name: }").unwrap();
    fails(&desk, "{}", ErrorKind::SourceDamaged, CONFIG);
    desk.home.file(CONFIG, 0o644, [0xff, 0xfe]).unwrap();
    fails(&desk, "{}", ErrorKind::SourceDamaged, CONFIG);
    desk.home
        .file(CONFIG, 0o644, format!("port: 7054\n#{}", "x".repeat(1 << 20)))
        .unwrap();
    fails(&desk, "{}", ErrorKind::Unsupported, CONFIG);
    // As with `fabric-ca-server init` that has ended too soon: a config, and nothing else.
    let tree = Directory::temporary();
    fs::write(tree.path().join(CONFIG), "port: 7054\n").unwrap();
    let harness = Harness::new().directory("home", tree.read_only());
    let error = harness.backup::<FabricCa>("{}").unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
}

#[test]
fn a_log_in_the_home_may_grow_and_a_wrong_pattern_is_named() {
    let desk = Desk::root();
    desk.home.file("server.log", 0o644, "started").unwrap();
    let result = desk.backup_with(r#"{ "exclude": ["*.log"] }"#).unwrap();
    assert!(result.findings.is_empty());
    assert!(desk.harness.content("home/server.log").is_none());
    let error = desk.backup_with(r#"{ "keys-elsewhere": ["[a"] }"#).unwrap_err();
    assert_eq!(error.setting.as_deref(), Some("keys-elsewhere[0]"));
}
