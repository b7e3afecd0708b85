//! What every sink must do, as one suite: call [`sink`] from a test of the plugin.

use super::{Harness, SinkTester};
use crate::{
    ErrorKind,
    sink::{ByteRange, Sink},
};

/// Bytes of the object that is read in ranges: several transfers, and not a multiple of one.
const LARGE: usize = (1 << 20) + 4321;

/// Runs the suite against a new store that `harness` grants, of a sink made with `config`.
///
/// # Panics
/// Where the sink does not conform; the message says in what.
pub fn sink<P: Sink>(harness: &Harness, config: &str) {
    let mut sink: SinkTester<'_, P> = harness.sink(config).expect("the config is accepted");
    let traits = sink.traits().expect("`traits` succeeds");
    assert!(traits.max_object_size >= 64 << 20, "a store takes objects of at least 64 MiB");
    assert!(traits.concurrency >= 1, "at least one instance is worth running");
    sink.initialize().expect("an empty store can be initialized");
    assert_eq!(
        sink.list("").expect("an empty store can be listed"),
        [],
        "an initialized store holds no object"
    );

    objects_come_back(&mut sink);
    ranges_are_exact(&mut sink);
    puts_replace_or_refuse(&mut sink);
    listings_are_whole(&mut sink);
    removed_objects_are_gone(&mut sink);
}

fn content(length: usize) -> Vec<u8> {
    (0..length)
        .map(|position| (position.wrapping_mul(2_654_435_761) >> 7) as u8)
        .collect()
}

fn objects_come_back<P: Sink>(sink: &mut SinkTester<'_, P>) {
    for (key, length) in [("config", 155), ("keys/00aa", 1), ("data/ab/ab01", LARGE), ("index/0b", 0)] {
        sink.put(key, &content(length)).expect("an object is stored");
        assert_eq!(
            sink.get(key).expect("an object is read"),
            content(length),
            "{key} comes back as it was stored"
        );
        let object = sink.stat(key).expect("`stat` succeeds").expect("a stored object is there");
        assert_eq!((object.key.as_str(), object.size), (key, length as u64), "`stat` of {key}");
    }
    assert_eq!(sink.stat("data/ff/ffff").expect("`stat` of a missing object is no error"), None);
    assert_eq!(
        sink.get("data/ff/ffff").expect_err("a missing object cannot be read").kind,
        ErrorKind::NotFound
    );
}

fn ranges_are_exact<P: Sink>(sink: &mut SinkTester<'_, P>) {
    let whole = content(LARGE);
    for (offset, length) in [(0, 1), (0, LARGE), (1, 0), (1000, 700_000), (LARGE - 1, 1), (LARGE, 0)] {
        let range = ByteRange {
            offset: offset as u64,
            length: length as u64,
        };
        let part = sink.get_range("data/ab/ab01", Some(range)).expect("a range is read");
        assert!(
            part == whole[offset..offset + length],
            "bytes {offset}..{} are those that were stored",
            offset + length
        );
    }
    for (offset, length) in [(0, LARGE as u64 + 1), (LARGE as u64 + 1, 0), (5, u64::MAX)] {
        let error = sink
            .get_range("data/ab/ab01", Some(ByteRange { offset, length }))
            .expect_err("a range beyond the end fails");
        assert_eq!(error.kind, ErrorKind::Corrupt, "a range beyond the end: {error}");
    }
}

fn puts_replace_or_refuse<P: Sink>(sink: &mut SinkTester<'_, P>) {
    sink.put("keys/00aa", b"other").expect("an object can be replaced");
    assert_eq!(sink.get("keys/00aa").expect("an object is read"), b"other");
    let refused = sink
        .put_if_absent("keys/00aa", b"third")
        .expect_err("`if-absent` refuses to replace");
    assert_eq!(refused.kind, ErrorKind::AlreadyExists, "{refused}");
    assert_eq!(
        sink.get("keys/00aa").expect("an object is read"),
        b"other",
        "a refused put changes nothing"
    );
    sink.put_if_absent("keys/00bb", b"new")
        .expect("`if-absent` stores what is not there");
    assert_eq!(sink.get("keys/00bb").expect("an object is read"), b"new");
}

fn listings_are_whole<P: Sink>(sink: &mut SinkTester<'_, P>) {
    let mut keys = |prefix: &str| -> Vec<String> {
        sink.list(prefix)
            .expect("objects are listed")
            .into_iter()
            .map(|object| object.key)
            .collect()
    };
    assert_eq!(keys(""), ["config", "data/ab/ab01", "index/0b", "keys/00aa", "keys/00bb"]);
    assert_eq!(keys("keys/"), ["keys/00aa", "keys/00bb"]);
    assert_eq!(keys("keys/00b"), ["keys/00bb"]);
    assert_eq!(keys("data/ab/"), ["data/ab/ab01"]);
    assert_eq!(keys("snapshots/"), [""; 0]);
    let sizes: Vec<u64> = sink
        .list("data/")
        .expect("objects are listed")
        .into_iter()
        .map(|object| object.size)
        .collect();
    assert_eq!(sizes, [LARGE as u64]);
}

fn removed_objects_are_gone<P: Sink>(sink: &mut SinkTester<'_, P>) {
    sink.delete("keys/00aa").expect("an object is removed");
    sink.delete("keys/00aa").expect("removing what is not there is no error");
    assert_eq!(sink.stat("keys/00aa").expect("`stat` succeeds"), None);
    assert_eq!(sink.list("keys/").expect("objects are listed").len(), 1);
}
