//! A server and its folder are gone after its test process was killed.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bulkhead_test_support::Scratch;
use bulkhead_test_support::guardian::Guardian;

/// Set in the child process that is to be killed: the folder that it guards.
const FOLDER: &str = "BULKHEAD_TEST_GUARDED_FOLDER";

#[test]
fn a_killed_test_process_leaves_no_server_and_no_folder() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return guard_until_killed(folder.as_ref());
    }
    let mut scratch = Scratch::new().unwrap();
    scratch.keep();
    let mut server = Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
    let pid_file = scratch.private_file("pid", format!("{}\n", server.id())).unwrap();
    let mut test_process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_test_process_leaves_no_server_and_no_folder"])
        .env(FOLDER, scratch.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the guardian is there", || scratch.join("guarded").exists());
    test_process.kill().unwrap();
    test_process.wait().unwrap();
    // Waiting for it also takes the zombie away, which would otherwise look like a running process to the guardian.
    assert!(!server.wait().unwrap().success());
    wait_until("the folder is removed", || !scratch.path().exists());
    assert!(!pid_file.exists());
}

fn guard_until_killed(folder: &std::path::Path) {
    let _guardian = Guardian::watch(&folder.join("pid"), "sleep", Some(folder)).unwrap();
    std::fs::write(folder.join("guarded"), "").unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(20), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
