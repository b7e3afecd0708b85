//! `cargo xtask bench etcd`: a store into a vault, beside `etcdctl snapshot save` and `snapshot status`.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use bulkhead_test_support::etcd::{Cluster, Release};
use bulkhead_test_support::{Scratch, run as run_tool};

use super::Context;
use super::measure::{Cost, Job};
use super::report::{Report, Samples, machine};
use super::vault::VaultSide;
use crate::console::{Console, size};
use crate::error::{Error, Result};

/// Backup and verification of an etcd store, beside `etcdctl snapshot save` and `etcdutl snapshot status`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Size of the store in MiB.
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u64).range(16..=7168))]
    size: u64,
}

/// Bytes of a value: a Kubernetes object of middling size.
const VALUE_BYTES: u64 = 4096;

/// Keys in one transaction: as many as `etcdctl` can send at once.
const KEYS: u64 = 400;

/// Clients that fill the store side by side.
const CLIENTS: u64 = 4;

/// Each round gives our side an empty vault; the sides take turns in going first.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Report> {
    let cluster = filled(&context.console, arguments.size << 20)?;
    let files = Scratch::new()?;
    let file = files.join("snapshot.db");
    let (mut ours, mut theirs, mut stored, mut saved) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut our_status, mut their_status) = (Vec::new(), Vec::new());
    for round in 0..context.repetitions {
        context.console.note(&format!("Round {} of {}…", round + 1, context.repetitions));
        let vault = VaultSide::new(context, &pipeline(&cluster))?;
        vault.run(&["check"])?;
        for turn in 0..2 {
            if (turn + round).is_multiple_of(2) {
                ours.push(vault.run(&["run", "registry"])?);
                stored.push(vault.stored_bytes()?);
                our_status.push(vault.run(&["verify"])?);
            } else {
                let (saving, checking) = (save(&cluster, &file)?, status(&cluster, &file)?);
                theirs.push(saving.then(checking));
                their_status.push(checking);
                saved.push(
                    std::fs::metadata(&file)
                        .map_err(Error::io("cannot look at the saved snapshot"))?
                        .len(),
                );
                std::fs::remove_file(&file).map_err(Error::io("cannot remove the saved snapshot"))?;
            }
        }
    }
    let mut circumstances = machine();
    circumstances.extend([
        ("store", size(saved.first().copied().unwrap_or(0))),
        ("bulkhead", version(Command::new(&context.binary).arg("--version"))?),
        (
            "etcd",
            version(cluster.client(["version"]).env("ETCDCTL_API", "3"))?.replace('\n', ", "),
        ),
    ]);
    let samples = |what, who, costs, stored_bytes| Samples {
        what,
        who,
        costs,
        stored_bytes,
        further: Vec::new(),
    };
    Ok(Report {
        name: "etcd",
        circumstances,
        samples: vec![
            samples("backup, checked", "bulkhead", ours, stored),
            samples("backup, checked", "snapshot save + status", theirs, saved),
            samples("verification of what is stored", "bulkhead", our_status, Vec::new()),
            samples("verification of what is stored", "snapshot status", their_status, Vec::new()),
        ],
        remarks: vec![
            "CPU and memory are those of the clients on each side; the server is left out, but works on the same cores.".to_owned(),
            "Bulkhead's run checks the trailer, the pages, the tree and the figures of `snapshot status`, has the member hash its content (HashKV), \
             and compresses, encrypts and deduplicates; the other side writes a plain file and reads it once more."
                .to_owned(),
            "Bulkhead's verification also decrypts, and compares the keys with the member's HashKV.".to_owned(),
        ],
    })
}

fn pipeline(cluster: &Cluster) -> String {
    format!(
        "[pipeline.registry]\nplugin = \"etcd\"\nvault = \"main\"\nendpoint.server = {{ address = \"{}\", tls = {{ mode = \"disable\" }} }}\n",
        cluster.address(0)
    )
}

fn save(cluster: &Cluster, file: &Path) -> Result<Cost> {
    let arguments = [OsStr::new("snapshot"), OsStr::new("save"), file.as_os_str()];
    // A large store takes longer than a client of the tests waits.
    let patient = [OsStr::new("--command-timeout"), OsStr::new("600s")];
    Job::command(cluster.client(arguments.into_iter().chain(patient))).run()
}

fn status(cluster: &Cluster, file: &Path) -> Result<Cost> {
    let arguments = [OsStr::new("status"), file.as_os_str()];
    Job::command(cluster.release().snapshot(arguments)).run()
}

fn version(command: &mut Command) -> Result<String> {
    let output = run_tool(command)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Starts a cluster of one and writes about `bytes` of keys and values: half hexadecimal digits, half words, as Kubernetes objects are.
fn filled(console: &Console, bytes: u64) -> Result<Cluster> {
    let cluster = Cluster::builder(&Release::distro()?)
        .argument("--quota-backend-bytes=8589934592")
        .argument("--unsafe-no-fsync")
        .argument("--snapshot-count=1000")
        .argument("--max-txn-ops=1000")
        .argument("--max-request-bytes=4194304")
        .start()?;
    let transactions = bytes / (VALUE_BYTES * KEYS) + 1;
    console.note(&format!("Filling a store with {}…", size(bytes)));
    std::thread::scope(|scope| {
        let fill = |client: u64| {
            let cluster = &cluster;
            scope.spawn(move || {
                (client..transactions)
                    .step_by(CLIENTS as usize)
                    .try_for_each(|number| transact(cluster, number))
            })
        };
        let running: Vec<_> = (0..CLIENTS).map(fill).collect();
        let ended = running.into_iter().map(|thread| thread.join().unwrap_or(Ok(())));
        ended.collect::<Result<Vec<()>>>()
    })?;
    Ok(cluster)
}

/// Writes one transaction's keys.
fn transact(cluster: &Cluster, number: u64) -> Result<()> {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut commands = String::from("\n");
    for key in 0..KEYS {
        commands.push_str(&format!("put /registry/objects/{number:08}/{key:03} \"{}\"\n", value(&mut state)));
    }
    commands.push_str("\n\n");
    let failed = || Error::io("cannot write to etcdctl");
    let mut command = cluster.client(["txn"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed())?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(commands.as_bytes()).map_err(failed())?;
    }
    match child.wait().map_err(failed())? {
        status if status.success() => Ok(()),
        status => Err(Error::Broken(format!(
            "`etcdctl txn` ended with {status} while the store was filled"
        ))),
    }
}

fn value(state: &mut u64) -> String {
    let mut value = String::with_capacity(VALUE_BYTES as usize);
    while value.len() < VALUE_BYTES as usize {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        value.push_str(&format!("resourceVersion: {state:016x} uid: {:016x}; ", state.rotate_left(17)));
    }
    value
}
