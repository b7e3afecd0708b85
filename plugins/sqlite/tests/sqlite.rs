//! The plugin on real databases, natively, while SQLite's own shell writes to them; the shell is the witness too.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use bulkhead_plugin_sqlite::Sqlite;
use bulkhead_sdk::{
    Error, ErrorKind, Result,
    source::BackupResult,
    testing::{Directory, Harness},
    types::Severity,
};

/// A shell that is open on a database.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shell {
    fn open(database: &Path) -> Self {
        let mut child = Command::new("sqlite3")
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut shell = Self { child, input, output };
        shell.say(".timeout 20000");
        shell
    }

    /// Sends statements, without waiting for their end.
    fn say(&mut self, sql: &str) {
        writeln!(self.input, "{sql}").unwrap();
    }

    /// Waits until all that was said is done; what was printed.
    fn done(&mut self) -> Vec<String> {
        self.say("SELECT 'done';");
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the shell ended: {lines:?}");
            if line.trim_end() == "done" {
                return lines;
            }
            lines.push(line.trim_end().to_owned());
        }
    }

    fn ask(&mut self, sql: &str) -> Vec<String> {
        self.say(sql);
        self.done()
    }

    /// As a machine that loses its power, as far as the program is concerned.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// What one command of the shell prints.
fn shell(database: &Path, sql: &str) -> String {
    let output = Command::new("sqlite3").arg(database).arg(sql).output().unwrap();
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A folder with a database, a harness that grants it, and a folder for images.
struct Desk {
    tree: Directory,
    harness: Harness,
    images: Directory,
}

impl Desk {
    fn new() -> Self {
        let tree = Directory::temporary();
        let harness = Harness::new().directory("app", tree.clone().read_only());
        let images = Directory::temporary();
        Self { tree, harness, images }
    }

    fn database(&self) -> PathBuf {
        self.tree.path().join("main.db")
    }

    fn backup(&self, config: &str) -> Result<BackupResult> {
        self.harness.backup::<Sqlite>(config)
    }

    /// The last image of the database as a file.
    fn image(&self) -> PathBuf {
        let path = self.images.path().join("image.db");
        fs::write(&path, self.harness.content("app/main.db").unwrap()).unwrap();
        path
    }
}

fn fact(result: &BackupResult, name: &str) -> String {
    result.proof.facts.iter().find(|fact| fact.name == name).unwrap().value.clone()
}

/// 200 accounts of 100 each, on more pages than SQLite keeps in its smallest cache.
const ACCOUNTS: &str = "CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL, note TEXT);
    CREATE INDEX by_balance ON account(balance);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
    INSERT INTO account SELECT i, 100, hex(randomblob(700)) FROM n;";

/// Moves money for as long as the shell is open; what there is in all stays the same, and no page stays as it is for long.
fn move_money(writer: &mut Shell, transfers: u32) {
    for number in 0..transfers {
        let (from, to) = (number * 7 % 200 + 1, number * 13 % 200 + 1);
        writer.say(&format!(
            "BEGIN IMMEDIATE; UPDATE account SET balance = balance - 5, note = hex(randomblob(700)) WHERE id = {from}; \
             UPDATE account SET balance = balance + 5, note = hex(randomblob(700)) WHERE id = {to}; COMMIT;"
        ));
    }
}

fn images_are_of_one_moment(setup: &str) {
    let desk = Desk::new();
    let mut writer = Shell::open(&desk.database());
    writer.ask(setup);
    writer.ask(ACCOUNTS);
    let mut balances = std::collections::BTreeSet::new();
    for _ in 0..12 {
        move_money(&mut writer, 400);
        let result = desk.backup("{}").unwrap();
        assert_eq!(
            (fact(&result, "rows"), fact(&result, "checked")),
            ("200".to_owned(), "1".to_owned())
        );
        let image = desk.image();
        assert_eq!(shell(&image, "PRAGMA integrity_check"), "ok\n");
        assert_eq!(shell(&image, "SELECT sum(balance) FROM account"), "20000\n");
        balances.insert(shell(&image, "SELECT group_concat(balance) FROM account"));
    }
    writer.done();
    assert!(balances.len() > 1, "nothing was written while the backups ran");
    desk.backup("{}").unwrap();
    assert_eq!(shell(&desk.image(), ".dump"), shell(&desk.database(), ".dump"));
}

#[test]
fn images_are_of_one_moment_while_a_rollback_journal_is_written() {
    images_are_of_one_moment("PRAGMA journal_mode = DELETE; PRAGMA cache_size = 4;");
}

#[test]
fn images_are_of_one_moment_while_a_journal_is_kept() {
    images_are_of_one_moment("PRAGMA journal_mode = PERSIST; PRAGMA synchronous = OFF;");
}

#[test]
fn images_are_of_one_moment_while_a_log_is_written_and_checkpointed() {
    images_are_of_one_moment("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 5; PRAGMA synchronous = OFF;");
}

#[test]
fn what_is_only_in_the_log_is_in_the_image() {
    let desk = Desk::new();
    let mut writer = Shell::open(&desk.database());
    writer.ask("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;");
    writer.ask(ACCOUNTS);
    assert!(
        fs::metadata(desk.tree.path().join("main.db")).unwrap().len() < 10_000,
        "it is in the database already"
    );
    // Not committed, but in the log: a cache that is too small spills.
    writer.ask("PRAGMA cache_size = 2; BEGIN; UPDATE account SET balance = 0, note = hex(randomblob(900));");
    let before = fs::read(desk.tree.path().join("main.db-wal")).unwrap();
    desk.backup("{}").unwrap();
    assert_eq!(shell(&desk.image(), "SELECT count(*), sum(balance) FROM account"), "200|20000\n");
    assert_eq!(
        fs::read(desk.tree.path().join("main.db-wal")).unwrap(),
        before,
        "a backup changes nothing"
    );
    writer.ask("COMMIT;");
    desk.backup("{}").unwrap();
    assert_eq!(shell(&desk.image(), "SELECT sum(balance) FROM account"), "0\n");
    // Nobody is left who knows where the log ends.
    writer.kill();
    desk.backup("{}").unwrap();
    assert_eq!(shell(&desk.image(), "SELECT sum(balance) FROM account"), "0\n");
    fs::remove_file(desk.tree.path().join("main.db-shm")).unwrap();
    desk.backup("{}").unwrap();
    assert_eq!(shell(&desk.image(), "SELECT sum(balance) FROM account"), "0\n");
}

#[test]
fn a_log_that_a_checkpoint_has_emptied_adds_nothing() {
    let desk = Desk::new();
    let mut writer = Shell::open(&desk.database());
    writer.ask("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;");
    writer.ask(ACCOUNTS);
    writer.ask("UPDATE account SET balance = 1;");
    // All of it is in the database now; the log is still there, and begins anew with the next transaction.
    writer.ask("PRAGMA wal_checkpoint(RESTART);");
    desk.backup("{}").unwrap();
    assert_eq!(shell(&desk.image(), "SELECT sum(balance) FROM account"), "200\n");
    writer.ask("UPDATE account SET balance = 2 WHERE id = 1;");
    desk.backup("{}").unwrap();
    assert_eq!(shell(&desk.image(), "SELECT sum(balance) FROM account"), "201\n");
}

#[test]
fn a_transaction_that_was_cut_short_is_rolled_back_in_the_image_alone() {
    let desk = Desk::new();
    let mut writer = Shell::open(&desk.database());
    writer.ask(ACCOUNTS);
    writer.ask(
        "PRAGMA cache_size = 2; BEGIN; UPDATE account SET balance = 0, note = hex(randomblob(900)); DELETE FROM account WHERE id > 150;",
    );
    writer.kill();
    let before = fs::read(desk.database()).unwrap();
    assert!(desk.tree.path().join("main.db-journal").exists());
    desk.backup("{}").unwrap();
    assert_eq!(fs::read(desk.database()).unwrap(), before, "a backup changes nothing");
    let image = desk.image();
    assert_eq!(shell(&image, "SELECT count(*), sum(balance) FROM account"), "200|20000\n");
    // SQLite comes to the same.
    assert_eq!(shell(&desk.database(), ".dump"), shell(&image, ".dump"));
    assert!(!desk.tree.path().join("main.db-journal").exists());
}

#[test]
fn a_database_that_stays_locked_is_waited_for_and_then_told() {
    let desk = Desk::new();
    let mut writer = Shell::open(&desk.database());
    writer.ask(ACCOUNTS);
    writer.ask("BEGIN EXCLUSIVE;");
    let error = desk.backup(r#"{ "busy-timeout": "200 ms" }"#).unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::TimedOut, true), "{error}");
    assert!(error.to_string().contains("app/main.db"), "{error}");
    // A preflight does not wait for as long as a run would, and so cannot say that a run would fail.
    for (timeout, severity, code) in [
        ("30 s", Severity::Warning, "database-busy"),
        ("200 ms", Severity::Error, "database-unusable"),
    ] {
        let findings = desk
            .harness
            .check::<Sqlite>(&format!(r#"{{ "busy-timeout": "{timeout}" }}"#))
            .unwrap();
        assert_eq!((findings[0].severity, &findings[0].code[..]), (severity, code), "{findings:#?}");
    }
    writer.ask("COMMIT;");
    desk.backup("{}").unwrap();
}

#[test]
fn what_is_damaged_fails_the_run_unless_the_config_says_otherwise() {
    let desk = Desk::new();
    shell(&desk.database(), ACCOUNTS);
    let mut bytes = fs::read(desk.database()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 2000].fill(0xa5);
    fs::write(desk.database(), &bytes).unwrap();
    let error = desk.backup("{}").unwrap_err();
    assert_eq!(error.kind, ErrorKind::SourceDamaged, "{error}");
    assert!(error.hint.unwrap().contains("check = \"none\""));
    desk.backup(r#"{ "check": "none" }"#).unwrap();
    assert_eq!(desk.harness.content("app/main.db").unwrap(), bytes);
}

#[test]
fn what_is_no_database_is_named_and_nothing_at_all_is_an_error() {
    let desk = Desk::new();
    let failed = |config: &str| -> Error { desk.backup(config).unwrap_err() };
    assert_eq!(failed("{}").kind, ErrorKind::NotFound);
    fs::write(desk.tree.path().join("thumbs.db"), vec![1; 5000]).unwrap();
    let error = failed("{}");
    assert!(
        error.kind == ErrorKind::SourceDamaged && error.to_string().contains("app/thumbs.db"),
        "{error}"
    );
    assert_eq!(
        failed(r#"{ "databases": ["*.db", "[a"] }"#).setting.as_deref(),
        Some("databases[1]")
    );
    // An empty file is an empty database, as SQLite has it.
    fs::write(desk.database(), "").unwrap();
    let result = desk.backup(r#"{ "exclude": ["thumbs.*"] }"#).unwrap();
    assert_eq!(fact(&result, "databases"), "1");
}

#[test]
fn a_directory_without_a_database_is_not_mounted_rather_than_empty() {
    let mut desk = Desk::new();
    shell(&desk.database(), ACCOUNTS);
    desk.harness = desk.harness.directory("other", Directory::temporary().read_only());
    let error = desk.backup("{}").unwrap_err();
    assert!(error.kind == ErrorKind::NotFound && error.hint.unwrap().contains("mounted"));
}

#[test]
fn a_name_that_is_no_text_and_a_link_are_told_apart_from_others() {
    let desk = Desk::new();
    let odd = |byte: u8| std::ffi::OsString::from_vec(vec![b'c', byte, b'.', b'd', b'b']);
    shell(&desk.database(), ACCOUNTS);
    for byte in [0xe8, 0xe9] {
        fs::copy(desk.database(), desk.tree.path().join(odd(byte))).unwrap();
    }
    std::os::unix::fs::symlink("main.db", desk.tree.path().join("second.db")).unwrap();
    let result = desk.backup("{}").unwrap();
    assert_eq!(fact(&result, "databases"), "3");
    assert_eq!(result.findings.len(), 1);
    assert_eq!(result.findings[0].code, "database-is-a-link");
    assert!(result.findings[0].message.contains("app/second.db"), "{:?}", result.findings);
    let findings = desk.harness.verify::<Sqlite>("{}").unwrap();
    assert_eq!(findings.len(), 3);
    assert!(findings.iter().all(|finding| finding.code == "database-verified"), "{findings:?}");
    assert!(findings.iter().any(|finding| finding.message.contains("c\\xe9.db")), "{findings:?}");
}

#[test]
fn several_are_found_by_patterns_and_counted() {
    let desk = Desk::new();
    for name in ["one", "two", "left out"] {
        let folder = desk.tree.path().join(name);
        fs::create_dir(&folder).unwrap();
        shell(&folder.join("data.store"), ACCOUNTS);
    }
    shell(
        &desk.tree.path().join("one/data.store"),
        "CREATE VIRTUAL TABLE text USING fts5(words); INSERT INTO text VALUES('hello');",
    );
    let result = desk
        .backup(r#"{ "databases": ["/app/*/data.store"], "exclude": ["/app/left*"] }"#)
        .unwrap();
    assert_eq!(fact(&result, "databases"), "2");
    let inventory: serde_json::Value = serde_json::from_slice(&desk.harness.content("inventory.json").unwrap()).unwrap();
    let one = &inventory["databases"]["app/one/data.store"];
    assert_eq!(
        (&one["integrity"], &one["contents"]["rows"]["account"]),
        (&"ok".into(), &200.into()),
        "{inventory}"
    );
    let findings = desk.harness.verify::<Sqlite>("{}").unwrap();
    assert_eq!(findings.len(), 2);
    assert!(findings.iter().all(|finding| finding.severity == Severity::Info), "{findings:?}");
}

#[test]
fn a_restore_puts_them_back_and_replaces_only_what_it_may() {
    let desk = Desk::new();
    shell(&desk.database(), ACCOUNTS);
    desk.backup("{}").unwrap();
    let target = Directory::temporary();
    let elsewhere = Harness::new()
        .directory("app", target.clone())
        .snapshot(desk.harness.last().unwrap());
    let restore = |options: &str| elsewhere.restore::<Sqlite>("{}", options);
    restore("{}").unwrap();
    let restored = target.path().join("main.db");
    let original = shell(&desk.database(), ".dump");
    assert_eq!(shell(&restored, ".dump"), original);

    let error = restore("{}").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
    // One that was cut short: its journal must not be played into the one that is restored.
    let mut writer = Shell::open(&restored);
    writer.ask("PRAGMA cache_size = 2; BEGIN; UPDATE account SET balance = 0, note = hex(randomblob(900));");
    let error = restore(r#"{ "overwrite": true }"#).unwrap_err();
    assert!(error.kind == ErrorKind::Conflict && error.to_string().contains("in use"), "{error}");
    writer.kill();
    restore(r#"{ "overwrite": true }"#).unwrap();
    assert_eq!(shell(&restored, ".dump"), original);
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 1, "nothing is left beside it");
}
