//! A plugin's log records, and its standard output, on their way into `tracing`: bounded in length and volume, counted where dropped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tracing::{Span, debug, error, info, trace, warn};

use super::redact::Redactor;

/// Longest message, in bytes.
const MAX_MESSAGE: usize = 16 << 10;
/// Fields of one record.
const MAX_FIELDS: usize = 64;
/// Lines of standard error that are kept to explain a trap: a panic message with its hint.
const KEPT_LINES: usize = 8;

/// How serious a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of every logger")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// The log of one operation's instances.
#[derive(Debug)]
pub struct PluginLog {
    plugin: String,
    span: Span,
    limit: u64,
    used: AtomicU64,
    dropped: AtomicU64,
    last_output: Mutex<Vec<String>>,
    redactor: Redactor,
}

impl PluginLog {
    /// Records of `plugin` belong to `span`; at most `limit` bytes of them are passed on.
    #[must_use]
    pub fn new(plugin: impl Into<String>, span: Span, limit: u64) -> Self {
        let (used, dropped) = (AtomicU64::new(0), AtomicU64::new(0));
        Self {
            plugin: plugin.into(),
            span,
            limit,
            used,
            dropped,
            last_output: Mutex::default(),
            redactor: Redactor::default(),
        }
    }

    /// What must not appear in these records, nor in anything else that the operation says.
    pub(crate) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// The longest beginning of `text` of at most `max` bytes, with what was revealed blotted out.
    fn shown(&self, text: &str, max: usize) -> String {
        // Blotted first, so that no secret is cut in two; bounded before that, because a record may have megabytes.
        let mut shown = cut(text, max + MAX_MESSAGE).to_owned();
        self.redactor.blot(&mut shown);
        shown.truncate(cut(&shown, max).len());
        shown
    }

    /// Passes a record on, cut to 16 KiB, or counts it as dropped.
    pub fn write(&self, level: LogLevel, message: &str, fields: &[(&str, &str)]) {
        let mut text = self.shown(message, MAX_MESSAGE);
        for (name, value) in fields.iter().take(MAX_FIELDS) {
            if text.len() >= MAX_MESSAGE {
                break;
            }
            text.push_str(&format!(" {}={:?}", self.shown(name, 128), self.shown(value, 1024)));
        }
        if !self.admit(text.len()) {
            return;
        }
        let plugin = self.plugin.as_str();
        self.span.in_scope(|| match level {
            LogLevel::Trace => trace!(target: "bulkhead::plugin", plugin, "{text}"),
            LogLevel::Debug => debug!(target: "bulkhead::plugin", plugin, "{text}"),
            LogLevel::Info => info!(target: "bulkhead::plugin", plugin, "{text}"),
            LogLevel::Warn => warn!(target: "bulkhead::plugin", plugin, "{text}"),
            LogLevel::Error => error!(target: "bulkhead::plugin", plugin, "{text}"),
        });
    }

    /// A line of standard output or error. The last lines of standard error explain a trap.
    pub fn output(&self, line: &str, is_error: bool) {
        if is_error {
            let mut lines = self.last_output.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() == KEPT_LINES {
                lines.remove(0);
            }
            lines.push(self.shown(line, 1024));
        }
        self.write(if is_error { LogLevel::Warn } else { LogLevel::Info }, line, &[]);
    }

    /// Takes the last lines of standard error.
    #[must_use]
    pub fn take_output(&self) -> Vec<String> {
        std::mem::take(&mut *self.last_output.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Volume is counted anew: another operation begins.
    pub(crate) fn renew(&self) {
        self.used.store(0, Ordering::Relaxed);
    }

    /// Records that were not passed on.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Counts a record; an empty one is not free.
    fn admit(&self, length: usize) -> bool {
        let size = length as u64 + 64;
        let admitted = self.used.fetch_add(size, Ordering::Relaxed).saturating_add(size) <= self.limit;
        if !admitted {
            // Stays above the limit without ever wrapping around.
            self.used.fetch_sub(size, Ordering::Relaxed);
            if self.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
                let (plugin, limit) = (self.plugin.as_str(), self.limit);
                self.span.in_scope(
                    || warn!(target: "bulkhead::plugin", plugin, limit, "the plugin logs more than `limits.log-volume`: dropping"),
                );
            }
        }
        admitted
    }
}

impl Drop for PluginLog {
    fn drop(&mut self) {
        let dropped = self.dropped();
        if dropped > 0 {
            let plugin = self.plugin.as_str();
            self.span
                .in_scope(|| warn!(target: "bulkhead::plugin", plugin, dropped, "log records of the plugin were dropped"));
        }
    }
}

/// The longest prefix of at most `max` bytes that is whole characters.
fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_dropped_and_counted() {
        let log = PluginLog::new("noisy", Span::none(), 10_000);
        for _ in 0..1000 {
            log.write(LogLevel::Info, "0123456789", &[("a", "b")]);
        }
        assert!(log.dropped() > 800 && log.dropped() < 1000, "{}", log.dropped());
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        assert_eq!(cut("aöb", 2), "a");
        assert_eq!(cut("aöb", 3), "aö");
    }

    #[test]
    fn the_last_lines_of_standard_error_are_kept() {
        let log = PluginLog::new("loud", Span::none(), 10_000);
        (0..20).for_each(|line| log.output(&format!("line {line}"), true));
        log.output("not this one", false);
        let kept = log.take_output();
        assert_eq!((kept.len(), kept[7].as_str()), (8, "line 19"));
    }
}
