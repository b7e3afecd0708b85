//! Wall time, CPU time and peak memory of this process since a moment: [`Meter`].

use std::io;
use std::time::Instant;

use crate::destination::Stored;

/// USER_HZ, 100 on every Linux that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A stopwatch.
pub(crate) struct Meter {
    begin: Instant,
    cpu: f64,
}

impl Meter {
    pub(crate) fn start() -> io::Result<Self> {
        Ok(Self {
            begin: Instant::now(),
            cpu: cpu_seconds()?,
        })
    }

    /// What it took since the start, as the line that this program prints.
    pub(crate) fn read(&self, stored: Stored) -> io::Result<serde_json::Value> {
        Ok(serde_json::json!({
            "wall_seconds": self.begin.elapsed().as_secs_f64(),
            "cpu_seconds": cpu_seconds()? - self.cpu,
            "memory_bytes": peak_memory()?,
            "bytes": stored.bytes,
            "entries": stored.entries,
        }))
    }
}

/// User and system time of this process (fields 14 and 15 of proc(5)'s `stat`).
fn cpu_seconds() -> io::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS_PER_SECOND)
}

/// The largest resident set so far.
fn peak_memory() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    Ok(kibibytes.unwrap_or(0) << 10)
}
