//! The plugin's logic, natively: no server, no component, plain `cargo test`.
#![expect(clippy::unwrap_used, reason = "tests")]

use bulkhead_sdk::{
    ErrorKind,
    testing::{Directory, Harness, HttpRequest, HttpResponse},
};
use http_source::HttpSource;

const CONFIG: &str = r#"{ "documents": ["export/users.json", "notes.txt"] }"#;

/// A server with two documents, one of which it can tell is unchanged.
fn server(request: &HttpRequest) -> HttpResponse {
    let has_tag = request
        .headers
        .iter()
        .any(|(name, value)| name == "if-none-match" && value == b"\"v1\"");
    match request.path.as_str() {
        "/export/users.json" if has_tag => HttpResponse::new(304, ""),
        "/export/users.json" => HttpResponse::new(200, r#"{"users": []}"#).header("ETag", "\"v1\""),
        "/notes.txt" => HttpResponse::new(200, "remember").header("Content-Length", "8"),
        _ => HttpResponse::new(404, "no such document"),
    }
}

#[test]
fn documents_come_back_as_they_were() {
    let target = Directory::temporary();
    let harness = Harness::new().http("server", server).directory("target", target.clone());
    harness.backup::<HttpSource>(CONFIG).unwrap();
    assert_eq!(harness.verify::<HttpSource>(CONFIG).unwrap(), []);
    let restored = harness.restore::<HttpSource>(CONFIG, "{}").unwrap();
    assert_eq!((restored.entries, restored.bytes), (2, 21));
    assert_eq!(
        std::fs::read_to_string(target.path().join("export/users.json")).unwrap(),
        r#"{"users": []}"#
    );

    // A second restore would overwrite what is there.
    assert_eq!(
        harness.restore::<HttpSource>(CONFIG, "{}").unwrap_err().kind,
        ErrorKind::AlreadyExists
    );
}

#[test]
fn an_unchanged_document_is_kept_unread() {
    let harness = Harness::new().http("server", server);
    harness.backup::<HttpSource>(CONFIG).unwrap();
    harness.backup::<HttpSource>(CONFIG).unwrap();
    assert_eq!(harness.snapshots()[0].entries, harness.snapshots()[1].entries);
    harness.backup::<HttpSource>(CONFIG).unwrap(); // the tag outlives a run that kept the document
}

#[test]
fn what_is_cut_off_never_becomes_a_snapshot() {
    for (response, kind) in [
        (HttpResponse::new(200, "half").header("Content-Length", "8"), ErrorKind::Protocol),
        (HttpResponse::new(200, "remember").break_after(3), ErrorKind::ConnectionLost),
        (HttpResponse::new(503, "maintenance"), ErrorKind::Server),
    ] {
        let harness = Harness::new().http("server", move |_| response.clone());
        assert_eq!(harness.backup::<HttpSource>(CONFIG).unwrap_err().kind, kind);
        assert_eq!(harness.snapshots(), []);
    }
}

#[test]
fn check_names_the_document_that_is_missing() {
    let harness = Harness::new().http("server", server);
    let findings = harness
        .check::<HttpSource>(r#"{ "documents": ["notes.txt", "gone.txt"] }"#)
        .unwrap();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].message, "HEAD /gone.txt was answered with status 404: no such document");
}

#[test]
fn verify_finds_json_that_is_none() {
    let harness = Harness::new().http("server", server);
    harness.backup::<HttpSource>(CONFIG).unwrap();
    harness.tamper(|snapshot| snapshot.entries.get_mut(&b"export/users.json"[..]).unwrap().content.truncate(5));
    let findings = harness.verify::<HttpSource>(CONFIG).unwrap();
    assert_eq!(findings[0].code, "not-json");
}

#[test]
fn a_wrong_config_is_told_by_its_setting() {
    let harness = Harness::new();
    let error = harness.check::<HttpSource>(r#"{ "document": [] }"#).unwrap_err();
    assert_eq!(
        (error.setting.as_deref(), error.hint.as_deref()),
        (Some("document"), Some("did you mean `documents`?"))
    );
    assert_eq!(
        harness
            .check::<HttpSource>(r#"{ "documents": [] }"#)
            .unwrap_err()
            .setting
            .as_deref(),
        Some("documents")
    );
}
