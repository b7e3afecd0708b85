//! `cargo xtask bench redis`: a dataset into a vault, beside `redis-cli --rdb` and `redis-check-rdb`.

use std::path::Path;
use std::process::Command;

use bulkhead_test_support::redis::{Client, Program, Server};
use bulkhead_test_support::{Scratch, Tool, run as run_tool};

use super::Context;
use super::measure::{Cost, Job};
use super::report::{Report, Samples, machine};
use super::vault::VaultSide;
use crate::console::{Console, size};
use crate::error::{Error, Result};

/// Backup, verification and live restore of a Redis server, beside `redis-cli --rdb` and `redis-check-rdb`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Size of all values in MiB.
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    size: u64,
    /// Bytes of each value.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(16..=1_048_576))]
    value_size: u64,
}

/// Strings that one `MSET` writes; a hash with a tenth as many fields goes with them.
const BATCH: u64 = 100;

/// Commands that are sent before the first of them must be answered.
const AHEAD: u64 = 16;

const HINT: &str = "apt-get install redis-tools";

/// What both sides did.
#[derive(Default)]
struct Rounds {
    ours: Vec<Cost>,
    stored: Vec<u64>,
    our_verification: Vec<Cost>,
    restored: Vec<Cost>,
    theirs: Vec<Cost>,
    saved: Vec<u64>,
    their_verification: Vec<Cost>,
}

/// Each round gives our side an empty vault; the sides take turns in going first.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Report> {
    let server = filled(&context.console, arguments)?;
    let target = Server::start_default()?;
    let files = Scratch::new()?;
    let file = files.join("dump.rdb");
    let mut rounds = Rounds::default();
    for round in 0..context.repetitions {
        context.console.note(&format!("Round {} of {}…", round + 1, context.repetitions));
        let vault = VaultSide::new(context, &pipeline(&server, &target))?;
        // Compiles the plugin where that has not been done, and finds out what would fail.
        vault.run(&["check"])?;
        for turn in 0..2 {
            if (turn + round).is_multiple_of(2) {
                rounds.ours.push(vault.run(&["run", "cache"])?);
                rounds.stored.push(vault.stored_bytes()?);
                rounds.our_verification.push(vault.run(&["verify"])?);
            } else {
                let saved = save(&server, &file)?;
                let checked = Job::command(server.program().checker(&file)?).run()?;
                rounds.theirs.push(saved.then(checked));
                rounds.their_verification.push(checked);
                let length = std::fs::metadata(&file).map_err(Error::io("cannot look at the saved file"))?.len();
                rounds.saved.push(length);
            }
        }
        rounds.restored.push(vault.run(&["restore", "cache", "--target", "live"])?);
        compare(&server, &target)?;
        target.call(&["FLUSHALL"])?;
    }
    report(context, &server, rounds)
}

fn pipeline(server: &Server, target: &Server) -> String {
    let endpoint = |server: &Server| {
        format!(
            "endpoint.server = {{ address = \"{}\", tls = {{ mode = \"disable\" }} }}\n",
            server.address()
        )
    };
    format!(
        "[pipeline.cache]\nplugin = \"redis\"\nvault = \"main\"\nconfig = {{ mode = \"replica\" }}\n{}[pipeline.cache.target.live]\n{}",
        endpoint(server),
        endpoint(target)
    )
}

fn save(server: &Server, file: &Path) -> Result<Cost> {
    let mut command = Tool::find("redis-cli", HINT)?.command(["-h", "127.0.0.1"]);
    command.args(["-p", &server.port().to_string(), "--rdb"]).arg(file);
    Job::command(command).run()
}

/// The figures of a restore that left something out would mean nothing.
fn compare(server: &Server, target: &Server) -> Result<()> {
    let sizes = (server.call(&["DBSIZE"])?, target.call(&["DBSIZE"])?);
    if sizes.0 == sizes.1 {
        return Ok(());
    }
    Err(Error::Broken(format!("{} of {} keys were restored", sizes.1, sizes.0)))
}

fn report(context: &Context, server: &Server, rounds: Rounds) -> Result<Report> {
    let mut circumstances = machine();
    circumstances.extend([
        ("dump.rdb", size(rounds.saved.first().copied().unwrap_or(0))),
        ("keys", server.call(&["DBSIZE"])?),
        ("bulkhead", version(Command::new(&context.binary).arg("--version"))?),
        ("server", Program::debian()?.version()?),
        ("client", version(&mut Tool::find("redis-cli", HINT)?.command(["--version"]))?),
    ]);
    let samples = |what, who, costs, stored_bytes| Samples {
        what,
        who,
        costs,
        stored_bytes,
        further: Vec::new(),
    };
    let (us, them) = ("bulkhead", "redis-cli --rdb, redis-check-rdb");
    Ok(Report {
        name: "redis",
        circumstances,
        samples: vec![
            samples("backup, checked", us, rounds.ours, rounds.stored),
            samples("backup, checked", them, rounds.theirs, rounds.saved),
            samples("verification of what is stored", us, rounds.our_verification, Vec::new()),
            samples(
                "verification of what is stored",
                "redis-check-rdb",
                rounds.their_verification,
                Vec::new(),
            ),
            samples("restore into a live server", us, rounds.restored, Vec::new()),
        ],
        remarks: vec![
            "CPU and memory are those of the clients on each side; the server is left out, but forks and works on the same cores.".to_owned(),
            "Bulkhead's run parses and checks the dataset as it passes, compares its keys with the server's, stores users and configuration with it, and \
             compresses, encrypts and deduplicates; the other side writes a plain file and reads it once more."
                .to_owned(),
            "Bulkhead's verification also decrypts, and compares with the counts and the checksum of the backup.".to_owned(),
        ],
    })
}

fn version(command: &mut Command) -> Result<String> {
    let output = run_tool(command)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A server with strings and hashes, whose values are half hexadecimal digits and half words.
fn filled(console: &Console, arguments: &Arguments) -> Result<Server> {
    let bytes = arguments.size << 20;
    let server = Server::start_default()?;
    console.note(&format!("Filling a server with {}…", size(bytes)));
    let batches = bytes / (arguments.value_size * (BATCH + BATCH / 10)) + 1;
    let mut client = server.client()?;
    let mut state = 0x9E37_79B9_7F4A_7C15;
    let mut waiting = 0;
    for batch in 0..batches {
        let mut strings = vec![b"MSET".to_vec()];
        for number in 0..BATCH {
            strings.extend([
                format!("session:{batch:08}:{number:02}").into_bytes(),
                value(&mut state, arguments.value_size),
            ]);
        }
        let mut hash = vec![b"HSET".to_vec(), format!("cart:{batch:08}").into_bytes()];
        for number in 0..BATCH / 10 {
            hash.extend([format!("item-{number}").into_bytes(), value(&mut state, arguments.value_size)]);
        }
        client.send(&strings)?;
        client.send(&hash)?;
        waiting += 2;
        while waiting > AHEAD {
            answered(&mut client)?;
            waiting -= 1;
        }
    }
    (0..waiting).try_for_each(|_| answered(&mut client))?;
    Ok(server)
}

fn answered(client: &mut Client) -> Result<()> {
    match client.receive()? {
        bulkhead_test_support::redis::Reply::Error(error) => Err(Error::Broken(format!("the server could not be filled: {error}"))),
        _ => Ok(()),
    }
}

fn value(state: &mut u64, bytes: u64) -> Vec<u8> {
    let mut value = Vec::new();
    while (value.len() as u64) < bytes {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        value.extend_from_slice(format!("session={state:016x} user= anonymous; ").as_bytes());
    }
    value.truncate(usize::try_from(bytes).unwrap_or(usize::MAX));
    value
}
