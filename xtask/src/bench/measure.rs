//! What a job costs: wall time, CPU time and peak memory of all of its processes.
//!
//! CPU time is what the kernel has charged to this task's waited-for children (`cutime` and `cstime` of proc(5)), so it covers every descendant to
//! the last tick (10 ms). Memory is the largest sum of resident sets of all descendants that are alive at once, sampled every [`SAMPLING`]: pages that
//! processes share count for each of them, and a peak between two samples is missed.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::process;

const SAMPLING: Duration = Duration::from_millis(10);
/// USER_HZ, which the kernel's interface fixes at 100 on every Linux that PostgreSQL runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What one execution of a job took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    pub(super) wall: Duration,
    /// User and system time of all processes.
    pub(super) cpu: Duration,
    /// Peak of the sum of all processes' resident sets.
    pub(super) memory_bytes: u64,
}

impl Cost {
    /// The cost of this, and of `next` after it.
    pub(super) fn then(self, next: Self) -> Self {
        Self {
            wall: self.wall + next.wall,
            cpu: self.cpu + next.cpu,
            memory_bytes: self.memory_bytes.max(next.memory_bytes),
        }
    }
}

/// One command, or several connected by pipes.
pub(super) struct Job {
    commands: Vec<Command>,
}

impl Job {
    pub(super) fn command(command: Command) -> Self {
        Self { commands: vec![command] }
    }

    /// Standard output of each command goes into the next one.
    pub(super) fn pipeline(commands: impl IntoIterator<Item = Command>) -> Self {
        Self {
            commands: commands.into_iter().collect(),
        }
    }

    /// Runs it to its end, once what others have written is on the disk: who syncs what it writes would wait for theirs, too. A command that fails is an error with what
    /// it said.
    pub(super) fn run(mut self) -> Result<Cost> {
        let synced = Command::new("sync").status();
        synced.map_err(Error::io("cannot have the disk synced"))?;
        let cpu_before = cpu_of_children()?;
        let begin = Instant::now();
        let mut children = self.spawn()?;
        let (ended, memory_bytes) = watch(&mut children);
        let wall = begin.elapsed();
        ended?;
        for (command, child) in self.commands.iter().zip(&mut children) {
            let status = child.wait().map_err(Error::io("cannot wait for a measured process"))?;
            if !status.success() {
                let mut said = String::new();
                let _ = child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut said));
                return Err(Error::Broken(format!("`{}` ended with {status}\n{said}", process::line(command))));
            }
        }
        Ok(Cost {
            wall,
            cpu: cpu_of_children()?.saturating_sub(cpu_before),
            memory_bytes,
        })
    }

    fn spawn(&mut self) -> Result<Vec<Child>> {
        let mut children: Vec<Child> = Vec::new();
        let last = self.commands.len().saturating_sub(1);
        for (position, command) in self.commands.iter_mut().enumerate() {
            let input = children.last_mut().and_then(|previous| previous.stdout.take());
            command.stdin(input.map_or_else(Stdio::null, Stdio::from)).stderr(Stdio::piped());
            command.stdout(if position == last { Stdio::null() } else { Stdio::piped() });
            let child = command.spawn();
            children.push(child.map_err(|source| Error::NotStarted {
                command: process::line(command),
                source,
            })?);
        }
        Ok(children)
    }
}

/// Waits until all have ended, which is noticed at once; also the largest sum of their resident sets, descendants included.
fn watch(children: &mut [Child]) -> (Result<()>, u64) {
    let processes: Vec<u32> = children.iter().map(Child::id).collect();
    let (over, at_the_end) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let sampler = scope.spawn(move || {
            let mut peak = 0;
            while at_the_end.recv_timeout(SAMPLING) == Err(RecvTimeoutError::Timeout) {
                peak = peak.max(processes.iter().copied().map(resident_bytes).sum());
            }
            peak
        });
        let ended = children.iter_mut().try_for_each(|child| child.wait().map(drop));
        drop(over);
        (
            ended.map_err(Error::io("cannot wait for a measured process")),
            sampler.join().unwrap_or(0),
        )
    })
}

/// What a process that still runs has cost since it began, and the memory that it has now, descendants included.
pub(super) fn so_far(process: u32, wall: Duration) -> Result<Cost> {
    let path = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(&path).map_err(Error::io(format!("cannot read {path}")))?;
    Ok(Cost {
        wall,
        cpu: ticks(&stat, OWN),
        memory_bytes: resident_bytes(process),
    })
}

/// Resident bytes of a process and all of its descendants; one that has just ended has none.
fn resident_bytes(process: u32) -> u64 {
    let folder = Path::new("/proc").join(process.to_string());
    let own = std::fs::read_to_string(folder.join("statm"))
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    let children = std::fs::read_to_string(folder.join(format!("task/{process}/children"))).unwrap_or_default();
    let below: u64 = children
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .map(resident_bytes)
        .sum();
    own.unwrap_or(0) * PAGE_BYTES + below
}

/// The page size of every architecture that Debian's `postgresql-15` and our builds are measured on.
const PAGE_BYTES: u64 = 4096;

/// User and system time of all children of this task that have been waited for.
fn cpu_of_children() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").map_err(Error::io("cannot read /proc/self/stat"))?;
    Ok(ticks(&stat, OF_CHILDREN))
}

/// Where proc(5) has user and system time, counted behind the program's name: of a process, and of its children.
const OWN: usize = 11;
const OF_CHILDREN: usize = 13;

/// Two such times together.
fn ticks(stat: &str, place: usize) -> Duration {
    // The second field, the program's name, may hold anything but ends with the last parenthesis.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(place).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_pipeline_is_charged_with_the_cpu_time_of_all_its_processes_and_their_children() {
        let spin = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let one = || Job::command(shell(spin)).run().unwrap().cpu;
        let two = || {
            let pipeline = Job::pipeline([shell(&format!("({spin}); echo x")), shell(&format!("cat; {spin}"))]);
            pipeline.run().unwrap().cpu
        };
        // Beside others on the same core the same work takes more of its time, by up to a half.
        let (one, two) = ((0..3).map(|_| one()).min().unwrap(), (0..3).map(|_| two()).max().unwrap());
        assert!(two.as_secs_f64() > 1.4 * one.as_secs_f64(), "{two:?} should be twice {one:?}");
    }

    #[test]
    fn memory_of_grandchildren_counts() {
        let cost = Job::command(shell("dd if=/dev/zero of=/dev/stdout bs=50M count=4 2>&1 >/dev/null | sleep 0.2"))
            .run()
            .unwrap();
        assert!(cost.memory_bytes > 40_000_000, "{cost:?}");
    }

    #[test]
    fn a_command_that_fails_anywhere_in_a_pipeline_fails_the_job_with_what_it_said() {
        let error = Job::pipeline([shell("echo broken >&2; exit 3"), shell("cat")]).run().unwrap_err();
        assert!(error.to_string().ends_with("ended with exit status: 3\nbroken\n"), "{error}");
    }
}
