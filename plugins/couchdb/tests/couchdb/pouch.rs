//! PouchDB's server: a real one, over real HTTP, asked with the replication protocol's own questions what a restored database lacks.

use bulkhead_plugin_couchdb::CouchDb;
use bulkhead_sdk::{
    ErrorKind,
    testing::{Harness, HttpResponse},
};
use bulkhead_test_support::couchdb::{Client, Pouch};
use serde_json::{Value, json};

/// A harness whose endpoint is that server.
fn harness(server: &Pouch) -> Harness {
    let client = server.client();
    Harness::new().http("server", move |request| {
        let body = String::from_utf8(request.body.clone()).unwrap();
        let reply = client.send(&request.method, &request.path, &body).unwrap();
        HttpResponse::new(reply.status, reply.body)
    })
}

/// Neither lacks a leaf revision of the other, and attachments are the same bytes.
#[track_caller]
fn assert_replicas(one: (&Client, &str), other: (&Client, &str)) {
    for (from, to) in [(one, other), (other, one)] {
        let lacking = to.0.lacking(to.1, from).unwrap();
        assert_eq!(lacking, json!({}), "{} lacks what {} has", to.1, from.1);
    }
    for name in ["a.txt", "%C3%BC%20b.bin"] {
        let body = |side: (&Client, &str)| side.0.send("GET", &format!("/{}/att/{name}", side.1), "").unwrap().body;
        assert_eq!(body(one), body(other), "{name}");
        assert!(!body(one).is_empty());
    }
}

fn fill(client: &Client) {
    client.json("PUT", "/ledger", "").unwrap();
    let docs: Vec<Value> = (0..1_200)
        .map(|number| json!({ "_id": format!("doc{number}"), "number": number }))
        .collect();
    client
        .json("POST", "/ledger/_bulk_docs", &json!({ "docs": docs }).to_string())
        .unwrap();
    let revision = |id: &str, ids: &[&str], mut document: Value| {
        document["_id"] = json!(id);
        document["_rev"] = json!(format!("{}-{}", ids.len(), ids[0]));
        document["_revisions"] = json!({ "start": ids.len(), "ids": ids });
        document
    };
    let docs = json!({ "new_edits": false, "docs": [
        revision("conf", &["aa", "00"], json!({ "side": "a" })),
        revision("conf", &["bb", "00"], json!({ "side": "b" })),
        revision("conf", &["cc", "aa", "00"], json!({ "_deleted": true })),
        revision("gone", &["dd", "00"], json!({ "_deleted": true })),
    ] });
    client.json("POST", "/ledger/_bulk_docs", &docs.to_string()).unwrap();
    client
        .json("PUT", "/ledger/_design/app", r#"{ "language": "javascript" }"#)
        .unwrap();
    client.json("PUT", "/ledger/a%2Fb%20c", "{}").unwrap();
    let attachments = json!({ "x": 1, "_attachments": {
        "a.txt": { "content_type": "text/plain", "data": "aGVsbG8KaGVsbG8K" },
        "ü b.bin": { "content_type": "application/octet-stream", "data": "AAECAw==" },
    } });
    client.json("PUT", "/ledger/att", &attachments.to_string()).unwrap();
    client
        .json("PUT", "/ledger/_security", r#"{ "members": { "names": ["ann"], "roles": [] } }"#)
        .unwrap();
}

#[test]
fn a_real_server_comes_back_into_another_one_and_into_another_name() {
    let (server, fresh) = (Pouch::start().unwrap(), Pouch::start().unwrap());
    let (client, other) = (server.client(), fresh.client());
    fill(&client);
    let harness = harness(&server);
    let config = r#"{ "databases": ["ledger"] }"#;
    assert!(
        harness
            .check::<CouchDb>(config)
            .unwrap()
            .iter()
            .any(|finding| finding.code == "database-found")
    );
    let run = || {
        let result = harness.backup::<CouchDb>(config).unwrap();
        let value = |name: &str| result.proof.facts.iter().find(|fact| fact.name == name).unwrap().value.clone();
        [
            value("documents"),
            value("deleted-documents"),
            value("attachments"),
            value("documents-read"),
        ]
    };
    assert_eq!(run(), ["1204", "1", "2", "1205"]);

    // One per cent changes; the rest is not read again.
    for number in 0..12 {
        let path = format!("/ledger/doc{}", number * 100);
        let mut document = client.json("GET", &path, "").unwrap();
        document["changed"] = json!(true);
        client.json("PUT", &path, &document.to_string()).unwrap();
    }
    assert_eq!(run(), ["1204", "1", "2", "12"]);
    assert!(
        harness
            .verify::<CouchDb>("{}")
            .unwrap()
            .iter()
            .all(|finding| finding.code == "database-verified")
    );

    harness
        .restore::<CouchDb>("{}", r#"{ "rename": { "ledger": "restored" } }"#)
        .unwrap();
    assert_replicas((&client, "ledger"), (&client, "restored"));
    let elsewhere = self::harness(&fresh).snapshot(harness.last().unwrap());
    elsewhere.restore::<CouchDb>("{}", "{}").unwrap();
    assert_replicas((&client, "ledger"), (&other, "ledger"));
    let security = other.json("GET", "/ledger/_security", "").unwrap();
    assert_eq!(security["members"]["names"], json!(["ann"]));
    let refused = elsewhere.restore::<CouchDb>("{}", "{}").unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Conflict);
    elsewhere.restore::<CouchDb>("{}", r#"{ "existing": "merge" }"#).unwrap();
}
