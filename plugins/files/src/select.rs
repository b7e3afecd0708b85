//! What belongs into the snapshot: [`Selection`].

use bulkhead_patterns::Patterns;
use bulkhead_sdk::{Error, Result};

use crate::config::Config;

/// The patterns of the config, compiled.
pub(crate) struct Selection {
    exclude: Patterns,
    /// None chooses all.
    include: Option<Patterns>,
    unreadable: Patterns,
    markers: Vec<Vec<u8>>,
}

impl Selection {
    /// Compiles them; the error names the pattern.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        for (position, marker) in config.markers.iter().enumerate() {
            if marker.is_empty() || marker.contains('/') {
                let message = format!("`{marker}` is not the name of a file");
                return Err(
                    Error::config(format!("markers[{position}]"), message).with_hint("write a name without a path, such as `.nobackup`")
                );
            }
        }
        let include = (!config.include.is_empty()).then(|| Patterns::new("include", &config.include));
        Ok(Self {
            exclude: Patterns::new("exclude", &config.exclude)?,
            include: include.transpose()?,
            unreadable: Patterns::new("unreadable", &config.unreadable)?,
            markers: config.markers.iter().map(|marker| marker.clone().into_bytes()).collect(),
        })
    }

    /// Whether the node at `path`, in the snapshot, and all below it are left out.
    pub(crate) fn leaves_out(&self, path: &[u8]) -> bool {
        self.exclude.matches(path)
    }

    /// Whether the file at `path` is wanted.
    pub(crate) fn wants(&self, path: &[u8]) -> bool {
        self.include.as_ref().is_none_or(|include| include.matches(path))
    }

    /// Whether the node at `path` may be unreadable.
    pub(crate) fn may_be_unreadable(&self, path: &[u8]) -> bool {
        self.unreadable.matches(path)
    }

    /// Whether `name` marks the folder that it is in.
    pub(crate) fn is_marker(&self, name: &[u8]) -> bool {
        self.markers.iter().any(|marker| marker == name)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_and_nothing_chosen_is_everything() {
        for (json, setting) in [
            (r#"{ "exclude": ["ok", "[a"] }"#, "exclude[1]"),
            (r#"{ "include": [""] }"#, "include[0]"),
            (r#"{ "unreadable": ["/"] }"#, "unreadable[0]"),
            (r#"{ "markers": ["a/b"] }"#, "markers[0]"),
        ] {
            let error = Selection::new(&bulkhead_sdk::config::parse(json).unwrap()).err().unwrap();
            assert_eq!(error.setting.as_deref(), Some(setting), "{json}: {error}");
        }
        let all = Selection::new(&Config::default()).unwrap();
        assert!(all.wants(b"anything") && !all.leaves_out(b"anything") && !all.may_be_unreadable(b"anything"));
    }
}
