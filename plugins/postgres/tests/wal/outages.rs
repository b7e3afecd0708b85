//! Servers that go away in the middle: what comes then goes on without a gap.

use std::{
    io,
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use bulkhead_sdk::{
    ErrorKind,
    testing::{Endpoint, Harness},
};
use bulkhead_test_support::postgres::Cluster;

use crate::setup::{Operations, assert_same_segments, cluster, codes, end, over_tcp, position, write_log};

/// Follows for some seconds, with `during` beside it.
fn follow_during(cluster: &Cluster, during: impl FnOnce() + Send) {
    follow_over(&over_tcp(cluster), cluster, during);
}

/// The same, by another way to the server.
fn follow_over(harness: &Harness, cluster: &Cluster, during: impl FnOnce() + Send) {
    harness.catch_up().unwrap();
    let mut written = 0;
    std::thread::scope(|scope| {
        let beside = scope.spawn(|| {
            during();
            position(cluster)
        });
        harness.follow(r#","interval":"1 s","until":"15 s""#).unwrap();
        written = beside.join().unwrap();
    });
    let snapshot = harness.last().unwrap();
    assert!(end(&snapshot) >= written);
    assert!(assert_same_segments(cluster, &snapshot) >= 5);
    assert_eq!(codes(&harness.verified()), ["log-complete"]);
    // No snapshot takes back what an earlier one had: the server has let go of it.
    let ends: Vec<_> = harness.snapshots().iter().map(end).collect();
    assert!(ends.is_sorted(), "{ends:?}");
}

#[test]
fn a_server_that_is_restarted_is_found_again() {
    let cluster = cluster();
    follow_during(&cluster, || {
        for _ in 0..2 {
            write_log(&cluster, 2);
            cluster.stop().unwrap();
            cluster.start().unwrap();
            write_log(&cluster, 1);
        }
    });
}

#[test]
fn a_server_that_is_killed_is_found_again() {
    let cluster = cluster();
    follow_during(&cluster, || {
        for _ in 0..3 {
            write_log(&cluster, 2);
            cluster.kill().unwrap();
            cluster.start().unwrap();
        }
    });
}

#[test]
fn a_shutdown_does_not_wait_for_the_interval() {
    let cluster = cluster();
    let harness = over_tcp(&cluster);
    harness.catch_up().unwrap();
    let took = std::thread::scope(|scope| {
        let stopped = scope.spawn(|| {
            write_log(&cluster, 1);
            std::thread::sleep(Duration::from_secs(1));
            let begun = std::time::Instant::now();
            cluster.stop().unwrap();
            let took = begun.elapsed();
            cluster.start().unwrap();
            took
        });
        harness.follow(r#","interval":"1 h","until":"14 s""#).unwrap();
        stopped.join().unwrap()
    });
    assert!(took < Duration::from_secs(10), "the shutdown took {took:?}");
    assert_eq!(codes(&harness.verified()), ["log-complete"]);
}

#[test]
fn a_connection_that_is_terminated_is_made_again() {
    let cluster = cluster();
    follow_during(&cluster, || {
        for _ in 0..3 {
            write_log(&cluster, 2);
            cluster
                .execute("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
                .unwrap();
        }
    });
}

/// A relay whose connections can be cut on the client's side only, as a firewall does it: the server keeps its end.
struct Relay {
    port: u16,
    connections: Arc<Mutex<Vec<[TcpStream; 2]>>>,
}

impl Relay {
    fn start(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let relay = Self {
            port: listener.local_addr().unwrap().port(),
            connections: Arc::default(),
        };
        let connections = Arc::clone(&relay.connections);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).unwrap();
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || io::copy(&mut from, &mut to));
                }
                connections.lock().unwrap().push([client, server]);
            }
        });
        relay
    }

    /// Cuts all connections for the client; returns the server's ends.
    fn cut(&self) -> Vec<TcpStream> {
        let connections = std::mem::take(&mut *self.connections.lock().unwrap());
        let cut = connections.into_iter().map(|[client, server]| {
            // One that is gone already is cut.
            let _ = client.shutdown(Shutdown::Both);
            server
        });
        cut.collect()
    }
}

#[test]
fn a_slot_that_the_lost_connection_still_has_is_waited_for() {
    let cluster = cluster();
    let relay = Relay::start(cluster.port());
    let harness = Harness::new()
        .endpoint("server", Endpoint::tcp(format!("127.0.0.1:{}", relay.port)))
        .secret("password", cluster.password());
    let until = |holds: &dyn Fn() -> bool| {
        let begun = std::time::Instant::now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(20), "the run has ended");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    follow_over(&harness, &cluster, || {
        let streams = "SELECT count(*) FROM pg_replication_slots WHERE active";
        until(&|| cluster.execute("postgres", streams).unwrap() == "1");
        write_log(&cluster, 3);
        let kept = relay.cut();
        until(&|| cluster.log().contains("is active for PID"));
        for server in kept {
            let _ = server.shutdown(Shutdown::Both);
        }
        until(&|| {
            cluster
                .execute("postgres", "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
                .unwrap()
                == "1"
        });
        write_log(&cluster, 3);
    });
}

#[test]
fn a_server_that_was_set_back_is_refused() {
    let cluster = cluster();
    let harness = over_tcp(&cluster);
    // A cold copy of the data directory, put back after the log was stored beyond it.
    cluster.stop().unwrap();
    let copy = cluster.data_directory().with_extension("copy");
    let copied = |from: &std::path::Path, to: &std::path::Path| {
        let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
        assert!(status.success());
    };
    copied(cluster.data_directory(), &copy);
    cluster.start().unwrap();
    write_log(&cluster, 2);
    harness.catch_up().unwrap();
    cluster.stop().unwrap();
    std::fs::remove_dir_all(cluster.data_directory()).unwrap();
    copied(&copy, cluster.data_directory());
    cluster.start().unwrap();
    let error = harness.catch_up().unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Conflict, false), "{error}");
    assert!(error.to_string().contains("but it is stored up to"), "{error}");
}
