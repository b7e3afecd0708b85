//! A verification notices whatever happens to a snapshot.

use bulkhead_sdk::{testing::Harness, testing::Snapshot, types::Severity};

use crate::setup::{Operations, builder, over_tcp, superuser};

#[test]
fn every_kind_of_damage_is_found_and_named() {
    let cluster = builder().start().unwrap();
    let harness = over_tcp(&cluster);
    harness.backup_as(&superuser()).unwrap();
    let good = harness.last().unwrap();
    let first_segment = good.entries.keys().find(|path| path.starts_with(b"data/pg_wal/0")).unwrap().clone();

    let found = |change: &dyn Fn(&mut Snapshot)| {
        let harness = Harness::new().snapshot(good.clone());
        harness.tamper(|snapshot| change(snapshot));
        let findings = harness.verified();
        assert_eq!(findings.len(), 1, "{findings:?}");
        (findings[0].severity, findings[0].code.clone(), findings[0].message.clone())
    };
    let damaged = |change: &dyn Fn(&mut Snapshot), code: &str, words: &str| {
        let (severity, found_code, message) = found(change);
        assert_eq!((severity, found_code.as_str()), (Severity::Error, code), "{message}");
        assert!(message.contains(words), "{message}");
    };
    let content =
        |snapshot: &mut Snapshot, path: &[u8], change: &dyn Fn(&mut Vec<u8>)| change(&mut snapshot.entries.get_mut(path).unwrap().content);

    assert_eq!(found(&|_| {}).1, "manifest-verified");
    damaged(
        &|snapshot| content(snapshot, b"data/global/1260", &|bytes| bytes[100] ^= 1),
        "files-damaged",
        "data/global/1260 (checksum)",
    );
    damaged(
        &|snapshot| content(snapshot, b"data/PG_VERSION", &|bytes| bytes.push(0)),
        "files-damaged",
        "data/PG_VERSION (4 bytes instead of 3)",
    );
    damaged(
        &|snapshot| drop(snapshot.entries.remove(&b"data/PG_VERSION"[..])),
        "files-damaged",
        "data/PG_VERSION (missing)",
    );
    damaged(
        &|snapshot| {
            let copy = snapshot.entries[&b"data/PG_VERSION"[..]].clone();
            snapshot.entries.insert(b"data/foreign".to_vec(), copy);
        },
        "files-damaged",
        "data/foreign (not in the manifest)",
    );
    damaged(
        &|snapshot| content(snapshot, b"backup_manifest", &|bytes| bytes[300] ^= 1),
        "manifest-damaged",
        "manifest",
    );
    damaged(
        &|snapshot| content(snapshot, b"backup_manifest", &|bytes| bytes.truncate(1000)),
        "manifest-damaged",
        "ends early",
    );
    damaged(
        &|snapshot| drop(snapshot.entries.remove(&first_segment)),
        "log-incomplete",
        "is missing",
    );
    damaged(
        &|snapshot| content(snapshot, &first_segment, &|bytes| bytes.truncate(8192)),
        "log-incomplete",
        "is missing",
    );
}
