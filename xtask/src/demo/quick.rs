//! `cargo xtask demo --quick`: a tree of files and a live SQLite database, without any server.
//!
//! Money moves between accounts while the backup runs. Whatever moment the image is of, what there is in all must be the same.

use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bulkhead_test_support::Scratch;

use super::scene::Scene;
use crate::console::{Console, size};
use crate::error::{Error, Result};
use crate::process;

/// The pipelines: one for each source.
const PIPELINES: &str = r#"[pipeline.home]                             # one source, the vault that it writes to, and what the plugin may touch
plugin = "files"
vault = "main"
config = { exclude = ["*.tmp"] }
directory.home = { path = "home", access = "read-only" }

[pipeline.ledger]                           # a database that is written to meanwhile
plugin = "sqlite"
vault = "main"
directory.app = { path = "app", access = "read-only" }

[pipeline.ledger.target.elsewhere]          # a restore target, with grants of its own
directory.app = { path = "restored", access = "read-write" }
"#;

/// 1,000 accounts with 100 each.
const ACCOUNTS: &str = "PRAGMA journal_mode = WAL;
CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL, note TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
INSERT INTO account SELECT i, 100, hex(randomblob(400)) FROM n;";
/// What is in all accounts together, at any moment.
const IN_ALL: &str = "SELECT sum(balance) FROM account";

/// Plays it.
pub(super) fn run(console: &Console, scratch: Scratch, binary: PathBuf, keep: bool) -> Result<()> {
    console.step("Make a tree of files, and a database that somebody writes to");
    let scene = Scene::new(console, scratch, binary)?;
    let (home, database) = (scene.scratch().folder("home")?, scene.scratch().folder("app")?.join("ledger.db"));
    fill(&home)?;
    query(console, &database, ACCOUNTS)?;
    let mut writer = Writer::start(&database)?;
    console.success("1,000 accounts hold 100,000 in all, and money moves between them");

    console.step("Describe the backups in TOML");
    scene.describe(PIPELINES)?;

    console.step("Make a vault, look before the first run, and back up");
    scene.bulkhead(&["init", "main"])?;
    scene.bulkhead(&["check"])?;
    let first = scene.back_up("home")?;
    scene.back_up("ledger")?;

    console.step("Change a file, and back up again");
    write(&home.join("notes/1.txt"), "changed\n")?;
    let second = scene.back_up("home")?;
    scene.bulkhead(&["snapshots"])?;
    writer.end()?;

    console.step("Lose everything, and restore it");
    let lost = scene.scratch().join("home, as it was");
    std::fs::rename(&home, &lost).map_err(Error::io("cannot rename the tree"))?;
    scene.bulkhead(&["restore", "home", "--into", "back"])?;
    scene.scratch().folder("restored")?;
    scene.bulkhead(&["restore", "ledger", "--target", "elsewhere"])?;

    console.step("Compare");
    compare(console, &lost, &scene.scratch().join("back/home"))?;
    let restored = scene.scratch().join("restored/ledger.db");
    let (verdict, sum) = (
        query(console, &restored, "PRAGMA integrity_check")?,
        query(console, &restored, IN_ALL)?,
    );
    if (verdict.as_str(), sum.as_str()) != ("ok", "100000") {
        return Err(Error::Broken(format!("the restored database says {verdict}, and {sum}")));
    }
    console.success("the image of the database is of one moment: SQLite says ok, and the accounts hold 100,000");

    console.step("Summary");
    let seconds = |duration: std::time::Duration| format!("{:.2} s", duration.as_secs_f64());
    console.figures(&[
        ("first backup of the tree", seconds(first.duration)),
        ("  stored, encrypted", size(first.added)),
        ("second backup of the tree", seconds(second.duration)),
        ("  added to the vault", size(second.added)),
    ]);
    if keep {
        scene.explain_what_is_kept("home");
    }
    Ok(())
}

/// Files of several kinds.
fn fill(home: &Path) -> Result<()> {
    let failed = || Error::io("cannot make the tree");
    for folder in ["notes", "pictures"] {
        std::fs::create_dir(home.join(folder)).map_err(failed())?;
    }
    for number in 0..200_u32 {
        write(&home.join(format!("notes/{number}.txt")), &format!("note {number}\n").repeat(200))?;
        let noise: Vec<u8> = (0..20_000_u32)
            .map(|at| (at.wrapping_mul(number * 2 + 2_654_435_761) >> 13) as u8)
            .collect();
        std::fs::write(home.join(format!("pictures/{number}.raw")), noise).map_err(failed())?;
    }
    write(&home.join("secret"), "for me alone\n")?;
    std::fs::set_permissions(home.join("secret"), std::fs::Permissions::from_mode(0o600)).map_err(failed())?;
    std::fs::hard_link(home.join("notes/7.txt"), home.join("seven.txt")).map_err(failed())?;
    symlink("notes/8.txt", home.join("eight.txt")).map_err(failed())
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(Error::io(format!("cannot write {}", path.display())))
}

/// Prints and runs one command of SQLite's shell; what it says.
fn query(console: &Console, database: &Path, sql: &str) -> Result<String> {
    let mut command = Command::new("sqlite3");
    command.arg(database).arg(sql);
    if sql.len() < 60 {
        console.command(&process::line(&command));
    }
    let output = bulkhead_test_support::run(&mut command)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Both trees, by somebody else's tool.
fn compare(console: &Console, expected: &Path, found: &Path) -> Result<()> {
    let mut command = Command::new("diff");
    command.args(["--recursive", "--no-dereference"]).arg(expected).arg(found);
    console.command(&process::line(&command));
    process::run(&mut command)?;
    console.success("diff finds no difference between the trees");
    Ok(())
}

/// SQLite's shell, moving money until it is ended.
struct Writer(Child);

impl Writer {
    fn start(database: &Path) -> Result<Self> {
        let failed = || Error::io("cannot start sqlite3");
        let mut child = Command::new("sqlite3")
            .arg(database)
            .stdin(Stdio::piped())
            .spawn()
            .map_err(failed())?;
        let input = child.stdin.take();
        // Ends when the shell does.
        std::thread::spawn(move || {
            let mut input = input?;
            writeln!(input, ".timeout 10000").ok()?;
            for number in 0_u64.. {
                let (from, to) = (number * 7 % 1000 + 1, number * 13 % 1000 + 1);
                writeln!(
                    input,
                    "BEGIN IMMEDIATE; UPDATE account SET balance = balance - 1, note = hex(randomblob(400)) WHERE id = {from}; \
                     UPDATE account SET balance = balance + 1 WHERE id = {to}; COMMIT;"
                )
                .ok()?;
            }
            Some(())
        });
        Ok(Self(child))
    }

    /// Ends it, wherever it is; an error if it had ended before.
    fn end(&mut self) -> Result<()> {
        let failed = || Error::io("cannot end sqlite3");
        if self.0.try_wait().map_err(failed())?.is_some() {
            return Err(Error::Broken("the database's writer ended before the backup".to_owned()));
        }
        self.0.kill().map_err(failed())?;
        self.0.wait().map(drop).map_err(failed())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}
