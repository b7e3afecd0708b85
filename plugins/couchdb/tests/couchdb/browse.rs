//! Databases, documents and attachments, found in a snapshot by their own names and taken out by what they are stored as.

use bulkhead_plugin_couchdb::CouchDb;
use bulkhead_sdk::{
    ErrorKind, Result,
    source::{BrowseRequest, Item},
};
use serde_json::{Value, json};

use crate::setup::Desk;

fn browse(desk: &Desk, entry: &str, prefix: &str, after: Option<&str>) -> Result<Vec<Item>> {
    let request = BrowseRequest {
        entry: entry.as_bytes().to_vec(),
        prefix: prefix.to_owned(),
        after: after.map(str::to_owned),
    };
    desk.harness.browse::<CouchDb>("{}", request)
}

fn names(items: &[Item]) -> Vec<&str> {
    items.iter().map(|item| &item.name[..]).collect()
}

fn fact<'i>(item: &'i Item, name: &str) -> &'i str {
    item.facts.iter().find(|fact| fact.name == name).map_or("", |fact| &fact.value)
}

#[test]
fn a_document_and_its_attachments_are_found_by_their_names() {
    let desk = Desk::filled();
    desk.backup_with(r#"{ "attempts": 1, "local-documents": true }"#).unwrap();
    let databases = browse(&desk, "inventory.json", "", None).unwrap();
    assert_eq!(names(&databases), ["_users", "empty", "ledger"]);
    assert_eq!((fact(&databases[2], "documents"), fact(&databases[2], "deleted")), ("24", "1"));

    let record = fact(&databases[2], "entry");
    let documents = browse(&desk, record, "", None).unwrap();
    let long = "long".repeat(100);
    for id in ["_design/app", "_local/checkpoint", "a/b c%ü\n", "att", "conf", "doc4", &long] {
        assert!(names(&documents).contains(&id), "{id}: {:?}", names(&documents));
    }
    let mut sorted = names(&documents);
    sorted.sort_unstable();
    assert_eq!(names(&documents), sorted);
    assert_eq!(names(&browse(&desk, record, "doc1", Some("doc17")).unwrap()), ["doc18", "doc19"]);
    let one = |id: &str| documents.iter().find(|item| item.name == id).unwrap();
    assert_eq!((fact(one("doc4"), "deleted"), fact(one("doc5"), "deleted")), ("true", ""));
    let content = desk.harness.content(fact(one(&long), "entry")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&content).unwrap()["_id"], json!(long));

    let conflict = browse(&desk, fact(one("conf"), "entry"), "", None).unwrap();
    assert_eq!(names(&conflict), ["2-bbb", "3-ccc"]);
    assert_eq!((fact(&conflict[0], "deleted"), fact(&conflict[1], "deleted")), ("", "true"));

    let inside = browse(&desk, fact(one("att"), "entry"), "", None).unwrap();
    let revision = &inside[0].name;
    let attachment = |name: &str| inside.iter().find(|item| item.name == format!("{revision}/{name}")).unwrap();
    let binary = attachment("ü b/ö.bin");
    assert_eq!((binary.size, fact(binary, "content-type")), (Some(4), "application/octet-stream"));
    assert_eq!(desk.harness.content(fact(binary, "entry")).unwrap(), [0, 1, 2, 255]);
    let text = attachment("a.txt");
    assert_eq!(text.size, Some(1200));
    assert!(fact(text, "entry").ends_with(".gz"), "as CouchDB keeps it: {text:?}");
    assert!(desk.harness.content(fact(text, "entry")).is_some());

    let error = browse(&desk, "databases/ledger/security.json", "", None).unwrap_err();
    assert!(error.kind == ErrorKind::Unsupported && error.hint.unwrap().contains("inventory.json"));
}

#[test]
fn more_documents_than_a_page_come_in_their_order() {
    let desk = Desk::empty();
    for number in 0..12_345_u32 {
        desk.server
            .state()
            .database("many")
            .put(&format!("id{:05}", number.wrapping_mul(7_919) % 12_345), json!({}));
    }
    desk.backup().unwrap();
    let first = browse(&desk, "databases/many/database.json", "", None).unwrap();
    assert_eq!(first.len(), 10_000);
    let rest = browse(&desk, "databases/many/database.json", "", Some(&first[9_999].name)).unwrap();
    let all: Vec<&str> = names(&first).into_iter().chain(names(&rest)).collect();
    let expected: Vec<String> = (0..12_345).map(|number| format!("id{number:05}")).collect();
    assert_eq!(all, expected);
}
