//! The readers of foreign bytes under mutation: bbolt's pages, the keys within, HTTP/2, gRPC and protobuf.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::Arc,
    time::{Duration, Instant},
};

use bulkhead_grpc::{Channel, Options, Transport};
use bulkhead_plugin_etcd::{
    Etcd,
    bolt::{Database, Scanner},
    rpc::messages::{Empty, KeyValue, RangeResponse, StatusResponse},
    store::Store,
};
use bulkhead_sdk::{
    Error, ErrorKind,
    testing::{Endpoint, Harness},
};
use bulkhead_test_support::{mutation::mutate, seeds};

use prost::Message as _;

use crate::decoders::decode_as_everything;
use crate::scripted::{SNAPSHOT_STREAM, backup_of, begin, blob, data, end, framed, recording, small_store, status};

/// Files, of some 100 KiB, that are made of each seed.
const FILES: u64 = 1000;

/// Conversations, of some milliseconds each.
const STREAMS: u64 = 300;

/// How long a peer may be silent.
const PATIENCE: Duration = Duration::from_millis(50);

/// Messages of some 100 bytes.
const MESSAGES: u64 = 5000;

#[test]
fn no_file_makes_the_scanner_panic() {
    let seeds = [seeds::etcd().unwrap().store, small_store()];
    Harness::new().run(|| {
        mutate("scanner", &seeds, FILES, |file| {
            let mut scanner = Scanner::default();
            let fed = file.chunks(3000).try_for_each(|part| scanner.feed(part));
            let _ = fed.and_then(|()| scanner.finish());
        });
    });
}

#[test]
fn no_file_makes_the_reader_of_keys_panic_or_go_round_in_circles() {
    let seeds = [seeds::etcd().unwrap().store, small_store()];
    Harness::new().run(|| {
        mutate("store", &seeds, FILES, |file| {
            if let Ok(mut store) = Store::open(file) {
                let _ = store.hash(i64::MAX, 3);
                let _ = store.leases();
                let _ = store.forwards(|change| change.decode().map(|_| true));
            }
            let _ = Database::open(file).and_then(|mut database| database.summarize());
        });
    });
}

#[test]
fn no_stream_makes_the_client_panic() {
    mutate("http2", &[recording()], STREAMS, |answer| {
        let answer = Arc::new(answer.to_vec());
        let script = move |mut socket: UnixStream| {
            // All at once: whatever the client asks, it has its answer.
            let _ = socket.write_all(&answer);
            let _ = socket.shutdown(std::net::Shutdown::Write);
            let _ = socket.set_read_timeout(Some(Duration::from_secs(5)));
            let mut rest = [0; 4096];
            while socket.read(&mut rest).is_ok_and(|count| count > 0) {}
        };
        let harness = Harness::new().endpoint("server", Endpoint::scripted(script));
        let _ = harness.backup::<Etcd>(r#"{"skip-hash":true,"attempts":1}"#);
    });
}

#[test]
fn no_grpc_message_makes_the_client_panic() {
    // Frames that are right, around bytes that are not.
    let whole = framed(&blob(&small_store()[..9000]));
    mutate("grpc", &[whole, framed(b""), framed(&status())], STREAMS, |body| {
        let answer = [begin(SNAPSHOT_STREAM), data(SNAPSHOT_STREAM, body), end(SNAPSHOT_STREAM, "0", "")].concat();
        assert!(backup_of(answer).is_err(), "a part of a store is no store");
    });
}

/// A connection that stays open, whatever was sent.
struct Open(UnixStream);

impl Transport for Open {
    fn read(&mut self, max: usize, deadline: Option<Duration>) -> Result<Option<Vec<u8>>, Error> {
        let mut buffer = vec![0; max];
        self.0.set_read_timeout(deadline)?;
        match self.0.read(&mut buffer) {
            Ok(0) => Ok(None),
            Ok(count) => Ok(Some(buffer[..count].to_vec())),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Err(Error::new(ErrorKind::TimedOut, "nothing came")),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&mut self, data: &[u8]) -> Result<(), Error> {
        Ok(self.0.write_all(data)?)
    }

    fn address(&self) -> String {
        "open.test:1".to_owned()
    }
}

/// Asks for a status and then for all messages of a snapshot, of a peer that sends `answer` and then nothing, and leaves the connection open.
fn converse(answer: &[u8]) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let ended = ours.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _ = theirs.write_all(answer);
            let mut rest = [0; 4096];
            while theirs.read(&mut rest).is_ok_and(|count| count > 0) {}
        });
        let options = Options {
            deadline: PATIENCE,
            ..Options::default()
        };
        let mut channel = Channel::connect(Open(ours), options).unwrap();
        let _ = channel.unary::<StatusResponse>("/etcdserverpb.Maintenance/Status", &Empty {}, PATIENCE);
        if let Ok(mut call) = channel.start("/etcdserverpb.Maintenance/Snapshot", &Empty {}, None) {
            while let Ok(Some(_)) = channel.next(&mut call, PATIENCE) {}
        }
        let _ = ended.shutdown(std::net::Shutdown::Both);
    });
}

#[test]
fn no_stream_makes_the_client_wait_beyond_its_deadlines() {
    mutate("silence", &[recording()], STREAMS, |answer| {
        let begun = Instant::now();
        converse(answer);
        let took = begun.elapsed();
        assert!(took < PATIENCE * 3 + Duration::from_secs(10), "{took:?}");
    });
}

#[test]
fn frames_with_nothing_in_them_do_not_hold_a_deadline_up() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let ended = ours.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // An answer that begins, and then frames of data without any, for as long as they are read.
            let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
            let empty = [0, 0, 0, 0, 0, 0, 0, 0, 1].repeat(1000);
            let mut sent = theirs.write_all(&[&settings[..], &begin(1)].concat());
            while sent.is_ok() {
                sent = theirs.write_all(&empty);
            }
        });
        let mut channel = Channel::connect(Open(ours), Options::default()).unwrap();
        let begun = Instant::now();
        let answer = channel.unary::<StatusResponse>("/etcdserverpb.Maintenance/Status", &Empty {}, Duration::from_millis(300));
        assert!(
            answer.is_err() && begun.elapsed() < Duration::from_secs(10),
            "{:?}",
            begun.elapsed()
        );
        let _ = ended.shutdown(std::net::Shutdown::Both);
    });
}

#[test]
fn no_bytes_make_a_decoder_panic() {
    let key = KeyValue {
        key: b"/registry/pods/a".to_vec(),
        create_revision: 5,
        mod_revision: 1 << 40,
        version: 2,
        value: vec![7; 300],
        lease: i64::MAX,
    };
    let range = RangeResponse {
        kvs: vec![key.clone(), key.clone()],
        ..RangeResponse::default()
    };
    let mut seeds = seeds::etcd().unwrap().messages;
    seeds.retain(|message| message.len() < 4096);
    seeds.extend([status(), key.encode_to_vec(), range.encode_to_vec(), blob(b"pages")]);
    mutate("protobuf", &seeds, MESSAGES, decode_as_everything);
}
