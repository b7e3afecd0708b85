//! CouchDB databases into a vault and back, through the sandbox and over real HTTP: PouchDB's server, and the tests' own where that is not enough.

use std::collections::BTreeMap;

use bulkhead_test_support::couchdb::{Answer, Client, Imitation, Pouch};
use bulkhead_test_support::{Bulkhead, Outcome};
use serde_json::{Value, json};

/// An installation with a vault, and a pipeline `ledger`.
struct Desk(Bulkhead);

impl Desk {
    /// `lines` of the pipeline's table, and targets.
    fn open(lines: &str) -> Self {
        let desk = Self(Bulkhead::new().unwrap());
        let text = format!("[pipeline.ledger]\nplugin = \"couchdb\"\nvault = \"main\"\n{lines}\n");
        desk.0.configure(&text).unwrap();
        desk.succeed(&["init", "main"]);
        desk
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        self.0.run(arguments).unwrap()
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, Some(0), "{arguments:?}\n{}{}", outcome.stdout, outcome.stderr);
        outcome.stdout
    }

    /// A run; the facts of its proof.
    fn back_up(&self) -> BTreeMap<String, String> {
        let report: Value = serde_json::from_str(&self.succeed(&["run", "ledger", "--json"])).unwrap();
        let text = report.to_string();
        let facts = find(&report, "facts")
            .unwrap_or_else(|| panic!("{text}"))
            .as_array()
            .unwrap()
            .clone();
        let pair = |fact: Value| {
            (
                fact["name"].as_str().unwrap().to_owned(),
                fact["value"].as_str().unwrap().to_owned(),
            )
        };
        facts.into_iter().map(pair).collect()
    }
}

/// The first member of that name, wherever it is.
fn find<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    match value {
        Value::Object(members) => members.get(name).or_else(|| members.values().find_map(|value| find(value, name))),
        Value::Array(items) => items.iter().find_map(|value| find(value, name)),
        _ => None,
    }
}

/// By the replication protocol's own question: which of the one's leaf revisions the other lacks.
#[track_caller]
fn assert_replicas(one: (&Client, &str), other: (&Client, &str)) {
    for (from, to) in [(one, other), (other, one)] {
        let lacking = to.0.lacking(to.1, from).unwrap();
        assert_eq!(lacking, json!({}), "{} lacks what {} has", to.1, from.1);
    }
}

fn fill(client: &Client) {
    client.json("PUT", "/ledger", "").unwrap();
    let docs: Vec<Value> = (0..1_200)
        .map(|number| json!({ "_id": format!("doc{number}"), "number": number }))
        .collect();
    let body = json!({ "docs": docs }).to_string();
    client.json("POST", "/ledger/_bulk_docs", &body).unwrap();
    let revision = |id: &str, rev: &str, ids: &[&str], more: Value| {
        let start = ids.len();
        let mut document = json!({ "_id": id, "_rev": rev, "_revisions": { "start": start, "ids": ids } });
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        document
    };
    let docs = json!({ "new_edits": false, "docs": [
        revision("conf", "2-aa", &["aa", "00"], json!({ "side": "a" })),
        revision("conf", "2-bb", &["bb", "00"], json!({ "side": "b" })),
        revision("conf", "3-cc", &["cc", "aa", "00"], json!({ "_deleted": true })),
        revision("gone", "2-dd", &["dd", "00"], json!({ "_deleted": true })),
    ] });
    client.json("POST", "/ledger/_bulk_docs", &docs.to_string()).unwrap();
    client
        .json("PUT", "/ledger/_design/app", r#"{ "language": "javascript" }"#)
        .unwrap();
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
fn a_server_comes_back_into_another_one_and_into_another_name() {
    let (server, fresh) = (Pouch::start().unwrap(), Pouch::start().unwrap());
    let client = server.client();
    fill(&client);
    let desk = Desk::open(&format!(
        "config = {{ databases = [\"ledger\"] }}\nlimits = {{ memory = \"32 MiB\" }}\nendpoint.server = {{ url = \"{}\" }}\n\
         [pipeline.ledger.target.fresh]\nendpoint.server = {{ url = \"{}\" }}\n\
         [pipeline.ledger.target.beside]\nendpoint.server = {{ url = \"{}\" }}\nconfig = {{ rename = {{ ledger = \"restored\" }} }}\n",
        server.url(),
        fresh.url(),
        server.url()
    ));
    desk.succeed(&["check"]);
    let facts = desk.back_up();
    assert_eq!((&facts["documents"][..], &facts["attachments"][..]), ("1203", "2"), "{facts:?}");

    // One per cent changes; the rest is not read again.
    for number in 0..12 {
        let id = format!("/ledger/doc{}", number * 100);
        let mut document = client.json("GET", &id, "").unwrap();
        document["changed"] = json!(true);
        client.json("PUT", &id, &document.to_string()).unwrap();
    }
    let facts = desk.back_up();
    assert_eq!((&facts["documents"][..], &facts["documents-read"][..]), ("1203", "12"), "{facts:?}");
    desk.succeed(&["verify", "--read-data"]);

    desk.succeed(&["restore", "ledger", "--target", "fresh"]);
    desk.succeed(&["restore", "ledger", "--target", "beside"]);
    for (client, database) in [(fresh.client(), "ledger"), (server.client(), "restored")] {
        assert_replicas((&server.client(), "ledger"), (&client, database));
        for name in ["a.txt", "%C3%BC%20b.bin"] {
            let body = |client: &Client, database: &str| client.send("GET", &format!("/{database}/att/{name}"), "").unwrap().body;
            assert_eq!(body(&client, database), body(&server.client(), "ledger"), "{name}");
        }
        let security = client.json("GET", &format!("/{database}/_security"), "").unwrap();
        assert_eq!(security["members"]["names"], json!(["ann"]));
    }
    let refused = desk.run(&["restore", "ledger", "--target", "fresh"]);
    assert_eq!(refused.code, Some(12), "{}", refused.stderr);
    assert!(refused.stderr.contains("is on the server already"), "{}", refused.stderr);
}

#[test]
fn large_attachments_and_opaque_sequences_pass_through_with_the_hosts_credentials() {
    let (server, fresh) = (Imitation::new(Some(("admin", "s3same"))), Imitation::new(None));
    let large: Vec<u8> = (0..48_u32 << 18)
        .flat_map(|number| number.wrapping_mul(0x9e37_79b1).to_be_bytes())
        .take(48 << 20)
        .collect();
    {
        let mut state = server.state();
        let ledger = state.database("ledger");
        for number in 0..3_000 {
            ledger.put(&format!("doc{number}"), json!({ "number": number }));
        }
        ledger.attach("doc7", "dump", Some(("application/octet-stream", &large)));
        ledger.attach("doc7", "notes.txt", Some(("text/plain", &b"plain words\n".repeat(9_000))));
        ledger.tombstone("doc9");
        ledger.conflict("doc11", &["2-zz", "1-f"], json!({ "side": "other" }));
    }
    let desk = Desk::open(&format!(
        "limits = {{ memory = \"32 MiB\" }}\n[pipeline.ledger.endpoint.server]\nurl = \"{}\"\n\
         auth = {{ basic = {{ user = \"admin\", password = {{ file = \"couchdb-password\" }} }} }}\n\
         [pipeline.ledger.target.fresh]\nlimits = {{ memory = \"32 MiB\" }}\nendpoint.server = {{ url = \"{}\" }}\n",
        server.serve().unwrap(),
        fresh.serve().unwrap()
    ));
    desk.0.scratch().private_file("couchdb-password", "wrong").unwrap();
    let refused = desk.run(&["run", "ledger"]);
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    assert!(refused.stderr.contains("endpoint.server.auth"), "{}", refused.stderr);
    desk.0.scratch().private_file("couchdb-password", "s3same\n").unwrap();
    let facts = desk.back_up();
    assert_eq!(
        (&facts["documents"][..], &facts["deleted-documents"][..], &facts["counts-equal"][..]),
        ("2999", "1", "1"),
        "{facts:?}"
    );
    server.state().database("ledger").put("doc13", json!({ "number": "changed" }));
    server.state().database("ledger").attach("doc7", "notes.txt", None);
    let facts = desk.back_up();
    assert_eq!((&facts["documents-read"][..], &facts["attachments"][..]), ("2", "1"), "{facts:?}");
    desk.succeed(&["verify", "--read-data"]);
    desk.succeed(&["restore", "ledger", "--target", "fresh"]);
    assert_eq!(
        fresh.state().database("ledger").content(),
        server.state().database("ledger").content()
    );

    // The snapshot before has what was removed since.
    let listed: Value = serde_json::from_str(&desk.succeed(&["snapshots", "--json"])).unwrap();
    assert_eq!(find(&listed, "snapshots").unwrap_or(&listed).as_array().unwrap().len(), 2);

    server.meddle(|request, _| {
        let mut headers = vec![("X-Padding".to_owned(), "x".repeat(64 << 10)); 1_000];
        headers.insert(0, ("Content-Type".to_owned(), "application/json".to_owned()));
        request.path.contains("_changes").then(|| Answer {
            headers,
            ..Answer::json(200, json!({ "results": [], "last_seq": "1-x", "pending": 0 }))
        })
    });
    let hostile = desk.run(&["run", "ledger"]);
    assert_ne!(hostile.code, Some(0));
    assert!(hostile.stderr.contains("its changes cannot be read"), "{}", hostile.stderr);
    let after: Value = serde_json::from_str(&desk.succeed(&["snapshots", "--json"])).unwrap();
    assert_eq!(after, listed, "nothing was committed");
}
