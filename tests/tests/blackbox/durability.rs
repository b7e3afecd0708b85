//! What is acknowledged is durable, and what cannot be made durable is not acknowledged: the system calls of the program, as `strace` sees them and makes
//! them fail.
//!
//! A disk that lies about what it has kept cannot be told from a good one by a program that asks it in the right order. That order is what is tested here;
//! what is found of content that such a disk has lost, `host/vault/tests` has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use bulkhead_test_support::{Outcome, Tool};

use crate::archive::Archive;
use crate::disk::hand_over;
use crate::killed::{RUN, assert_told_truly};

/// A command under strace with these options.
fn traced(archive: &Archive, arguments: &[&str], options: &[&str]) -> Command {
    let strace = Tool::find("strace", "apt-get install strace").unwrap();
    let inner = archive.command(arguments);
    let mut command = strace.command(["--follow-forks", "-qq"]);
    command.args(options).arg("--").current_dir(inner.get_current_dir().unwrap());
    hand_over(&mut command, &inner);
    command
}

/// A call that makes a name or something durable.
#[derive(Debug, Clone)]
enum Call {
    /// Of a file or a folder.
    Sync(PathBuf),
    /// From one name to another, which stand for the same file.
    Name(PathBuf, PathBuf),
}

impl Call {
    /// Reads `fsync(3</path>)` and `renameat(3</folder>, "old", 4</folder>, "new")`.
    fn read(text: &str) -> Option<Self> {
        let (name, arguments) = text.split_once('(')?;
        let folders: Vec<&str> = arguments
            .split('<')
            .skip(1)
            .filter_map(|part| Some(part.split_once('>')?.0))
            .collect();
        let names: Vec<&str> = arguments.split('"').skip(1).step_by(2).collect();
        match (name, &folders[..], &names[..]) {
            ("fsync" | "fdatasync", [path], []) => Some(Self::Sync(path.into())),
            ("renameat" | "renameat2" | "linkat", [from, to], [old, new]) => {
                Some(Self::Name(Path::new(from).join(old), Path::new(to).join(new)))
            }
            _ => None,
        }
    }
}

/// A call began or ended. Several threads make them, so each has its number.
struct Event {
    number: usize,
    is_begin: bool,
    call: Call,
}

/// All of them, in their order.
fn events(log: &str) -> Vec<Event> {
    let mut pending = BTreeMap::new();
    let mut events = Vec::new();
    for (number, line) in log.lines().enumerate() {
        let event = |number, is_begin, call| Event { number, is_begin, call };
        let (thread, text) = line.trim_start().split_once(' ').unwrap();
        let text = text.trim_start();
        let begun = text.strip_suffix("<unfinished ...>");
        if text.starts_with("<...") {
            events.extend(pending.remove(thread).map(|(number, call)| event(number, false, call)));
        } else if let Some(call) = Call::read(begun.unwrap_or(text)) {
            events.push(event(number, true, call.clone()));
            if begun.is_some() {
                pending.insert(thread, (number, call));
            } else {
                events.push(event(number, false, call));
            }
        }
    }
    events
}

/// What is known of the vault's folder while its calls are read.
#[derive(Default)]
struct Disk {
    /// Files whose content is durable.
    synced: BTreeSet<PathBuf>,
    /// Objects that have their names.
    named: BTreeSet<PathBuf>,
    /// Of them, those whose names are durable.
    durable: BTreeSet<PathBuf>,
    /// What was named when a sync began.
    syncing: BTreeMap<usize, BTreeSet<PathBuf>>,
}

impl Disk {
    fn see(&mut self, vault: &Path, event: Event) {
        match (event.call, event.is_begin) {
            (Call::Sync(_), true) => drop(self.syncing.insert(event.number, self.named.clone())),
            (Call::Sync(path), false) => {
                let named = self.syncing.remove(&event.number).unwrap();
                self.durable.extend(named.into_iter().filter(|name| name.parent() == Some(&path)));
                self.synced.insert(path);
            }
            (Call::Name(from, to), true) if is_object(vault, &to) => {
                assert!(
                    self.synced.contains(&from),
                    "{} gets its name before its content is durable",
                    to.display()
                );
                let is_of = |kind: &str, path: &Path| path.starts_with(vault.join(kind));
                let later: &[&str] = if is_of("snapshots", &to) { &["data", "index"] } else { &["data"] };
                if is_of("snapshots", &to) || is_of("index", &to) {
                    let early = self
                        .named
                        .difference(&self.durable)
                        .find(|name| later.iter().any(|kind| is_of(kind, name)));
                    assert_eq!(early, None, "{} relies on what is not durable", to.display());
                }
            }
            (Call::Name(_, to), false) if is_object(vault, &to) => drop(self.named.insert(to)),
            (Call::Name(..), _) => {}
        }
    }
}

/// Whether a path is that of a whole object: its temporary names are longer.
fn is_object(vault: &Path, path: &Path) -> bool {
    let name = path.file_name().unwrap().len();
    path.starts_with(vault) && (name == 64 || path == vault.join("config"))
}

/// The objects that a command stored, each durable before what relies on it.
fn assert_durable(archive: &Archive, arguments: &[&str]) -> BTreeSet<PathBuf> {
    let log = archive.path("calls");
    let output = format!("--output={}", log.display());
    let calls = "--trace=fsync,fdatasync,linkat,renameat,renameat2";
    let outcome: Outcome = traced(archive, arguments, &["--decode-fds=path", &output, calls])
        .output()
        .unwrap()
        .into();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let mut disk = Disk::default();
    for event in events(&std::fs::read_to_string(&log).unwrap()) {
        disk.see(&archive.vault(), event);
    }
    assert_eq!(disk.named.difference(&disk.durable).next(), None, "acknowledged, and not durable");
    disk.named
}

#[test]
fn each_object_is_durable_before_what_relies_on_it() {
    let mut archive = Archive::empty(None);
    let made = assert_durable(&archive, &["init", "main"]);
    assert!(made.len() == 2 && made.contains(&archive.vault().join("config")), "{made:?}");
    for _ in 0..2 {
        archive.change();
        let stored = assert_durable(&archive, RUN);
        let of = |kind: &str| stored.iter().filter(|path| path.starts_with(archive.vault().join(kind))).count();
        assert!(of("data") >= 2 && of("index") == 1 && of("snapshots") == 1, "{stored:?}");
    }
    archive.discover();
    archive.give_up_all();
    archive.change();
    archive.take();
    archive.change();
    archive.take();
    archive.succeed(&["forget", "home", "--yes"]);
    let rewritten = assert_durable(
        &archive,
        &["prune", "main", "--yes", "--max-unused", "0", "--max-repack", "unlimited"],
    );
    assert!(
        rewritten.iter().any(|path| path.starts_with(archive.vault().join("index"))),
        "{rewritten:?}"
    );
    archive.assert_undamaged();
}

#[test]
fn a_sync_that_fails_fails_the_run_whichever_it_is() {
    let mut archive = Archive::new(None);
    archive.change();
    archive.take();
    let mut failed = 0;
    // The n-th of each thread.
    for number in 1.. {
        archive.change();
        let inject = format!("--inject=fsync,fdatasync:error=EIO:when={number}");
        let log = archive.path("calls");
        let output = format!("--output={}", log.display());
        let ended: Outcome = traced(&archive, RUN, &[&inject, "--trace=fsync,fdatasync", &output])
            .output()
            .unwrap()
            .into();
        let has_failed = std::fs::read_to_string(log).unwrap().contains("(INJECTED)");
        let committed = archive.discover();
        assert_told_truly(&ended, &committed);
        archive.assert_undamaged();
        archive.change();
        archive.take();
        if !has_failed {
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            break;
        }
        failed += 1;
        // Nothing relies on the sync of the lock's folder, when it is gone.
        assert!(ended.code == Some(6) || (ended.code == Some(0) && number > 2), "{ended:?}");
    }
    assert!(failed >= 3, "only {failed} runs had a sync that failed");
    archive.assert_all_restore();
}
