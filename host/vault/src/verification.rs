//! What verifications have found, kept in the vault: when which snapshot was found whole, how deeply it was looked at, and on which sink.
//!
//! Each verification leaves a record, a snapshot file of its own: encrypted, on all sinks, a new object that nobody has to change or remove. Its tree is the
//! empty folder, so that every tool takes it for a snapshot of nothing; what it says is a field that restic passes over. Tag, tree and field together keep it out of this
//! program's listings ([`recorded`]): a tag alone, which anybody can give to a backup, must hide nothing. It is no entry, as records otherwise are, because whoever lists snapshots
//! reads these files anyway, and no index for them. A tool that rewrites the file and loses the field has lost a mark, and leaves a snapshot of nothing.
//!
//! The file's time is the beginning of 1970 and its host one of its own, so that a record is never the `latest` of anybody's, nor takes the place of a backup where a tool keeps the last
//! ones. When it was, and which of two is the later one, is in the field: a number, which needs no clock.
//!
//! Snapshots are named by their trees: tags change the name of a snapshot, and what was verified is its content. What a record of another repository says, which a copy by other means may have
//! brought here, is about other objects and counts for nothing.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    format::{
        node,
        snapshot_file::SnapshotFile,
        time::{self, rfc3339},
    },
    id::ObjectId,
    snapshots::SnapshotInfo,
};

/// The tag of a record, and its host.
pub(crate) const VERIFIED_TAG: &str = "bulkhead-verified";

/// How deeply a snapshot was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Depth {
    /// All folders were read, and all that they refer to is there, in its size.
    Structure,
    /// Every byte was read, too.
    Data,
    /// The plugin that took it found that it makes sense.
    Plugin,
}

impl Depth {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Structure, Self::Data, Self::Plugin];

    /// What is looked at by it.
    fn covers(self) -> &'static [Self] {
        match self {
            Self::Structure => &[Self::Structure],
            Self::Data => &[Self::Structure, Self::Data],
            Self::Plugin => &[Self::Plugin],
        }
    }

    /// Its name, as it is stored and shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Structure => "structure",
            Self::Data => "data",
            Self::Plugin => "plugin",
        }
    }
}

/// What one verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verification {
    /// The repository that was looked at.
    pub repository: String,
    /// The sink that was read, by its name.
    pub sink: String,
    /// How deeply.
    pub depth: Depth,
    /// When it began: it knows nothing of what has happened since.
    #[serde(with = "rfc3339")]
    pub began: Timestamp,
    /// Roots of the snapshots that are whole.
    pub sound: Vec<ObjectId>,
    /// Roots of those that are not.
    pub damaged: Vec<ObjectId>,
}

/// A verification, as the vault keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VerificationRecord {
    /// One more than that of the last record that was there: of two on the same, the higher one is the later.
    pub number: u64,
    /// When it was kept.
    #[serde(with = "rfc3339")]
    pub time: Timestamp,
    /// What was found.
    #[serde(flatten)]
    pub found: Verification,
}

impl VerificationRecord {
    /// What is to be kept now, after `earlier`.
    pub(crate) fn after(earlier: &[SnapshotInfo], found: Verification) -> Self {
        let last = earlier
            .iter()
            .filter_map(|snapshot| snapshot.recorded.as_ref()?.said())
            .map(|said| said.number);
        Self {
            number: last.max().unwrap_or(0).saturating_add(1),
            time: time::now(),
            found,
        }
    }
}

/// What the record of a verification says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// This.
    Said(Box<VerificationRecord>),
    /// What a later version of this program understands: it counts for nothing here, and stays.
    Unknown,
}

impl Recorded {
    /// What this version understands of it.
    fn said(&self) -> Option<&VerificationRecord> {
        match self {
            Self::Said(said) => Some(said),
            Self::Unknown => None,
        }
    }
}

/// What `file` says where it is a record, and no backup: it has the tag, nothing in it, and the field.
pub(crate) fn recorded(file: &SnapshotFile) -> Option<Recorded> {
    let has_tag = file.tags.iter().flatten().any(|tag| tag == VERIFIED_TAG);
    let field = file.verification.as_ref().filter(|_| has_tag && file.tree == node::empty_tree())?;
    let said = serde_json::from_value(field.clone()).map(Box::new);
    Some(said.map_or(Recorded::Unknown, Recorded::Said))
}

/// That a snapshot was found whole, and nothing wrong with it there since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// How deeply it was looked at.
    pub depth: Depth,
    /// On which sink.
    pub sink: String,
    /// When, for the last time.
    pub time: Timestamp,
}

/// The last word on a snapshot, on one sink, at one depth.
struct Verdict {
    /// When it was kept.
    time: Timestamp,
    is_sound: bool,
    /// The record that has it.
    record: ObjectId,
}

/// What all records of a vault say together.
#[derive(Default)]
pub struct Marks {
    verdicts: BTreeMap<(ObjectId, String, Depth), Verdict>,
    /// Records that go when they are needed no more: what could not be understood, and what somebody holds, is none of them.
    records: BTreeSet<ObjectId>,
}

impl Marks {
    /// What `records` say of the repository `repository`: of two on the same, the later one.
    #[must_use]
    pub fn of(records: &[SnapshotInfo], repository: &str) -> Self {
        let mut marks = Self::default();
        let said = |record: &'_ SnapshotInfo| record.recorded.as_ref().and_then(Recorded::said).cloned();
        let mut order: Vec<_> = records.iter().filter_map(|record| Some((said(record)?, record))).collect();
        order.sort_by_key(|(said, record)| (said.number, said.time, record.id));
        for (said, record) in order {
            if !record.is_held() {
                marks.records.insert(record.id);
            }
            if said.found.repository == repository {
                marks.add(record.id, &said);
            }
        }
        marks
    }

    fn add(&mut self, record: ObjectId, said: &VerificationRecord) {
        let trees = |trees: &[ObjectId], is_sound| trees.iter().map(move |tree| (*tree, is_sound)).collect::<Vec<_>>();
        let found = &said.found;
        // Who says both of a tree means the worse.
        for (tree, is_sound) in trees(&found.sound, true).into_iter().chain(trees(&found.damaged, false)) {
            for depth in found.depth.covers() {
                let verdict = Verdict {
                    time: said.time,
                    is_sound,
                    record,
                };
                self.judge((tree, found.sink.clone(), *depth), verdict, found.began);
            }
        }
    }

    /// The later word stands, but for one that lifts damage which was found while it was being looked for: it may have read that before.
    fn judge(&mut self, what: (ObjectId, String, Depth), verdict: Verdict, began: Timestamp) {
        let is_unseen = |before: &Verdict| !before.is_sound && before.time > began;
        if verdict.is_sound && self.verdicts.get(&what).is_some_and(is_unseen) {
            return;
        }
        self.verdicts.insert(what, verdict);
    }

    /// How a snapshot of the root `tree` was verified on `sinks`, at most once for each depth, the last time. A sink on which anything is wrong with it says nothing for it.
    #[must_use]
    pub fn of_tree(&self, tree: ObjectId, sinks: &[String]) -> Vec<Mark> {
        let verdict = |sink: &String, depth| self.verdicts.get(&(tree, sink.clone(), depth));
        let is_damaged = |sink: &&String| {
            let verdicts = Depth::ALL.iter().filter_map(|depth| verdict(sink, *depth));
            verdicts.into_iter().any(|verdict| !verdict.is_sound)
        };
        let whole: Vec<&String> = sinks.iter().filter(|sink| !is_damaged(sink)).collect();
        let last = |depth: &Depth| {
            let found = whole.iter().filter_map(|sink| Some((verdict(sink, *depth)?.time, *sink)));
            found.max_by_key(|(time, _)| *time).map(|(time, sink)| Mark {
                depth: *depth,
                sink: sink.clone(),
                time,
            })
        };
        Depth::ALL.iter().filter_map(last).collect()
    }

    /// Records that have the last word on none of the snapshots of these roots, which are all that there are. None that this version doesn't understand, or somebody holds.
    #[must_use]
    pub fn superseded(&self, trees: &BTreeSet<ObjectId>) -> Vec<ObjectId> {
        let verdicts = self.verdicts.iter().filter(|((tree, ..), _)| trees.contains(tree));
        let needed: BTreeSet<ObjectId> = verdicts.map(|(_, verdict)| verdict.record).collect();
        self.records.difference(&needed).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINKS: [&str; 2] = ["here", "there"];

    fn tree(name: &str) -> ObjectId {
        ObjectId::of(name.as_bytes())
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanoseconds: 0 }
    }

    /// One that was kept in the second in which it began.
    fn record(seconds: i64, sink: &str, depth: Depth, sound: &[&str], damaged: &[&str]) -> SnapshotInfo {
        long_record((seconds, seconds), sink, depth, sound, damaged)
    }

    fn long_record((began, kept): (i64, i64), sink: &str, depth: Depth, sound: &[&str], damaged: &[&str]) -> SnapshotInfo {
        let trees = |names: &[&str]| names.iter().map(|name| tree(name)).collect();
        SnapshotInfo {
            id: ObjectId::of(format!("{kept} {sink}").as_bytes()),
            time: at(0),
            host: "here".to_owned(),
            pipeline: None,
            paths: Vec::new(),
            tags: vec![VERIFIED_TAG.to_owned()],
            parent: None,
            tree: tree("empty"),
            original: None,
            recorded: Some(Recorded::Said(Box::new(VerificationRecord {
                number: kept.unsigned_abs(),
                time: at(kept),
                found: Verification {
                    repository: "one".to_owned(),
                    sink: sink.to_owned(),
                    depth,
                    began: at(began),
                    sound: trees(sound),
                    damaged: trees(damaged),
                },
            }))),
        }
    }

    fn marks(records: &[SnapshotInfo], of: &str) -> Vec<(Depth, String, i64)> {
        let found = Marks::of(records, "one").of_tree(tree(of), &SINKS.map(str::to_owned));
        found.into_iter().map(|mark| (mark.depth, mark.sink, mark.time.seconds)).collect()
    }

    fn here(depth: Depth, seconds: i64) -> (Depth, String, i64) {
        (depth, "here".to_owned(), seconds)
    }

    #[test]
    fn damage_takes_the_mark_away_until_it_was_looked_for_as_deeply() {
        let mut records = vec![record(1, "here", Depth::Data, &["a", "b"], &[])];
        assert_eq!(marks(&records, "a"), [here(Depth::Structure, 1), here(Depth::Data, 1)]);
        records.push(record(2, "here", Depth::Data, &["b"], &["a"]));
        records.push(record(3, "here", Depth::Structure, &["a", "b"], &[]));
        assert_eq!(marks(&records, "a"), []);
        assert_eq!(marks(&records, "b"), [here(Depth::Structure, 3), here(Depth::Data, 2)]);
        records.push(record(4, "here", Depth::Data, &["a"], &[]));
        assert_eq!(marks(&records, "a"), [here(Depth::Structure, 4), here(Depth::Data, 4)]);
        records.push(record(5, "here", Depth::Plugin, &[], &["a"]));
        assert_eq!(marks(&records, "a"), []);
        // The order in which they are found is none.
        records.reverse();
        assert_eq!(marks(&records, "a"), []);
    }

    #[test]
    fn a_verification_lifts_no_damage_that_was_found_while_it_was_reading() {
        let damage = record(5, "here", Depth::Data, &[], &["a"]);
        let long = |began| long_record((began, 9), "here", Depth::Data, &["a"], &[]);
        assert_eq!(marks(&[damage.clone(), long(4)], "a"), []);
        assert_eq!(
            marks(&[damage.clone(), long(5)], "a"),
            [here(Depth::Structure, 9), here(Depth::Data, 9)]
        );
        // What it finds damaged is so, whoever has found it whole since it began.
        let whole = record(5, "here", Depth::Data, &["a"], &[]);
        assert_eq!(marks(&[whole, long_record((4, 9), "here", Depth::Data, &[], &["a"])], "a"), []);
    }

    #[test]
    fn the_next_record_has_the_next_number_whatever_the_clock_says() {
        let found = || match record(1, "here", Depth::Data, &[], &[]).recorded {
            Some(Recorded::Said(said)) => said.found,
            _ => unreachable!("it says something"),
        };
        let next = |earlier: &[SnapshotInfo]| VerificationRecord::after(earlier, found()).number;
        let far = record(i64::MAX - 1, "here", Depth::Data, &[], &[]);
        assert_eq!(
            (next(&[]), next(&[far, record(7, "here", Depth::Data, &[], &[])])),
            (1, i64::MAX.unsigned_abs())
        );
    }

    #[test]
    fn what_is_not_understood_or_held_is_never_superseded() {
        let mut records = [1, 2, 3].map(|seconds| record(seconds, "here", Depth::Data, &["a"], &[]));
        records[0].recorded = Some(Recorded::Unknown);
        records[1].tags.push("held".to_owned());
        let gone = Marks::of(&records, "one").superseded(&BTreeSet::new());
        assert_eq!(gone, [records[2].id]);
    }

    #[test]
    fn each_sink_is_looked_at_for_itself() {
        let records = [
            record(1, "there", Depth::Structure, &["a"], &[]),
            record(2, "here", Depth::Data, &[], &["a"]),
            record(3, "elsewhere", Depth::Data, &["a"], &[]),
        ];
        assert_eq!(marks(&records, "a"), [(Depth::Structure, "there".to_owned(), 1)]);
    }

    #[test]
    fn another_repository_says_nothing() {
        let records = [record(1, "here", Depth::Data, &["a"], &[])];
        let other = Marks::of(&records, "two");
        assert_eq!(other.of_tree(tree("a"), &SINKS.map(str::to_owned)), []);
        assert_eq!(other.superseded(&[tree("a")].into()), [records[0].id]);
    }

    #[test]
    fn a_record_goes_when_others_say_all_that_it_says() {
        let records = [
            record(1, "here", Depth::Data, &["a", "b"], &[]),
            record(2, "here", Depth::Structure, &["a", "b"], &[]),
            record(3, "here", Depth::Data, &["a"], &[]),
        ];
        let superseded = |trees: &[&str]| Marks::of(&records, "one").superseded(&trees.iter().map(|name| tree(name)).collect());
        assert_eq!(superseded(&["a", "b"]), []);
        let mut gone = vec![records[0].id, records[1].id];
        gone.sort_unstable();
        assert_eq!(superseded(&["a"]), gone);
        assert_eq!(superseded(&[]).len(), 3);
    }
}
