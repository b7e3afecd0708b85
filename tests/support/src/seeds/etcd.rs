//! etcd: what a member sends to `etcdctl`, and its store.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::thread::{self, JoinHandle};

use crate::{
    Error, Result, Scratch,
    etcd::{Cluster, Release},
    run,
};

/// What was heard.
#[derive(Debug)]
pub struct Conversations {
    /// All bytes that the member sent, connection by connection (HTTP/2).
    pub http2: Vec<Vec<u8>>,
    /// gRPC messages in them (protobuf).
    pub messages: Vec<Vec<u8>>,
    /// The member's store (bbolt), without the trailer of a snapshot.
    pub store: Vec<u8>,
}

/// Bytes of the SHA-256 at the end of a snapshot.
const TRAILER: usize = 32;

/// Asks a member of everything that the plugin reads.
pub fn etcd() -> Result<Conversations> {
    let cluster = Cluster::builder(&Release::debian()?).start()?;
    for key in 0..60 {
        cluster.execute(["put", &format!("/key/{key:03}"), &"value ".repeat(key * 5)])?;
    }
    cluster.execute(["put", "/large", &"large".repeat(4000)])?;
    let scratch = Scratch::new()?;
    let snapshot = scratch.join("snapshot.db");
    let file = snapshot.to_string_lossy().into_owned();
    let commands: [&[&str]; 7] = [
        &["endpoint", "status", "--write-out", "json"],
        &["endpoint", "hashkv"],
        &["member", "list"],
        &["alarm", "list"],
        &["get", "/key/0", "--prefix"],
        &["get", "/nothing"],
        &["snapshot", "save", &file],
    ];
    let mut http2 = Vec::new();
    for command in commands {
        http2.extend(overheard(&cluster, command)?);
    }
    let mut store = std::fs::read(&snapshot).map_err(Error::on_path("read", &snapshot))?;
    store.truncate(store.len().saturating_sub(TRAILER));
    let messages: Vec<_> = http2.iter().flat_map(|bytes| messages(bytes)).collect();
    if messages.len() < commands.len() {
        return Err(Error::Unusable(format!("only {} messages of etcd were heard", messages.len())));
    }
    Ok(Conversations { http2, messages, store })
}

/// What the member says to a command of `etcdctl` that comes by way of us, connection by connection.
fn overheard(cluster: &Cluster, command: &[&str]) -> Result<Vec<Vec<u8>>> {
    let failed = || Error::io("cannot listen to a member of etcd");
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed())?;
    let address = listener.local_addr().map_err(failed())?;
    let member = cluster.address(0);
    let ended = Arc::new(AtomicBool::new(false));
    let relay = {
        let ended = Arc::clone(&ended);
        thread::spawn(move || relay(&listener, &member, &ended))
    };
    let outcome = run(&mut cluster.client_at(address, command));
    ended.store(true, Ordering::Release);
    // It waits for one more connection, unless it has failed: then it says why.
    let _ = TcpStream::connect(address);
    let panicked = |_| Error::Unusable("the relay panicked".to_owned());
    let heard = relay.join().map_err(panicked)?;
    outcome?;
    heard.map_err(failed())
}

/// Carries connections both ways until it has ended, and keeps what the member said.
fn relay(listener: &TcpListener, member: &str, ended: &AtomicBool) -> std::io::Result<Vec<Vec<u8>>> {
    let mut answers = Vec::new();
    loop {
        let (client, _) = listener.accept()?;
        if ended.load(Ordering::Acquire) {
            break;
        }
        let server = TcpStream::connect(member)?;
        carry(client.try_clone()?, server.try_clone()?);
        answers.push(carry(server, client));
    }
    let panicked = |_| std::io::Error::other("a thread panicked");
    let heard = answers.into_iter().map(|answer| answer.join().map_err(panicked));
    let heard = heard.collect::<std::io::Result<Vec<_>>>()?;
    Ok(heard.into_iter().filter(|bytes| !bytes.is_empty()).collect())
}

/// Passes on what comes until one side ends; a client that is done just hangs up.
fn carry(mut from: TcpStream, mut to: TcpStream) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut passed = Vec::new();
        let mut piece = [0; 65_536];
        while let Ok(read @ 1..) = from.read(&mut piece) {
            if to.write_all(&piece[..read]).is_err() {
                break;
            }
            passed.extend_from_slice(&piece[..read]);
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
        passed
    })
}

/// The gRPC messages in the DATA frames (RFC 9113, section 6.1) of one connection, stream by stream.
fn messages(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut streams = std::collections::BTreeMap::<[u8; 4], Vec<u8>>::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some((payload, behind)) = rest.split_at_checked(length) else {
            break;
        };
        if head[3] == 0 {
            streams
                .entry([head[5], head[6], head[7], head[8]])
                .or_default()
                .extend_from_slice(payload);
        }
        bytes = behind;
    }
    streams.values().flat_map(|stream| unframed(stream)).collect()
}

/// The messages of a stream, each behind a flag and its length.
fn unframed(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some((head, rest)) = stream.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let Some((message, behind)) = rest.split_at_checked(length) else {
            break;
        };
        messages.push(message.to_vec());
        stream = behind;
    }
    messages
}
