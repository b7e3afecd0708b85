//! Which timelines a log leads through: [`Lineage`], from the history file of the last one.
//!
//! Source: PostgreSQL's `src/backend/access/transam/timeline.c`: a line for each ancestor, oldest first, with its number and where it was left; comments
//! begin with `#`.

use super::lsn;

/// A timeline and those that led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lineage {
    last: u32,
    /// Each with the position where it was left, oldest first.
    ancestors: Vec<(u32, u64)>,
}

impl Lineage {
    /// The first timeline, which has no history.
    pub(super) const FIRST: u32 = 1;

    /// That of timeline `last`; `None` where `history` is no such file.
    pub(super) fn parse(last: u32, history: &str) -> Option<Self> {
        let lines = history.lines().map(str::trim);
        let ancestors = lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(ancestor);
        Some(Self {
            last,
            ancestors: ancestors.collect::<Option<_>>()?,
        })
    }

    /// Where the log of `timeline` ends, if it leads on: `None` where it does not lead to the last one; no bound where it is the last one.
    pub(super) fn end_of(&self, timeline: u32) -> Option<u64> {
        if timeline == self.last {
            return Some(u64::MAX);
        }
        let found = self.ancestors.iter().find(|(ancestor, _)| *ancestor == timeline);
        found.map(|(_, end)| *end)
    }

    /// Up to where a recovery can follow the log to `target` from a base backup of timeline `base` that ended at `end`; `None` where it can't.
    pub(super) fn reach(&self, base: u32, end: u64, target: u32) -> Option<u64> {
        let leads = base <= target && self.end_of(base)? >= end;
        self.end_of(target).filter(|_| leads)
    }
}

fn ancestor(line: &str) -> Option<(u32, u64)> {
    let mut words = line.split_ascii_whitespace();
    Some((words.next()?.parse().ok()?, lsn(words.next()?).ok()?))
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn only_what_leads_there_is_followed() {
        let lineage = Lineage::parse(4, "1\t0/300\tno recovery target specified\n\n# a comment\n3\t0/500\tbefore x\n").expect("a history");
        assert_eq!(lineage.reach(1, 0x200, 4), Some(u64::MAX));
        assert_eq!(lineage.reach(1, 0x200, 3), Some(0x500));
        assert_eq!(lineage.reach(1, 0x200, 1), Some(0x300));
        assert_eq!(lineage.reach(4, 0x900, 4), Some(u64::MAX));
        for (base, end, target, why) in [
            (1, 0x301, 4, "it ended on a way that was left"),
            (2, 0x200, 4, "no ancestor"),
            (3, 0x400, 1, "backwards"),
            (1, 0x200, 2, "a target elsewhere"),
            (1, 0x200, 5, "a target that the log does not have"),
            (5, 0x200, 5, "newer than the log"),
        ] {
            assert_eq!(lineage.reach(base, end, target), None, "{why}");
        }
    }

    #[test]
    fn what_is_no_history_is_none() {
        assert_eq!(Lineage::parse(2, "x\t0/1"), None);
        assert_eq!(Lineage::parse(2, "1 0-1"), None);
        assert!(Lineage::parse(1, "").is_some_and(|lineage| lineage.reach(1, 7, 1) == Some(u64::MAX)));
    }
}
