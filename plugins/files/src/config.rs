//! What an operator writes under `config` of a pipeline: [`Config`].

use schemars::JsonSchema;
use serde::Deserialize;

/// The config of a pipeline. Patterns are globs (`*`, `?`, `[a-z]`, `{a,b}`, `**` for any number of folders). One without `/` is compared with names; one with `/` with whole
/// paths in the snapshot, whose first component is the name of the directory: `/home/*/cache`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// What to leave out; of a folder, all that is in it.
    pub exclude: Vec<String>,
    /// Only files that match one of these; without any, all of them. Folders are always looked into.
    pub include: Vec<String>,
    /// What may be unreadable: it is left out, with a warning. All else that cannot be read fails the run.
    pub unreadable: Vec<String>,
    /// A folder that has a file of one of these names is stored without what is in it. `[".nobackup"]` by default.
    pub markers: Vec<String>,
    /// Stay on the file system of each granted directory: a folder that is mounted below it is stored empty, a file left out.
    pub one_file_system: bool,
    /// Read all files, also those that have the size, times and inode that the parent snapshot knows.
    pub read_all: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            exclude: Vec::new(),
            include: Vec::new(),
            unreadable: Vec::new(),
            markers: vec![".nobackup".to_owned()],
            one_file_system: false,
            read_all: false,
        }
    }
}
