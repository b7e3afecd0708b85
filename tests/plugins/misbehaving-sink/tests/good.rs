//! What is meant to be good is good, so that a test that expects a failure gets the one it asked for.
#![expect(clippy::unwrap_used, reason = "tests")]

use bulkhead_sdk::{
    ErrorKind,
    testing::{Directory, Harness, conformance},
};
use misbehaving_sink::MisbehavingSink;

fn harness() -> Harness {
    Harness::new().directory("root", Directory::temporary())
}

#[test]
fn good_conforms() {
    conformance::sink::<MisbehavingSink>(&harness(), "{}");
}

#[test]
fn misbehaviour_begins_after_the_objects_it_was_told() {
    let harness = harness();
    let mut sink = harness
        .sink::<MisbehavingSink>(r#"{ "behaviour": "storage-full", "after": 2 }"#)
        .unwrap();
    sink.put("data/aa/aa1", b"1").unwrap();
    sink.put("keys/1", b"key").unwrap();
    sink.put("data/aa/aa2", b"2").unwrap();
    assert_eq!(sink.put("data/aa/aa3", b"3").unwrap_err().kind, ErrorKind::StorageFull);
    assert_eq!(sink.get("data/aa/aa1").unwrap(), b"1");
    assert_eq!(sink.list("data/").unwrap().len(), 2);
}

#[test]
fn lies_are_told() {
    let sink_that = |behaviour: &str| format!(r#"{{ "behaviour": "{behaviour}", "after": 1 }}"#);
    for (behaviour, expected) in [("corrupt", &b"\x60bcd"[..]), ("read-short", b"ab"), ("truncate", b"abcd")] {
        let harness = harness();
        let mut sink = harness.sink::<MisbehavingSink>(&sink_that(behaviour)).unwrap();
        sink.put("data/aa/aa1", b"abcd").unwrap();
        assert_eq!(sink.get("data/aa/aa1").unwrap(), expected, "{behaviour}");
        if behaviour == "truncate" {
            sink.put("data/aa/aa2", b"abcd").unwrap();
            assert_eq!(sink.get("data/aa/aa2").unwrap(), b"abc");
        }
    }
    let harness = harness();
    let mut lose = harness.sink::<MisbehavingSink>(r#"{ "behaviour": "lose" }"#).unwrap();
    lose.put("keys/1", b"key").unwrap();
    assert_eq!(lose.stat("keys/1").unwrap(), None);
}
