//! What verifications have found, kept in the vault: when which snapshot was found whole, how deeply it was looked at, and on which sink.
//!
//! Each verification leaves a record, a snapshot file of its own: encrypted, on all sinks, a new object that nobody has to change or remove. Its tree is the
//! empty folder, so that every tool takes it for a snapshot of nothing; its tag (`bulkhead-verified`) keeps it out of this program's listings; what it says is a field that
//! restic passes over. It is no entry, as records otherwise are, because whoever lists snapshots reads these files anyway, and no index for them. A tool that
//! rewrites the file and loses the field has lost a mark, and nothing else.
//!
//! Snapshots are named by their trees: tags change the name of a snapshot, and what was verified is its content. What a record of another repository says, which a copy by other means may have
//! brought here, is about other objects and counts for nothing.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{id::ObjectId, snapshots::SnapshotInfo};

/// The tag of a record.
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
    /// Roots of the snapshots that are whole.
    pub sound: Vec<ObjectId>,
    /// Roots of those that are not.
    pub damaged: Vec<ObjectId>,
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
    time: Timestamp,
    is_sound: bool,
    /// The record that has it.
    record: ObjectId,
}

/// What all records of a vault say together.
#[derive(Default)]
pub struct Marks {
    verdicts: BTreeMap<(ObjectId, String, Depth), Verdict>,
    records: BTreeSet<ObjectId>,
}

impl Marks {
    /// What `records` say of the repository `repository`: of two on the same, the later one.
    #[must_use]
    pub fn of(records: &[SnapshotInfo], repository: &str) -> Self {
        let mut marks = Self::default();
        let mut order: Vec<&SnapshotInfo> = records.iter().collect();
        order.sort_by_key(|record| record.order());
        for record in order {
            marks.records.insert(record.id);
            let said = record.verification.as_ref().filter(|said| said.repository == repository);
            said.into_iter().for_each(|said| marks.add(record, said));
        }
        marks
    }

    fn add(&mut self, record: &SnapshotInfo, said: &Verification) {
        let trees = |trees: &[ObjectId], is_sound| trees.iter().map(move |tree| (*tree, is_sound)).collect::<Vec<_>>();
        // Who says both of a tree means the worse.
        for (tree, is_sound) in trees(&said.sound, true).into_iter().chain(trees(&said.damaged, false)) {
            for depth in said.depth.covers() {
                let verdict = Verdict {
                    time: record.time,
                    is_sound,
                    record: record.id,
                };
                self.verdicts.insert((tree, said.sink.clone(), *depth), verdict);
            }
        }
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

    /// Records that have the last word on none of the snapshots of these roots, which are all that there are.
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

    fn record(seconds: i64, sink: &str, depth: Depth, sound: &[&str], damaged: &[&str]) -> SnapshotInfo {
        let trees = |names: &[&str]| names.iter().map(|name| tree(name)).collect();
        SnapshotInfo {
            id: ObjectId::of(format!("{seconds} {sink}").as_bytes()),
            time: Timestamp { seconds, nanoseconds: 0 },
            host: "here".to_owned(),
            pipeline: None,
            paths: Vec::new(),
            tags: vec![VERIFIED_TAG.to_owned()],
            parent: None,
            tree: tree("empty"),
            original: None,
            verification: Some(Verification {
                repository: "one".to_owned(),
                sink: sink.to_owned(),
                depth,
                sound: trees(sound),
                damaged: trees(damaged),
            }),
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
