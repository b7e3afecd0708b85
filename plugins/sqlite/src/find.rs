//! The databases that an operator means: [`find`].

use bulkhead_patterns::Patterns;
use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt,
    directory::{self, FileType, Folder},
    types::Finding,
};

use crate::{config::Config, inventory};

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
    /// Symbolic links that match: what they lead to is a database of its own, or none that was granted.
    links: Vec<Vec<u8>>,
}

impl Found {
    /// That there are links, where there are any.
    pub(crate) fn link_finding(&self) -> Option<Finding> {
        let [first, others @ ..] = &self.links[..] else { return None };
        let first = inventory::name(&[self.grant.as_bytes(), b"/", first].concat());
        let message = match others.len() {
            0 => format!("{first} is a symbolic link, and not backed up"),
            more => format!("{first} and {more} more are symbolic links, and not backed up"),
        };
        let hint = "grant the directory of the database itself, or leave the link out with `exclude`";
        Some(Finding::warning("database-is-a-link", message).with_hint(hint))
    }
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
        self.databases.matches(path) && !bulkhead_sqlite_image::is_beside(path)
    }
}

/// Goes through all granted directories. One without a single database is an error: it is empty for want of a mount, as a rule, and an empty backup is none.
pub(crate) fn find(wanted: &Wanted) -> Result<Vec<Found>> {
    let mut all = Vec::new();
    for grant in directory::grants() {
        let folder = directory::open(&grant.name)?;
        let found = search(wanted, grant.name, folder).context(|| format!("looking for databases in {} failed", grant.location))?;
        if found.paths.is_empty() {
            let message = format!("no file in {} matches `databases`", grant.location);
            return Err(Error::new(ErrorKind::NotFound, message)
                .with_setting("databases")
                .with_hint("name the databases (`databases = [\"*.db\"]`), and see that the directory is mounted"));
        }
        all.push(found);
    }
    Ok(all)
}

fn search(wanted: &Wanted, grant: String, folder: Folder) -> Result<Found> {
    let (mut paths, mut links, mut folders) = (Vec::new(), Vec::new(), vec![Vec::new()]);
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
                FileType::Regular if wanted.is_database(&entry) => paths.push(below),
                FileType::Symlink if wanted.is_database(&entry) => links.push(below),
                _ => {}
            }
        }
    }
    paths.sort();
    links.sort();
    Ok(Found {
        grant,
        folder,
        paths,
        links,
    })
}
