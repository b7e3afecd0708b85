//! Restores into what is there: nothing is replaced by accident, the database alone, and what a restore goes back behind.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use bulkhead_plugin_fabric_ca::FabricCa;
use bulkhead_sdk::{
    ErrorKind,
    testing::{Directory, Harness},
    types::Severity,
};

use crate::setup::{Desk, coded, told};

#[test]
fn what_is_there_is_replaced_only_where_that_is_allowed() {
    let desk = Desk::root();
    desk.backup().unwrap();
    let target = Directory::temporary();
    desk.restore(&target, "{}", &[]).unwrap();
    let key = target
        .path()
        .join(desk.home.key_file().unwrap().strip_prefix(desk.home.path()).unwrap());
    fs::write(&key, "lost").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o666)).unwrap();
    let error = desk.restore(&target, "{}", &[]).unwrap_err();
    assert!(error.kind == ErrorKind::Conflict && error.hint.unwrap().contains("overwrite = true"));
    assert_eq!(
        fs::read(&key).unwrap(),
        b"lost",
        "nothing is written before everything was looked at"
    );
    desk.restore(&target, r#"{ "overwrite": true }"#, &[]).unwrap();
    assert_eq!(fs::read(&key).unwrap(), fs::read(desk.home.key_file().unwrap()).unwrap());
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o7777, 0o600);
    let nothing = desk.restore(&Directory::temporary(), "{}", &["home/nothing"]).unwrap_err();
    assert_eq!(nothing.kind, ErrorKind::NotFound);
}

#[test]
fn a_restore_of_the_database_alone_tells_what_it_goes_back_behind() {
    let desk = Desk::root();
    desk.backup().unwrap();
    desk.home.register("late", "client", "org1").unwrap();
    let issued = desk.home.enroll("late").unwrap();
    desk.home.revoke("peer0").unwrap();
    let snapshot = desk.harness.last().unwrap();

    // Over the live home: its database is the old one.
    let target = Directory::at(desk.home.path());
    let harness = Harness::new().directory("home", target).snapshot(snapshot.clone());
    let restored = harness
        .restore_paths::<FabricCa>("{}", r#"{ "overwrite": true }"#, &["home/fabric-ca-server.db"])
        .unwrap();
    assert_eq!(restored.entries, 1);
    told(&restored.findings, "registered-after", Severity::Warning, "late (client, org1)");
    told(&restored.findings, "issued-after", Severity::Warning, &issued.serial);
    told(&restored.findings, "revoked-after", Severity::Warning, "peer0");
    assert_eq!(desk.home.query("SELECT count(*) FROM users").unwrap(), "3");

    // Elsewhere, with the old home beside it; one without a database is told, and keeps nobody from restoring.
    let previous = Desk::root();
    previous.home.register("other", "client", "org2").unwrap();
    for (folder, code) in [
        (Directory::at(previous.home.path()), "registered-after"),
        (Directory::temporary(), "previous-unreadable"),
    ] {
        let harness = Harness::new()
            .directory("home", Directory::temporary())
            .directory("previous", folder.read_only())
            .snapshot(snapshot.clone());
        let restored = harness.restore::<FabricCa>("{}", "{}").unwrap();
        assert_eq!(coded(&restored.findings, code).len(), 1, "{:#?}", restored.findings);
    }
}
