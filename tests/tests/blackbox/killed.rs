//! The program is cut short at random moments, by `kill -9` and by Ctrl-C: nothing that was committed is lost or damaged, what was reported is so, and
//! the next command works without anybody's help.
//!
//! `host/vault/tests/killed` does the same to the vault alone, at more moments and with changes of keys; `restoring` does it to restores into folders.
//! `BULKHEAD_SEED` repeats the moments as far as the machine's load lets them be the same, and `BULKHEAD_LONG=1` asks for more of them.
#![expect(clippy::print_stdout, reason = "the test runner shows it with a failure")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use bulkhead_test_support::mutation::Random;
use bulkhead_test_support::{Outcome, signal};
use serde_json::Value;

use crate::archive::Archive;
use crate::interruption::outcome;

/// Moments of one life of a vault; then it begins anew, so that checking all of it doesn't take ever longer.
const LIFE: usize = 8;
/// Exit code of what was interrupted.
const INTERRUPTED: Option<i32> = Some(130);

/// Chance, whose seed is told.
fn chance() -> Random {
    let asked = std::env::var("BULKHEAD_SEED").ok().map(|seed| seed.parse().unwrap());
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    let seed: u64 = asked.unwrap_or_else(|| u64::from(now()) | 1);
    println!("BULKHEAD_SEED={seed}");
    Random::new(seed)
}

/// How many vaults live through it.
fn lives(usual: usize) -> usize {
    if std::env::var_os("BULKHEAD_LONG").is_some() {
        usual * 20
    } else {
        usual
    }
}

/// How long a command takes: until it has its lock, and from then on.
#[derive(Debug, Clone, Copy)]
struct Pace {
    before: Duration,
    locked: Duration,
}

fn locks(archive: &Archive) -> BTreeSet<OsString> {
    // One whose name is not final is none yet.
    let names = fs::read_dir(archive.vault().join("locks"))
        .unwrap()
        .map(|lock| lock.unwrap().file_name());
    names.filter(|name| name.len() == 64).collect()
}

/// Waits until a process has taken a lock beside those that were there, or has ended.
fn wait_for_lock(archive: &Archive, child: &mut Child, earlier: &BTreeSet<OsString>) {
    while locks(archive).is_subset(earlier) && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
}

fn spawn(archive: &Archive, arguments: &[&str]) -> Child {
    let mut command = archive.command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Lets a command work to its end, and measures it.
fn pace(archive: &Archive, arguments: &[&str]) -> Pace {
    let (earlier, begin) = (locks(archive), Instant::now());
    let mut child = spawn(archive, arguments);
    wait_for_lock(archive, &mut child, &earlier);
    let before = begin.elapsed();
    let ended = outcome(child);
    assert_eq!(ended.code, Some(0), "{arguments:?}\n{}{}", ended.stdout, ended.stderr);
    Pace {
        before,
        locked: begin.elapsed() - before,
    }
}

/// Cuts a command short at a moment that chance chooses: most of the time while it has its lock, when there is something to be harmed.
fn cut_short(archive: &Archive, arguments: &[&str], pace: Pace, chance: &mut Random, cut: fn(&mut Child)) -> Outcome {
    let (earlier, is_early) = (locks(archive), chance.below(8) == 0);
    let within = if is_early { pace.before } else { pace.locked };
    let mut child = spawn(archive, arguments);
    if !is_early {
        wait_for_lock(archive, &mut child, &earlier);
    }
    // The moment is the point: there is no condition to wait for.
    std::thread::sleep(Duration::from_micros(chance.below(within.as_micros().try_into().unwrap())));
    cut(&mut child);
    outcome(child)
}

fn kill(child: &mut Child) {
    child.kill().unwrap();
}

fn interrupt(child: &mut Child) {
    signal::interrupt(child).unwrap();
}

/// A vault with two snapshots, and how long the second took.
fn begin() -> (Archive, Pace) {
    let mut archive = Archive::new(None);
    archive.change();
    archive.take();
    archive.change();
    let pace = pace(&archive, RUN);
    assert_eq!(archive.discover().len(), 1);
    (archive, pace)
}

/// A run whose report can be read.
pub(crate) const RUN: &[&str] = &["run", "home", "--json"];

/// What a run that was cut short said has to be what is there: a snapshot that it told of, none where it told that there is none, and any where it was
/// cut off before or while it said so.
pub(crate) fn assert_told_truly(ended: &Outcome, committed: &BTreeSet<String>) {
    assert!(committed.len() <= 1, "one run made {committed:?}");
    let Ok(report) = serde_json::from_str::<Value>(&ended.stdout) else {
        assert_eq!(ended.code, None, "it ended without a report: {}{}", ended.stdout, ended.stderr);
        return;
    };
    let run = &report["runs"][0];
    let told: BTreeSet<String> = match run["snapshot"].as_str() {
        Some(id) => [id.to_owned()].into(),
        None => run["committed"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_str().unwrap().to_owned())
            .collect(),
    };
    assert!(told.is_subset(committed), "{told:?} was told of and is not there");
    assert!(
        run["commit-unknown"] == true || told == *committed,
        "{committed:?} is there and was not told of: {run}"
    );
}

#[test]
fn a_run_that_is_killed_at_any_moment_harms_nothing_and_the_next_one_works() {
    let mut chance = chance();
    let (mut cut, mut left_locks) = (0, 0);
    for _ in 0..lives(3) {
        let (mut archive, pace) = begin();
        for _ in 0..LIFE {
            archive.change();
            let ended = cut_short(&archive, RUN, pace, &mut chance, kill);
            assert_told_truly(&ended, &archive.discover());
            archive.assert_undamaged();
            cut += usize::from(ended.code.is_none());
            left_locks += usize::from(!locks(&archive).is_empty());
            // Beside the locks of the dead.
            archive.change();
            archive.take();
        }
        archive.assert_all_restore();
    }
    println!("{cut} runs were killed, and {left_locks} times there was a lock of the dead");
    assert!(cut >= lives(3) * LIFE / 4 && left_locks > 0);
}

#[test]
fn a_run_that_is_interrupted_at_any_moment_says_what_became_of_it_and_cleans_up() {
    let mut chance = chance();
    let mut cut = 0;
    for _ in 0..lives(1) {
        let (mut archive, pace) = begin();
        for _ in 0..LIFE {
            archive.change();
            let ended = cut_short(&archive, RUN, pace, &mut chance, interrupt);
            assert_told_truly(&ended, &archive.discover());
            is_interrupted(&archive, &ended);
            cut += usize::from(ended.code != Some(0));
            archive.assert_undamaged();
            archive.change();
            archive.take();
        }
        archive.assert_all_restore();
    }
    // How many end before they can be interrupted is up to chance and the machine.
    assert!(cut > 0, "no run was interrupted");
}

const FORGET: &[&str] = &["forget", "home", "--yes"];
const PRUNE: &[&str] = &[
    "prune",
    "main",
    "--yes",
    "--max-unused",
    "0",
    "--max-repack",
    "unlimited",
    "--grace",
    "0s",
];

/// Cuts forgetting and pruning short; says how often `cut` came before the end.
fn housekeeping_is_cut_short(cut: fn(&mut Child), judge: impl Fn(&Archive, &Outcome)) -> usize {
    let mut chance = chance();
    let mut cuts = 0;
    for _ in 0..lives(1) {
        let (mut archive, _) = begin();
        let grow = |archive: &mut Archive| {
            // The retention lets them go.
            archive.give_up_all();
            for _ in 0..2 {
                archive.change();
                archive.take();
            }
        };
        grow(&mut archive);
        let paces = [FORGET, PRUNE].map(|command| pace(&archive, command));
        for round in 0..LIFE {
            grow(&mut archive);
            let of = round % 2;
            if of == 1 {
                archive.succeed(FORGET);
            }
            let ended = cut_short(&archive, [FORGET, PRUNE][of], paces[of], &mut chance, cut);
            judge(&archive, &ended);
            cuts += usize::from(ended.code != Some(0));
            archive.assert_undamaged();
            assert_eq!(archive.discover(), BTreeSet::new());
            archive.succeed(FORGET);
            archive.succeed(PRUNE);
            assert_eq!(locks(&archive), BTreeSet::new(), "the next one removes what the dead have left");
            archive.assert_undamaged();
            archive.assert_all_restore();
        }
    }
    cuts
}

#[test]
fn housekeeping_that_is_killed_at_any_moment_harms_nothing_and_is_finished_by_the_next() {
    let cuts = housekeeping_is_cut_short(kill, |_, _| ());
    assert!(cuts >= lives(1) * LIFE / 4, "only {cuts} commands were killed");
}

#[test]
fn housekeeping_that_is_interrupted_at_any_moment_says_so_and_gives_its_lock_back() {
    let cuts = housekeeping_is_cut_short(interrupt, is_interrupted);
    assert!(cuts > 0, "no command was interrupted");
}

/// As whoever is interrupted has to end: with no lock left, and with a word of it unless that was before it listened for signals.
fn is_interrupted(archive: &Archive, ended: &Outcome) {
    assert!(
        ended.code.is_none_or(|code| [Some(0), INTERRUPTED].contains(&Some(code))),
        "{ended:?}"
    );
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(ended.code != INTERRUPTED || said.contains("interrupted"), "{ended:?}");
    assert_eq!(locks(archive), BTreeSet::new(), "{ended:?}");
}
