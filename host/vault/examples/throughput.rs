//! What the data path does: backs up synthetic data, or a file's, into a folder store, reads it back, and says how fast, at what cost and in how much
//! memory.
//!
//! `cargo run -p bulkhead-vault --release --example throughput -- [MiB] [random|text|zeros|FILE] [folder] [zstd level]`

#![expect(clippy::print_stdout, reason = "an example's output")]

use std::{error::Error, fs::File, io::Read, path::PathBuf, process::Command, sync::Arc, time::Instant};

use bulkhead_model::{EntryMetadata, EntryPath, NodeType, Proof, Timestamp};
use bulkhead_vault::{BeginSnapshot, InitOptions, PluginIdentity, SnapshotRecord, Vault, VaultOptions, stores::FolderStore};
use bytes::Bytes;
use rand::{RngCore, SeedableRng, rngs::StdRng};

/// The allocator of the command line tool: memory is measured as it is there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The first argument of the process that makes the vault.
const INIT: &str = "init";
/// The first argument of the process that restores.
const RESTORE: &str = "restore";
/// Bytes handed to the vault at once, as a plugin does.
const PIECE: usize = 256 << 10;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match &words[..] {
        [word, folder] if word == INIT => {
            Vault::init(Arc::new(FolderStore::new(folder)), &"throughput".into(), InitOptions::default()).await?;
            Ok(())
        }
        [word, folder, snapshot] if word == RESTORE => restore(folder, snapshot).await,
        _ => backup(words.into_iter()).await,
    }
}

async fn backup(mut arguments: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let mebibytes: u64 = arguments.next().map_or(Ok(2048), |text| text.parse())?;
    let kind = arguments.next().unwrap_or_else(|| "text".to_owned());
    let folder = arguments
        .next()
        .map_or_else(|| std::env::temp_dir().join("bulkhead-throughput"), PathBuf::from);
    let mut options = VaultOptions::default();
    options.compression_level = arguments.next().map_or(Ok(options.compression_level), |text| text.parse())?;
    again(&[INIT, &folder.to_string_lossy()])?;
    let vault = Vault::open(Arc::new(FolderStore::new(&folder)), &"throughput".into()).await?;
    let vault = vault.with_options(options);

    let now = Timestamp {
        seconds: 0,
        nanoseconds: 0,
    };
    let begin = BeginSnapshot {
        pipeline: "throughput".to_owned(),
        host: "here".to_owned(),
        time: now,
        parent: None,
    };
    let mut source = Source::new(&kind)?;
    forget_peak_memory()?;
    let (before, begun) = (cpu_seconds(), Instant::now());
    let writer = vault.begin(begin).await?;
    let mut entry = writer
        .create(EntryPath::new("content")?, EntryMetadata::private(NodeType::File))
        .await?;
    for _ in 0..mebibytes * 4 {
        match source.next()? {
            piece if piece.is_empty() => break,
            piece => entry.write(piece).await?,
        }
    }
    let bytes = entry.finish().await?;
    let committed = writer.commit(record(bytes, now)).await?;
    report("backup", bytes, begun, before);
    println!("stored {} MiB; {:?}", committed.stats.stored_bytes >> 20, committed.stats);
    again(&[RESTORE, &folder.to_string_lossy(), &committed.snapshot.id.to_string()])
}

/// Runs this program again, as operators do: what one command leaves with the allocator does not count for the next.
fn again(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let status = Command::new(std::env::current_exe()?).args(arguments).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{} failed", arguments[0]).into())
    }
}

/// Reads what was backed up.
async fn restore(folder: &str, snapshot: &str) -> Result<(), Box<dyn Error>> {
    let vault = Vault::open(Arc::new(FolderStore::new(folder)), &"throughput".into()).await?;
    forget_peak_memory()?;
    let (before, begun) = (cpu_seconds(), Instant::now());
    let reader = vault.read(snapshot.parse()?).await?;
    let mut entry = reader.open(&EntryPath::new("content")?).await?;
    while entry.read_next(PIECE).await?.is_some() {}
    report("restore", entry.size(), begun, before);
    Ok(())
}

/// Content that is made at the speed of a copy: a window of 8 MiB, with a counter in each piece so that nothing deduplicates; or a file's.
enum Source {
    Window { window: Vec<u8>, count: u64, vary: bool },
    File(File),
}

impl Source {
    fn new(kind: &str) -> std::io::Result<Self> {
        let mut window = vec![0; 8 << 20];
        match kind {
            "random" => StdRng::seed_from_u64(1).fill_bytes(&mut window),
            "text" => fill_with_text(&mut window),
            "zeros" => {}
            path => return File::open(path).map(Self::File),
        }
        let vary = kind != "zeros";
        Ok(Self::Window { window, count: 0, vary })
    }

    /// The next piece; empty at the end of a file.
    fn next(&mut self) -> std::io::Result<Bytes> {
        let mut piece = Vec::with_capacity(PIECE);
        match self {
            Self::Window { window, count, vary } => {
                let start = usize::try_from(*count).unwrap_or(0) * PIECE % window.len();
                piece.extend_from_slice(&window[start..start + PIECE]);
                *count += 1;
                if *vary {
                    piece[..8].copy_from_slice(&count.to_le_bytes());
                }
            }
            Self::File(file) => {
                file.take(PIECE as u64).read_to_end(&mut piece)?;
            }
        }
        Ok(piece.into())
    }
}

/// Rows as a database dumps them: words and numbers, about 3 : 1.
fn fill_with_text(window: &mut [u8]) {
    let mut random = StdRng::seed_from_u64(2);
    let mut position = 0;
    while position < window.len() {
        let row = format!(
            "{}\tcustomer-{:05}\t2026-01-{:02}\tpending\t{}.00\n",
            random.next_u32(),
            random.next_u32() % 10_000,
            random.next_u32() % 28,
            random.next_u32() % 1000
        );
        let length = row.len().min(window.len() - position);
        window[position..position + length].copy_from_slice(&row.as_bytes()[..length]);
        position += length;
    }
}

fn record(bytes: u64, now: Timestamp) -> SnapshotRecord {
    SnapshotRecord {
        bulkhead_version: env!("CARGO_PKG_VERSION").to_owned(),
        plugin: PluginIdentity {
            name: "throughput".to_owned(),
            version: "0".to_owned(),
            digest: String::new(),
        },
        config_digest: None,
        started: now,
        proof: Proof {
            entries: 1,
            bytes,
            complete: true,
            facts: Vec::new(),
        },
        findings: Vec::new(),
        checkpoint: None,
    }
}

fn report(what: &str, bytes: u64, begun: Instant, cpu_before: f64) {
    let (wall, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds() - cpu_before);
    let rate = bytes as f64 / 1e6 / wall;
    println!(
        "{what} of {} MiB: {wall:.2} s, {rate:.0} MB/s, {cpu:.2} s CPU, peak memory {} MiB",
        bytes >> 20,
        peak_memory()
    );
}

/// User and system time of this process so far.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = fields.iter().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// Makes [`peak_memory`] begin anew (`proc(5)`, `clear_refs`).
fn forget_peak_memory() -> std::io::Result<()> {
    std::fs::write("/proc/self/clear_refs", "5")
}

/// The largest resident set since it was forgotten, in MiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace()
        .next()
        .and_then(|number| number.parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}
