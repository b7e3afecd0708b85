//! Listings of what is inside a dataset.

use bulkhead_plugin_redis::Redis;
use bulkhead_sdk::{
    ErrorKind,
    source::{BrowseRequest, Item},
    testing::Harness,
};
use bulkhead_test_support::redis::Server;

use crate::setup::{Operations, fact, filled, over_tcp};

fn list(harness: &Harness, prefix: &str, after: Option<&str>) -> Vec<Item> {
    let request = BrowseRequest {
        entry: b"dump.rdb".to_vec(),
        prefix: prefix.to_owned(),
        after: after.map(str::to_owned),
    };
    harness.browse::<Redis>("{}", request).unwrap()
}

#[test]
fn keys_with_type_size_and_expiry() {
    let server = filled(Server::builder());
    let harness = over_tcp(&server);
    harness.backup_with("{}").unwrap();
    let items = list(&harness, "0/string:l", None);
    let [large] = items.as_slice() else { panic!("{items:?}") };
    assert_eq!(large.name, "0/string:large");
    assert!(large.size.unwrap() >= 2 << 20);
    assert_eq!(fact(&large.facts, "type"), "string");
    let expiring = &list(&harness, "0/expiring", None)[0];
    assert_eq!(fact(&expiring.facts, "expires-at-ms"), "4102444800000");
    assert_eq!(list(&harness, "5/", None).len(), 2);
    assert_eq!(list(&harness, r"0/name:\x00", None).len(), 1);
    let request = BrowseRequest {
        entry: b"acl.txt".to_vec(),
        prefix: String::new(),
        after: None,
    };
    assert_eq!(harness.browse::<Redis>("{}", request).unwrap_err().kind, ErrorKind::Unsupported);
}

#[test]
fn pages_follow_each_other_without_gaps() {
    let server = Server::builder().debug().start().unwrap();
    server.call(&["DEBUG", "POPULATE", "25000", "key", "3"]).unwrap();
    let harness = over_tcp(&server);
    harness.backup_with("{}").unwrap();
    let mut names = Vec::new();
    loop {
        let page = list(&harness, "0/", names.last().map(String::as_str));
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 10_000);
        names.extend(page.into_iter().map(|item| item.name));
    }
    assert_eq!(names.len(), 25_000);
    assert!(names.is_sorted());
}
