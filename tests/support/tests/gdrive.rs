//! Whether the server that stands for Google Drive is like it, in the eyes of clients that nobody here wrote.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::process::Command;

use bulkhead_test_support::gdrive::{Drive, Fault, Served};
use bulkhead_test_support::{Scratch, Tool, installed, run};

#[test]
fn googles_own_client_works_with_it() {
    let drive = Drive::new();
    let shared = drive.state().add_shared_drive("Backups");
    let served = drive.serve().unwrap();
    let port = served.proxy().rsplit(':').next().unwrap().to_owned();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/google_client.py");
    let mut python = Command::new("python3");
    python
        .arg(script)
        .env("PYTHONPATH", installed("google-client-2.202").unwrap())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PROXY_PORT", port)
        .env("CA", served.authority())
        .env("SHARED", shared);
    let output = run(&mut python).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Google's client agrees\n");
}

/// rclone with its configuration for this server, as whom it knows.
fn rclone(served: &Served, scratch: &Scratch, remote: &str) -> impl Fn(&[&str]) -> String + use<> {
    let configuration = scratch
        .private_file("rclone.conf", format!("[drive]\ntype = drive\n{remote}\n"))
        .unwrap();
    let tool = Tool::find("rclone", "apt-get install rclone").unwrap();
    let (proxy, authority) = (served.proxy(), served.authority());
    move |arguments| {
        let mut command = tool.command(arguments);
        command
            .args(["--drive-disable-http2", "--low-level-retries", "4", "--retries", "1", "--ca-cert"])
            .arg(&authority)
            .arg("--config")
            .arg(&configuration)
            .env("HTTPS_PROXY", &proxy);
        String::from_utf8_lossy(&run(&mut command).unwrap().stdout).into_owned()
    }
}

#[test]
fn rclone_works_with_it_as_a_service_account() {
    let drive = Drive::new();
    let served = drive.serve().unwrap();
    let account = drive.add_service_account("https://oauth2.googleapis.com/token").unwrap();
    let scratch = Scratch::new().unwrap();
    let remote = format!("scope = drive\nservice_account_file = {}", account.key_file().display());
    let rclone = rclone(&served, &scratch, &remote);
    let local = scratch.folder("local/inner").unwrap();
    for (name, length) in [("small", 100), ("empty", 0), ("large", 20 << 20)] {
        let content: Vec<u8> = (0..length)
            .map(|position: usize| (position.wrapping_mul(2_654_435_761) >> 9) as u8)
            .collect();
        std::fs::write(local.join(name), content).unwrap();
    }
    let from = scratch.join("local").display().to_string();
    // A connection that breaks in the middle of an upload, and a server that is tired.
    drive.inject_times("upload_id=", 1, Fault::CutRequest(3 << 20));
    rclone(&["copy", &from, "drive:backup"]);
    drive.inject_times("alt=media", 1, Fault::refusal(403, "userRateLimitExceeded"));
    rclone(&["check", "--download", &from, "drive:backup"]);
    drive.behave();
    assert_eq!(rclone(&["lsf", "-R", "--files-only", "drive:backup"]).lines().count(), 3);
    // By default rclone throws away.
    rclone(&["deletefile", "drive:backup/inner/small"]);
    assert_eq!(drive.state().at("root", "backup/inner/small").len(), 0);
    rclone(&["purge", "--drive-use-trash=false", "drive:backup"]);
    assert_eq!(drive.state().objects("root"), 0);
    assert!(drive.state().tokens_given() > 0);
}

#[test]
fn rclone_works_with_it_in_a_shared_drive_and_renews_its_token() {
    let drive = Drive::new();
    let shared = drive.state().add_shared_drive("Backups");
    let served = drive.serve().unwrap();
    let user = drive.add_user().unwrap();
    let scratch = Scratch::new().unwrap();
    let token = format!(
        r#"{{"access_token":"old","token_type":"Bearer","refresh_token":"{}","expiry":"2020-01-01T00:00:00Z"}}"#,
        user.refresh_token
    );
    let remote = format!(
        "scope = drive\nclient_id = {}\nclient_secret = {}\ntoken = {token}\nteam_drive = {shared}",
        user.client_id, user.client_secret
    );
    let rclone = rclone(&served, &scratch, &remote);
    let file = scratch.private_file("file", "content").unwrap().display().to_string();
    rclone(&["copyto", &file, "drive:there"]);
    assert_eq!(rclone(&["cat", "drive:there"]), "content");
    assert_eq!(drive.state().at(&shared, "there").len(), 1);
    assert!(drive.state().at("root", "there").is_empty());
}
