//! Bounds on what a plugin can use up, as far as the operator sets them; the defaults are the plugin runtime's.
//!
//! Settings are layered: defaults, `[limits]` of the file, `limits` of a pipeline or sink.

use std::time::Duration;

use bulkhead_units::{ByteSize, Period};
use serde::Serialize;

use crate::{
    diagnostic::Diagnostic,
    reader::{Fields, FromNode, Reader},
    tree::{Node, Value},
};

/// The bounds that were set. What each means, and what it is where it isn't set, is documented in the plugin runtime and in
/// `docs/configuration.md`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Limits {
    /// Bytes of linear memory of one instance.
    pub memory: Option<ByteSize>,
    /// Processor time of one instance.
    pub cpu: Option<Period>,
    /// Duration of the whole operation.
    pub wall_clock: Option<Period>,
    /// How long one call into the host may wait.
    pub call_timeout: Option<Period>,
    /// Calls of one instance into the host.
    pub host_calls: Option<u64>,
    /// Handles that one instance holds at once.
    pub resources: Option<u64>,
    /// Core instances, memories and tables in one component instance.
    pub component_instances: Option<u64>,
    /// Bytes that the operation writes, wherever to.
    pub bytes_written: Option<ByteSize>,
    /// Entries of a backup.
    pub entries: Option<u64>,
    /// Open connections of one instance.
    pub connections: Option<u64>,
    /// Bytes of log records.
    pub log_volume: Option<ByteSize>,
    /// Instances that work at once on one operation.
    pub parts: Option<u64>,
}

/// Longest that anything may write into a vault. Maintenance (restic's prune and rustic's alike) may remove a pack that was marked for deletion 23 h
/// earlier, and a longer run could still rely on it.
const LONGEST_WALL_CLOCK: Duration = Duration::from_hours(22);

impl Limits {
    /// These limits, with `defaults` where nothing is set.
    #[must_use]
    pub fn or(&self, defaults: &Self) -> Self {
        Self {
            memory: self.memory.or(defaults.memory),
            cpu: self.cpu.or(defaults.cpu),
            wall_clock: self.wall_clock.or(defaults.wall_clock),
            call_timeout: self.call_timeout.or(defaults.call_timeout),
            host_calls: self.host_calls.or(defaults.host_calls),
            resources: self.resources.or(defaults.resources),
            component_instances: self.component_instances.or(defaults.component_instances),
            bytes_written: self.bytes_written.or(defaults.bytes_written),
            entries: self.entries.or(defaults.entries),
            connections: self.connections.or(defaults.connections),
            log_volume: self.log_volume.or(defaults.log_volume),
            parts: self.parts.or(defaults.parts),
        }
    }

    /// The keys that are set, with their values as the TOML would write them.
    #[must_use]
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let number = |value: Option<u64>| value.map(|value| value.to_string());
        let size = |value: Option<ByteSize>| value.map(|value| value.to_string());
        let period = |value: Option<Period>| value.map(|value| value.to_string());
        let all = [
            ("memory", size(self.memory)),
            ("cpu", period(self.cpu)),
            ("wall-clock", period(self.wall_clock)),
            ("call-timeout", period(self.call_timeout)),
            ("host-calls", number(self.host_calls)),
            ("resources", number(self.resources)),
            ("component-instances", number(self.component_instances)),
            ("bytes-written", size(self.bytes_written)),
            ("entries", number(self.entries)),
            ("connections", number(self.connections)),
            ("log-volume", size(self.log_volume)),
            ("parts", number(self.parts)),
        ];
        all.into_iter().filter_map(|(key, value)| value.map(|value| (key, value))).collect()
    }

    /// The same for what writes into a vault, which must not take so long that maintenance removes packs under it.
    pub(crate) fn read_for_writing(fields: &mut Fields<'_>, outer: &Self, reader: &mut Reader<'_>) -> Self {
        let limits = Self::read(fields, outer, reader);
        let path = format!("{}.wall-clock", fields.path_of("limits"));
        let set = fields.entry("limits").and_then(|entry| match &entry.node.value {
            Value::Table(table) => table.get("wall-clock"),
            _ => None,
        });
        if let (Some(entry), Some(Period(wall_clock))) = (set, limits.wall_clock)
            && wall_clock > LONGEST_WALL_CLOCK
        {
            let diagnostic = Diagnostic::error(format!("`{path}` can't be more than 22 h"), entry.node.span.clone());
            reader.report.push(diagnostic.help(
                "maintenance may remove a pack 23 h after it was marked for deletion, and a run that takes longer could still rely on it",
            ));
        }
        limits
    }

    /// The limits in `fields`, over `outer`.
    pub(crate) fn read(fields: &mut Fields<'_>, outer: &Self, reader: &mut Reader<'_>) -> Self {
        let path = fields.path_of("limits");
        let Some(mut inner) = fields.entry("limits").and_then(|entry| Fields::open_entry(entry, &path, reader)) else {
            return outer.clone();
        };
        let limits = Self {
            memory: positive("memory", &mut inner, reader),
            cpu: positive("cpu", &mut inner, reader),
            wall_clock: positive("wall-clock", &mut inner, reader),
            call_timeout: positive("call-timeout", &mut inner, reader),
            host_calls: positive("host-calls", &mut inner, reader),
            resources: positive("resources", &mut inner, reader),
            component_instances: positive("component-instances", &mut inner, reader),
            bytes_written: positive("bytes-written", &mut inner, reader),
            entries: positive("entries", &mut inner, reader),
            connections: positive("connections", &mut inner, reader),
            log_volume: positive("log-volume", &mut inner, reader),
            parts: positive("parts", &mut inner, reader),
        };
        inner.close(reader);
        limits.or(outer)
    }
}

/// Reads a quantity that can't be zero: a limit of nothing would make every run fail.
pub(crate) fn positive<T: FromNode>(key: &'static str, fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> Option<T> {
    let value = fields.optional(key, reader)?;
    let path = fields.path_of(key);
    let node = &fields.entry(key)?.node;
    if !is_zero(node) {
        return Some(value);
    }
    let diagnostic = Diagnostic::error(format!("`{path}` can't be zero"), node.span.clone());
    reader.report.push(diagnostic.help("leave it out for the default"));
    None
}

/// A number that rounds to zero has been refused before.
fn is_zero(node: &Node) -> bool {
    match &node.value {
        Value::Integer(number) => *number == 0,
        Value::String(text) => text.bytes().any(|byte| byte == b'0') && !text.bytes().any(|byte| (b'1'..=b'9').contains(&byte)),
        _ => false,
    }
}
