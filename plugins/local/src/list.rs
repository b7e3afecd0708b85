//! Listing objects in pages, in an order that lets the next page go on after the last key of the one before.

use bulkhead_sdk::{
    directory::{FileType, Folder, OpenMode},
    prelude::*,
};

use crate::layout::{CONFIG, State, is_folder, is_key, key_of_temporary, state, temporary_name};

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
    objects: Vec<Object>,
    /// Files that were not whole when they were seen, and may be at any moment.
    temporaries: Vec<String>,
}

/// Objects whose keys begin with `prefix`, those after `page` if that is given.
pub(crate) fn list(root: &Folder, prefix: &str, page: Option<&str>) -> Result<Page> {
    let mut lister = Lister {
        root,
        prefix,
        after: page,
        objects: Vec::new(),
        temporaries: Vec::new(),
    };
    lister.folder("")?;
    sweep(root, &lister.temporaries);
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
            } else if key_of_temporary(&key).is_some_and(|key| key.starts_with(self.prefix)) {
                self.temporaries.push(key);
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

/// Removes what killed runs left long ago. Best effort: in a folder granted read-only it stays. In a folder that is no vault nothing is ours to remove.
fn sweep(root: &Folder, temporaries: &[String]) {
    if temporaries.is_empty() || !matches!(state(root), Ok(State::Repository)) {
        return;
    }
    let Ok(now) = now(root) else { return };
    for temporary in temporaries {
        let is_old = root
            .stat(temporary)
            .is_ok_and(|stat| stat.file_type == FileType::Regular && now.since(stat.modified).as_secs() > LEFTOVER_AGE);
        if is_old && root.remove_file(temporary).is_ok() {
            bulkhead_sdk::info!(file = temporary; "removed what an interrupted run left");
        }
    }
}

/// The time on the clock that stamps files, which on a network is the server's: the modification time of a file written now.
fn now(root: &Folder) -> Result<Timestamp> {
    let probe = temporary_name(CONFIG);
    let file = root.open_file(&probe, OpenMode::Create)?;
    let written = file.write_at(0, b"now").and_then(|()| file.sync()).and_then(|()| file.stat());
    _ = root.remove_file(&probe);
    Ok(written?.modified)
}
