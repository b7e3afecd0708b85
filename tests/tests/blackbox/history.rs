//! A vault with a past: [`History`], snapshots that restic took of a folder that changes, tagged as Bulkhead's pipelines are.
//!
//! restic knows kinds of entries that no source of the tests has, and can say when a snapshot was taken.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use bulkhead_test_support::restic::Restic;
use bulkhead_test_support::{Bulkhead, Outcome, run};

use crate::world::plugin_section;

/// A scratch installation with the pipelines `good` and `other` on the vault `main`.
pub(crate) struct History {
    bulkhead: Bulkhead,
    restic: Restic,
}

impl History {
    /// An empty vault.
    pub(crate) fn new() -> Self {
        let bulkhead = Bulkhead::new().unwrap();
        let restic = Restic::new(bulkhead.vault(), bulkhead.vault_password_file()).unwrap();
        restic.run(["init"]).unwrap();
        let pipeline = |name: &str| format!("\n[pipeline.{name}]\nplugin = \"misbehaving-source\"\nvault = \"main\"\n");
        let text = format!("{}{}{}", plugin_section("misbehaving-source"), pipeline("good"), pipeline("other"));
        bulkhead.configure(&text).unwrap();
        bulkhead.scratch().folder("files").unwrap();
        Self { bulkhead, restic }
    }

    /// Four snapshots of `good`, a day after the other from 1 January, with everything that can happen to an entry in between, and one of `other`.
    pub(crate) fn eventful() -> Self {
        let history = Self::new();
        for (path, content) in [
            ("docs/same.txt", "never changes".as_bytes()),
            ("docs/changing.txt", b"first"),
            ("docs/going.txt", b"only in the beginning"),
            ("src/deep/below/lib.rs", b"fn main() {}"),
            ("src/UPPER.TXT", b"upper case"),
            ("kind", b"a file that becomes a folder"),
        ] {
            history.write(path, content);
        }
        history.write("large", &noise(1, 3_000_000));
        symlink("docs/same.txt", history.path("link")).unwrap();
        fs::create_dir(history.path("empty")).unwrap();
        history.snapshot("good", 1);

        history.write("docs/changing.txt", b"second, and longer");
        history.write("docs/coming.txt", b"new");
        fs::copy(history.path("docs/same.txt"), history.path("docs/copy.txt")).unwrap();
        fs::set_permissions(history.path("src/UPPER.TXT"), fs::Permissions::from_mode(0o600)).unwrap();
        history.snapshot("good", 2);

        fs::remove_file(history.path("docs/going.txt")).unwrap();
        fs::remove_dir_all(history.path("src/deep")).unwrap();
        fs::remove_file(history.path("kind")).unwrap();
        history.write("kind/inside.txt", b"in the folder");
        history.write("large", &[noise(1, 2_000_000), noise(2, 1_500_000)].concat());
        history.snapshot("good", 3);
        history.snapshot("good", 4);

        history.write("other.txt", &noise(3, 700_000));
        history.snapshot("other", 5);
        history
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.bulkhead.scratch().join("files").join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Takes a snapshot of `pipeline` on this day of January 2026.
    pub(crate) fn snapshot(&self, pipeline: &str, day: u8) {
        let (tag, time) = (format!("pipeline:{pipeline}"), format!("2026-01-{day:02} 00:00:00"));
        let mut backup = self
            .restic
            .command(["backup", ".", "--tag", "bulkhead", "--tag", &tag, "--time", &time]);
        run(backup.current_dir(self.path("")).env("TZ", "UTC")).unwrap();
    }

    pub(crate) fn restic(&self) -> &Restic {
        &self.restic
    }

    /// What restic says, as JSON.
    pub(crate) fn restic_json(&self, arguments: &[&str]) -> serde_json::Value {
        let text = self.restic.text(arguments.iter().chain(&["--json"])).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("restic {arguments:?}: {error}\n{text}"))
    }

    /// Ids of all snapshots, oldest first.
    pub(crate) fn ids(&self) -> Vec<String> {
        let listed = self.restic_json(&["snapshots"]);
        let ids = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|snapshot| snapshot["id"].as_str().unwrap().to_owned());
        ids.collect()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.bulkhead.run(arguments).unwrap()
    }

    /// A command that has to succeed; its standard output.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, Some(0), "{arguments:?}\n{}{}", outcome.stdout, outcome.stderr);
        outcome.stdout
    }

    /// The JSON document of a command that ends with `code`.
    pub(crate) fn json(&self, code: i32, arguments: &[&str]) -> serde_json::Value {
        let outcome = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(outcome.code, Some(code), "{arguments:?}\n{}{}", outcome.stdout, outcome.stderr);
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{}", outcome.stdout))
    }

    /// The pack with the root of a snapshot, which for those of [`Self::eventful`] holds nothing that an earlier snapshot has.
    pub(crate) fn pack_of_root(&self, id: &str) -> PathBuf {
        let root = self.restic_json(&["cat", "snapshot", id])["tree"].clone();
        let has_root = |pack: &serde_json::Value| pack["blobs"].as_array().unwrap().iter().any(|blob| blob["id"] == root);
        let files = self.restic.text(["list", "index"]).unwrap();
        let name = files.lines().find_map(|id| {
            let file = self.restic_json(&["cat", "index", id]);
            let pack = file["packs"].as_array().unwrap().iter().find(|pack| has_root(pack))?;
            Some(pack["id"].as_str().unwrap().to_owned())
        });
        let name = name.unwrap();
        self.packs().into_iter().find(|path| path.ends_with(&name)).unwrap()
    }

    /// All packs, the smallest first.
    pub(crate) fn packs(&self) -> Vec<PathBuf> {
        let folders = fs::read_dir(self.bulkhead.vault().join("data")).unwrap();
        let mut packs: Vec<PathBuf> = folders
            .flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap())
            .map(|pack| pack.unwrap().path())
            .collect();
        packs.sort_by_key(|pack| fs::metadata(pack).unwrap().len());
        packs
    }
}

/// Bytes that neither compress nor repeat, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
