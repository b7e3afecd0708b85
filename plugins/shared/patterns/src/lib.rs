//! Which paths of a tree an operator means: [`Patterns`].
//!
//! Patterns are globs: `*` and `?` within a name, `[a-z]`, `{a,b}`, and `**` for any number of folders. One without `/` is compared with names, wherever they are; one
//! with `/` with whole paths, from the top.

use bulkhead_sdk::{Error, Result};
use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

const HINT: &str = "patterns are globs: `*.tmp` for names, `/home/*/cache` for paths, whose first part is the directory's name, `**` for any number of folders";

/// Patterns, compiled to one machine.
#[derive(Debug)]
pub struct Patterns(GlobSet);

impl Patterns {
    /// Compiles the patterns of a setting. Without any, nothing matches.
    ///
    /// # Errors
    /// `Config`, with the place of the pattern that is none.
    pub fn new(setting: &str, patterns: &[String]) -> Result<Self> {
        let mut set = GlobSetBuilder::new();
        for (position, pattern) in patterns.iter().enumerate() {
            let wrong = |reason: String| {
                Error::config(format!("{setting}[{position}]"), format!("`{pattern}` is not a pattern: {reason}")).with_hint(HINT)
            };
            let anchored = anchored(pattern).ok_or_else(|| wrong("it is empty".to_owned()))?;
            let glob = GlobBuilder::new(&anchored).literal_separator(true).backslash_escape(true).build();
            set.add(glob.map_err(|error| wrong(error.kind().to_string()))?);
        }
        let set = set.build();
        set.map(Self)
            .map_err(|error| Error::config(setting, format!("the patterns cannot be compiled: {error}")))
    }

    /// Whether any of them matches `path`, whatever bytes that has.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        self.0.is_match_candidate(&Candidate::from_bytes(path))
    }
}

/// A pattern for whole paths; `None` where there is nothing in it.
fn anchored(pattern: &str) -> Option<String> {
    let trimmed = pattern.trim_end_matches('/');
    let path = trimmed.strip_prefix('/').unwrap_or(trimmed);
    match path {
        "" => None,
        path if trimmed.contains('/') => Some(path.to_owned()),
        name => Some(format!("**/{name}")),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn patterns(patterns: &[&str]) -> Result<Patterns> {
        Patterns::new("exclude", &patterns.iter().map(|&pattern| pattern.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_name_matches_anywhere_and_a_path_from_the_top() {
        let chosen = patterns(&["*.tmp", "/home/*/cache", "etc/ssl/**/*.key", "[!a]?", "/top"]).unwrap();
        let matching = [
            "home/a.tmp",
            "home/x/y/b.tmp",
            "home/ada/cache",
            "etc/ssl/private/x.key",
            "etc/ssl/x.key",
            "home/bb",
            "top",
        ];
        for path in matching {
            assert!(chosen.matches(path.as_bytes()), "{path}");
        }
        for path in ["home/a.tmpl", "home/ada/x/cache", "home/cache", "etc/x.key", "home/ab", "home/top"] {
            assert!(!chosen.matches(path.as_bytes()), "{path}");
        }
        assert!(chosen.matches(b"home/\xff\xfe.tmp"), "a name that is no text");
        assert!(!patterns(&[]).unwrap().matches(b"anything"));
    }

    #[test]
    fn a_pattern_that_is_none_is_named() {
        for wrong in ["[a", "", "/", "//"] {
            let error = patterns(&["ok", wrong]).unwrap_err();
            assert_eq!(error.setting.as_deref(), Some("exclude[1]"), "{wrong}: {error}");
        }
    }
}
