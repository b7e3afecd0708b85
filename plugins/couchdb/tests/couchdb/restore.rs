//! Into other names, beside what is there, in part, and again.

use bulkhead_plugin_couchdb::CouchDb;
use bulkhead_sdk::ErrorKind;
use bulkhead_test_support::couchdb::{Answer, Request};
use serde_json::json;

use crate::setup::Desk;

#[test]
fn a_database_goes_into_another_name_and_one_that_is_there_is_refused_first() {
    let desk = Desk::filled();
    desk.backup().unwrap();
    let before = desk.server.state().database("ledger").content();
    desk.server.requests();
    let refused = desk.restore("{}").unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Conflict);
    assert!(refused.hint.unwrap().contains("merge"));
    assert!(desk.server.requests().iter().all(|request| request.starts_with("GET")));

    desk.restore(r#"{ "databases": ["ledger"], "rename": { "ledger": "ledger-restored" } }"#)
        .unwrap();
    assert_eq!(desk.server.state().database("ledger-restored").content(), before);
    let wrong = desk.restore(r#"{ "rename": { "nothing": "x" } }"#).unwrap_err();
    assert_eq!(wrong.setting.as_deref(), Some("rename.nothing"));
    let clash = desk.elsewhere().restore(r#"{ "rename": { "ledger": "empty" } }"#).unwrap_err();
    assert_eq!(clash.kind, ErrorKind::Config);
}

#[test]
fn what_is_there_is_merged_with_and_not_sent_again() {
    let desk = Desk::filled();
    desk.backup().unwrap();
    let saved = desk.server.state().database("ledger").content();
    {
        let mut state = desk.server.state();
        state.database("ledger").purge("doc9");
        state.database("ledger").put("later", json!({}));
    }
    let restored = desk.restore(r#"{ "existing": "merge" }"#).unwrap();
    let fact = |name: &str| restored.facts.iter().find(|fact| fact.name == name).unwrap().value.clone();
    assert_eq!((fact("revisions"), fact("revisions-present")), ("1".to_owned(), "26".to_owned()));
    let mut merged = desk.server.state().database("ledger").content();
    assert!(merged.remove("later").is_some());
    assert_eq!(merged, saved);
}

#[test]
fn an_interrupted_restore_is_resumed() {
    let desk = Desk::filled();
    desk.backup().unwrap();
    let target = desk.elsewhere();
    target.server.meddle(|request, _| {
        let is_design = String::from_utf8_lossy(&request.body).contains("_design/app");
        (request.method == "PUT" && is_design).then(|| Answer::failure(500, "internal_server_error", "No DB shards could be opened."))
    });
    let failed = target.restore(r#"{ "attempts": 1 }"#).unwrap_err();
    assert_eq!((failed.kind, failed.retryable), (ErrorKind::Server, true));
    assert!(failed.hint.unwrap().contains("merge"));
    target.server.behave();
    target.restore(r#"{ "existing": "merge" }"#).unwrap();
    assert_eq!(
        target.server.state().database("ledger").content(),
        desk.server.state().database("ledger").content()
    );
}

#[test]
fn one_document_comes_back_alone() {
    let desk = Desk::filled();
    desk.backup().unwrap();
    let target = desk.elsewhere();
    let restored = target
        .harness
        .restore_paths::<CouchDb>("{}", "{}", &["databases/ledger/documents/att.json"])
        .unwrap();
    assert_eq!(restored.facts.iter().find(|fact| fact.name == "documents").unwrap().value, "1");
    let content = target.server.state().database("ledger").content();
    assert_eq!(content.keys().collect::<Vec<_>>(), ["att"]);
    assert_eq!(content["att"], desk.server.state().database("ledger").content()["att"]);
}

#[test]
fn replications_begin_only_where_that_is_asked_for() {
    let desk = Desk::filled();
    desk.server
        .state()
        .database("_replicator")
        .put("job", json!({ "source": "a", "target": "b" }));
    desk.backup().unwrap();
    let target = desk.elsewhere();
    let restored = target.restore("{}").unwrap();
    assert_eq!(restored.findings[0].code, "replicator-left-out");
    assert_eq!(target.server.state().database("_replicator").counts(), (0, 0));
    let target = desk.elsewhere();
    assert_eq!(target.restore(r#"{ "replicator": true }"#).unwrap().findings, []);
    assert_eq!(target.server.state().database("_replicator").counts(), (1, 0));
}

#[test]
fn revisions_that_are_refused_fail_the_restore() {
    let desk = Desk::filled();
    desk.backup().unwrap();
    let target = desk.elsewhere();
    target.server.meddle(|request, _| {
        let refused = json!([{ "id": "doc1", "rev": "1-x", "error": "forbidden", "reason": "not today" }]);
        request.path.contains("/ledger/_bulk_docs").then(|| Answer::json(201, refused))
    });
    let error = target.restore("{}").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Server);
    assert!(error.to_string().contains("`doc1` (forbidden: not today)"), "{error}");
}

#[test]
fn local_documents_come_back_where_that_is_asked_for() {
    let desk = Desk::filled();
    desk.backup_with(r#"{ "attempts": 1, "local-documents": true }"#).unwrap();
    let local = |desk: &Desk| desk.server.state().database("ledger").local_documents();
    let target = desk.elsewhere();
    target.restore("{}").unwrap();
    assert!(local(&target).is_empty());
    // What is there is left alone.
    let target = desk.elsewhere();
    target.server.state().database("ledger").local("checkpoint", json!({ "last": 7 }));
    desk.server.state().database("ledger").local("a/b", json!({ "since": 1.50 }));
    desk.backup_with(r#"{ "attempts": 1, "local-documents": true }"#).unwrap();
    let target = target_with(&desk, target);
    let restored = target.restore(r#"{ "local-documents": true }"#).unwrap();
    let fact = |name: &str| restored.facts.iter().find(|fact| fact.name == name).unwrap().value.clone();
    assert_eq!(fact("local-documents"), "1");
    let found = local(&target);
    assert_eq!(
        (&found["_local/checkpoint"], &found["_local/a/b"]),
        (&json!({ "last": 7 }), &json!({ "since": 1.50 }))
    );
}

/// The same server, with the last snapshot of `desk`.
fn target_with(desk: &Desk, target: Desk) -> Desk {
    Desk {
        harness: target.harness.snapshot(desk.harness.last().unwrap()),
        server: target.server,
    }
}

#[test]
fn a_restore_that_breaks_off_in_the_middle_sends_only_the_rest_again() {
    let desk = Desk::empty();
    for number in 0..3_500 {
        desk.server
            .state()
            .database("ledger")
            .put(&format!("doc{number:05}"), json!({ "number": number }));
    }
    desk.backup().unwrap();
    let target = desk.elsewhere();
    let mut batches = 0;
    target.server.meddle(move |request, _| {
        batches += u32::from(request.path.ends_with("/_bulk_docs"));
        (batches > 2).then(|| Answer::failure(500, "internal_server_error", "No DB shards could be opened."))
    });
    target.restore(r#"{ "attempts": 1 }"#).unwrap_err();
    let (there, _) = target.server.state().database("ledger").counts();
    assert_eq!(there, 2_000);
    target.server.behave();
    let restored = target.restore(r#"{ "existing": "merge" }"#).unwrap();
    let fact = |name: &str| restored.facts.iter().find(|fact| fact.name == name).unwrap().value.clone();
    assert_eq!(
        (fact("revisions"), fact("revisions-present")),
        ("1500".to_owned(), "2000".to_owned())
    );
    assert_eq!(
        target.server.state().database("ledger").content(),
        desk.server.state().database("ledger").content()
    );
}

#[test]
fn a_database_gets_the_shards_and_copies_that_it_had() {
    let desk = Desk::empty();
    desk.server.state().database("ledger").put("one", json!({}));
    desk.backup().unwrap();
    let made = |desk: &Desk| {
        let target = desk.elsewhere();
        target.restore("{}").unwrap();
        let requests = target.server.requests();
        requests.into_iter().find(|request| request.starts_with("PUT /ledger?")).unwrap()
    };
    // One copy is what a single server has; a cluster decides by itself.
    assert_eq!(made(&desk), "PUT /ledger?q=2");
    desk.harness.tamper(|snapshot| {
        let entry = snapshot.entries.get_mut(&b"inventory.json"[..]).unwrap();
        let text = String::from_utf8(entry.content.clone()).unwrap();
        entry.content = text.replace("\"n\": 1", "\"n\": 3").into_bytes();
    });
    assert_eq!(made(&desk), "PUT /ledger?q=2&n=3");
}

#[test]
fn who_may_read_users_is_the_servers_own_affair_and_told_where_it_differs() {
    let desk = Desk::filled();
    desk.server
        .state()
        .database("_users")
        .secure(json!({ "members": { "roles": ["peer"] }, "admins": {} }));
    desk.backup().unwrap();
    let target = desk.elsewhere();
    let restored = target.restore("{}").unwrap();
    let codes: Vec<&str> = restored.findings.iter().map(|finding| &finding.code[..]).collect();
    assert_eq!(codes, ["security-kept"]);
    assert!(restored.findings[0].hint.as_ref().unwrap().contains("users_db_security_editable"));
    assert_eq!(target.server.state().database("_users").counts(), (1, 0));
    let same = Desk::filled();
    same.backup().unwrap();
    assert_eq!(same.elsewhere().restore("{}").unwrap().findings, []);
}

#[test]
fn what_is_secret_is_so_from_its_first_document_on() {
    let desk = Desk::filled();
    desk.backup().unwrap();
    let target = desk.elsewhere();
    target.restore("{}").unwrap();
    let requests = target.server.requests();
    let place = |request: &str| requests.iter().position(|made| made == request).unwrap();
    assert!(place("PUT /ledger/_security") < place("POST /ledger/_bulk_docs"), "{requests:#?}");
}

#[test]
fn a_write_that_misses_the_quorum_is_told() {
    let desk = Desk::filled();
    desk.backup().unwrap();
    let (target, other) = (desk.elsewhere(), desk.elsewhere());
    target.server.meddle(move |request, state| {
        let is_write = request.path.contains("/ledger/_bulk_docs");
        is_write.then(|| {
            std::mem::swap(state, &mut *other.server.state());
            let mut answer = other.server.answer(request);
            std::mem::swap(state, &mut *other.server.state());
            answer.status = 202;
            answer
        })
    });
    let restored = target.restore("{}").unwrap();
    assert_eq!(restored.findings[0].code, "quorum-missed");
    let content = |desk: &Desk| desk.server.state().database("ledger").content();
    assert_eq!(content(&target), content(&desk));
}

#[test]
fn what_is_too_large_for_the_target_is_told_with_its_setting() {
    let desk = Desk::filled();
    desk.backup().unwrap();
    for part in ["/ledger/_bulk_docs", "/ledger/att"] {
        let target = desk.elsewhere();
        target.server.meddle(move |request, _| {
            request
                .path
                .contains(part)
                .then(|| Answer::failure(413, "document_too_large", "doc1"))
        });
        let error = target.restore("{}").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Limit, "{part}");
        assert!(error.hint.unwrap().contains("max_document_size"), "{part}");
    }
}

#[test]
fn counts_of_a_copy_that_is_behind_are_asked_for_again() {
    let desk = Desk::filled();
    desk.backup().unwrap();
    let target = desk.elsewhere();
    let (mut is_filled, mut asked) = (false, 0);
    target.server.meddle(move |request, _| {
        is_filled |= request.path == "/ledger/_bulk_docs";
        let is_count = is_filled && request.path == "/ledger";
        asked += u32::from(is_count);
        (is_count && asked == 1).then(|| Answer::json(200, json!({ "doc_count": 3, "doc_del_count": 0 })))
    });
    target.restore(r#"{ "attempts": 2, "databases": ["ledger"] }"#).unwrap();
}

#[test]
fn counts_that_cannot_be_had_are_asked_for_as_often_as_is_configured() {
    let desk = Desk::filled();
    desk.backup().unwrap();
    let target = desk.elsewhere();
    let mut is_filled = false;
    target.server.meddle(move |request, _| {
        is_filled |= request.path == "/ledger/_bulk_docs";
        let is_count = is_filled && request.path == "/ledger";
        is_count.then(|| Answer::failure(500, "internal_server_error", "No DB shards could be opened."))
    });
    target.restore(r#"{ "attempts": 2, "databases": ["ledger"] }"#).unwrap_err();
    let requests = target.server.requests();
    let written = requests.iter().position(|request| request.ends_with("/_bulk_docs")).unwrap();
    let counts = requests[written..].iter().filter(|request| *request == "GET /ledger");
    assert_eq!(counts.count(), 2);
}

const LIMITS: [(&str, &str); 2] = [("_revs_limit", "1200"), ("_purged_infos_limit", "12")];

/// What a server answers about a setting of `ledger`.
fn setting(desk: &Desk, method: &str, name: &str, body: &str) -> String {
    let request = Request {
        method: method.to_owned(),
        path: format!("/ledger/{name}"),
        headers: Vec::new(),
        body: body.as_bytes().to_vec(),
    };
    String::from_utf8(desk.server.answer(&request).body).unwrap()
}

/// A server whose `ledger` has limits of its own, backed up.
fn limited() -> Desk {
    let desk = Desk::filled();
    for (name, limit) in LIMITS {
        setting(&desk, "PUT", name, limit);
    }
    desk.backup().unwrap();
    desk
}

fn has_limits(target: &Desk) {
    for (name, limit) in LIMITS {
        assert_eq!(setting(target, "GET", name, ""), limit, "{name}");
    }
}

#[test]
fn settings_of_a_database_come_back() {
    let target = limited().elsewhere();
    assert_eq!(target.restore("{}").unwrap().findings, []);
    has_limits(&target);
}

#[test]
fn a_restore_that_was_interrupted_before_the_limits_sets_them_when_it_goes_on() {
    for (interrupted, _) in LIMITS {
        let target = limited().elsewhere();
        target.server.meddle(move |request, _| {
            let is_it = request.method == "PUT" && request.path.ends_with(interrupted);
            is_it.then(|| Answer::failure(500, "internal_server_error", "No DB shards could be opened."))
        });
        target.restore(r#"{ "attempts": 1, "databases": ["ledger"] }"#).unwrap_err();
        assert_eq!(target.server.state().database("ledger").counts(), (0, 0));
        target.server.behave();
        target.restore(r#"{ "existing": "merge" }"#).unwrap();
        has_limits(&target);
    }
}

#[test]
fn a_database_with_documents_keeps_its_limits_and_one_that_cuts_histories_is_told() {
    let target = limited().elsewhere();
    target.server.state().database("ledger").put("there", json!({}));
    let restored = target.restore(r#"{ "existing": "merge" }"#).unwrap();
    let codes: Vec<&str> = restored.findings.iter().map(|finding| &finding.code[..]).collect();
    assert_eq!(codes, ["histories-shorter"]);
    assert!(restored.findings[0].message.contains("1000"), "{}", restored.findings[0].message);
    assert_eq!(setting(&target, "GET", "_revs_limit", ""), "1000");
}

#[test]
fn a_limit_that_a_server_does_not_know_is_told() {
    let target = limited().elsewhere();
    target.server.meddle(|request, _| {
        let is_it = request.path == "/ledger/_purged_infos_limit";
        is_it.then(|| Answer::failure(404, "not_found", "missing"))
    });
    let restored = target.restore("{}").unwrap();
    let codes: Vec<&str> = restored.findings.iter().map(|finding| &finding.code[..]).collect();
    assert_eq!(codes, ["limit-not-restored"]);
    assert_eq!(setting(&target, "GET", "_revs_limit", ""), "1200");
}
