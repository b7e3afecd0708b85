//! How much a plugin may use. Every limit has a default, a TOML key, and a hostile plugin in the tests.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::PluginKind;

const MIB: u64 = 1 << 20;
/// Bytes that one host call, or one answer, may bring out of the guest in strings and lists: one transfer and its arguments, or a page of 10,000 objects.
pub(crate) const CALL_ARGUMENTS: usize = 16 << 20;

/// Limits of one plugin: the `limits` table of a pipeline or sink. For a source they hold for each operation, for a sink for each call of one
/// (put, get, …) where they measure a use over time (cpu, wall-clock, host-calls, bytes-written, log-volume), else for each instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `memory`: bytes of linear memory of one instance.
    pub memory: u64,
    /// `cpu`: processor time of the plugin and of the host calls that it makes, of one instance.
    pub cpu: Duration,
    /// `wall-clock`: the whole operation.
    pub wall_clock: Duration,
    /// `call-timeout`: how long one host call may wait. It ends with `timed-out`, which the plugin may handle.
    pub call_timeout: Duration,
    /// `host-calls`: number of host calls of one instance.
    pub host_calls: u64,
    /// `resources`: handles (connections, files, writers, …) that one instance holds at once.
    pub resources: u64,
    /// `component-instances`: core instances, memories and tables in one component instance.
    pub component_instances: u64,
    /// `bytes-written`: into entries, directories, connections, requests and objects, by the whole operation.
    pub bytes_written: u64,
    /// `entries`: entries that a backup creates, adds or keeps.
    pub entries: u64,
    /// `connections`: open connections of one instance; one more is refused with `limit`, which the plugin may handle.
    pub connections: u64,
    /// `log-volume`: bytes of log records of the whole operation; what is beyond is dropped and counted.
    pub log_volume: u64,
    /// `parts`: parts of one operation that work at the same time, each in an instance of its own, beside the instance that started them and keeps what
    /// they share; at least 1.
    pub parts: u64,
}

impl Limits {
    /// What holds where the TOML says nothing.
    #[must_use]
    pub fn default_for(kind: PluginKind) -> Self {
        let hour = 3600;
        let (cpu, wall_clock) = match kind {
            // Terabytes through one instance; below the 23 h after which prune may remove what an unfinished run relies on.
            PluginKind::Source => (Duration::from_secs(4 * hour), Duration::from_secs(20 * hour)),
            // One object of tens of MiB.
            PluginKind::Sink => (Duration::from_secs(60), Duration::from_secs(900)),
        };
        Self {
            memory: 256 * MIB,
            cpu,
            wall_clock,
            call_timeout: Duration::from_secs(600),
            host_calls: 1_000_000_000,
            resources: 1024,
            component_instances: 64,
            bytes_written: 1 << 46,
            entries: 50_000_000,
            connections: 64,
            log_volume: 4 * MIB,
            parts: 4,
        }
    }
}

impl Limits {
    /// The value of a limit with its unit, as the TOML writes it.
    #[must_use]
    pub fn show(&self, limit: LimitKind) -> String {
        match limit {
            LimitKind::Memory => bytes(self.memory),
            LimitKind::Cpu => duration(self.cpu),
            LimitKind::WallClock => duration(self.wall_clock),
            LimitKind::CallTimeout => duration(self.call_timeout),
            LimitKind::HostCalls => self.host_calls.to_string(),
            LimitKind::Resources => self.resources.to_string(),
            LimitKind::ComponentInstances => self.component_instances.to_string(),
            LimitKind::BytesWritten => bytes(self.bytes_written),
            LimitKind::Entries => self.entries.to_string(),
            LimitKind::Connections => self.connections.to_string(),
            LimitKind::LogVolume => bytes(self.log_volume),
            LimitKind::Parts => self.parts.to_string(),
            LimitKind::CallArguments => bytes(CALL_ARGUMENTS as u64),
            // Of a component, not of a plugin at work: see `LoadLimits`.
            LimitKind::ComponentSize | LimitKind::CompileTime => String::new(),
        }
    }
}

/// In the largest unit that divides it.
pub(crate) fn bytes(value: u64) -> String {
    for (unit, name) in [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if value >= unit && value.is_multiple_of(unit) {
            return format!("{} {name}", value / unit);
        }
    }
    format!("{value} B")
}

/// In the largest unit that divides it.
pub(crate) fn duration(value: Duration) -> String {
    let milliseconds = value.as_millis();
    for (unit, name) in [(3_600_000, "h"), (60_000, "min"), (1000, "s")] {
        if milliseconds >= unit && milliseconds.is_multiple_of(unit) {
            return format!("{} {name}", milliseconds / unit);
        }
    }
    format!("{milliseconds} ms")
}

/// Limits of loading a component, before it belongs to a pipeline: the TOML's `[plugin.NAME]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadLimits {
    /// `component-size`: bytes of the component.
    pub component_size: u64,
    /// `compile-time`: how long it may take to compile.
    pub compile_time: Duration,
}

impl Default for LoadLimits {
    fn default() -> Self {
        Self {
            component_size: 64 * MIB,
            compile_time: Duration::from_secs(120),
        }
    }
}

/// Which limit was hit; [`LimitKind::key`] is its TOML key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "documented at the fields of Limits and LoadLimits")]
pub enum LimitKind {
    Memory,
    Cpu,
    WallClock,
    CallTimeout,
    HostCalls,
    Resources,
    ComponentInstances,
    BytesWritten,
    Entries,
    Connections,
    LogVolume,
    Parts,
    /// Bytes that one host call or one answer of the plugin brings in strings and lists: 16 MiB, without a TOML key.
    CallArguments,
    ComponentSize,
    CompileTime,
}

impl LimitKind {
    /// The key in the TOML's `limits` table.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::WallClock => "wall-clock",
            Self::CallTimeout => "call-timeout",
            Self::HostCalls => "host-calls",
            Self::Resources => "resources",
            Self::ComponentInstances => "component-instances",
            Self::BytesWritten => "bytes-written",
            Self::Entries => "entries",
            Self::Connections => "connections",
            Self::LogVolume => "log-volume",
            Self::Parts => "parts",
            Self::CallArguments => "call-arguments",
            Self::ComponentSize => "component-size",
            Self::CompileTime => "compile-time",
        }
    }

    /// Whether the same operation may stay within the limit another time: waiting depends on the world, the rest on plugin and data.
    #[must_use]
    pub fn retryable(self) -> bool {
        matches!(self, Self::WallClock | Self::CallTimeout)
    }
}

impl fmt::Display for LimitKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.key())
    }
}
