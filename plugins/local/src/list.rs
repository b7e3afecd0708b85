//! Listing objects in pages, in an order that lets the next page go on after the last key of the one before.

use bulkhead_sdk::{
    directory::{FileType, Folder},
    prelude::*,
};

use crate::{
    layout::{is_folder, is_key},
    write::TEMPORARY,
};

/// Objects of a page, the ABI's limit.
const PAGE: usize = 10_000;

/// What a killed run left is removed when it is older than this, in seconds: a day, longer than a run may last.
const LEFTOVER_AGE: u64 = 24 * 3600;

/// A listing in progress.
struct Lister<'a> {
    root: &'a Folder,
    prefix: &'a str,
    /// The last key of the page before.
    after: Option<&'a str>,
    now: Timestamp,
    objects: Vec<Object>,
}

/// Objects whose keys begin with `prefix`, those after `page` if that is given.
pub(crate) fn list(root: &Folder, prefix: &str, page: Option<&str>) -> Result<Page> {
    let mut lister = Lister {
        root,
        prefix,
        after: page,
        now: Timestamp::now(),
        objects: Vec::new(),
    };
    lister.folder("")?;
    let next = (lister.objects.len() > PAGE).then(|| {
        lister.objects.truncate(PAGE);
        lister.objects.last().map(|object| object.key.clone())
    });
    Ok(Page {
        objects: lister.objects,
        next: next.flatten(),
    })
}

impl Lister<'_> {
    /// Adds what is in the folder at `path`, until one more than a page is there.
    fn folder(&mut self, path: &str) -> Result<()> {
        let mut entries = match self.root.list(path) {
            Ok(listing) => listing.collect::<Result<Vec<_>>>()?,
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in entries {
            let Ok(name) = String::from_utf8(entry.name) else { continue };
            let key = if path.is_empty() { name } else { format!("{path}/{name}") };
            if entry.file_type == FileType::Directory {
                if is_folder(&key) && self.is_wanted_folder(&key) {
                    self.folder(&key)?;
                }
            } else if key.contains(TEMPORARY) {
                self.sweep(&key);
            } else if is_key(&key) && key.starts_with(self.prefix) && self.is_after(&key) {
                self.object(key)?;
            }
            if self.objects.len() > PAGE {
                break;
            }
        }
        Ok(())
    }

    /// Adds one object. One that is removed meanwhile is no longer there.
    fn object(&mut self, key: String) -> Result<()> {
        match self.root.stat(&key) {
            Ok(stat) => self.objects.push(Object { key, size: stat.size }),
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Removes what a killed run left long ago. Best effort: in a folder granted read-only it stays.
    fn sweep(&self, temporary: &str) {
        let Ok(stat) = self.root.stat(temporary) else { return };
        if self.now.since(stat.modified).as_secs() > LEFTOVER_AGE && self.root.remove_file(temporary).is_ok() {
            bulkhead_sdk::info!(file = temporary; "removed what an interrupted run left");
        }
    }

    /// Whether keys with the prefix, and not all of them on earlier pages, can be below `folder`.
    fn is_wanted_folder(&self, folder: &str) -> bool {
        let depth = folder.split('/').count();
        let passed = self.after.is_some_and(|after| folder.split('/').lt(after.split('/').take(depth)));
        let below = format!("{folder}/");
        !passed && (below.starts_with(self.prefix) || self.prefix.starts_with(&below))
    }

    /// Compared component by component, as the folders are walked.
    fn is_after(&self, key: &str) -> bool {
        self.after.is_none_or(|after| key.split('/').gt(after.split('/')))
    }
}
