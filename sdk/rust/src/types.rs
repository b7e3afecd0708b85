//! Facts, findings, proofs and times: what a plugin says about its work. The words are those of the ABI (`wit/`, interface `types`).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Seconds, negative before 1970.
    pub seconds: i64,
    /// Always counts forward; below 1,000,000,000.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// A whole second.
    #[must_use]
    pub fn from_seconds(seconds: i64) -> Self {
        Self { seconds, nanoseconds: 0 }
    }

    /// The host's clock.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Time that has passed from `earlier` to this; zero where it is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let nanoseconds = |time: Self| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds);
        let difference = u128::try_from(nanoseconds(self) - nanoseconds(earlier)).unwrap_or(0);
        let seconds = u64::try_from(difference / 1_000_000_000).unwrap_or(u64::MAX);
        Duration::new(seconds, u32::try_from(difference % 1_000_000_000).unwrap_or(0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let whole = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self {
                seconds: whole(after),
                nanoseconds: after.subsec_nanos(),
            },
            Err(before) => {
                let before = before.duration();
                match before.subsec_nanos() {
                    0 => Self {
                        seconds: -whole(before),
                        nanoseconds: 0,
                    },
                    nanoseconds => Self {
                        seconds: -whole(before) - 1,
                        nanoseconds: 1_000_000_000 - nanoseconds,
                    },
                }
            }
        }
    }
}

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Works, but should be changed.
    Warning,
    /// A run would fail, or its snapshot would not be worth having.
    Error,
}

/// Something that a check or a verification found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How serious.
    pub severity: Severity,
    /// A stable identifier in kebab-case (`wal-level-minimal`), for filters and alerts.
    pub code: String,
    /// One sentence: what was found.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The setting of the plugin's config to change, as a dotted path.
    pub setting: Option<String>,
}

impl Finding {
    /// Worth knowing.
    #[must_use]
    pub fn info(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Info,
            code: code.into(),
            message: message.into(),
            hint: None,
            setting: None,
        }
    }

    /// Works, but should be changed.
    #[must_use]
    pub fn warning(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::info(code, message)
        }
    }

    /// A run would fail, or its snapshot would not be worth having.
    #[must_use]
    pub fn error(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            ..Self::info(code, message)
        }
    }

    /// An error that a run would fail with: its message, hint and setting.
    #[must_use]
    pub fn of_error(code: impl Into<String>, error: &crate::Error) -> Self {
        Self {
            hint: error.hint.clone(),
            setting: error.setting.clone(),
            ..Self::error(code, error.to_string())
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names the setting to change.
    #[must_use]
    pub fn with_setting(mut self, setting: impl Into<String>) -> Self {
        self.setting = Some(setting.into());
        self
    }
}

/// A named statement of the source about what it sent (`start-lsn` = `0/3000028`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// In kebab-case.
    pub name: String,
    /// As people read it.
    pub value: String,
}

impl Fact {
    /// A fact; `value` as it is displayed.
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl std::fmt::Display) -> Self {
        Self {
            name: name.into(),
            value: value.to_string(),
        }
    }
}

/// What the source says that it sent. The host compares `entries` and `bytes` with what it stored; a difference fails the run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proof {
    /// Entries with content that were finished or kept in this snapshot.
    pub entries: u64,
    /// Bytes in those entries.
    pub bytes: u64,
    /// Whether the source's own end marker was seen (a trailer, a manifest, a final LSN). `false` fails the run.
    pub complete: bool,
    /// Further statements.
    pub facts: Vec<Fact>,
}

impl Proof {
    /// Counts an entry that was finished, or all that was kept.
    pub fn count(&mut self, finished: &crate::entries::Finished) {
        self.entries += finished.entries;
        self.bytes += finished.size;
    }

    /// Adds a fact.
    pub fn fact(&mut self, name: impl Into<String>, value: impl std::fmt::Display) {
        self.facts.push(Fact::new(name, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_the_epoch_count_forward() {
        let time = Timestamp::from(UNIX_EPOCH - Duration::from_millis(250));
        assert_eq!(
            time,
            Timestamp {
                seconds: -1,
                nanoseconds: 750_000_000
            }
        );
        assert_eq!(Timestamp::from_seconds(0).since(time), Duration::from_millis(250));
        assert_eq!(time.since(Timestamp::from_seconds(0)), Duration::ZERO);
    }
}
