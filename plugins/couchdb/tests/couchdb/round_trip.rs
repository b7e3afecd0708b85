//! All that is in a server comes back.

use bulkhead_plugin_couchdb::CouchDb;
use bulkhead_sdk::types::Severity;
use bulkhead_test_support::couchdb::Request;
use serde_json::{Value, json};

use crate::setup::Desk;

fn fact(proof: &bulkhead_sdk::types::Proof, name: &str) -> String {
    proof.facts.iter().find(|fact| fact.name == name).unwrap().value.clone()
}

/// Asks `target` for each leaf revision that `source` has.
fn lacks(source: &Desk, target: &Desk, database: &str, renamed: &str) -> Value {
    let mut asked = serde_json::Map::new();
    for (id, leaves) in source.server.state().database(database).content() {
        let revs: Vec<&str> = leaves.iter().filter_map(|leaf| leaf.split(' ').next()).collect();
        asked.insert(id, json!(revs));
    }
    let answer = target.server.answer(&Request {
        method: "POST".to_owned(),
        path: format!("/{renamed}/_revs_diff"),
        headers: Vec::new(),
        body: Value::Object(asked).to_string().into_bytes(),
    });
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn revision_trees_attachments_and_security_come_back_as_they_were() {
    let desk = Desk::filled();
    let result = desk.backup().unwrap();
    assert_eq!(result.findings, []);
    assert_eq!(fact(&result.proof, "databases"), "3");
    assert_eq!(
        fact(&result.proof, "documents"),
        "25",
        "19 of 20, and conf, a/b, long, app, att, ann"
    );
    assert_eq!(fact(&result.proof, "deleted-documents"), "1");
    assert_eq!(fact(&result.proof, "attachments"), "3");
    assert_eq!(fact(&result.proof, "counts-equal"), "3");

    let target = desk.elsewhere();
    let restored = target.restore("{}").unwrap();
    assert_eq!(restored.facts.iter().find(|fact| fact.name == "revisions").unwrap().value, "27");
    for (from, to) in [(&desk, &target), (&target, &desk)] {
        assert_eq!(lacks(from, to, "ledger", "ledger"), json!({}));
    }
    let content = |desk: &Desk, database: &str| desk.server.state().database(database).content();
    for database in ["ledger", "_users", "empty"] {
        assert_eq!(content(&desk, database), content(&target, database));
    }
    let security = |desk: &Desk| {
        let request = Request {
            method: "GET".to_owned(),
            path: "/ledger/_security".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        String::from_utf8(desk.server.answer(&request).body).unwrap()
    };
    assert_eq!(security(&desk), security(&target));
}

#[test]
fn a_snapshot_is_laid_out_so_that_people_find_their_way() {
    let desk = Desk::filled();
    desk.backup_with(r#"{ "databases": ["led*"], "local-documents": true }"#).unwrap();
    let text = |path: &str| String::from_utf8(desk.harness.content(path).unwrap()).unwrap();
    let conflicts = text("databases/ledger/documents/conf.json");
    let lines: Vec<Value> = conflicts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["_rev"], &lines[1]["_deleted"]), (&json!("2-bbb"), &json!(true)));
    assert!(text("databases/ledger/documents/a%2Fb c%25ü%0A.json").contains("deep"));
    assert!(text("databases/ledger/design/app.json").contains("views"));
    assert!(text("databases/ledger/local/checkpoint.json").contains("42"));
    assert!(text("databases/ledger/security.json").contains("alice"));
    let snapshot = desk.harness.last().unwrap();
    let compressed = snapshot
        .entries
        .keys()
        .filter(|path| path.starts_with(b"databases/ledger/attachments/att/md5-") && path.ends_with(b".gz"));
    assert_eq!(compressed.count(), 1);
    assert_eq!(snapshot.entries[&b"databases/ledger/documents/doc4.json"[..]].metadata.mode, 0o400);
    let record: Value = serde_json::from_str(&text("databases/ledger/database.json")).unwrap();
    assert_eq!(
        (&record["documents"], &record["deleted"], &record["counts"]),
        (&json!(24), &json!(1), &json!("equal"))
    );
}

#[test]
fn verify_counts_and_finds_what_is_damaged() {
    let desk = Desk::filled();
    desk.backup().unwrap();
    let findings = desk.verify();
    assert!(findings.iter().all(|finding| finding.code == "database-verified"), "{findings:?}");
    type Damage = fn(&mut bulkhead_sdk::testing::Snapshot);
    let damages: [(Damage, &str); 4] = [
        (
            |snapshot| _ = snapshot.entries.remove(&b"databases/ledger/documents/doc7.json"[..]),
            "proof-differs",
        ),
        (
            |snapshot| {
                snapshot
                    .entries
                    .get_mut(&b"databases/ledger/documents/doc7.json"[..])
                    .unwrap()
                    .content
                    .truncate(20)
            },
            "database-damaged",
        ),
        (
            |snapshot| {
                let at = |path: &&Vec<u8>| path.starts_with(b"databases/ledger/attachments/att/") && path.ends_with(b".gz");
                let path = snapshot.entries.keys().find(at).unwrap().clone();
                snapshot.entries.get_mut(&path).unwrap().content[20] ^= 1;
            },
            "database-damaged",
        ),
        (
            |snapshot| {
                let other = snapshot.entries[&b"databases/ledger/documents/doc8.json"[..]].clone();
                snapshot.entries.insert(b"databases/ledger/documents/doc7.json".to_vec(), other);
            },
            "database-damaged",
        ),
    ];
    for (damage, code) in damages {
        let desk = Desk::filled();
        desk.backup().unwrap();
        desk.harness.tamper(damage);
        let findings = desk.verify();
        let errors: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
        assert_eq!(errors.len(), 1, "{findings:?}");
        assert_eq!(errors[0].code, code, "{findings:?}");
    }
}

#[test]
fn check_says_who_the_server_is_and_what_peers_can_do_themselves() {
    let desk = Desk::filled();
    desk.server.state().database("fabric__internal");
    let findings = desk.harness.check::<CouchDb>("{}").unwrap();
    assert_eq!(findings[0].message, "CouchDB, version 3.4.3");
    assert_eq!(findings.iter().filter(|finding| finding.code == "database-found").count(), 4);
    assert!(findings.iter().any(|finding| finding.code == "fabric-state"));
    assert_eq!(desk.harness.snapshots(), []);
}

#[test]
fn more_documents_than_a_page_has_come_in_folders() {
    let desk = Desk::empty();
    for number in 0..2_345 {
        desk.server
            .state()
            .database("many")
            .put(&format!("{number:05}"), json!({ "number": number }));
    }
    desk.backup().unwrap();
    let pages = desk.server.requests().iter().filter(|request| request.contains("_changes")).count();
    assert_eq!(pages, 3);
    let snapshot = desk.harness.last().unwrap();
    let documents = snapshot
        .entries
        .keys()
        .filter(|path| path.starts_with(b"databases/many/documents/"));
    assert!(documents.clone().all(|path| path.iter().filter(|byte| **byte == b'/').count() == 4));
    assert_eq!(documents.count(), 2_345);
    let target = desk.elsewhere();
    target.restore("{}").unwrap();
    assert_eq!(lacks(&desk, &target, "many", "many"), json!({}));
    assert_eq!(target.server.state().database("many").counts(), (2_345, 0));
}
