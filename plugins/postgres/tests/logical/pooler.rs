//! A connection pooler in the server's place: what makes it one, a process number of its own, on a connection that is otherwise passed on as it is.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use bulkhead_plugin_postgres::Postgres;
use bulkhead_sdk::{
    ErrorKind,
    testing::{Endpoint, Harness},
    types::Severity,
};

use crate::setup::{assert_says, config, empty};

/// `BackendKeyData`: its type, and its length in bytes.
const KEY: [u8; 5] = [b'K', 0, 0, 0, 12];

/// Listens for connections, and passes each on to `server` with another process number. It ends with the test's process.
fn pooler(server: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
            let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
            thread::spawn(move || pass_on(server, client));
        }
    });
    address
}

fn pass_on(mut server: TcpStream, mut client: TcpStream) {
    let mut buffer = [0; 8192];
    while let Ok(length @ 1..) = server.read(&mut buffer) {
        let bytes = &mut buffer[..length];
        if let Some(place) = bytes.windows(KEY.len()).position(|window| window == KEY) {
            bytes[place + KEY.len()] ^= 0x40;
        }
        if client.write_all(bytes).is_err() {
            return;
        }
    }
}

#[test]
fn a_pooler_is_found_out() {
    let cluster = empty();
    let harness = Harness::new()
        .endpoint("server", Endpoint::tcp(pooler(cluster.address())))
        .secret("password", cluster.password());
    let error = harness.backup::<Postgres>(&config("")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
    assert_says(&error, "a connection pooler answers in the server's place", "5432");
    let checked = harness.check::<Postgres>(&config(""));
    let told = checked.map_or_else(
        |error| error.to_string(),
        |findings| {
            let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
            errors.map(|finding| finding.message.clone()).collect()
        },
    );
    assert!(told.contains("pooler"), "{told}");
}
