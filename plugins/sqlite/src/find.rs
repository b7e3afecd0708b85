//! The databases that an operator means: [`find`].

use bulkhead_patterns::Patterns;
use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt,
    directory::{self, FileType, Folder},
};

use crate::{
    config::Config,
    image::{INDEX, JOURNAL, LOG},
};

/// What to look for, compiled.
pub(crate) struct Wanted {
    databases: Patterns,
    exclude: Patterns,
}

/// The databases in one granted directory.
pub(crate) struct Found {
    pub(crate) grant: String,
    pub(crate) folder: Folder,
    /// Below the folder, in order.
    pub(crate) paths: Vec<Vec<u8>>,
}

impl Wanted {
    /// Compiles the patterns of a config.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        Ok(Self {
            databases: Patterns::new("databases", &config.databases)?,
            exclude: Patterns::new("exclude", &config.exclude)?,
        })
    }

    /// Whether `path`, in the snapshot, is a database: the files beside one are part of it.
    fn is_database(&self, path: &[u8]) -> bool {
        self.databases.matches(path) && ![JOURNAL, LOG, INDEX].iter().any(|suffix| path.ends_with(suffix))
    }
}

/// Goes through all granted directories. That there is not a single database is an error: an empty backup is none.
pub(crate) fn find(wanted: &Wanted) -> Result<Vec<Found>> {
    let mut all = Vec::new();
    for grant in directory::grants() {
        let folder = directory::open(&grant.name)?;
        let paths = search(wanted, &grant.name, &folder).context(|| format!("looking for databases in {} failed", grant.location))?;
        all.push(Found {
            grant: grant.name,
            folder,
            paths,
        });
    }
    if all.iter().all(|found| found.paths.is_empty()) {
        let message = "no file in the granted directories matches `databases`";
        return Err(Error::new(ErrorKind::NotFound, message)
            .with_setting("databases")
            .with_hint("name the databases (`databases = [\"*.db\"]`), and see that the directory is mounted"));
    }
    Ok(all)
}

fn search(wanted: &Wanted, grant: &str, folder: &Folder) -> Result<Vec<Vec<u8>>> {
    let (mut found, mut folders) = (Vec::new(), vec![Vec::new()]);
    while let Some(path) = folders.pop() {
        for listed in folder.list(&path)? {
            let listed = listed?;
            let below = if path.is_empty() {
                listed.name
            } else {
                [&path, &b"/"[..], &listed.name].concat()
            };
            let entry = [grant.as_bytes(), b"/", &below].concat();
            match listed.file_type {
                _ if wanted.exclude.matches(&entry) => {}
                FileType::Directory => folders.push(below),
                FileType::Regular if wanted.is_database(&entry) => found.push(below),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}
