//! What a restore refuses, and what its options do.

use std::os::unix::fs::MetadataExt;

use bulkhead_sdk::{ErrorKind, testing::Snapshot};

use crate::setup::{Operations, Target, assert_says, builder, codes, exists, make_tablespace, over_tcp, superuser};

/// A snapshot of a small cluster with a tablespace, and the tablespace's OID.
fn snapshot() -> (Snapshot, u32) {
    let cluster = builder().start().unwrap();
    let oid = make_tablespace(&cluster, "fast");
    cluster
        .execute("postgres", "CREATE TABLE t (n int) TABLESPACE fast; INSERT INTO t VALUES (1)")
        .unwrap();
    let harness = over_tcp(&cluster);
    harness.backup_as(&superuser()).unwrap();
    (harness.last().unwrap(), oid)
}

#[test]
fn a_restore_needs_a_place_for_everything_and_options_shape_it() {
    let (snapshot, oid) = snapshot();
    refuses_what_is_missing_or_in_the_way(&snapshot, oid);
    restores_a_part(&snapshot, oid);
    restores_for_whoever_runs_it_as_a_standby(&snapshot, oid);
    fails_with_a_full_disk(&snapshot, oid);
}

fn refuses_what_is_missing_or_in_the_way(snapshot: &Snapshot, oid: u32) {
    let error = Target::new(&[]).restore(snapshot, "{}", &[]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotGranted);
    assert_says(&error, &format!("tablespace-{oid}"), &format!("directory.tablespace-{oid} = "));

    let target = Target::new(&[oid]);
    std::fs::write(target.path("data/precious"), "data").unwrap();
    let error = target.restore(snapshot, "{}", &[]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert_says(&error, "it has `precious`", "empty folder");
    assert_eq!(std::fs::read_dir(target.path("data")).unwrap().count(), 1, "nothing was written");

    let error = Target::new(&[oid]).restore(snapshot, "{}", &["data/nonsense"]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    let error = Target::new(&[oid]).restore(snapshot, r#"{"owner":"somebody"}"#, &[]).unwrap_err();
    assert_eq!(error.setting.as_deref(), Some("owner"));

    let target = Target::new(&[oid]);
    let options = r#"{"recovery":{"standby":false,"settings":[["recovery_target_name","a\nrestore_command = 'rm'"]]}}"#;
    let error = target.restore(snapshot, options, &[]).unwrap_err();
    assert_says(&error, "`recovery_target_name` of the recovery", "control characters");
    assert_eq!(std::fs::read_dir(target.path("data")).unwrap().count(), 0, "nothing was written");
}

fn restores_a_part(snapshot: &Snapshot, oid: u32) {
    let target = Target::new(&[]);
    let result = target.restore(snapshot, "{}", &["data/global", "data/PG_VERSION"]).unwrap();
    assert!(codes(&result.findings).contains(&"partial-restore"), "{:?}", result.findings);
    assert!(exists(&target.path("data/global/pg_control")) && exists(&target.path("data/PG_VERSION")));
    assert!(!exists(&target.path("data/base")));

    let target = Target::new(&[oid]);
    target.restore(snapshot, "{}", &[&format!("tablespaces/{oid}")]).unwrap();
    assert!(!exists(&target.path("data/PG_VERSION")));
    assert_eq!(std::fs::read_dir(target.path(&format!("tablespace-{oid}"))).unwrap().count(), 1);
}

fn restores_for_whoever_runs_it_as_a_standby(snapshot: &Snapshot, oid: u32) {
    let target = Target::new(&[oid]);
    target.restore(snapshot, r#"{"owner":"current","standby":true}"#, &[]).unwrap();
    let own = std::fs::metadata(target.path("data")).unwrap().uid();
    for name in ["data/PG_VERSION", "data/base", "data/standby.signal"] {
        assert_eq!(std::fs::metadata(target.path(name)).unwrap().uid(), own, "{name}");
    }
    let link = std::fs::read_link(target.path(&format!("data/pg_tblspc/{oid}"))).unwrap();
    assert_eq!(link, target.path(&format!("tablespace-{oid}")));
}

fn fails_with_a_full_disk(snapshot: &Snapshot, oid: u32) {
    let target = Target::new(&[oid]);
    target.folder("data").set_room(1 << 20);
    let error = target.restore(snapshot, "{}", &[]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::StorageFull);
    assert_says(&error, "bytes free", "free space");
    assert_eq!(
        std::fs::read_dir(target.path("data")).unwrap().count(),
        0,
        "it is known before anything is written"
    );

    let target = Target::new(&[oid]);
    target.folder("data").die_after(100);
    let error = target.restore(snapshot, "{}", &[]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Io);
    assert!(error.to_string().starts_with("restoring data/"), "{error}");
}
