//! Which timelines led to one: [`History`], from the file that a server keeps of each but the first.
//!
//! Source: PostgreSQL's `src/backend/access/transam/timeline.c`: a line for each ancestor, oldest first, with its number, where it was left, and why;
//! comments begin with `#`.

use bulkhead_postgres_client::{Lsn, TimelineId};

/// Ancestors that a timeline may have: a promotion makes one, and nobody has promoted as often.
const MAX_ANCESTORS: usize = 10_000;

/// A timeline and what led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct History {
    timeline: TimelineId,
    /// Each with the position where it was left, oldest first.
    ancestors: Vec<(TimelineId, Lsn)>,
}

/// A file that is no history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {0} of the timeline's history is not what PostgreSQL writes there")]
pub(crate) struct HistoryError(usize);

impl History {
    /// The first timeline, which has no file.
    pub(crate) fn first() -> Self {
        Self {
            timeline: TimelineId(1),
            ancestors: Vec::new(),
        }
    }

    /// Parses the history of `timeline`. Ancestors must ascend, as must the positions where they were left.
    pub(crate) fn parse(timeline: TimelineId, content: &str) -> Result<Self, HistoryError> {
        let mut ancestors: Vec<(TimelineId, Lsn)> = Vec::new();
        let lines = content.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let ancestor = ancestor(line).ok_or(HistoryError(number))?;
            let follows = ancestors.last().is_none_or(|last| last.0 < ancestor.0 && last.1 <= ancestor.1);
            if !follows || ancestor.0 >= timeline || ancestors.len() == MAX_ANCESTORS {
                return Err(HistoryError(number));
            }
            ancestors.push(ancestor);
        }
        Ok(Self { timeline, ancestors })
    }

    /// Where `timeline` was left; `None` where it is no ancestor.
    pub(crate) fn end_of(&self, timeline: TimelineId) -> Option<Lsn> {
        let found = self.ancestors.iter().find(|(ancestor, _)| *ancestor == timeline);
        found.map(|(_, end)| *end)
    }

    /// The timeline that follows an ancestor on the way to this one.
    pub(crate) fn after(&self, timeline: TimelineId) -> Option<TimelineId> {
        let place = self.ancestors.iter().position(|(ancestor, _)| *ancestor == timeline)?;
        Some(self.ancestors.get(place + 1).map_or(self.timeline, |(next, _)| *next))
    }
}

fn ancestor(line: &str) -> Option<(TimelineId, Lsn)> {
    let mut words = line.split_ascii_whitespace();
    let timeline = words.next()?.parse().ok().filter(|&number| number > 0)?;
    Some((TimelineId(timeline), words.next()?.parse().ok()?))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_knows_its_ancestors() {
        let text = "1\t0/3000110\tno recovery target specified\n\n# a comment\n3\t0/5000000\tbefore 2026-01-01 00:00:00+00\n";
        let history = History::parse(TimelineId(4), text).unwrap();
        assert_eq!(history.end_of(TimelineId(1)), Some(Lsn(0x300_0110)));
        assert_eq!(history.after(TimelineId(1)), Some(TimelineId(3)));
        assert_eq!(history.after(TimelineId(3)), Some(TimelineId(4)));
        assert_eq!((history.end_of(TimelineId(2)), history.after(TimelineId(4))), (None, None));
        assert_eq!(History::first().after(TimelineId(1)), None);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (line, text) in [
            (1, "x\t0/1\t"),
            (1, "1 0-1"),
            (1, "0\t0/1"),
            (2, "2\t0/1\n2\t0/2"),
            (2, "1\t0/2\n2\t0/1"),
            (1, "4\t0/1"),
        ] {
            assert_eq!(History::parse(TimelineId(4), text), Err(HistoryError(line)), "{text}");
        }
    }
}
