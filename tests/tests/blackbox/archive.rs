//! A folder that changes from round to round, and the vault that it goes into: [`Archive`] knows what each snapshot has to hold, whoever disturbs it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bulkhead_test_support::mutation::Random;
use bulkhead_test_support::restic::Restic;
use bulkhead_test_support::{Bulkhead, Outcome, Tree};
use serde_json::Value;

use crate::disk::Disk;

/// Bytes that are new in each round.
pub(crate) const NEW: usize = 1 << 20;
/// Small files that are new in each round.
const SMALL: u64 = 40;

/// The files of a folder and their digests.
type Contents = BTreeMap<PathBuf, String>;

/// An installation with the pipeline `home`, of the folder `home`.
pub(crate) struct Archive {
    bulkhead: Bulkhead,
    /// The file system of the vault, where it has one of its own.
    disk: Option<Disk>,
    round: u64,
    /// What each snapshot holds that is known to be in the vault.
    taken: BTreeMap<String, Contents>,
    /// Snapshots that may be in the vault and do not have to be.
    given_up: BTreeSet<String>,
}

impl Archive {
    /// With a vault without a snapshot, on `disk` if there is one.
    pub(crate) fn new(disk: Option<Disk>) -> Self {
        let archive = Self::empty(disk);
        archive.succeed(&["init", "main"]);
        archive
    }

    /// Without a vault so far.
    pub(crate) fn empty(disk: Option<Disk>) -> Self {
        let archive = Self {
            bulkhead: Bulkhead::new().unwrap(),
            disk,
            round: 0,
            taken: BTreeMap::new(),
            given_up: BTreeSet::new(),
        };
        let mut head = archive.bulkhead.vault_section();
        if let Some(disk) = &archive.disk {
            let folder = disk.folder("vault");
            head = head.replace(&format!("{:?}", archive.bulkhead.vault()), &format!("{folder:?}"));
        }
        let text = format!(
            "{head}\n[pipeline.home]\nplugin = \"files\"\nvault = \"main\"\nretention = {{ last = 2 }}\ndirectory.home = {{ path = \"home\", access = \"read-only\" }}\n"
        );
        archive.bulkhead.write_configuration(&text).unwrap();
        fs::create_dir(archive.home()).unwrap();
        archive
    }

    fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// The binary with its configuration.
    pub(crate) fn bulkhead(&self) -> &Bulkhead {
        &self.bulkhead
    }

    /// A path beside the configuration.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.bulkhead.scratch().join(name)
    }

    /// The disk that the vault is on.
    pub(crate) fn disk(&self) -> &Disk {
        self.disk.as_ref().unwrap()
    }

    /// The vault as this process sees it.
    pub(crate) fn vault(&self) -> PathBuf {
        match &self.disk {
            Some(disk) => disk.outside_path().join("vault"),
            None => self.bulkhead.vault(),
        }
    }

    /// Gives the folder what no earlier round had, beside some that stays.
    pub(crate) fn change(&mut self) {
        self.round += 1;
        let mut random = Random::new(self.round.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        fs::write(self.home().join("large"), random.bytes(NEW)).unwrap();
        for number in 0..SMALL {
            let folder = self.home().join(format!("{:02}", (self.round + number) % 7));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(number.to_string()), random.bytes(700)).unwrap();
        }
        fs::write(self.home().join(format!("only in round {}", self.round)), random.bytes(5000)).unwrap();
    }

    /// What the folder holds now.
    fn contents(&self) -> Contents {
        Tree::of(&self.home()).unwrap().contents()
    }

    /// A command that sees the vault.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        match &self.disk {
            Some(disk) => disk.command_of(&self.bulkhead, arguments),
            None => self.bulkhead.command(arguments),
        }
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.command(arguments).output().unwrap().into()
    }

    /// Standard output of a command that has to succeed.
    #[track_caller]
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, Some(0), "{arguments:?}\n{}{}", outcome.stdout, outcome.stderr);
        outcome.stdout
    }

    /// A run that has to succeed, without anybody's help.
    #[track_caller]
    pub(crate) fn take(&mut self) {
        let document: Value = serde_json::from_str(&self.succeed(&["run", "home", "--json"])).unwrap();
        let id = document["runs"][0]["snapshot"].as_str().unwrap().to_owned();
        assert_eq!(self.discover(), BTreeSet::from([id]), "what the report says is what there is");
    }

    fn restic(&self) -> Restic {
        Restic::new(self.vault(), self.bulkhead.vault_password_file()).unwrap()
    }

    /// The snapshots that came since it was asked last, whoever told of them. They are of what the folder holds now.
    pub(crate) fn discover(&mut self) -> BTreeSet<String> {
        let listed: Value = serde_json::from_str(&self.restic().text(["snapshots", "--json", "--no-lock"]).unwrap()).unwrap();
        let listed = listed.as_array().unwrap().iter();
        let listed: BTreeSet<String> = listed.map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect();
        let gone = self.taken.keys().find(|id| !listed.contains(*id));
        assert_eq!(gone, None, "a committed snapshot is gone");
        let is_new = |id: &String| !self.taken.contains_key(id) && !self.given_up.contains(id);
        let new: BTreeSet<String> = listed.into_iter().filter(is_new).collect();
        let contents = self.contents();
        self.taken.extend(new.iter().map(|id| (id.clone(), contents.clone())));
        new
    }

    /// From now on, the snapshots that are known may be gone.
    pub(crate) fn give_up_all(&mut self) {
        self.given_up.extend(std::mem::take(&mut self.taken).into_keys());
    }

    /// Nothing in the vault is damaged, says plain restic, which pays no heed to locks.
    #[track_caller]
    pub(crate) fn assert_undamaged(&self) {
        self.restic().run(["check", "--read-data", "--no-lock"]).unwrap();
    }

    /// Every snapshot restores to what its folder held, by plain restic and by Bulkhead.
    #[track_caller]
    pub(crate) fn assert_all_restore(&self) {
        for (id, contents) in &self.taken {
            let (ours, theirs) = (self.path("ours"), self.path("theirs"));
            self.succeed(&["restore", "home", "--snapshot", id, "--into", "ours"]);
            self.restic()
                .run(["restore", id, "--no-lock", "--target", &theirs.display().to_string()])
                .unwrap();
            for restored in [ours, theirs] {
                self.assert_holds(&restored.join("home"), contents, id);
                fs::remove_dir_all(restored).unwrap();
            }
        }
    }

    /// What was restored from the latest snapshot is what the folder held.
    #[track_caller]
    pub(crate) fn assert_is_latest(&self, restored: &Path) {
        self.assert_holds(&restored.join("home"), &self.contents(), "latest");
    }

    #[track_caller]
    fn assert_holds(&self, restored: &Path, contents: &Contents, id: &str) {
        let found = Tree::of(restored).unwrap().contents();
        assert!(found == *contents, "{id} is restored wrongly by round {}", self.round);
    }
}
