//! What is said of a run: counts for the proof, and names for findings, of which only the first are kept.

use bulkhead_sdk::types::{Finding, Proof};

/// Names that a finding tells.
const NAMED: usize = 10;

/// Paths of which only the first are remembered.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    first: Vec<String>,
    count: u64,
}

impl Paths {
    pub(crate) fn add(&mut self, path: &[u8]) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(in_words(path));
        }
    }

    /// `a, b and 3 more`, where there are any.
    fn told(&self) -> Option<String> {
        let more = self.count - self.first.len() as u64;
        let named = self.first.join(", ");
        match (self.count, more) {
            (0, _) => None,
            (_, 0) => Some(named),
            (_, more) => Some(format!("{named} and {more} more")),
        }
    }
}

/// A path in a sentence: on one line, whatever its bytes are.
pub(crate) fn in_words(path: &[u8]) -> String {
    let mut words = String::new();
    for character in String::from_utf8_lossy(path).chars() {
        if character.is_control() {
            words.extend(character.escape_default());
        } else {
            words.push(character);
        }
    }
    words
}

/// Everything worth saying.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) files: u64,
    pub(crate) folders: u64,
    pub(crate) links: u64,
    pub(crate) others: u64,
    pub(crate) kept: u64,
    /// Bytes of what was read.
    pub(crate) read: u64,
    pub(crate) changed: Paths,
    pub(crate) vanished: Paths,
    pub(crate) unreadable: Paths,
    pub(crate) marked: Paths,
    pub(crate) mounts: Paths,
    /// Trees that the snapshot before has lost some of.
    pub(crate) damaged: Paths,
}

impl Report {
    /// Facts of the proof.
    pub(crate) fn facts(&self, proof: &mut Proof) {
        proof.fact("files", self.files);
        proof.fact("folders", self.folders);
        proof.fact("symbolic-links", self.links);
        proof.fact("special-files", self.others);
        proof.fact("unchanged-files", self.kept);
        proof.fact("bytes-read", self.read);
    }

    pub(crate) fn findings(&self) -> Vec<Finding> {
        let warning = |code: &str, message: &str, hint: &str, paths: &Paths| {
            let told = paths.told()?;
            Some(Finding::warning(code, format!("{message}: {told}")).with_hint(hint))
        };
        let info = |code: &str, message: &str, paths: &Paths| Some(Finding::info(code, format!("{message}: {}", paths.told()?)));
        let all = [
            warning(
                "changed-while-read",
                "changed while they were read, so what is stored may be a mixture",
                "stop what writes to them, take a snapshot of the file system and back that up, or use the plugin of the application",
                &self.changed,
            ),
            warning(
                "unreadable",
                "could not be read, and are not in the snapshot",
                "`unreadable` in the config allows that; take them out of it where it should not",
                &self.unreadable,
            ),
            warning(
                "parent-damaged",
                "are damaged in the snapshot before, so that files were read again that may not have changed",
                "`bulkhead verify` says what else is damaged",
                &self.damaged,
            ),
            info("vanished", "were removed before they could be read", &self.vanished),
            info("marked", "have a marker, and are stored without what is in them", &self.marked),
            info(
                "other-file-systems",
                "are on other file systems: files are left out, and folders stored without what is in them",
                &self.mounts,
            ),
        ];
        all.into_iter().flatten().collect()
    }
}
