//! A SQLite database that is written to, into a vault and back, through the sandbox; SQLite's own shell is the witness.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bulkhead_test_support::{Bulkhead, run};

const ACCOUNTS: &str = "CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL, note TEXT);
    CREATE INDEX by_balance ON account(balance);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
    INSERT INTO account SELECT i, 100, hex(randomblob(700)) FROM n;";

/// An installation with a vault, and a pipeline of the databases in `app`.
struct Desk(Bulkhead);

impl Desk {
    fn open() -> Self {
        let desk = Self(Bulkhead::new().unwrap());
        for folder in ["app/tenant", "restored"] {
            desk.0.scratch().folder(folder).unwrap();
        }
        let pipeline = r#"
[pipeline.ledger]
plugin = "sqlite"
vault = "main"
directory.app = { path = "app", access = "read-only" }

[pipeline.ledger.target.elsewhere]
directory.app = { path = "restored", access = "read-write" }

[pipeline.ledger.target.misnamed]
directory.target = { path = "restored", access = "read-write" }
"#;
        desk.0.configure(pipeline).unwrap();
        desk.succeed(&["init", "main"]);
        desk
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.scratch().join(path)
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let outcome = self.0.run(arguments).unwrap();
        assert_eq!(outcome.code, Some(0), "{arguments:?}\n{}{}", outcome.stdout, outcome.stderr);
        outcome.stdout
    }
}

fn query(database: &Path, sql: &str) -> String {
    let output = run(Command::new("sqlite3").arg(database).arg(sql)).unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A shell that moves money until it is dropped.
struct Writer(Child);

impl Writer {
    fn start(database: &Path) -> Self {
        let mut child = Command::new("sqlite3").arg(database).stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        std::thread::spawn(move || {
            let mut said = writeln!(input, ".timeout 20000");
            for number in 0_u64.. {
                let (from, to) = (number * 7 % 500 + 1, number * 13 % 500 + 1);
                said = said.and_then(|()| {
                    writeln!(
                        input,
                        "BEGIN IMMEDIATE; UPDATE account SET balance = balance - 5, note = hex(randomblob(700)) WHERE id = {from}; \
                         UPDATE account SET balance = balance + 5 WHERE id = {to}; COMMIT;"
                    )
                });
                if said.is_err() {
                    break;
                }
            }
        });
        Self(child)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

#[test]
fn databases_that_are_written_to_come_back_as_of_one_moment() {
    let desk = Desk::open();
    let (log, journal) = (desk.path("app/log.db"), desk.path("app/tenant/journal.sqlite"));
    query(&log, &format!("PRAGMA journal_mode = WAL; {ACCOUNTS}"));
    query(&journal, ACCOUNTS);
    let writers = (Writer::start(&log), Writer::start(&journal));
    desk.succeed(&["check"]);
    for _ in 0..3 {
        desk.succeed(&["run", "ledger"]);
    }
    desk.succeed(&["verify", "--read-data"]);
    drop(writers);
    desk.succeed(&["restore", "ledger", "--target", "elsewhere"]);
    // Without the plugin, as plain files.
    desk.succeed(&["restore", "ledger", "--into", &desk.path("plain").display().to_string()]);
    for name in ["log.db", "tenant/journal.sqlite"] {
        let restored = desk.path("restored").join(name);
        assert_eq!(query(&restored, "PRAGMA integrity_check"), "ok", "{name}");
        assert_eq!(query(&restored, "SELECT sum(balance) FROM account"), "50000", "{name}");
        assert_eq!(
            query(&restored, ".dump"),
            query(&desk.path("plain/app").join(name), ".dump"),
            "{name}"
        );
    }
    let inventory = desk.succeed(&["dump", "ledger", "inventory.json"]);
    assert!(inventory.contains(r#""account": 500"#), "{inventory}");
}

#[test]
fn what_the_last_commit_was_is_in_the_snapshot() {
    let desk = Desk::open();
    let database = desk.path("app/log.db");
    query(&database, &format!("PRAGMA journal_mode = WAL; {ACCOUNTS}"));
    desk.succeed(&["run", "ledger"]);
    desk.succeed(&["restore", "ledger", "--target", "elsewhere"]);
    assert_eq!(query(&desk.path("restored/log.db"), ".dump"), query(&database, ".dump"));
    // What is there is not overwritten by accident.
    let refused = desk.0.run(["restore", "ledger", "--target", "elsewhere"]).unwrap();
    assert_eq!(refused.code, Some(12), "{}", refused.stderr);
    assert!(refused.stderr.contains("overwrite = true"), "{}", refused.stderr);
    let over = desk
        .0
        .run(["restore", "ledger", "--target", "elsewhere", "--delta", "--yes"])
        .unwrap();
    assert_eq!(over.code, Some(3), "{}", over.stderr);
    assert!(
        over.stderr.contains("the plugin `sqlite` cannot write over what a target has"),
        "{}",
        over.stderr
    );
}

#[test]
fn a_target_whose_directory_has_another_name_is_told_which_line_to_write() {
    let desk = Desk::open();
    run(Command::new("sqlite3").arg(desk.path("app/ledger.db")).arg("CREATE TABLE t(a)")).unwrap();
    desk.succeed(&["run", "ledger"]);
    let refused = desk.0.run(["restore", "ledger", "--target", "misnamed"]).unwrap();
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    let hint = "add `directory.app = { path = \"/…\", access = \"read-write\" }` to [pipeline.ledger.target.misnamed], or call `directory.target` so, if that is meant";
    let told: Vec<&str> = refused.stderr.split_whitespace().collect();
    let expected: Vec<&str> = hint.split_whitespace().collect();
    assert!(told.windows(expected.len()).any(|words| words == expected), "{}", refused.stderr);
}

#[test]
fn a_damaged_database_commits_nothing() {
    let desk = Desk::open();
    let database = desk.path("app/log.db");
    query(&database, ACCOUNTS);
    let mut bytes = std::fs::read(&database).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 3000].fill(0x5a);
    std::fs::write(&database, bytes).unwrap();
    let refused = desk.0.run(["run", "ledger"]).unwrap();
    assert_eq!(refused.code, Some(10), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("app/log.db") && refused.stderr.contains(".recover"),
        "{}",
        refused.stderr
    );
    assert!(!desk.succeed(&["snapshots", "--json"]).contains("\"id\""));
}
