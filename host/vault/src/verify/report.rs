//! What a verification found.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    id::ObjectId,
    index::BlobKind,
    verify::{packs::expected_size, trees::Root},
};

/// Problems of one report; a vault that lost its whole index would have millions of them.
const MAX_PROBLEMS: usize = 1_000;

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Damage, what reaches most snapshots first; empty is good.
    pub problems: Vec<Problem>,
    /// Further problems, left out because there are so many.
    pub further_problems: u64,
    /// Snapshots checked.
    pub snapshots: u64,
    /// Packs that the index names.
    pub packs: u64,
    /// Bytes in these packs.
    pub pack_bytes: u64,
    /// Packs read and checked.
    pub packs_read: u64,
    /// Bytes of packs read.
    pub bytes_read: u64,
    /// Packs that no index names: left by runs that did not finish. Harmless; `prune` removes them.
    pub unreferenced_packs: Vec<ObjectId>,
    /// Roots of the snapshots that no damage reaches; none where there is more damage than is listed, since what that reaches is not known.
    pub sound: Vec<ObjectId>,
    /// Roots of the snapshots that some damage reaches; of all where there is more damage than is listed.
    pub damaged: Vec<ObjectId>,
}

/// One piece of damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The object ("data/ab/ab12…"), or the blob where no object can be named.
    pub object: String,
    /// What is wrong, in a sentence.
    pub damage: String,
    /// What it means, in a sentence.
    pub consequence: String,
    /// Snapshots that need it.
    pub snapshots: Vec<ObjectId>,
}

/// A problem's place in the findings.
pub(super) type ProblemNumber = u32;

/// Findings in the making.
#[derive(Default)]
pub(super) struct Findings {
    problems: Vec<Problem>,
    further: u64,
    /// Damaged objects, so that each is reported once.
    by_object: HashMap<String, ProblemNumber>,
    /// Packs of which nothing can be relied on, and single damaged blobs.
    pub(super) packs: HashMap<ObjectId, ProblemNumber>,
    pub(super) blobs: HashMap<(BlobKind, ObjectId), ProblemNumber>,
    pub(super) packs_read: u64,
    pub(super) bytes_read: u64,
    pub(super) unreferenced: Vec<ObjectId>,
}

impl Findings {
    /// Adds a problem, or finds the one that this object has already; `None` when there are too many.
    pub(super) fn add(&mut self, object: String, damage: impl Into<String>, consequence: &str) -> Option<ProblemNumber> {
        if let Some(number) = self.by_object.get(&object) {
            return Some(*number);
        }
        if self.problems.len() >= MAX_PROBLEMS {
            self.further += 1;
            return None;
        }
        let number = u32::try_from(self.problems.len()).ok()?;
        self.by_object.insert(object.clone(), number);
        self.problems.push(Problem {
            object,
            damage: damage.into(),
            consequence: consequence.to_owned(),
            snapshots: Vec::new(),
        });
        Some(number)
    }

    /// The problem that makes a blob unreadable, if one was found.
    pub(super) fn of_blob(&self, kind: BlobKind, id: &ObjectId, pack: &ObjectId) -> Option<ProblemNumber> {
        self.blobs.get(&(kind, *id)).or_else(|| self.packs.get(pack)).copied()
    }

    /// Notes that a snapshot needs what is damaged.
    pub(super) fn reaches(&mut self, number: ProblemNumber, snapshot: ObjectId) {
        if let Some(problem) = self.problems.get_mut(number as usize) {
            problem.snapshots.push(snapshot);
        }
    }

    /// The report.
    pub(super) fn into_report(mut self, snapshots: &[Root], index: &WholeIndex) -> VerifyReport {
        let reached: BTreeSet<ObjectId> = self.problems.iter().flat_map(|problem| &problem.snapshots).copied().collect();
        let backups: Vec<&Root> = snapshots.iter().filter(|root| !root.is_record).collect();
        // What is left out may reach any of them.
        let may_be_damaged = |root: &&&Root| self.further > 0 || reached.contains(&root.id);
        let (damaged, sound): (Vec<&Root>, Vec<&Root>) = backups.iter().partition(may_be_damaged);
        let trees = |roots: Vec<&Root>| roots.iter().map(|root| root.tree).collect();
        self.problems.sort_by_key(|problem| std::cmp::Reverse(problem.snapshots.len()));
        self.unreferenced.sort_unstable();
        VerifyReport {
            problems: self.problems,
            further_problems: self.further,
            snapshots: backups.len() as u64,
            packs: index.packs.len() as u64,
            pack_bytes: index.packs.values().map(|blobs| expected_size(blobs)).sum(),
            packs_read: self.packs_read,
            bytes_read: self.bytes_read,
            unreferenced_packs: self.unreferenced,
            sound: trees(sound),
            damaged: trees(damaged),
        }
    }
}

/// What index files say, all of them.
pub(super) struct WholeIndex {
    /// Where blobs are.
    pub(super) index: crate::index::Index,
    /// What is in each pack.
    pub(super) packs: BTreeMap<ObjectId, Vec<crate::format::index_file::IndexBlob>>,
    /// Packs that a prune has marked for deletion: they may have gone already, and are part of the two above only where they have not.
    pub(super) doomed: Vec<crate::format::index_file::IndexPack>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of one snapshot that the first of so many problems reaches, and one that none of those listed does.
    fn report(problems: usize) -> VerifyReport {
        let root = |name: &str| Root {
            id: ObjectId::of(name.as_bytes()),
            tree: ObjectId::of(format!("tree of {name}").as_bytes()),
            is_record: false,
        };
        let (hurt, other) = (root("hurt"), root("other"));
        let mut findings = Findings::default();
        for number in 0..problems {
            findings.add(format!("data/{number}"), "it is gone", "nothing of it can be restored");
        }
        findings.reaches(0, hurt.id);
        let index = WholeIndex {
            index: crate::index::Index::default(),
            packs: BTreeMap::new(),
            doomed: Vec::new(),
        };
        findings.into_report(&[hurt, other], &index)
    }

    #[test]
    fn where_damage_is_left_out_no_snapshot_counts_as_whole() {
        let listed = report(MAX_PROBLEMS);
        assert_eq!((listed.damaged.len(), listed.sound.len(), listed.further_problems), (1, 1, 0));
        let left_out = report(MAX_PROBLEMS + 1);
        assert_eq!((left_out.damaged.len(), left_out.sound.len(), left_out.further_problems), (2, 0, 1));
    }
}
