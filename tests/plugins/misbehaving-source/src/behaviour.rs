//! The ways of going wrong. Each acts after the good entries were written, which are then what must not become a snapshot.

use std::{hint::black_box, time::Duration};

use bulkhead_sdk::{directory::OpenMode, endpoint::Connection, parts, prelude::*, progress};

use crate::Config;

/// What `backup` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// Nothing goes wrong.
    Good,
    /// An error with hint, setting and causes.
    Error,
    /// An error that says that a retry may help.
    RetryableError,
    /// An error whose message has 8 MiB.
    LongError,
    /// An error whose message has 24 MiB.
    HugeError,
    /// A panic.
    Panic,
    /// A recursion without end.
    OverflowStack,
    /// An endless loop.
    LoopForever,
    /// A sleep without end.
    Hang,
    /// Allocates and touches memory without end.
    EatMemory,
    /// Reads from the endpoint `server` without a deadline.
    BlockInRead,
    /// Claims one entry more than there is.
    FalseEntries,
    /// Claims one byte more than there is.
    FalseBytes,
    /// Says that no end marker was seen.
    Incomplete,
    /// Commits, and then sleeps without end.
    CommitThenHang,
    /// Commits, and then adds no more than a folder.
    CommitThenFolder,
    /// Commits one entry more than there is.
    FalseCommit,
    /// Leaves an entry unfinished, and claims it.
    UnfinishedEntry,
    /// Creates two entries at one path, and ignores the refusal.
    SamePathTwice,
    /// Creates entries whose paths lead out, and reports the first that is accepted.
    EscapingPath,
    /// Writes into the reserved folder, and takes a moment to say what came of it.
    ReservedPath,
    /// Logs without end.
    FloodLog,
    /// Writes one entry without end.
    WriteTooMuch,
    /// Creates entries without end.
    TooManyEntries,
    /// Opens entries without end and finishes none.
    TooManyOpenEntries,
    /// Opens connections to `server` without end.
    TooManyConnections,
    /// Opens an endpoint that nobody granted.
    NotGranted,
    /// Puts the secret `password` into the log and into its error.
    LeakSecret,
    /// Succeeds, with the secret `password` in a fact, a finding, the progress and on standard output.
    LeakQuietly,
    /// Writes into the directory `source`, which it asked to read only.
    WriteReadOnly,
    /// Waits for any of three connections to `server`, which sends back what it gets. Nothing goes wrong, unless the host does.
    WaitAny,
    /// Fails in a part, and claims success all the same. Needs `parts`.
    FailInPart,
    /// Starts parts without end.
    TooManyParts,
}

/// An error with everything that an error can have.
pub(crate) fn refused() -> Error {
    Error::new(ErrorKind::Server, "the server refused the backup")
        .with_hint("set `behaviour = \"good\"`")
        .with_setting("behaviour")
        .with_cause("it was told to")
}

impl Behaviour {
    /// Goes wrong.
    pub(crate) fn act(self, config: &Config, proof: &mut Proof) -> Result<()> {
        // For a test that waits for it.
        bulkhead_sdk::info!("going wrong now");
        match self {
            Self::Good | Self::FailInPart => {}
            Self::Error => return Err(refused()),
            Self::RetryableError => return Err(refused().with_retryable(true)),
            Self::LongError => return Err(Error::new(ErrorKind::Server, "long ".repeat(8 << 18))),
            Self::HugeError => return Err(Error::new(ErrorKind::Server, "huge ".repeat(5 << 20))),
            Self::Panic => told_to_panic(),
            Self::OverflowStack => _ = black_box(recurse(1)),
            Self::LoopForever => loop {
                black_box(());
            },
            Self::Hang => std::thread::sleep(Duration::from_secs(u64::from(u32::MAX))),
            Self::EatMemory => eat_memory(),
            Self::CommitThenHang => {
                entries::commit(proof, Some(b"halfway"))?;
                bulkhead_sdk::info!("committed");
                std::thread::sleep(Duration::from_secs(u64::from(u32::MAX)));
            }
            Self::CommitThenFolder => {
                entries::commit(proof, Some(&config.seed.to_le_bytes()))?;
                (proof.entries, proof.bytes) = (0, 0);
                entries::add("later", &Metadata::directory())?;
            }
            Self::FalseCommit => {
                proof.entries += 1;
                entries::commit(proof, None)?;
            }
            Self::BlockInRead => _ = endpoint::open("server")?.read_bytes(1024, None)?,
            Self::FalseEntries => proof.entries += 1,
            Self::FalseBytes => proof.bytes += 1,
            Self::Incomplete => proof.complete = false,
            Self::UnfinishedEntry => unfinished_entry(proof)?,
            Self::SamePathTwice => _ = crate::content::write(config, 0),
            Self::EscapingPath => escape()?,
            Self::ReservedPath => reserved_path(proof)?,
            Self::FloodLog => (0..u64::MAX).for_each(|line| bulkhead_sdk::info!(line = line; "once more")),
            Self::WriteTooMuch => write_too_much()?,
            Self::TooManyEntries => (0..u64::MAX).try_for_each(|number| empty_entry(number).map(|finished| proof.count(&finished)))?,
            Self::TooManyOpenEntries => open_without_end(|number| entries::create(format!("open/{number}"), &Metadata::file()))?,
            Self::TooManyConnections => open_without_end(|_| endpoint::open("server"))?,
            Self::NotGranted => _ = endpoint::open("elsewhere")?,
            Self::LeakSecret => return Err(leak()?),
            Self::LeakQuietly => leak_quietly(proof)?,
            Self::WriteReadOnly => _ = directory::open("source")?.open_file("new", OpenMode::Create)?,
            Self::WaitAny => wait_any()?,
            Self::TooManyParts => open_without_end(|_| parts::start(b"[]"))?,
        }
        Ok(())
    }
}

#[expect(clippy::panic, reason = "it was told to")]
fn told_to_panic() {
    panic!("told to panic");
}

fn recurse(depth: u64) -> u64 {
    if black_box(depth) == 0 {
        0
    } else {
        recurse(depth + 1) + black_box(1)
    }
}

fn reserved_path(proof: &mut Proof) -> Result<()> {
    let entry = entries::create(".bulkhead/snapshot.json", &Metadata::file());
    std::thread::sleep(Duration::from_millis(50));
    proof.count(&entry?.finish()?);
    Ok(())
}

fn eat_memory() {
    let mut eaten = Vec::new();
    loop {
        eaten.push(vec![1_u8; 1 << 20]);
        black_box(&eaten);
    }
}

fn unfinished_entry(proof: &mut Proof) -> Result<()> {
    entries::create("unfinished", &Metadata::file())?.write_bytes(b"half of")?;
    proof.entries += 1;
    proof.bytes += 7;
    Ok(())
}

fn escape() -> Result<()> {
    for path in ["../outside", "/etc/passwd", "a/../../outside", "a//b", "./a", "a/"] {
        if entries::create(path, &Metadata::file()).is_ok() {
            return Err(Error::new(ErrorKind::Internal, format!("the path {path} was accepted")));
        }
    }
    Ok(())
}

fn write_too_much() -> Result<()> {
    let mut entry = entries::create("endless", &Metadata::file())?;
    loop {
        entry.write_bytes(&[0; 256 << 10])?;
    }
}

fn empty_entry(number: u64) -> Result<entries::Finished> {
    entries::create(format!("many/{number}"), &Metadata::file())?.finish()
}

fn open_without_end<T>(open: impl Fn(u64) -> Result<T>) -> Result<()> {
    let mut held = Vec::new();
    (0..u64::MAX).try_for_each(|number| {
        held.push(open(number)?);
        Ok(())
    })
}

fn leak() -> Result<Error> {
    let secret = secrets::reveal("password")?;
    let text = secret.as_str().unwrap_or_default();
    bulkhead_sdk::warn!("the password is {text}");
    Ok(Error::new(ErrorKind::Server, format!("the server refused the password {text}")))
}

#[expect(clippy::print_stdout, reason = "it was told to")]
fn leak_quietly(proof: &mut Proof) -> Result<()> {
    let secret = secrets::reveal("password")?;
    let text = secret.as_str().unwrap_or_default();
    println!("the password is {text}");
    progress::report(&format!("with {text}"), 0, None);
    proof.fact("password", text);
    Ok(())
}

fn wait_any() -> Result<()> {
    let mut connections = (0..3).map(|_| endpoint::open("server")).collect::<Result<Vec<_>>>()?;
    expect_readable(&connections, Some(Duration::from_millis(20)), &[])?;
    connections[1].write_bytes(b"hello")?;
    expect_readable(&connections, None, &[1])?;
    // What was not read can still be read.
    expect_readable(&connections, None, &[1])
}

fn expect_readable(connections: &[Connection], deadline: Option<Duration>, expected: &[usize]) -> Result<()> {
    let found = endpoint::wait_any(&connections.iter().collect::<Vec<_>>(), deadline)?;
    if found == expected {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Internal, format!("{found:?} can be read, not {expected:?}")))
}
