//! [`EntryFilter`]: which entries a search is for.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path};

use bulkhead_config::Period;
use bulkhead_vault::SnapshotEntry;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::{browse::type_name, clock};

/// What entries must be: of one of the names, and all of the rest.
#[derive(Debug, Clone, Default)]
pub struct EntryFilter {
    names: Option<GlobSet>,
    newer: Option<i64>,
    older: Option<i64>,
    types: Vec<String>,
}

/// What was asked for makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// A pattern.
    #[error("the pattern `{pattern}` can't be understood: {reason}")]
    Pattern {
        /// As it was typed.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A time.
    #[error("`{0}` is not a time")]
    Time(String),
}

impl EntryFilter {
    /// Takes entries of any of these names; of all names where there is none. A pattern without a `/` is compared with an entry's name, one that begins with
    /// `/` with its whole path, any other with the end of its path. `*` and `?` stay within a folder, `**` crosses folders.
    ///
    /// # Errors
    /// [`FilterError::Pattern`].
    pub fn names(mut self, patterns: &[String], ignore_case: bool) -> Result<Self, FilterError> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let failed = |reason: String| FilterError::Pattern {
                pattern: pattern.clone(),
                reason,
            };
            let path = pattern.trim_end_matches('/');
            if path.is_empty() {
                return Err(failed("it names nothing".to_owned()));
            }
            let anywhere = format!("**/{path}");
            let glob = GlobBuilder::new(path.strip_prefix('/').unwrap_or(&anywhere))
                .literal_separator(true)
                .case_insensitive(ignore_case)
                .build();
            set.add(glob.map_err(|error| failed(error.kind().to_string()))?);
        }
        let failed = |error: globset::Error| FilterError::Pattern {
            pattern: patterns.join(" "),
            reason: error.kind().to_string(),
        };
        self.names = (!patterns.is_empty()).then(|| set.build()).transpose().map_err(failed)?;
        Ok(self)
    }

    /// Takes only entries that were changed at or after `newer` and at or before `older`, where these are given: a day (`2026-11-01`, its beginning in UTC), a
    /// time (`2026-11-01T12:30:00Z`), or how long ago (`7 d`).
    ///
    /// # Errors
    /// [`FilterError::Time`].
    pub fn changed(mut self, newer: Option<&str>, older: Option<&str>) -> Result<Self, FilterError> {
        let now = clock::now().seconds;
        self.newer = newer.map(|text| seconds(text, now)).transpose()?;
        self.older = older.map(|text| seconds(text, now)).transpose()?;
        Ok(self)
    }

    /// Takes only entries of these types, named as [`ListedEntry`](crate::ListedEntry) names them; of all where there is none.
    #[must_use]
    pub fn types(mut self, types: &[String]) -> Self {
        self.types = types.to_vec();
        self
    }

    pub(crate) fn takes(&self, entry: &SnapshotEntry) -> bool {
        let path = Path::new(OsStr::from_bytes(entry.path.as_bytes()));
        let changed = entry.metadata.modified.map(|time| time.seconds);
        self.names.as_ref().is_none_or(|names| names.is_match(path))
            && (self.types.is_empty() || self.types.iter().any(|name| name == type_name(&entry.metadata.node_type)))
            && self.newer.is_none_or(|newer| changed.is_some_and(|changed| changed >= newer))
            && self.older.is_none_or(|older| changed.is_some_and(|changed| changed <= older))
    }
}

/// A time in seconds since 1970.
fn seconds(text: &str, now: i64) -> Result<i64, FilterError> {
    if let Ok(period) = Period::parse(text) {
        return Ok(now.saturating_sub(i64::try_from(period.0.as_secs()).unwrap_or(i64::MAX)));
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.as_second());
    }
    let unreadable = |_| FilterError::Time(text.to_owned());
    let local: jiff::civil::DateTime = text.parse().map_err(unreadable)?;
    let time = local.to_zoned(jiff::tz::TimeZone::UTC).map_err(unreadable)?;
    Ok(time.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use bulkhead_model::{EntryMetadata, EntryPath, NodeType, Timestamp};

    use super::*;

    fn entry(path: impl AsRef<[u8]>, seconds: i64) -> SnapshotEntry {
        let metadata = EntryMetadata {
            modified: Some(Timestamp { seconds, nanoseconds: 0 }),
            ..EntryMetadata::private(NodeType::File)
        };
        SnapshotEntry {
            path: EntryPath::new(path.as_ref()).unwrap(),
            metadata,
            size: 0,
            content: None,
        }
    }

    fn takes(pattern: &str, ignore_case: bool, path: impl AsRef<[u8]>) -> bool {
        let filter = EntryFilter::default().names(&[pattern.to_owned()], ignore_case).unwrap();
        filter.takes(&entry(path, 0))
    }

    #[test]
    fn names_ends_of_paths_and_whole_paths_are_told_apart() {
        for (pattern, path, taken) in [
            ("*.conf", "etc/app.conf", true),
            ("*.conf", "app.conf", true),
            ("*.conf", "app.conf/x", false),
            ("/*.conf", "etc/app.conf", false),
            ("/*.conf", "app.conf", true),
            ("app/*.conf", "etc/app/x.conf", true),
            ("app/*.conf", "etc/snapp/x.conf", false),
            ("/etc/**/x", "etc/a/b/x", true),
            ("etc/", "etc", true),
            ("A*", "etc/app", false),
        ] {
            assert_eq!(takes(pattern, false, path), taken, "{pattern} {path}");
        }
        assert!(takes("A*", true, "etc/app"));
        assert!(takes("*.x", false, b"\xff\xfe.x"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for pattern in ["[a", "", "/"] {
            assert!(EntryFilter::default().names(&[pattern.to_owned()], false).is_err(), "{pattern}");
        }
        assert!(EntryFilter::default().changed(Some("yesterday"), None).is_err());
    }

    #[test]
    fn times_are_days_times_or_ages() {
        assert_eq!(seconds("1970-01-02", 0), Ok(86_400));
        assert_eq!(seconds("1970-01-02 00:01", 0), Ok(86_460));
        assert_eq!(seconds("1970-01-02T00:01:00+01:00", 0), Ok(82_860));
        assert_eq!(seconds("2 d", 200_000), Ok(27_200));
        let filter = EntryFilter::default().changed(Some("1970-01-02"), Some("1970-01-03")).unwrap();
        let taken = [0, 86_400, 172_800, 172_801].map(|seconds| filter.takes(&entry("a", seconds)));
        assert_eq!(taken, [false, true, true, false]);
    }
}
