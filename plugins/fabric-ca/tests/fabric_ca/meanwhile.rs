//! A CA that goes on while its home is read: whatever a stored row refers to is stored too.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bulkhead_sdk::{Error, ErrorKind, testing::Snapshot};
use bulkhead_test_support::fabric_ca::enrolment;

use crate::setup::{Desk, coded, errors};

/// Serial numbers that the stored inventory has.
fn serials(snapshot: &Snapshot) -> Vec<String> {
    let text = String::from_utf8(snapshot.entries[&b"inventory/database.jsonl"[..]].content.clone()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter_map(|line| line["serial"].as_str().map(str::to_owned)).collect()
}

#[test]
fn who_enrols_during_a_run_is_in_the_snapshot_with_the_ca_that_issued_or_not_at_all() {
    let desk = Desk::root();
    let back_up = || {
        let before = desk.home.query("SELECT serial_number FROM certificates").unwrap();
        let result = desk.backup()?;
        assert!(errors(&result.findings).is_empty(), "{:#?}", result.findings);
        // Every one that was there when the run began, and each that came since with its issuer: `verify` checks all signatures.
        let stored = serials(&desk.harness.last().unwrap());
        assert!(before.lines().all(|serial| stored.iter().any(|other| other == serial)));
        let findings = desk.verify();
        assert!(errors(&findings).is_empty(), "{findings:#?}");
        assert!(coded(&findings, "issuer-missing").is_empty(), "{findings:#?}");
        Ok::<_, Error>(())
    };
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            // Now and then with a key that is new: rows that refer to keys and certificates that have just come into the home.
            for number in 0..24 {
                if number % 8 == 7 {
                    desk.home.renew().unwrap();
                }
                desk.home.enroll("peer0").unwrap();
            }
        });
        while !server.is_finished() {
            if let Err(error) = back_up() {
                // A new key was on its way into the home.
                assert_eq!((error.kind, error.retryable), (ErrorKind::Conflict, true), "{error}");
            }
        }
    });
    back_up().unwrap();
}

/// A run that finds the database locked by the server's own transaction, which enrols `peer0` when the home has been listed, and `change` was done. The serial number.
fn enrol_in_the_middle(desk: &Desk, change: impl FnOnce()) -> (String, Result<(), Error>) {
    let database = desk.home.join("fabric-ca-server.db");
    let mut server = Command::new("sqlite3")
        .arg(database)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = server.stdin.take().unwrap();
    writeln!(input, "BEGIN EXCLUSIVE; SELECT 'locked';").unwrap();
    server.stdout.as_mut().unwrap().read_exact(&mut [0; 7]).unwrap();
    let seen = desk.harness.progress().len();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| desk.backup().map(drop));
        let begin = Instant::now();
        while !desk.harness.progress()[seen..]
            .iter()
            .any(|report| report.phase == "waiting for databases")
        {
            assert!(begin.elapsed() < Duration::from_secs(60) && !run.is_finished());
            std::thread::yield_now();
        }
        change();
        let issued = desk.home.certificate_for("peer0").unwrap();
        writeln!(input, "{} COMMIT;", enrolment("peer0", &issued)).unwrap();
        drop(input);
        server.wait().unwrap();
        (issued.serial, run.join().unwrap())
    })
}

#[test]
fn a_row_that_is_written_when_the_home_was_listed_is_stored_with_its_issuer() {
    let desk = Desk::root();
    let (serial, run) = enrol_in_the_middle(&desk, || ());
    run.unwrap();
    assert!(serials(&desk.harness.last().unwrap()).contains(&serial));
    assert!(errors(&desk.verify()).is_empty());
}

#[test]
fn a_row_of_an_issuer_that_was_not_there_when_the_home_was_listed_fails_the_run() {
    let desk = Desk::root();
    let (serial, run) = enrol_in_the_middle(&desk, || desk.home.renew().unwrap());
    let error = run.unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Conflict, true), "{error}");
    assert!(error.to_string().contains("ca-cert.pem"), "{error}");
    assert!(desk.harness.snapshots().is_empty());
    desk.backup().unwrap();
    assert!(serials(&desk.harness.last().unwrap()).contains(&serial));
    let findings = desk.verify();
    assert!(
        errors(&findings).is_empty() && coded(&findings, "issuer-missing").is_empty(),
        "{findings:#?}"
    );
}
