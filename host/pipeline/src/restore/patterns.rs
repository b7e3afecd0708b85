//! Which entries a restore takes: [`Patterns`] as they were typed, [`Selection`] with the paths beside them.
//!
//! A pattern is compared with the whole path of an entry: `*` and `?` stay within a folder, `**` crosses folders, and what matches a folder takes all
//! that is below it. What is excluded stays excluded.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path};

use bulkhead_model::EntryPath;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Patterns of what to restore and what to leave out.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    include: Globs,
    exclude: Globs,
}

/// A pattern that can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pattern `{pattern}` can't be understood: {reason}")]
pub struct PatternError {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

#[derive(Debug, Clone, Default)]
struct Globs {
    texts: Vec<String>,
    set: GlobSet,
}

impl Patterns {
    /// Reads patterns: what to take (everything where there is none) and what to leave out of it.
    ///
    /// # Errors
    /// For the first one that can't be understood.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, PatternError> {
        Ok(Self {
            include: Globs::new(include)?,
            exclude: Globs::new(exclude)?,
        })
    }

    /// Whether there is any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.include.texts.is_empty() && self.exclude.texts.is_empty()
    }
}

impl Globs {
    fn new(texts: &[String]) -> Result<Self, PatternError> {
        let mut set = GlobSetBuilder::new();
        let texts: Vec<String> = texts.iter().map(|text| text.trim_matches('/').to_owned()).collect();
        for text in &texts {
            let failed = |reason: String| PatternError {
                pattern: text.clone(),
                reason,
            };
            if text.is_empty() {
                return Err(failed("it is empty".to_owned()));
            }
            let glob = GlobBuilder::new(text).literal_separator(true).build();
            set.add(glob.map_err(|error| failed(error.kind().to_string()))?);
        }
        let failed = |error: globset::Error| PatternError {
            pattern: texts.join("`, `"),
            reason: error.kind().to_string(),
        };
        Ok(Self {
            set: set.build().map_err(failed)?,
            texts,
        })
    }

    /// Whether `path`, or a folder above it, matches.
    fn take(&self, path: &[u8]) -> bool {
        !self.texts.is_empty() && prefixes(path).any(|path| self.set.is_match(as_path(path)))
    }

    /// Whether something below `folder` may match: not where the words that each pattern begins with lead elsewhere.
    fn may_take_below(&self, folder: &[u8]) -> bool {
        self.texts.iter().any(|text| {
            let is_plain = |component: &&str| !component.contains(['*', '?', '[', '{', '\\']);
            let mut plain = text.split('/').take_while(is_plain);
            folder
                .split(|byte| *byte == b'/')
                .all(|name| plain.next().is_none_or(|word| word.as_bytes() == name))
        })
    }

    fn note(&self, path: &[u8], matched: &mut [bool]) {
        for position in self.set.matches(as_path(path)) {
            matched[position] = true;
        }
    }

    fn without(&self, matched: &[bool]) -> Vec<String> {
        let unmatched = self.texts.iter().zip(matched).filter(|(_, matched)| !**matched);
        unmatched.map(|(text, _)| text.clone()).collect()
    }
}

/// What a restore does with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selected {
    /// It is restored.
    Yes,
    /// It is not, but what is below it may be.
    Below,
    /// Neither is restored.
    No,
}

/// What a restore takes: everything at and below some paths that the patterns allow.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    /// Outermost paths; the root for everything.
    pub(crate) paths: Vec<EntryPath>,
    patterns: Patterns,
}

impl Selection {
    pub(crate) fn new(paths: &[EntryPath], patterns: Patterns) -> Self {
        Self {
            paths: outermost(paths),
            patterns,
        }
    }

    /// Whether everything is taken.
    pub(crate) fn is_everything(&self) -> bool {
        self.patterns.is_empty() && self.paths.iter().all(EntryPath::is_root)
    }

    /// What is done with the entry at `path`, which is at or below one of the paths.
    pub(crate) fn of(&self, path: &[u8]) -> Selected {
        let Patterns { include, exclude } = &self.patterns;
        if exclude.take(path) {
            Selected::No
        } else if include.texts.is_empty() || include.take(path) {
            Selected::Yes
        } else if include.may_take_below(path) {
            Selected::Below
        } else {
            Selected::No
        }
    }
}

/// Which patterns have matched something.
pub(crate) struct Matched<'s> {
    patterns: &'s Patterns,
    include: Vec<bool>,
    exclude: Vec<bool>,
}

impl<'s> Matched<'s> {
    pub(crate) fn new(selection: &'s Selection) -> Self {
        let patterns = &selection.patterns;
        Self {
            patterns,
            include: vec![false; patterns.include.texts.len()],
            exclude: vec![false; patterns.exclude.texts.len()],
        }
    }

    /// Notes which patterns match `path` itself.
    pub(crate) fn note(&mut self, path: &EntryPath) {
        self.patterns.include.note(path.as_bytes(), &mut self.include);
        self.patterns.exclude.note(path.as_bytes(), &mut self.exclude);
    }

    /// Patterns that took nothing, and patterns that left nothing out.
    pub(crate) fn unmatched(&self) -> (Vec<String>, Vec<String>) {
        (
            self.patterns.include.without(&self.include),
            self.patterns.exclude.without(&self.exclude),
        )
    }
}

/// Paths without those that lie below another one.
fn outermost(paths: &[EntryPath]) -> Vec<EntryPath> {
    if paths.is_empty() {
        return vec![EntryPath::default()];
    }
    let mut paths: Vec<EntryPath> = paths.to_vec();
    paths.sort_unstable();
    paths.dedup();
    let all = paths.clone();
    paths.retain(|path| !all.iter().any(|other| other != path && path.starts_with(other)));
    paths
}

/// `a`, `a/b`, `a/b/c` of `a/b/c`.
fn prefixes(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    slashes.chain([path.len()]).map(|end| &path[..end])
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn paths(texts: &[&str]) -> Vec<EntryPath> {
        texts.iter().map(|text| EntryPath::new(*text).unwrap()).collect()
    }

    fn selection(include: &[&str], exclude: &[&str]) -> Selection {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Selection::new(&[], Patterns::new(&owned(include), &owned(exclude)).unwrap())
    }

    fn taken(selection: &Selection, path: &str) -> bool {
        selection.of(path.as_bytes()) == Selected::Yes
    }

    #[test]
    fn a_path_below_another_is_restored_once() {
        assert_eq!(outermost(&paths(&["a/b", "a", "ab", "c/d", "a"])), paths(&["a", "ab", "c/d"]));
        assert_eq!(outermost(&[]), paths(&[""]));
    }

    #[test]
    fn one_star_stays_within_a_folder_and_two_cross_folders() {
        let one = selection(&["etc/*.conf"], &[]);
        assert!(taken(&one, "etc/a.conf") && !taken(&one, "etc/ssl/a.conf") && !taken(&one, "a.conf"));
        let two = selection(&["**/*.conf"], &[]);
        assert!(taken(&two, "etc/ssl/a.conf") && taken(&two, "a.conf") && !taken(&two, "etc/a.config"));
        let slash = selection(&["/etc/"], &[]);
        assert!(taken(&slash, "etc") && taken(&slash, "etc/ssl/a") && !taken(&slash, "usr/etc"));
    }

    #[test]
    fn what_is_excluded_stays_excluded_with_all_below() {
        let both = selection(&["home/**"], &["home/*/.cache", "**/*.tmp"]);
        assert!(taken(&both, "home/a/x"));
        assert_eq!(both.of(b"home/a/.cache"), Selected::No);
        assert_eq!(both.of(b"home/a/.cache/x"), Selected::No);
        assert_eq!(both.of(b"home/a/x.tmp"), Selected::No);
    }

    #[test]
    fn folders_that_lead_nowhere_are_not_entered() {
        let deep = selection(&["a/b/*/d", "x/{y,z}/w"], &[]);
        for (path, selected) in [
            ("a", Selected::Below),
            ("a/b", Selected::Below),
            ("a/b/c", Selected::Below),
            ("a/b/c/d", Selected::Yes),
            ("a/b/c/d/e", Selected::Yes),
            ("x/q", Selected::Below),
            ("a/c", Selected::No),
            ("b", Selected::No),
        ] {
            assert_eq!(deep.of(path.as_bytes()), selected, "{path}");
        }
    }

    #[test]
    fn names_are_bytes() {
        let odd = selection(&["a?b"], &[]);
        assert!(odd.of(b"a\xffb") == Selected::Yes);
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        let error = Patterns::new(&["a[".to_owned()], &[]).unwrap_err();
        assert_eq!(error.pattern, "a[");
        assert!(Patterns::new(&[], &["/".to_owned()]).is_err());
    }
}
