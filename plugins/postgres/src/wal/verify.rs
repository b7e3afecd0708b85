//! Whether the stored log is whole: [`verify`] looks for gaps.
//!
//! What a segment holds was compared with its name when it came; whether it is still that, `bulkhead verify --read-data` tells. So no content is read here, unless
//! `bulkhead wal-verify` asks for it: then each page of each segment must lie where it says ([`super::pages`]).

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_postgres_client::TimelineId;
use bulkhead_sdk::{
    Error, ErrorKind, Result,
    metadata::NodeType,
    snapshot::{self, Entry, EntryReader},
    types::Finding,
};

use super::{checkpoint::Checkpoint, history::History, layout, pages};
use crate::{config::Config, segment::SegmentName};

/// Gaps that a report names at most; the rest is counted.
const NAMED: usize = 20;
/// A history file is a line for each promotion.
const MAX_HISTORY: usize = 1 << 20;

/// Looks for gaps between the segments, and for histories that are missing.
pub(crate) fn verify(config: &Config) -> Result<Vec<Finding>> {
    let checkpoint = snapshot::info().checkpoint.unwrap_or_default();
    let checkpoint = match Checkpoint::read(&checkpoint) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return Ok(vec![Finding::of_error("log-unknown", &error)]),
    };
    let mut log = Log::new(checkpoint.wal_segment_size);
    let mut damaged = Vec::new();
    for entry in snapshot::walk("")? {
        let entry = entry?;
        if entry.metadata.node_type == NodeType::File {
            let segment = log.add(&entry);
            if let Some(segment) = segment.filter(|_| config.pages)
                && let Err(error) = pages::check(&entry, segment, &checkpoint)?
            {
                damaged.push(error.to_string());
            }
        }
    }
    log.judge(&checkpoint, &damaged)
}

/// The segments of a timeline by number; `true` where only the beginning is there.
type Timeline = BTreeMap<u64, bool>;

/// What a snapshot has.
struct Log {
    segment_size: u64,
    timelines: BTreeMap<TimelineId, Timeline>,
    histories: BTreeSet<TimelineId>,
    /// Files that have the wrong size, or do not belong here.
    wrong: Vec<String>,
}

impl Log {
    fn new(segment_size: u64) -> Self {
        Self {
            segment_size,
            timelines: BTreeMap::new(),
            histories: BTreeSet::new(),
            wrong: Vec::new(),
        }
    }

    /// Which segment an entry is, if it is one.
    fn add(&mut self, entry: &Entry) -> Option<SegmentName> {
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        let name = String::from_utf8_lossy(layout::file_name(&entry.path)).into_owned();
        if let Some(timeline) = layout::history_timeline(&name) {
            self.histories.insert(timeline);
            return None;
        }
        if layout::is_label(&name) {
            return None;
        }
        let (file, partial) = match name.strip_suffix(layout::PARTIAL_SUFFIX) {
            Some(file) => (file, true),
            None => (name.as_str(), false),
        };
        match SegmentName::parse(file.as_bytes(), self.segment_size) {
            Some(segment) if entry.size == self.segment_size => {
                let whole = self
                    .timelines
                    .entry(segment.timeline)
                    .or_default()
                    .entry(segment.number)
                    .or_insert(partial);
                *whole &= partial;
                Some(segment)
            }
            _ => {
                self.wrong.push(path);
                None
            }
        }
    }

    fn judge(&self, checkpoint: &Checkpoint, damaged: &[String]) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        if !damaged.is_empty() {
            let names = damaged.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join("; ");
            let message = format!("{} segments are not what they are called: {names}", damaged.len());
            findings.push(Finding::error("log-damaged", message));
        }
        if !self.wrong.is_empty() {
            let names = self.wrong.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            let message = format!(
                "{} entries are not segments of this log, or not as long as one: {names}",
                self.wrong.len()
            );
            findings.push(Finding::error("log-damaged", message));
        }
        let gaps = self.gaps(checkpoint)?;
        if !gaps.is_empty() {
            let names = gaps.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            let message = format!("the log has {} gaps, which no recovery can cross: {names}", gaps.len());
            findings.push(
                Finding::error("log-gap", message)
                    .with_hint("take a base backup: what is behind the last gap can be reached from there; earlier snapshots of this pipeline may have what is missing"),
            );
        }
        if findings.is_empty() {
            let segments: usize = self.timelines.values().map(BTreeMap::len).sum();
            let message = format!(
                "the log is without gaps from {} to {} of timeline {}: {segments} segments on {} timelines",
                checkpoint.start()?,
                checkpoint.end()?,
                checkpoint.timeline,
                self.timelines.len()
            );
            findings.push(Finding::info("log-complete", message));
        }
        Ok(findings)
    }

    /// What is missing between the beginning and the end of the log, in words.
    fn gaps(&self, checkpoint: &Checkpoint) -> Result<Vec<String>> {
        let mut gaps = Vec::new();
        let size = self.segment_size;
        let (mut first, last) = (checkpoint.start()?.segment(size), TimelineId(checkpoint.timeline));
        let history = match last {
            TimelineId(1) => History::first(),
            last if self.histories.contains(&last) => read_history(last)?,
            last => {
                return Ok(vec![format!(
                    "{}, without which timeline {last} cannot be reached",
                    layout::history_name(last)
                )]);
            }
        };
        let Some(mut timeline) = self.timelines.keys().next().copied() else {
            return Ok(vec!["all of it".to_owned()]);
        };
        while timeline != last {
            let (Some(end), Some(next)) = (history.end_of(timeline), history.after(timeline)) else {
                gaps.push(format!("between timeline {timeline} and {last}, which does not descend from it"));
                return Ok(gaps);
            };
            self.gaps_of(timeline, first, end.0.saturating_sub(1) / size, &mut gaps);
            (first, timeline) = (end.segment(size), next);
        }
        let end = checkpoint.end()?;
        // A timeline that has just begun has nothing of its own yet.
        if end.0 > first.saturating_mul(size) && (self.timelines.contains_key(&last) || history == History::first()) {
            self.gaps_of(last, first, end.0.saturating_sub(1) / size, &mut gaps);
        }
        Ok(gaps)
    }

    /// Adds the segments from `first` to `last` that are missing, as ranges; one of which only the beginning is there may only be the last.
    fn gaps_of(&self, timeline: TimelineId, first: u64, last: u64, gaps: &mut Vec<String>) {
        let empty = Timeline::new();
        let segments = self.timelines.get(&timeline).unwrap_or(&empty);
        let whole = |number: u64| segments.get(&number).is_some_and(|partial| !partial || number == last);
        let name = |number| SegmentName { number, timeline }.file_name(self.segment_size);
        let mut expected = first;
        let present = segments
            .keys()
            .copied()
            .filter(|&number| (first..=last).contains(&number) && whole(number));
        for number in present.chain([last.saturating_add(1)]) {
            match number.saturating_sub(expected) {
                0 => {}
                1 => gaps.push(name(expected)),
                _ => gaps.push(format!("{} to {}", name(expected), name(number - 1))),
            }
            expected = number.saturating_add(1);
        }
    }
}

fn read_history(timeline: TimelineId) -> Result<History> {
    let mut reader: EntryReader = snapshot::open(layout::history(timeline))?;
    let mut content = Vec::new();
    while let Some(part) = reader.read_bytes(MAX_HISTORY)? {
        content.extend_from_slice(&part);
        if content.len() > MAX_HISTORY {
            break;
        }
    }
    let text = String::from_utf8_lossy(&content);
    History::parse(timeline, &text).map_err(|error| Error::new(ErrorKind::Corrupt, error.to_string()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use bulkhead_postgres_client::Lsn;
    use bulkhead_sdk::metadata::Metadata;

    use super::*;

    const SIZE: u64 = 1 << 20;

    fn log(names: &[&str]) -> Log {
        let mut log = Log::new(SIZE);
        for name in names {
            log.add(&Entry {
                path: format!("wal/{name}").into_bytes(),
                metadata: Metadata::file(),
                size: SIZE,
            });
        }
        log
    }

    fn gaps(names: &[&str], start: u64, end: u64) -> Vec<String> {
        let checkpoint = Checkpoint::new(1, SIZE, "s", Lsn(start * SIZE), Lsn(end * SIZE + 5), TimelineId(1));
        log(names).gaps(&checkpoint).unwrap()
    }

    #[test]
    fn what_is_missing_is_named() {
        let three = [
            "000000010000000000000003",
            "000000010000000000000004",
            "000000010000000000000005.partial",
        ];
        assert!(gaps(&three, 3, 5).is_empty());
        assert_eq!(gaps(&three, 2, 5), ["000000010000000000000002"]);
        assert_eq!(gaps(&three, 3, 8), ["000000010000000000000005 to 000000010000000000000008"]);
        assert_eq!(gaps(&[three[0], three[2]], 3, 5), ["000000010000000000000004"]);
        assert_eq!(gaps(&[], 3, 5), ["all of it"]);
        let partial = ["000000010000000000000003.partial", "000000010000000000000004"];
        assert_eq!(gaps(&partial, 3, 3), Vec::<String>::new());
        assert_eq!(gaps(&partial, 3, 4), ["000000010000000000000003", "000000010000000000000004"][..1]);
    }

    #[test]
    fn a_timeline_without_its_history_cannot_be_reached() {
        let checkpoint = Checkpoint::new(1, SIZE, "s", Lsn(SIZE), Lsn(2 * SIZE), TimelineId(2));
        assert!(log(&["000000020000000000000001"]).gaps(&checkpoint).unwrap()[0].starts_with("00000002.history"));
    }

    #[test]
    fn what_is_no_segment_is_told() {
        assert_eq!(log(&["000000010000000000000003", "README"]).wrong, ["wal/README"]);
    }
}
