//! An installation in a scratch folder with one good snapshot in its vault: [`World`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bulkhead_test_support::restic::Restic;
use bulkhead_test_support::{Bulkhead, Outcome, Tree, plugins};

/// The pipeline that every world starts with: three entries, whose content its `seed` determines.
pub(crate) const GOOD: &str = r#"
[pipeline.good]
plugin = "misbehaving-source"
vault = "main"
config = { entries = 3, entry-size = 300000, seed = 7 }

[pipeline.good.target.folder]
directory.target = { path = "restored-by-plugin", access = "read-write" }
"#;

/// A scratch installation.
pub(crate) struct World {
    bulkhead: Bulkhead,
    /// The good snapshot's files, as plain restic restored them before anything went wrong.
    before: BTreeMap<PathBuf, String>,
}

impl World {
    /// An initialized vault without a snapshot, and no pipeline but `good`.
    pub(crate) fn empty() -> Self {
        let world = Self {
            bulkhead: Bulkhead::new().unwrap(),
            before: BTreeMap::new(),
        };
        world.configure("");
        world.succeed(&["init", "main"]);
        world
    }

    /// A vault with one snapshot, of the pipeline `good`.
    pub(crate) fn with_a_snapshot() -> Self {
        let mut world = Self::empty();
        world.succeed(&["run", "good"]);
        world.before = world.restored_by_restic("before");
        assert_eq!(
            world.before.len(),
            3 + 2,
            "three entries, the record and the checkpoint: {:?}",
            world.before.keys()
        );
        world
    }

    /// The folder that commands run in.
    pub(crate) fn folder(&self) -> &Path {
        self.bulkhead.scratch().path()
    }

    /// The binary with its folder.
    pub(crate) fn bulkhead(&self) -> &Bulkhead {
        &self.bulkhead
    }

    /// Writes `bulkhead.toml`: vault, sink, the pipeline `good`, and `more`.
    pub(crate) fn configure(&self, more: &str) {
        self.write(&format!(
            "{}{}{GOOD}{more}",
            self.bulkhead.vault_section(),
            plugin_section("misbehaving-source")
        ));
    }

    /// Writes `bulkhead.toml` as given.
    pub(crate) fn write(&self, text: &str) {
        self.bulkhead.write_configuration(text).unwrap();
    }

    /// Adds a pipeline `bad` with this behaviour and these lines.
    pub(crate) fn configure_misbehaviour(&self, behaviour: &str, lines: &str) {
        self.configure(&format!(
            "\n[pipeline.bad]\nplugin = \"misbehaving-source\"\nvault = \"main\"\nconfig = {{ behaviour = \"{behaviour}\" }}\n{lines}\n"
        ));
    }

    /// Runs a command.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.bulkhead.run(arguments).unwrap()
    }

    /// Runs a command that has to succeed; its standard output.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(
            outcome.code,
            Some(0),
            "bulkhead {}\n{}{}",
            arguments.join(" "),
            outcome.stdout,
            outcome.stderr
        );
        outcome.stdout
    }

    /// Standard output of a successful command as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let text = self.succeed(arguments);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("bulkhead {}: {error}\n{text}", arguments.join(" ")))
    }

    /// Plain restic on the vault.
    pub(crate) fn restic(&self) -> Restic {
        Restic::new(self.bulkhead.vault(), self.bulkhead.vault_password_file()).unwrap()
    }

    /// How many snapshots plain restic sees, but for the records of verifications.
    pub(crate) fn snapshots(&self) -> usize {
        self.listed_by_restic(|tag| tag != "bulkhead-verified")
    }

    /// How many records of verifications plain restic sees.
    pub(crate) fn records(&self) -> usize {
        self.listed_by_restic(|tag| tag == "bulkhead-verified")
    }

    /// How many snapshots have such a first tag.
    fn listed_by_restic(&self, is_wanted: impl Fn(&str) -> bool) -> usize {
        let listed: serde_json::Value = serde_json::from_str(&self.restic().text(["snapshots", "--json"]).unwrap()).unwrap();
        let tags = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|snapshot| snapshot["tags"][0].as_str().unwrap_or_default());
        tags.filter(|tag| is_wanted(tag)).count()
    }

    /// Contents of the oldest snapshot, restored by plain restic.
    fn restored_by_restic(&self, name: &str) -> BTreeMap<PathBuf, String> {
        let listed: serde_json::Value = serde_json::from_str(&self.restic().text(["snapshots", "--json"]).unwrap()).unwrap();
        let mut listed = listed.as_array().unwrap().iter();
        let oldest = listed.find(|snapshot| snapshot["tags"][0] != "bulkhead-verified").unwrap();
        let oldest = oldest["id"].as_str().unwrap().to_owned();
        let target = self.bulkhead.scratch().folder(format!("restic-{name}")).unwrap();
        self.restic().restore(&oldest, &target).unwrap();
        Tree::of(&target).unwrap().contents()
    }

    /// The good snapshot is the only one, and restores to the bytes it had before, by plain restic and by Bulkhead itself.
    #[track_caller]
    pub(crate) fn assert_nothing_was_lost(&self) {
        assert_eq!(self.snapshots(), 1, "nothing but the earlier snapshot is in the vault");
        assert_eq!(
            self.restored_by_restic("after"),
            self.before,
            "restic restores what it restored before"
        );
        self.restic().check().unwrap();
        // Whatever the configuration is now: the vault has to be readable with a good one.
        self.configure("");
        self.succeed(&["restore", "good", "--into", "restored"]);
        let ours = Tree::of(&self.folder().join("restored")).unwrap().contents();
        let before: BTreeMap<_, _> = self
            .before
            .clone()
            .into_iter()
            .filter(|(path, _)| !path.starts_with(".bulkhead"))
            .collect();
        assert_eq!(ours, before, "bulkhead restores what restic restores");
    }
}

/// The table that names a plugin which only tests have.
pub(crate) fn plugin_section(name: &str) -> String {
    format!(
        "\n[plugin.{name}]\npath = {:?}\n",
        plugins::component(name).unwrap().display().to_string()
    )
}

/// What a reader of the terminal got, with everything that differs from run to run replaced.
pub(crate) fn told(outcome: &Outcome) -> String {
    let code = outcome.code.map_or("killed".to_owned(), |code| code.to_string());
    let section = |name: &str, text: &str| {
        if text.trim().is_empty() {
            String::new()
        } else {
            format!("\n── {name} ──\n{}", text.trim_end())
        }
    };
    format!(
        "exit code {code}{}{}",
        section("stdout", &outcome.stdout),
        section("stderr", &outcome.stderr)
    )
}

/// What is replaced in snapshots of messages: an expression, and what stands for its matches.
const VARYING: &[(&str, &str)] = &[
    (r"/[^\s:\x22'`]*/bulkhead-[A-Za-z0-9]{6}", "[scratch]"),
    (r"/[^\s:\x22'`]*/guest/([a-z_]+\.wasm)", "[components]/$1"),
    (r"\b[0-9a-f]{64}\b", "[sha256]"),
    (r"data/[0-9a-f]{2}/", "data/[xx]/"),
    (r"tmp-[0-9a-f]{16}", "tmp-[id]"),
    // Which object a sink refuses first, and who hears of it first, is a race.
    (
        r"(the run was cancelled: )?storing \x22(data/\[xx\]|index|locks)/\[sha256\]\x22",
        "storing \"[object]\"",
    ),
    (r"(storing \x22\[object\]\x22 in sink `disk`)\n +=\x20cause: ", "$1: "),
    (r"`root:(data/\[xx\]|index)/", "`root:[object]/"),
    (r"it has \d+ bytes instead of \d+", "it has [number] bytes instead of [number]"),
    (r"\b[0-9a-f]{8}\b", "[id]"),
    (
        r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})?( UTC)?",
        "[time]",
    ),
    (r"\b\d+(\.\d+)? ?[kKMGT]i?B/s", "[rate]"),
    (r"\b\d+(\.\d+)? [KM]?i?B read\b", "[size] read"),
    // Times in a tree have as many digits as they need.
    (
        r"\b\d+(\.\d+)? [KM]?i?B new \(\d+(\.\d+)? [KM]?i?B stored\)",
        "[size] new ([size] stored)",
    ),
    (r"\b\d+(\.\d+)?s \(\[rate\]\)", "[duration] ([rate])"),
    (r"\b\d+(\.\d+)? (ms|s|min)\b", "[duration]"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:[port]"),
    (r"\b[0-9A-F]+/[0-9A-F]{6,8}\b", "[lsn]"),
    (r"([a-z_]+\.rs):\d+:\d+", "$1:[where]"),
    (
        r"\b\d+ bytes, fewer than the \d+ at \d+",
        "[number] bytes, fewer than the [number] at [number]",
    ),
    (r"wasm (function|backtrace)[^\n]*", "wasm $1 [where]"),
    // The last column of a listing of snapshots.
    (r"(?m)^(\[id\]  \[time\] .* )\S+$", "$1[host]"),
];

/// Compares an outcome with its recorded snapshot.
macro_rules! assert_told {
    ($outcome:expr) => {
        $crate::world::with_replacements(|| insta::assert_snapshot!($crate::world::told(&$outcome)))
    };
    ($name:expr, $outcome:expr) => {
        $crate::world::with_replacements(|| insta::assert_snapshot!($name, $crate::world::told(&$outcome)))
    };
}
pub(crate) use assert_told;

/// Runs assertions with [`VARYING`] replaced.
pub(crate) fn with_replacements(assertions: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    for (expression, replacement) in VARYING {
        settings.add_filter(expression, *replacement);
    }
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(assertions);
}
