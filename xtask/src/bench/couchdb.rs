//! `cargo xtask bench couchdb`: databases into a vault, again after some documents have changed, and back into a server, beside `couchbackup` and `couchrestore`.
//!
//! The server is the tests' own, which answers as CouchDB 3.4 does: no CouchDB can be had for tests, and PouchDB's server lacks what `couchbackup` asks for (`pending` in a
//! feed, `doc_del_count`). It is one process of this program, in memory, and answers one request at a time: it may be the slower part.
//!
//! Documents and attachments are in databases of their own, because `couchrestore` cannot write a document whose attachment `couchbackup` has left out.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bulkhead_test_support::couchdb::Imitation;
use bulkhead_test_support::{Scratch, Tool, run as run_tool};
use serde_json::json;

use super::Context;
use super::measure::{Cost, Job, so_far};
use super::report::{Quantity, Report, Samples, machine, seconds};
use super::vault::VaultSide;
use crate::console::{Console, size};
use crate::error::{Error, Result};
use crate::process;

/// Backups, full and of what has changed, and a restore of CouchDB databases, beside `couchbackup` and `couchrestore`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Documents.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    documents: u64,
    /// Bytes of each document.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(128..=1_048_576))]
    document_size: u64,
    /// Attachments in MiB, of one MiB each; `couchbackup` leaves them out, so they are in a database that only our side reads.
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u64).range(0..=16_384))]
    attachments: u64,
}

/// The database that both sides read, and the one with attachments.
const DOCUMENTS: &str = "documents";
const FILES: &str = "files";
/// Of how many documents one changes between two backups.
const CHANGED: u64 = 100;
const ATTACHMENT_BYTES: usize = 1 << 20;
/// Where `cargo xtask setup` puts it, below Cargo's target folder.
const PACKAGE: &str = "tools/couchbackup/node_modules/@cloudant/couchbackup";

/// What both sides did.
#[derive(Default)]
struct Rounds {
    full: [Vec<Watched>; 2],
    stored: [Vec<u64>; 2],
    changed: [Vec<Watched>; 2],
    restored: [Vec<Watched>; 2],
}

/// What a job cost, and what it made of the server.
struct Watched {
    cost: Cost,
    server_cpu: Duration,
    requests: usize,
}

/// Runs a job that speaks with `server`, which is this process.
fn watch(server: &Imitation, job: impl FnOnce() -> Result<Cost>) -> Result<Watched> {
    let so_far = || so_far(std::process::id(), Duration::ZERO).map(|cost| cost.cpu);
    server.requests();
    let before = so_far()?;
    Ok(Watched {
        cost: job()?,
        server_cpu: so_far()?.saturating_sub(before),
        requests: server.requests().len(),
    })
}

/// The places of the sides.
const OURS: usize = 0;
const THEIRS: usize = 1;

/// Each round gives our side an empty vault, and both an empty server to restore into; the sides take turns in going first.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Report> {
    let server = filled(&context.console, arguments);
    let url = server.serve()?;
    let files = Scratch::new()?;
    let file = files.join("documents.jsonl");
    let mut rounds = Rounds::default();
    for round in 0..context.repetitions {
        context.console.note(&format!("Round {} of {}…", round + 1, context.repetitions));
        let target = Imitation::new(None);
        let vault = VaultSide::new(context, &pipeline(&url, &target.serve()?))?;
        // Compiles the plugin where that has not been done, and finds out what would fail.
        vault.run(&["check"])?;
        let turns = if round.is_multiple_of(2) { [OURS, THEIRS] } else { [THEIRS, OURS] };
        for side in turns {
            rounds.full[side].push(watch(&server, || back_up(side, &vault, &url, &file))?);
            rounds.stored[side].push(if side == OURS { vault.stored_bytes()? } else { length(&file)? });
        }
        change(&server, arguments, round);
        for side in turns {
            rounds.changed[side].push(watch(&server, || back_up(side, &vault, &url, &file))?);
        }
        for side in turns {
            let target = if side == OURS { target.clone() } else { Imitation::new(None) };
            rounds.restored[side].push(watch(&target, || restore(side, &vault, &target, &file))?);
            compare(&server, &target, side)?;
        }
    }
    report(context, arguments, rounds)
}

/// Words and digits, as documents of a ledger's state have them.
fn text(state: &mut u64, bytes: u64) -> String {
    let mut text = String::new();
    while (text.len() as u64) < bytes {
        text.push_str(&format!("owner: {:016x} state: committed ", random(state)));
    }
    text.truncate(usize::try_from(bytes).unwrap_or(usize::MAX));
    text
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn filled(console: &Console, arguments: &Arguments) -> Imitation {
    console.note(&format!(
        "Filling a server with {} documents and {} of attachments…",
        arguments.documents,
        size(arguments.attachments << 20)
    ));
    let server = Imitation::new(None);
    let mut state = 0x9E37_79B9_7F4A_7C15;
    for number in 0..arguments.documents {
        put(&server, arguments, number, &mut state);
    }
    for number in 0..arguments.attachments {
        let content: Vec<u8> = (0..ATTACHMENT_BYTES / 8).flat_map(|_| random(&mut state).to_le_bytes()).collect();
        let id = format!("file{number:06}");
        let mut locked = server.state();
        locked
            .database(FILES)
            .attach(&id, "content.bin", Some(("application/octet-stream", &content)));
    }
    server
}

fn put(server: &Imitation, arguments: &Arguments, number: u64, state: &mut u64) {
    let text = text(state, arguments.document_size);
    let members = json!({ "number": number, "text": text });
    server.state().database(DOCUMENTS).put(&format!("document{number:09}"), members);
}

/// Edits one of so many documents, others in each round.
fn change(server: &Imitation, arguments: &Arguments, round: u32) {
    let mut state = 0x2545_F491_4F6C_DD1D ^ u64::from(round + 1);
    for number in (u64::from(round)..arguments.documents).step_by(CHANGED as usize) {
        put(server, arguments, number, &mut state);
    }
    // What is no leaf any more is no part of either side's backup.
    server.state().database(DOCUMENTS).compact();
}

fn pipeline(url: &str, target: &str) -> String {
    format!(
        "[pipeline.ledger]\nplugin = \"couchdb\"\nvault = \"main\"\nendpoint.server = {{ url = \"{url}\" }}\n[pipeline.ledger.target.live]\nendpoint.server = {{ url = \"{target}\" }}\n"
    )
}

fn back_up(side: usize, vault: &VaultSide, url: &str, file: &Path) -> Result<Cost> {
    if side == OURS {
        return vault.run(&["run", "ledger"]);
    }
    let mut command = couchbackup("couchbackup")?;
    command.args(["--url", url, "--db", DOCUMENTS, "--output"]).arg(file);
    Job::command(command).run()
}

fn restore(side: usize, vault: &VaultSide, target: &Imitation, file: &Path) -> Result<Cost> {
    if side == OURS {
        return vault.run(&["restore", "ledger", "--target", "live"]);
    }
    target.state().database(DOCUMENTS);
    let mut read = Tool::find("cat", "apt-get install coreutils")?.command([file]);
    read.env("LC_ALL", "C");
    let mut write = couchbackup("couchrestore")?;
    write.args(["--url", &target.serve()?, "--db", DOCUMENTS]);
    Job::pipeline([read, write]).run()
}

fn couchbackup(program: &str) -> Result<Command> {
    let node = Tool::find("node", "apt-get install nodejs")?;
    let path: PathBuf = process::target_folder().join(PACKAGE).join(format!("bin/{program}.bin.js"));
    let mut command = node.command([Tool::at(path, "cargo xtask setup")?.path()]);
    // What it says of each batch is not read before it ends: a thousand batches fill the pipe, and it would wait for ever.
    command.arg("--quiet");
    Ok(command)
}

/// The figures of a side that left documents out would mean nothing.
fn compare(server: &Imitation, target: &Imitation, side: usize) -> Result<()> {
    let databases = if side == OURS { &[DOCUMENTS, FILES][..] } else { &[DOCUMENTS][..] };
    for name in databases {
        let counts = |server: &Imitation| server.state().database(name).counts();
        let (here, there) = (counts(server), counts(target));
        if here != there {
            return Err(Error::Broken(format!("{there:?} of {here:?} documents of `{name}` were restored")));
        }
    }
    Ok(())
}

fn length(file: &Path) -> Result<u64> {
    let metadata = std::fs::metadata(file).map_err(Error::io("cannot look at the file that couchbackup has written"))?;
    Ok(metadata.len())
}

/// MiB a second of a side, by the median of its costs.
fn throughput(bytes: u64, costs: &[Watched]) -> f64 {
    let mut seconds: Vec<f64> = costs.iter().map(|watched| watched.cost.wall.as_secs_f64()).collect();
    seconds.sort_by(f64::total_cmp);
    bytes as f64 / f64::from(1 << 20) / seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
}

fn report(context: &Context, arguments: &Arguments, rounds: Rounds) -> Result<Report> {
    let documents = arguments.documents * arguments.document_size;
    let bytes = [documents + (arguments.attachments << 20), documents];
    let compared = |what: &str, costs: &[Vec<Watched>; 2]| {
        let [ours, theirs] = [OURS, THEIRS].map(|side| throughput(bytes[side], &costs[side]));
        let bare = throughput(bytes[THEIRS], &costs[OURS]);
        format!(
            "{what}: {ours:.1} MiB/s, attachments included, beside {theirs:.1} MiB/s of documents alone: {:.2} times as much (documents alone, over our whole time: {:.2} times).",
            ours / theirs,
            bare / theirs
        )
    };
    let remarks = vec![
        "The server is the tests' own: it answers as CouchDB 3.4 does, one request at a time, in memory. It works on the same cores, where its CPU is told apart, and may be \
         the slower part."
            .to_owned(),
        compared("Full backup", &rounds.full),
        compared("Restore", &rounds.restored),
        format!(
            "Between the two backups one document of {CHANGED} changed: Bulkhead reads what changed, couchbackup has no incremental backup and reads everything again. Bulkhead also \
             stores {} of attachments, with their digests checked; couchbackup leaves attachments out.",
            size(arguments.attachments << 20)
        ),
        "Bulkhead compresses, encrypts and deduplicates; the other side writes a plain file.".to_owned(),
    ];
    let mut circumstances = machine();
    circumstances.extend([
        ("documents", format!("{} of {} bytes", arguments.documents, arguments.document_size)),
        ("attachments", size(arguments.attachments << 20)),
        ("bulkhead", version(Command::new(&context.binary).arg("--version"))?),
        ("couchbackup", version(couchbackup("couchbackup")?.arg("--version"))?),
        (
            "node",
            version(&mut Tool::find("node", "apt-get install nodejs")?.command(["--version"]))?,
        ),
    ]);
    let samples = |what, who, watched: Vec<Watched>, stored_bytes| Samples {
        what,
        who,
        costs: watched.iter().map(|watched| watched.cost).collect(),
        stored_bytes,
        further: of_server(&watched),
    };
    let (us, them) = ("bulkhead", "couchbackup");
    let [our_full, their_full] = rounds.full;
    let [our_changed, their_changed] = rounds.changed;
    let [our_restored, their_restored] = rounds.restored;
    let [our_stored, their_stored] = rounds.stored;
    Ok(Report {
        name: "couchdb",
        circumstances,
        samples: vec![
            samples("full backup", us, our_full, our_stored),
            samples("full backup", them, their_full, their_stored),
            samples("backup after 1 % changed", us, our_changed, Vec::new()),
            samples("backup after 1 % changed", them, their_changed, Vec::new()),
            samples("restore into an empty server", us, our_restored, Vec::new()),
            samples("restore into an empty server", "couchrestore", their_restored, Vec::new()),
        ],
        remarks,
    })
}

fn of_server(watched: &[Watched]) -> Vec<Quantity> {
    vec![
        Quantity {
            name: "server cpu",
            values: watched.iter().map(|watched| watched.server_cpu.as_secs_f64()).collect(),
            show: seconds,
        },
        Quantity {
            name: "requests",
            values: watched.iter().map(|watched| watched.requests as f64).collect(),
            show: |requests| format!("{requests:.0}"),
        },
    ]
}

fn version(command: &mut Command) -> Result<String> {
    let output = run_tool(command)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
