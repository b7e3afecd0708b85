//! The readers of foreign bytes under mutation: bbolt's pages, the keys within, and HTTP/2 with gRPC and protobuf on it.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::{Arc, Mutex},
    time::Duration,
};

use bulkhead_plugin_etcd::{
    Etcd,
    bolt::{Database, Scanner},
    store::Store,
};
use bulkhead_sdk::testing::{Endpoint, Harness};
use bulkhead_test_support::{
    etcd::{Cluster, Release},
    mutation::mutate,
};

use crate::{scripted::small_store, setup::harness};

/// A store with branches and overflow, without the trailer.
fn store() -> Vec<u8> {
    let cluster = Cluster::builder(&Release::debian().unwrap()).start().unwrap();
    for key in 0..60 {
        cluster
            .execute(["put", &format!("/key/{key:03}"), &"value ".repeat(key * 5)])
            .unwrap();
    }
    cluster.execute(["put", "/large", &"large".repeat(4000)]).unwrap();
    let harness = harness(&cluster);
    harness.backup::<Etcd>("{}").unwrap();
    let mut content = harness.content("snapshot.db").unwrap();
    content.truncate(content.len() - 32);
    content
}

#[test]
fn no_file_makes_the_scanner_panic() {
    let seeds = [store(), small_store()];
    Harness::new().run(|| {
        let inputs = mutate("scanner", &seeds, |file| {
            let mut scanner = Scanner::default();
            let fed = file.chunks(3000).try_for_each(|part| scanner.feed(part));
            let _ = fed.and_then(|()| scanner.finish());
        });
        assert!(inputs > 100, "{inputs}");
    });
}

#[test]
fn no_file_makes_the_reader_of_keys_panic_or_go_round_in_circles() {
    let seeds = [store(), small_store()];
    Harness::new().run(|| {
        let inputs = mutate("store", &seeds, |file| {
            if let Ok(mut store) = Store::open(file) {
                let _ = store.hash(i64::MAX, 3);
                let _ = store.leases();
                let _ = store.forwards(|change| change.decode().map(|_| true));
            }
            let _ = Database::open(file).and_then(|mut database| database.buckets());
        });
        assert!(inputs > 100, "{inputs}");
    });
}

#[test]
fn no_stream_makes_the_client_panic_or_wait_for_ever() {
    let recorded = crate::scripted::recording();
    Harness::new().run(|| ());
    let inputs = mutate("http2", &[recorded], |answer| {
        let answer = Arc::new(Mutex::new(answer.to_vec()));
        let script = move |mut socket: UnixStream| {
            let answer = answer.lock().unwrap().clone();
            // All at once: whatever the client asks, it has its answer.
            let _ = socket.write_all(&answer);
            let _ = socket.shutdown(std::net::Shutdown::Write);
            let _ = socket.set_read_timeout(Some(Duration::from_secs(5)));
            let mut rest = [0; 4096];
            while socket.read(&mut rest).is_ok_and(|count| count > 0) {}
        };
        let harness = Harness::new().endpoint("server", Endpoint::scripted(script));
        let _ = harness.backup::<Etcd>(r#"{"skip-hash":true}"#);
    });
    assert!(inputs > 10, "{inputs}");
}
