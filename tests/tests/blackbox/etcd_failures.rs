//! What fails on the way to an etcd or in it, as an operator sees it: the exit code, the message with its next action, and no snapshot.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bulkhead_test_support::etcd::{Cluster, Release};
use bulkhead_test_support::{Bulkhead, Outcome};
use serde_json::Value;

/// What values are made of, so that it can be found in the stream.
const MARK: &str = "marked value ";

/// What becomes of the bytes that a server sends.
#[derive(Debug, Clone)]
enum Fault {
    /// A bit is another one in the first occurrence of these bytes in each connection, in their byte at this place.
    Change(Vec<u8>, usize),
    /// The connection ends after so many bytes.
    Cut(usize),
}

/// Stands between a client and a server, until the test's process ends; returns its address.
fn proxy(server: String, fault: Fault) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let upstream = TcpStream::connect(&server).unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
            let fault = fault.clone();
            std::thread::spawn(move || relay(upstream, client, fault));
        }
    });
    address
}

fn relay(mut from: TcpStream, mut to: TcpStream, fault: Fault) {
    let (mut buffer, mut passed, mut changed) = (vec![0; 64 << 10], 0, false);
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let mut part = &mut buffer[..count];
        match fault {
            Fault::Change(ref bytes, place) if !changed => {
                if let Some(found) = part.windows(bytes.len()).position(|window| window == bytes) {
                    part[found + place] ^= 1;
                    changed = true;
                }
            }
            Fault::Cut(after) if passed + count > after => part = &mut part[..after - passed],
            _ => {}
        }
        passed += part.len();
        if to.write_all(part).is_err() || part.len() < count {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// A vault and a pipeline `registry`, which reads from this address with this config.
fn installation(address: &str, config: &str) -> Bulkhead {
    let bulkhead = Bulkhead::new().unwrap();
    configure(&bulkhead, address, config);
    assert_eq!(bulkhead.run(["init", "main"]).unwrap().code, Some(0));
    bulkhead
}

fn configure(bulkhead: &Bulkhead, address: &str, config: &str) {
    let pipeline = format!(
        "[pipeline.registry]\nplugin = \"etcd\"\nvault = \"main\"\nconfig = {config}\n\
         endpoint.server = {{ address = \"{address}\", tls = {{ mode = \"disable\" }} }}\n"
    );
    bulkhead.configure(&pipeline).unwrap();
}

/// A run that fails with this exit code, says these, and leaves no snapshot.
fn fails(bulkhead: &Bulkhead, code: i32, says: &[&str]) -> String {
    let Outcome { code: ended, stderr, .. } = bulkhead.run(["run", "registry"]).unwrap();
    assert_eq!(ended, Some(code), "{stderr}");
    for text in says {
        assert!(stderr.contains(text), "`{text}` is not in: {stderr}");
    }
    assert_eq!(snapshots(bulkhead), 0, "{stderr}");
    stderr
}

fn snapshots(bulkhead: &Bulkhead) -> usize {
    let listed = bulkhead.run(["snapshots", "--json"]).unwrap();
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    listed["snapshots"].as_array().unwrap().len()
}

#[test]
fn a_stream_that_is_changed_or_cut_on_its_way_is_no_snapshot() {
    let cluster = Cluster::builder(&Release::distro().unwrap()).start().unwrap();
    cluster.execute(["put", "/key", &MARK.repeat(5000)]).unwrap();
    let changed = proxy(cluster.address(0), Fault::Change(MARK.into(), 0));
    let bulkhead = installation(&changed, "{}");
    fails(&bulkhead, 10, &["SHA-256", "try again"]);
    // Who hangs up before the first answer is perhaps no etcd; within the snapshot, it says how far it came, unless we were just about to say something. How
    // the end of a connection is told in between depends on who is quicker, too.
    for (after, says) in [
        (0, ["is etcd's client port"; 2]),
        (2000, ["etcd at"; 2]),
        (60_000, ["broke off after", "Broken pipe"]),
    ] {
        configure(&bulkhead, &proxy(cluster.address(0), Fault::Cut(after)), "{}");
        let stderr = fails(&bulkhead, 5, &["etcd at"]);
        assert!(says.iter().any(|says| stderr.contains(says)), "{stderr}");
        assert!(!stderr.contains("in time"), "a lost connection is not waited for: {stderr}");
    }
    configure(&bulkhead, &proxy(cluster.address(0), Fault::Cut(usize::MAX)), "{}");
    assert_eq!(
        bulkhead.run(["run", "registry"]).unwrap().code,
        Some(0),
        "the proxy itself is in nobody's way"
    );
}

#[test]
fn a_store_that_has_reached_its_quota_is_backed_up_only_where_that_is_accepted() {
    let cluster = Cluster::builder(&Release::debian().unwrap())
        .argument("--quota-backend-bytes=1048576")
        .start()
        .unwrap();
    let value = "v".repeat(100_000);
    let refused = (0..20).any(|number| cluster.execute(["put", &format!("/{number}"), &value]).is_err());
    assert!(refused, "the quota is not kept");
    let bulkhead = installation(&cluster.address(0), "{}");
    fails(&bulkhead, 11, &["NOSPACE", "etcdctl alarm disarm", "accept = [\"no-space\"]"]);
    assert_eq!(bulkhead.run(["check"]).unwrap().code, Some(14));
    configure(&bulkhead, &cluster.address(0), "{ accept = [\"no-space\"] }");
    let accepted = bulkhead.run(["run", "registry"]).unwrap();
    assert_eq!(accepted.code, Some(0), "{}", accepted.stderr);
    assert!(accepted.stderr.contains("NOSPACE"), "what is accepted is told: {}", accepted.stderr);
    assert_eq!(snapshots(&bulkhead), 1);
}

#[test]
fn a_member_without_a_leader_is_read_from_only_where_that_is_accepted() {
    let cluster = Cluster::builder(&Release::distro().unwrap()).members(3).start().unwrap();
    cluster.execute(["put", "/key", "value"]).unwrap();
    let bulkhead = installation(&cluster.address(0), "{}");
    cluster.kill_member(1).unwrap();
    cluster.kill_member(2).unwrap();
    let begin = Instant::now();
    while has_leader(&cluster) {
        assert!(begin.elapsed() < Duration::from_secs(60), "the member still knows a leader");
        std::thread::sleep(Duration::from_millis(100));
    }
    fails(&bulkhead, 6, &["no leader", "quorum", "accept = [\"no-leader\"]"]);
    configure(&bulkhead, &cluster.address(0), "{ accept = [\"no-leader\"], skip-hash = true }");
    let saved = bulkhead.run(["run", "registry"]).unwrap();
    assert_eq!(saved.code, Some(0), "{}", saved.stderr);
    assert_eq!(snapshots(&bulkhead), 1);
}

fn has_leader(cluster: &Cluster) -> bool {
    let status = cluster.execute_on(0, ["endpoint", "status", "--write-out", "json"]).unwrap();
    let status: Value = serde_json::from_str(&status).unwrap();
    status[0]["Status"]["leader"].as_u64().unwrap_or(0) != 0
}

/// What `HashKV` answers of its hash: field 2, a number of as many bytes as it needs.
fn hash_field(cluster: &Cluster) -> Vec<u8> {
    let told = cluster.execute_on(0, ["endpoint", "hashkv", "--write-out", "json"]).unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    let mut hash = told[0]["HashKV"]["hash"].as_u64().unwrap();
    let mut field = vec![0x10];
    while hash > 0x7f {
        field.push((hash & 0x7f) as u8 | 0x80);
        hash >>= 7;
    }
    field.push(hash as u8);
    field
}

#[test]
fn members_that_tell_different_hashes_leave_no_snapshot_unless_that_is_accepted() {
    let cluster = Cluster::builder(&Release::debian().unwrap()).members(3).start().unwrap();
    cluster.execute(["put", "/key", "value"]).unwrap();
    let lying = proxy(cluster.address(1), Fault::Change(hash_field(&cluster), 1));
    let configure = |bulkhead: &Bulkhead, addresses: &[&str], accept: &str| {
        let pipeline = format!(
            "[pipeline.registry]\nplugin = \"etcd\"\nvault = \"main\"\nconfig = {{ accept = [{accept}] }}\n\
             endpoint.server = {{ addresses = {addresses:?}, tls = {{ mode = \"disable\" }} }}\n"
        );
        bulkhead.configure(&pipeline).unwrap();
    };
    let bulkhead = installation(&cluster.address(0), "{}");
    let honest = [&cluster.address(0)[..], &cluster.address(1)];
    configure(&bulkhead, &[honest[0], &lying], "");
    fails(
        &bulkhead,
        10,
        &["disagree about the keys", "endpoint hashkv", "accept = [\"corrupt\"]"],
    );
    configure(&bulkhead, &[honest[0], &lying], "\"corrupt\"");
    let saved = bulkhead.run(["run", "registry", "--json"]).unwrap();
    assert_eq!((saved.code, snapshots(&bulkhead)), (Some(0), 1), "{}", saved.stderr);
    assert!(saved.stdout.contains("members-differ"), "{}", saved.stdout);
    configure(&bulkhead, &honest, "");
    let saved = bulkhead.run(["run", "registry"]).unwrap();
    assert_eq!(saved.code, Some(0), "the proxy was what differed: {}", saved.stderr);
}
