//! A run goes on from the last one's snapshot, and its own is whole.

use bulkhead_sdk::testing::Snapshot;
use bulkhead_test_support::couchdb::Database;
use serde_json::json;

use crate::setup::Desk;

/// What a run reads again that has no snapshot to go on from.
fn from_nothing(desk: &Desk) -> Snapshot {
    let fresh = Desk::empty();
    std::mem::swap(&mut *fresh.server.state(), &mut *desk.server.state());
    let taken = fresh.backup();
    std::mem::swap(&mut *fresh.server.state(), &mut *desk.server.state());
    taken.unwrap();
    fresh.harness.last().unwrap()
}

/// Entries with something in them, but for records.
fn contents(snapshot: &Snapshot) -> Vec<(String, &[u8], u32)> {
    let shown = |path: &Vec<u8>| String::from_utf8(path.clone()).unwrap();
    let entries = snapshot
        .entries
        .iter()
        .map(|(path, entry)| (shown(path), &entry.content[..], entry.metadata.mode));
    entries
        .filter(|(path, content, _)| !content.is_empty() && !path.ends_with("database.json") && path != "inventory.json")
        .collect()
}

#[test]
fn what_has_not_changed_is_not_read_again() {
    let desk = Desk::filled();
    desk.backup().unwrap();
    desk.server.requests();
    let result = desk.backup().unwrap();
    assert_eq!(result.findings, []);
    let requests = desk.server.requests();
    let reads = requests
        .iter()
        .filter(|request| request.contains("_bulk_get") || request.contains("?rev="));
    assert_eq!(reads.count(), 0, "{requests:#?}");
    let snapshots = desk.harness.snapshots();
    assert_eq!(contents(&snapshots[0]), contents(&snapshots[1]));
}

#[test]
fn what_has_changed_takes_the_place_of_what_was() {
    let desk = Desk::filled();
    desk.backup().unwrap();
    {
        let mut state = desk.server.state();
        let ledger = state.database("ledger");
        ledger.put("doc1", json!({ "number": "one" }));
        ledger.tombstone("doc2");
        ledger.put("doc4", json!({ "back": true }));
        ledger.put("new", json!({}));
        ledger.put("_design/app", json!({ "views": { "by": {} } }));
        ledger.conflict("doc5", &["2-zzz", "1-f"], json!({ "other": true }));
        ledger.attach("att", "a.txt", None);
        ledger.attach("att", "c.txt", Some(("text/plain", b"new")));
        state.delete("empty");
        state.database("fresh").put("x", json!({}));
    }
    desk.server.requests();
    let result = desk.backup().unwrap();
    assert_eq!(result.findings, []);
    let read = result.proof.facts.iter().find(|fact| fact.name == "documents-read").unwrap();
    assert_eq!(read.value, "8");
    let attachments = desk.server.requests().iter().filter(|request| request.contains("?rev=")).count();
    assert_eq!(attachments, 1, "the others were there");
    let last = desk.harness.last().unwrap();
    let expected = from_nothing(&desk);
    assert_eq!(contents(&last), contents(&expected));
    assert!(
        desk.verify().iter().all(|finding| finding.code == "database-verified"),
        "{:?}",
        desk.verify()
    );

    // And back: an attachment that was emptied is needed again.
    desk.server
        .state()
        .database("ledger")
        .attach("att", "a.txt", Some(("text/plain", &b"hello\n".repeat(200))));
    desk.backup().unwrap();
    assert_eq!(contents(&desk.harness.last().unwrap()), contents(&from_nothing(&desk)));
    assert!(desk.verify().iter().all(|finding| finding.code == "database-verified"));
}

#[test]
fn a_database_that_is_another_one_is_read_anew() {
    let desk = Desk::filled();
    let anew = |why: &str| {
        let result = desk.backup().unwrap();
        let messages: Vec<_> = result.findings.iter().map(|finding| finding.message.clone()).collect();
        assert!(messages.len() == 1 && messages[0].contains(why), "{messages:?}");
        assert_eq!(contents(&desk.harness.last().unwrap()), contents(&from_nothing(&desk)));
    };
    desk.backup().unwrap();
    desk.server.state().database("ledger").rewind(9);
    anew("rewound");
    desk.server.state().database("ledger").purge("doc1");
    anew("purged");
    desk.server.state().delete("ledger");
    for number in 0..100 {
        desk.server.state().database("ledger").put(&format!("other{number}"), json!({}));
    }
    anew("made anew");
    for number in 0..9_000 {
        desk.server.state().database("ledger").put(&format!("more{number}"), json!({}));
    }
    anew("outgrown");
    assert_eq!(desk.backup().unwrap().findings, []);
}

#[test]
fn a_document_that_changes_meanwhile_is_in_the_snapshot_once_and_read_again_next_time() {
    let desk = Desk::empty();
    for number in 0..1_500 {
        desk.server
            .state()
            .database("busy")
            .put(&format!("doc{number}"), json!({ "edit": 0 }));
    }
    let mut pages = 0;
    desk.server.meddle(move |request, state| {
        pages += u32::from(request.path.contains("_changes"));
        if request.path.contains("_bulk_get") && pages == 1 {
            let busy = state.database("busy");
            busy.put("doc0", json!({ "edit": 1 }));
            // Replaced and compacted away between the feed and its being read.
            busy.put("doc700", json!({ "edit": 1 }));
            busy.put("doc1400", json!({ "edit": 1 }));
            busy.compact();
            busy.put("late", json!({}));
            pages += 1;
        }
        None
    });
    let result = desk.backup().unwrap();
    assert_eq!(result.findings.len(), 1);
    assert_eq!(result.findings[0].code, "changed-meanwhile");
    assert!(
        result.findings[0].message.starts_with("2 documents changed"),
        "{}",
        result.findings[0].message
    );
    desk.server.behave();
    let document = |id: &str| {
        let snapshot = desk.harness.last().unwrap();
        let name = format!("/{id}.json").into_bytes();
        let found: Vec<_> = snapshot.entries.into_iter().filter(|(path, _)| path.ends_with(&name)).collect();
        assert_eq!(found.len(), 1, "{id}");
        String::from_utf8(found[0].1.content.clone()).unwrap()
    };
    assert!(document("doc1400").contains(r#""edit":1"#));
    desk.backup().unwrap();
    assert!(document("doc0").contains(r#""edit":1"#));
    assert_eq!(contents(&desk.harness.last().unwrap()), contents(&from_nothing(&desk)));
}

/// Does something to `ledger` when one attachment of `att` is stored and the next one is asked for.
fn between_attachments(desk: &Desk, mut change: impl FnMut(&mut Database) + Send + 'static) {
    let mut asked = 0;
    desk.server.meddle(move |request, state| {
        asked += u32::from(request.path.starts_with("/ledger/att/"));
        if asked == 2 {
            asked += 1;
            change(state.database("ledger"));
        }
        None
    });
}

/// The last snapshot verifies, and the next one has nothing that documents do not have.
fn is_whole_and_clean_the_next_time(desk: &Desk) {
    let verified = |desk: &Desk| {
        let findings = desk.verify();
        assert!(findings.iter().all(|finding| finding.code == "database-verified"), "{findings:?}");
    };
    desk.server.behave();
    verified(desk);
    desk.backup().unwrap();
    verified(desk);
    assert_eq!(contents(&desk.harness.last().unwrap()), contents(&from_nothing(desk)));
}

#[test]
fn a_document_that_is_replaced_between_its_attachments_leaves_nothing_that_looks_like_damage() {
    for is_first in [true, false] {
        let desk = Desk::filled();
        if !is_first {
            desk.backup().unwrap();
            let mut state = desk.server.state();
            state.database("ledger").attach("att", "d", Some(("image/png", b"d")));
            state.database("ledger").attach("att", "e", Some(("image/png", b"e")));
        }
        between_attachments(&desk, |ledger| {
            for name in ["a.txt", "ü b/ö.bin", "d", "e"] {
                ledger.attach("att", name, None);
            }
            ledger.attach("att", "c.txt", Some(("text/plain", b"new")));
            ledger.compact();
        });
        desk.backup().unwrap();
        let restored = desk.elsewhere();
        restored.restore("{}").unwrap();
        let content = |desk: &Desk| desk.server.state().database("ledger").content();
        assert_eq!(content(&restored)["att"], content(&desk)["att"]);
        is_whole_and_clean_the_next_time(&desk);
    }
}

#[test]
fn a_document_that_is_purged_between_its_attachments_is_told() {
    let desk = Desk::filled();
    between_attachments(&desk, |ledger| ledger.purge("att"));
    let result = desk.backup().unwrap();
    let messages: Vec<_> = result
        .findings
        .iter()
        .map(|finding| (&finding.code[..], &finding.message[..]))
        .collect();
    assert_eq!(
        messages,
        [("documents-purged", "1 documents of `ledger` were purged before they could be read")]
    );
    is_whole_and_clean_the_next_time(&desk);
}

#[test]
fn all_is_read_where_that_is_configured() {
    let desk = Desk::filled();
    desk.backup().unwrap();
    let first = desk.harness.last().unwrap();
    desk.server.requests();
    desk.backup_with(r#"{ "read-all": true }"#).unwrap();
    assert!(desk.server.requests().iter().any(|request| request.contains("_bulk_get")));
    assert_eq!(contents(&first), contents(&desk.harness.last().unwrap()));
}
