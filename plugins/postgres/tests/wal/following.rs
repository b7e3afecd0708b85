//! What is stored is what the server has, in snapshots that are whole by themselves.

use std::time::Duration;

use crate::setup::{
    Operations, assert_same_segments, builder, cluster, codes, end, fact, lsn, over_tcp, partials, position, segments, write_log,
};

#[test]
fn segments_are_the_servers_own() {
    let cluster = cluster();
    let harness = over_tcp(&cluster);
    harness.catch_up().unwrap();
    write_log(&cluster, 5);
    let position = position(&cluster);
    let result = harness.catch_up().unwrap();
    assert!(result.findings.is_empty(), "{:?}", result.findings);
    let snapshot = harness.last().unwrap();
    assert!(
        end(&snapshot) >= position,
        "{} is before {position}",
        fact(&snapshot.proof, "end-lsn")
    );
    assert!(assert_same_segments(&cluster, &snapshot) >= 5, "{:?}", segments(&snapshot));
    assert_eq!(partials(&snapshot).len(), 1);
    assert_eq!(codes(&harness.verified()), ["log-complete"]);
}

#[test]
fn the_beginning_of_a_segment_gives_way_to_the_whole() {
    let cluster = cluster();
    let harness = over_tcp(&cluster);
    harness.catch_up().unwrap();
    let first = harness.last().unwrap();
    let partial = partials(&first).pop().unwrap();
    let entry = &first.entries[format!("partial/{partial}").as_bytes()];
    assert_eq!(entry.content.len(), 1 << 20, "padded");

    cluster.execute("postgres", "CREATE TABLE t (); SELECT pg_switch_wal()").unwrap();
    cluster.execute("postgres", "CREATE TABLE u ()").unwrap();
    harness.catch_up().unwrap();
    let second = harness.last().unwrap();
    assert!(segments(&second).contains(&partial.strip_suffix(".partial").unwrap().to_owned()));
    assert!(!partials(&second).contains(&partial), "{:?}", partials(&second));
}

#[test]
fn commits_come_as_often_as_the_interval_says() {
    let cluster = cluster();
    let harness = over_tcp(&cluster);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..50 {
                cluster.execute("postgres", &format!("CREATE TABLE t{number} ()")).unwrap();
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        harness.follow(r#","interval":"1 s","until":"6 s""#).unwrap();
    });
    let snapshots = harness.snapshots();
    assert!((4..=8).contains(&snapshots.len()), "{} snapshots", snapshots.len());
    assert!(snapshots.windows(2).all(|pair| end(&pair[0]) < end(&pair[1])));
    assert_eq!(codes(&harness.verified()), ["log-complete"]);
}

#[test]
fn the_server_lets_go_of_nothing_that_is_not_committed() {
    let cluster = cluster();
    let harness = over_tcp(&cluster);
    harness.catch_up().unwrap();
    let kept_from = || {
        let statement = "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 'bulkhead'";
        lsn(&cluster.execute("postgres", statement).unwrap())
    };
    let before = kept_from();
    assert_eq!(before, end(&harness.last().unwrap()), "what is committed is told");
    std::thread::scope(|scope| {
        let seen = scope.spawn(|| {
            write_log(&cluster, 3);
            let sent = "SELECT count(*) FROM pg_stat_replication WHERE sent_lsn >= pg_current_wal_flush_lsn()";
            while cluster.execute("postgres", sent).unwrap() == "0" {
                std::thread::sleep(Duration::from_millis(50));
            }
            // Long enough for a report that should not come.
            std::thread::sleep(Duration::from_secs(1));
            kept_from()
        });
        harness.follow(r#","interval":"1 h","until":"4 s""#).unwrap();
        assert_eq!(seen.join().unwrap(), before, "received, but not committed");
    });
    assert_eq!(kept_from(), end(&harness.last().unwrap()));
}

#[test]
fn an_idle_server_costs_no_snapshots() {
    let cluster = cluster();
    let harness = over_tcp(&cluster);
    harness.catch_up().unwrap();
    let before = harness.snapshots().len();
    harness.follow(r#","interval":"1 s","until":"4 s""#).unwrap();
    let snapshots = harness.snapshots();
    assert!(snapshots.len() <= before + 2, "{} snapshots", snapshots.len() - before);
    assert_eq!(codes(&harness.verified()), ["log-complete"]);
}

#[test]
fn an_idle_server_that_is_followed_does_not_look_abandoned() {
    let cluster = cluster();
    let harness = over_tcp(&cluster);
    write_log(&cluster, 1);
    harness.catch_up().unwrap();
    // The server tells its clock every ten seconds.
    harness.follow(r#","interval":"1 s","until":"20 s""#).unwrap();
    let reached: Vec<u64> = harness
        .snapshots()
        .iter()
        .map(|snapshot| fact(&snapshot.proof, "server-time").parse().unwrap())
        .collect();
    assert!(reached.len() >= 2, "{reached:?}");
    assert!(reached.is_sorted(), "{reached:?}");
    assert!(
        reached[reached.len() - 1] >= reached[0] + 5,
        "the last one says that nothing came: {reached:?}"
    );
    assert_eq!(codes(&harness.verified()), ["log-complete"]);
}

#[test]
fn log_that_no_base_backup_needs_can_be_left_out() {
    let cluster = cluster();
    // Close to the end of the first 4 GiB.
    cluster.stop().unwrap();
    let mut reset = cluster
        .installation()
        .server_program("pg_resetwal", ["-l", "000000010000000000000FFD"])
        .unwrap();
    bulkhead_test_support::run(reset.arg(cluster.data_directory())).unwrap();
    cluster.start().unwrap();
    let harness = over_tcp(&cluster);
    harness.catch_up().unwrap();
    write_log(&cluster, 5);
    harness.catch_up().unwrap();
    assert!(
        segments(&harness.last().unwrap())
            .iter()
            .any(|name| name.starts_with("0000000100000000"))
    );

    harness.follow(r#","until":"caught-up","expire-before":"0/FFFFFFFF""#).unwrap();
    assert!(
        segments(&harness.last().unwrap())
            .iter()
            .any(|name| name.starts_with("0000000100000000")),
        "not the whole folder"
    );
    write_log(&cluster, 1);
    harness.follow(r#","until":"caught-up","expire-before":"9/0""#).unwrap();
    let last = harness.last().unwrap();
    assert!(
        segments(&last).iter().all(|name| name.starts_with("0000000100000001")),
        "{:?}",
        segments(&last)
    );
    assert_eq!(fact(&last.proof, "start-lsn"), "1/0");
    assert_eq!(codes(&harness.verified()), ["log-complete"]);
    write_log(&cluster, 1);
    harness.catch_up().unwrap();
    assert_eq!(codes(&harness.verified()), ["log-complete"]);
}

fn of_major(major: u32) {
    let cluster = builder().major(major).start().unwrap();
    let harness = over_tcp(&cluster);
    harness.catch_up().unwrap();
    write_log(&cluster, 3);
    harness.catch_up().unwrap();
    assert!(assert_same_segments(&cluster, &harness.last().unwrap()) >= 2);
    assert_eq!(codes(&harness.verified()), ["log-complete"]);
}

#[test]
fn versions_13_and_14_have_commands_of_their_own() {
    of_major(13);
    of_major(14);
}

#[test]
fn versions_16_and_17_are_followed() {
    of_major(16);
    of_major(17);
}
