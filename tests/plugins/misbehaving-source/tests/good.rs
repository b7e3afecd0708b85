//! What is meant to be good is good, so that a test that expects a failure gets the one it asked for.
#![expect(clippy::unwrap_used, reason = "tests")]

use bulkhead_sdk::{
    ErrorKind,
    testing::{Directory, Harness},
};
use misbehaving_source::{MisbehavingSource, path};

#[test]
fn good_content_goes_round() {
    let target = Directory::temporary();
    let harness = Harness::new().directory("target", target.clone());
    let config = r#"{ "entries": 5, "entry-size": 300001, "seed": 7 }"#;
    let result = harness.backup::<MisbehavingSource>(config).unwrap();
    assert_eq!((result.proof.entries, result.proof.bytes), (5, 5 * 300_001));
    assert_eq!(harness.verify::<MisbehavingSource>(config).unwrap(), []);
    harness.restore_paths::<MisbehavingSource>(config, "{}", &["data"]).unwrap();
    assert_eq!(
        std::fs::read(target.path().join(path(4))).unwrap(),
        harness.content(path(4)).unwrap()
    );

    harness.tamper(|snapshot| snapshot.entries.get_mut(path(2).as_bytes()).unwrap().content[99] ^= 1);
    assert_eq!(harness.verify::<MisbehavingSource>(config).unwrap().len(), 1);
}

#[test]
fn content_does_not_depend_on_parts_or_on_what_was_kept() {
    let content = |config: &str, runs: usize| {
        let harness = Harness::new();
        (0..runs).for_each(|_| _ = harness.backup::<MisbehavingSource>(config).unwrap());
        harness.last().unwrap().entries
    };
    let plain = content(r#"{ "entries": 6 }"#, 1);
    assert_eq!(content(r#"{ "entries": 6, "parts": 4 }"#, 1), plain);
    assert_eq!(content(r#"{ "entries": 6, "keep": 3 }"#, 2), plain);
    assert_ne!(content(r#"{ "entries": 6, "seed": 2 }"#, 1), plain);
}

#[test]
fn misbehaviour_never_becomes_a_snapshot() {
    for (behaviour, kind) in [
        ("error", ErrorKind::Server),
        ("false-entries", ErrorKind::Conflict),
        ("false-bytes", ErrorKind::Conflict),
        ("incomplete", ErrorKind::Conflict),
        ("unfinished-entry", ErrorKind::Internal),
        ("reserved-path", ErrorKind::PermissionDenied),
        ("not-granted", ErrorKind::NotGranted),
    ] {
        let harness = Harness::new();
        let error = harness
            .backup::<MisbehavingSource>(&format!(r#"{{ "behaviour": "{behaviour}" }}"#))
            .unwrap_err();
        assert_eq!(error.kind, kind, "{behaviour}: {error}");
        assert_eq!(harness.snapshots(), [], "{behaviour}");
    }
    let in_part = Harness::new()
        .backup::<MisbehavingSource>(r#"{ "behaviour": "fail-in-part", "parts": 2 }"#)
        .unwrap_err();
    assert_eq!(in_part.kind, ErrorKind::Server);
}
