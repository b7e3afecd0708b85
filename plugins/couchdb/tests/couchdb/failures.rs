//! What goes wrong never becomes a snapshot, and is told.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use bulkhead_plugin_couchdb::CouchDb;
use bulkhead_sdk::{Error, ErrorKind, types::Severity};
use bulkhead_test_support::couchdb::{Answer, Request, State};
use serde_json::json;

use crate::setup::Desk;

/// What a backup fails with when `meddler` has its way.
fn fails(meddler: impl FnMut(&Request, &mut State) -> Option<Answer> + Send + 'static) -> Error {
    let desk = Desk::filled();
    desk.server.meddle(meddler);
    let error = desk.backup().unwrap_err();
    assert_eq!(desk.harness.snapshots(), []);
    assert!(
        error.hint.is_some() || error.kind == ErrorKind::Protocol || error.retryable,
        "what to do? {error:?}"
    );
    error
}

fn asks(request: &Request, part: &str) -> bool {
    request.path.contains(part)
}

#[test]
fn a_login_that_is_refused_or_expires_is_told_with_the_line_to_change() {
    for part in ["/_all_dbs", "/ledger/_changes", "/ledger/_bulk_get", "/ledger/att/"] {
        let error = fails(move |request, _| asks(request, part).then(|| Answer::failure(401, "unauthorized", "Authentication required.")));
        assert_eq!(error.kind, ErrorKind::Unauthenticated, "{part}");
        assert!(error.hint.unwrap().contains("endpoint.server.auth"), "{part}");
    }
    let desk = Desk::filled();
    desk.server
        .meddle(|request, _| asks(request, "/ledger/_security").then(|| Answer::failure(403, "forbidden", "You are not a db admin.")));
    let findings = desk.harness.check::<CouchDb>("{}").unwrap();
    let errors: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].message.starts_with("`ledger` cannot be read"), "{}", errors[0].message);
}

#[test]
fn a_session_that_ends_in_the_middle_is_begun_anew() {
    const CONFIG: &str = r#"{ "user": "admin", "attempts": 1 }"#;
    let desk = Desk::guarded("s3same");
    for number in 0..3_000 {
        desk.server.state().database("ledger").put(&format!("doc{number}"), json!({}));
    }
    desk.server.meddle({
        let (server, mut answers) = (desk.server.clone(), 0);
        move |_, _| {
            answers += 1;
            if answers % 5 == 0 {
                server.expire();
            }
            None
        }
    });
    desk.backup_with(CONFIG).unwrap();
    let logins = desk.server.requests().iter().filter(|request| request.contains("_session")).count();
    assert!(logins > 2, "{logins} logins");

    let stranger = Desk::guarded("wrong");
    let error = stranger.backup_with(CONFIG).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unauthenticated);
    assert!(error.to_string().contains("Name or password is incorrect"), "{error}");
    assert!(!format!("{error:?}").contains("wrong"), "{error:?}");
}

#[test]
fn requests_of_a_session_that_has_ended_do_not_end_the_next_one() {
    let desk = Desk::guarded("s3same");
    for number in 0..2_500 {
        desk.server.state().database("ledger").put(&format!("doc{number}"), json!({}));
    }
    // While batches and a page of the feed are on their way.
    let (server, mut batches) = (desk.server.clone(), 0);
    desk.server.meddle(move |request, _| {
        batches += u32::from(asks(request, "_bulk_get"));
        if asks(request, "_bulk_get") && batches == 2 {
            server.expire();
        }
        None
    });
    desk.backup_with(r#"{ "user": "admin", "attempts": 1 }"#).unwrap();
    let requests = desk.server.requests();
    let logins = requests.iter().filter(|request| request.contains("_session")).count();
    assert_eq!(logins, 2, "{requests:#?}");
}

#[test]
fn a_server_that_ends_each_session_at_once_is_not_asked_for_ever() {
    let desk = Desk::guarded("s3same");
    desk.server.state().database("ledger").put("doc", json!({}));
    desk.server.meddle({
        let server = desk.server.clone();
        move |request, _| {
            if asks(request, "/ledger/_changes") {
                server.expire();
            }
            None
        }
    });
    let error = desk.backup_with(r#"{ "user": "admin", "attempts": 1 }"#).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unauthenticated);
    let asked = desk
        .server
        .requests()
        .into_iter()
        .filter(|request| request.contains("/ledger/_changes"));
    assert_eq!(asked.count(), 4);
}

#[test]
fn a_shard_that_fails_is_the_servers_error_and_may_pass() {
    for part in ["/ledger/_changes", "/ledger/_bulk_get", "/ledger/att/"] {
        let error = fails(move |request, _| {
            asks(request, part).then(|| Answer::failure(500, "internal_server_error", "No DB shards could be opened."))
        });
        assert_eq!((error.kind, error.retryable), (ErrorKind::Server, true), "{part}");
        assert!(error.to_string().contains("No DB shards could be opened"), "{error}");
    }
    // Once only: it is asked again.
    let desk = Desk::filled();
    let mut failures = 0;
    desk.server.meddle(move |request, _| {
        failures += u32::from(asks(request, "_bulk_get"));
        (asks(request, "_bulk_get") && failures == 1).then(|| Answer::failure(500, "internal_server_error", "timeout"))
    });
    desk.backup_with("{ \"attempts\": 2 }").unwrap();
}

#[test]
fn answers_that_end_early_are_noticed_wherever_they_end() {
    for part in ["/ledger/_changes", "/ledger/_bulk_get", "/ledger/att/"] {
        for share in [0, 1, 50, 99] {
            let desk = Desk::filled();
            let whole = desk.server.clone();
            let mut nested = false;
            // As if the server had stopped talking, and as if it thought that this was all.
            for is_broken in [true, false] {
                let whole = whole.clone();
                nested |= is_broken;
                let cut = Desk::filled();
                let original = whole.clone();
                cut.server.meddle(move |request, _| {
                    if !asks(request, part) {
                        return None;
                    }
                    let mut answer = original.answer(request);
                    let length = answer.body.len() * share / 100;
                    if is_broken {
                        answer.break_after = Some(length);
                    } else {
                        answer.body.truncate(length);
                    }
                    Some(answer)
                });
                let error = cut.backup().unwrap_err();
                let expected = matches!(error.kind, ErrorKind::ConnectionLost | ErrorKind::SourceDamaged);
                assert!(expected, "{part} at {share} %: {error:?}");
                assert_eq!(cut.harness.snapshots(), []);
            }
            assert!(nested);
        }
    }
}

#[test]
fn what_an_answer_that_broke_off_still_owes_is_asked_for_again() {
    for part in ["/ledger/_changes", "/ledger/_bulk_get"] {
        let (desk, whole) = (Desk::filled(), Desk::filled());
        let asked = Arc::new(Mutex::new(Vec::new()));
        desk.server.meddle({
            let asked = Arc::clone(&asked);
            move |request, _| {
                if !asks(request, part) {
                    return None;
                }
                let mut asked = asked.lock().unwrap();
                asked.push(String::from_utf8_lossy(&request.body).into_owned());
                let mut answer = whole.server.answer(request);
                answer.break_after = (asked.len() == 1).then_some(answer.body.len() / 2);
                Some(answer)
            }
        });
        desk.backup_with("{ \"attempts\": 2 }").unwrap();
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 2, "{part}");
        if part.ends_with("_bulk_get") {
            assert!(asked[1].len() < asked[0].len() * 3 / 4, "half of it had come: {asked:?}");
        }
        let target = desk.elsewhere();
        target.restore("{}").unwrap();
        let content = |desk: &Desk| desk.server.state().database("ledger").content();
        assert_eq!(content(&target), content(&desk));
    }
}

/// Breaks off the first of the answers that `whole` gives to each request, in its middle; which requests these were.
fn break_first(desk: &Desk, whole: Desk, breaks: fn(&Request) -> bool) -> Arc<Mutex<BTreeSet<String>>> {
    let broken = Arc::new(Mutex::new(BTreeSet::new()));
    desk.server.meddle({
        let broken = Arc::clone(&broken);
        move |request, state| {
            if !breaks(request) || !broken.lock().unwrap().insert(format!("{} {}", request.method, request.path)) {
                return None;
            }
            std::mem::swap(state, &mut *whole.server.state());
            let mut answer = whole.server.answer(request);
            std::mem::swap(state, &mut *whole.server.state());
            answer.break_after = Some(answer.body.len() / 2);
            Some(answer)
        }
    });
    broken
}

#[test]
fn small_answers_that_break_off_are_asked_for_again_too() {
    let (desk, whole) = (Desk::filled(), Desk::empty());
    for number in 0..5 {
        desk.server
            .state()
            .database("ledger")
            .local(&format!("more{number}"), json!({ "number": number }));
    }
    // A document that is to be asked for as it is by then.
    whole.server.meddle(|request, state| {
        if asks(request, "_bulk_get") {
            state.database("ledger").put("doc7", json!({ "number": "seven" }));
            state.database("ledger").compact();
        }
        None
    });
    let broken = break_first(&desk, whole, |request| {
        let is_attachment = request.path.matches('/').count() > 2;
        !is_attachment
    });
    desk.backup_with(r#"{ "attempts": 2, "databases": ["ledger"], "local-documents": true }"#)
        .unwrap();
    let broken: Vec<String> = broken.lock().unwrap().iter().cloned().collect();
    let expected = [
        "GET /",
        "GET /_all_dbs",
        "GET /ledger",
        "GET /ledger/_changes?",
        "GET /ledger/_local_docs?",
        "GET /ledger/_purged_infos_limit",
        "GET /ledger/_revs_limit",
        "GET /ledger/_security",
        "GET /ledger/doc7?open_revs=all",
        "POST /ledger/_bulk_get?",
    ];
    assert_eq!(broken.len(), expected.len(), "{broken:#?}");
    assert!(
        broken.iter().zip(expected).all(|(path, expected)| path.starts_with(expected)),
        "{broken:#?}"
    );
    assert_eq!(desk.verify()[0].code, "database-verified");
    let entries = desk.harness.last().unwrap().entries;
    let local = entries.keys().filter(|path| path.starts_with(b"databases/ledger/local/"));
    assert_eq!(local.count(), 6);
}

#[test]
fn answers_to_a_restore_and_a_check_that_break_off_are_asked_for_again_too() {
    let desk = Desk::filled();
    desk.backup().unwrap();
    let target = desk.elsewhere();
    target.server.state().database("ledger").put("there", json!({}));
    let broken = break_first(&target, Desk::empty(), |request| asks(request, "/ledger/_revs_diff"));
    target
        .restore(r#"{ "attempts": 2, "existing": "merge", "databases": ["ledger"] }"#)
        .unwrap();
    assert_eq!(broken.lock().unwrap().len(), 1);
    let broken = break_first(&desk, Desk::empty(), |request| asks(request, "/ledger/_changes"));
    let findings = desk.harness.check::<CouchDb>(r#"{ "attempts": 2 }"#).unwrap();
    assert!(findings.iter().all(|finding| finding.severity == Severity::Info), "{findings:?}");
    assert_eq!(broken.lock().unwrap().len(), 1);
}

#[test]
fn an_answer_that_never_brings_a_whole_document_fails_the_run() {
    let (desk, original) = (Desk::empty(), Desk::empty());
    for server in [&desk.server, &original.server] {
        server.state().database("ledger").conflict("conf", &["2-aaa", "1-f"], json!({}));
        server.state().database("ledger").conflict("conf", &["2-bbb", "1-f"], json!({}));
    }
    let mut asked = 0;
    desk.server.meddle(move |request, _| {
        asked += u32::from(asks(request, "_bulk_get"));
        // Who asks for ever is let go, for the test to end.
        if !asks(request, "_bulk_get") || asked > 4 {
            return None;
        }
        let mut answer = original.server.answer(request);
        answer.break_after = String::from_utf8_lossy(&answer.body).rfind(r#"{"docs""#);
        assert!(answer.break_after.is_some_and(|end| end > 20), "one of two leaves comes");
        Some(answer)
    });
    let error = desk.backup_with("{ \"attempts\": 2 }").unwrap_err();
    assert_eq!(error.kind, ErrorKind::ConnectionLost, "{error:?}");
}

#[test]
fn a_feed_that_stops_or_repeats_itself_is_not_believed() {
    let stops = fails(|request, _| {
        asks(request, "/ledger/_changes").then(|| Answer::json(200, json!({ "results": [], "last_seq": "3-x", "pending": 20 })))
    });
    assert_eq!(stops.kind, ErrorKind::Protocol);
    let short = fails(|request, _| {
        let row = json!({ "seq": "1-x", "id": "doc1", "changes": [] });
        asks(request, "/ledger/_changes").then(|| Answer::json(200, json!({ "results": [row], "last_seq": "30-x", "pending": 0 })))
    });
    assert!(matches!(short.kind, ErrorKind::Protocol | ErrorKind::Conflict), "{short:?}");
    let fewer = fails(|request, _| {
        asks(request, "/ledger/_changes").then(|| Answer::json(200, json!({ "results": [], "last_seq": "30-x", "pending": 0 })))
    });
    assert_eq!(fewer.kind, ErrorKind::Conflict);
    assert!(
        fewer
            .to_string()
            .contains("24 documents and 1 deleted ones by its own account; 0 and 0 were stored"),
        "{fewer}"
    );
}

#[test]
fn documents_that_are_left_out_or_exchanged_are_not_believed() {
    for wrong in [
        json!({ "results": [] }),
        json!({ "results": [{ "id": "doc1", "docs": [{ "ok": { "_id": "doc2", "_rev": "1-x", "_revisions": { "start": 1, "ids": ["x"] } } }] }] }),
        json!({ "results": [{ "id": "stranger", "docs": [{ "error": {} }] }] }),
        json!({ "results": [{ "id": "doc1", "docs": [{ "ok": { "_id": "doc1", "_rev": "9-x", "_revisions": { "start": 9, "ids": ["x"] } } }] }] }),
        json!({ "results": [{ "id": "doc1", "docs": [{ "ok": { "_id": "doc1", "_rev": "1-x" } }] }] }),
    ] {
        let shown = wrong.to_string();
        let error = fails(move |request, _| asks(request, "/ledger/_bulk_get").then(|| Answer::json(200, &wrong)));
        assert_eq!(error.kind, ErrorKind::Protocol, "{shown}: {error:?}");
    }
}

#[test]
fn an_attachment_that_is_not_what_its_digest_says_is_the_servers_damage() {
    let error = fails(|request, _| {
        asks(request, "%C3%BC%20b%2F%C3%B6.bin").then(|| Answer {
            status: 200,
            headers: Vec::new(),
            body: vec![0, 1, 2, 254],
            break_after: None,
        })
    });
    assert_eq!(error.kind, ErrorKind::SourceDamaged);
}

#[test]
fn a_database_that_is_deleted_meanwhile_fails_the_run_and_before_it_does_not() {
    let error = fails(|request, state| {
        if asks(request, "/ledger/_bulk_get") {
            state.delete("ledger");
        }
        None
    });
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(error.to_string().contains("backing up `ledger` failed"), "{error}");
    let desk = Desk::filled();
    desk.server.meddle(|request, state| {
        if request.path == "/empty" {
            state.delete("ledger");
        }
        None
    });
    let result = desk.backup().unwrap();
    assert_eq!(result.findings[0].code, "database-deleted");
}

#[test]
fn what_is_too_large_is_told_by_the_setting_and_what_is_deep_is_stored() {
    let desk = Desk::filled();
    desk.server
        .state()
        .database("ledger")
        .put("large", json!({ "text": "x".repeat(8 << 20) }));
    let mut deep = json!({});
    for _ in 0..50 {
        deep = json!({ "deeper": [deep] });
    }
    desk.server.state().database("ledger").put("deep", deep);
    let error = desk.backup_with(r#"{ "max-document": "1 MiB" }"#).unwrap_err();
    assert_eq!((error.kind, error.setting.as_deref()), (ErrorKind::Limit, Some("max-document")));
    desk.backup().unwrap();
    let target = desk.elsewhere();
    target.restore("{}").unwrap();
    assert_eq!(
        target.server.state().database("ledger").content(),
        desk.server.state().database("ledger").content()
    );
}

#[test]
fn what_is_no_couchdb_is_told_by_its_url() {
    let error = fails(|request, _| (request.path == "/").then(|| Answer::json(200, "<html>It works!</html>")));
    assert_eq!(error.kind, ErrorKind::Protocol);
    assert!(error.hint.unwrap().contains("endpoint.server.url"));
    let desk = Desk::filled();
    let error = desk.backup_with(r#"{ "databases": ["nothing*"] }"#).unwrap_err();
    assert_eq!(error.setting.as_deref(), Some("databases"));
}
