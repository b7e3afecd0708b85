//! etcd's file: what looks at it as it passes, and what reads the keys in it.
#![no_main]

use bulkhead_plugin_etcd::{
    bolt::{Database, Scanner},
    store::Store,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let mut scanner = Scanner::default();
    let fed = file.chunks(3000).try_for_each(|part| scanner.feed(part));
    let _ = fed.and_then(|()| scanner.finish());
    if let Ok(mut store) = Store::open(file) {
        let _ = store.hash(i64::MAX, 3);
        let _ = store.leases();
        let _ = store.forwards(|change| change.decode().map(|_| true));
    }
    let _ = Database::open(file).and_then(|mut database| database.summarize());
});
