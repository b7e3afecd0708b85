//! The folders of a vault, and what is in them: [`Tree`].
//!
//! Drive knows files by ids; names are remarks, and two files in a folder, or two folders, may have the same. So every look at a name gives all that have
//! it, what is read is the best of them ([`best`]), and what is removed are all of them.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use bulkhead_layout::{CONFIG, DATA, FOLDERS};
use bulkhead_sdk::prelude::*;

use crate::client::{Call, Client, FILES, FOLDER, File, quoted, with_query};

/// Objects whose ids are remembered, at most: about 2 MiB. Beyond that they are looked up anew.
const REMEMBERED: usize = 10_000;

/// For how long folders are taken for what they were when they were looked at. Those of a vault are made with it and stay; another host, or somebody in a browser, may
/// have made a second one of a name.
const BELIEVED: Duration = Duration::from_secs(30);

/// Files of one page; Drive's own maximum.
const PAGE: &str = "1000";

/// A page of files.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct FilePage {
    pub(crate) files: Vec<File>,
    pub(crate) next_page_token: Option<String>,
    incomplete_search: bool,
}

/// An object's place: the folder it is in ("" is the vault's own) and its name there.
pub(crate) fn place(key: &str) -> (&str, &str) {
    key.rsplit_once('/').unwrap_or(("", key))
}

/// Of several files of one name, the one that is meant: whose content is what the name says (all but `config` are named by their SHA-256), else the
/// oldest, so that everybody chooses the same one.
pub(crate) fn best(files: &[File]) -> Option<&File> {
    files.iter().min_by_key(|file| {
        let is_as_named = file.sha256_checksum.as_deref() == Some(&file.name);
        (!is_as_named, &file.created_time, &file.id)
    })
}

/// The vault's folder with those in it.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) client: Client,
    /// The id that the operator wrote.
    folder: String,
    root: Option<File>,
    /// Ids of folders by their paths; all that have the path.
    folders: BTreeMap<String, Vec<String>>,
    /// When these were looked at.
    looked: Option<Instant>,
    /// Id and size of objects by their keys.
    objects: HashMap<String, (String, u64)>,
}

impl Tree {
    pub(crate) fn new(client: Client, folder: String) -> Self {
        Self {
            client,
            folder,
            root: None,
            folders: BTreeMap::new(),
            looked: None,
            objects: HashMap::new(),
        }
    }

    /// The vault's folder, looked at once.
    pub(crate) fn root(&mut self) -> Result<&File> {
        let root = match self.root.take() {
            Some(root) => root,
            None => self.look_at_root()?,
        };
        Ok(self.root.insert(root))
    }

    fn look_at_root(&self) -> Result<File> {
        let fields = "id,name,mimeType,trashed,driveId,capabilities(canAddChildren)";
        let path = format!("{FILES}/{}", self.folder);
        let call = Call::new("GET", with_query(&path, &[("fields", fields), ("supportsAllDrives", "true")]));
        let root: File = self.client.document(&call).map_err(|error| match error.kind {
            ErrorKind::NotFound => error
                .context("the vault's folder is not there, or not shared with these credentials")
                .with_setting("folder")
                .with_hint("compare the id with the folder's address in a browser, and share it with the account of the endpoint's `auth`, as an editor"),
            _ => error,
        })?;
        if !root.is_folder() {
            return Err(Error::config(
                "folder",
                format!("`{}` is the id of a file, not of a folder", root.name),
            ));
        }
        if root.trashed {
            return Err(
                Error::new(ErrorKind::Conflict, format!("the vault's folder `{}` is in the trash", root.name))
                    .with_setting("folder")
                    .with_hint("restore it in Drive before the trash is emptied: everything is still in it"),
            );
        }
        Ok(root)
    }

    /// For messages.
    pub(crate) fn location(&mut self) -> Result<String> {
        let root = self.root()?;
        Ok(format!("the folder `{}`", root.name))
    }

    /// One page of the files that `query` means and that are not in the trash.
    pub(crate) fn page(&mut self, query: &str, in_order: bool, token: Option<&str>) -> Result<FilePage> {
        self.any_page(&format!("({query}) and trashed = false"), in_order, token)
    }

    /// One page of the files that `query` means, wherever they are.
    pub(crate) fn any_page(&mut self, query: &str, in_order: bool, token: Option<&str>) -> Result<FilePage> {
        let drive = self.root()?.drive_id.clone();
        let fields = format!("nextPageToken,incompleteSearch,files({})", File::FIELDS);
        let mut pairs = vec![
            ("q", query),
            ("fields", &fields),
            ("pageSize", PAGE),
            ("supportsAllDrives", "true"),
            ("includeItemsFromAllDrives", "true"),
        ];
        if let Some(drive) = &drive {
            // Elsewhere only what this account has opened before would be searched.
            pairs.extend([("corpora", "drive"), ("driveId", drive)]);
        }
        pairs.extend(in_order.then_some(("orderBy", "name")));
        pairs.extend(token.map(|token| ("pageToken", token)));
        let page: FilePage = self.client.document(&Call::new("GET", with_query(FILES, &pairs)))?;
        if page.incomplete_search {
            return Err(Error::new(ErrorKind::Server, "Drive searched only a part of what it has").with_retryable(true));
        }
        Ok(page)
    }

    /// What `condition` means in these folders, which are one as a rule. Each is asked for by itself, since Drive is known to overlook files where it is
    /// asked for several; all pages, so it is for what is few.
    fn all_in(&mut self, parents: &[String], condition: &str) -> Result<Vec<File>> {
        let mut files = Vec::new();
        for parent in parents {
            let query = format!("{condition} and {}", in_any(std::slice::from_ref(parent)));
            let mut token = None;
            loop {
                let page = self.page(&query, false, token.as_deref())?;
                files.extend(page.files);
                token = page.next_page_token;
                if token.is_none() {
                    break;
                }
            }
        }
        Ok(files)
    }

    /// Ids of the folders at `path`, which may be several, or none.
    pub(crate) fn folders_at(&mut self, path: &str) -> Result<Vec<String>> {
        if path.is_empty() {
            return Ok(vec![self.root()?.id.clone()]);
        }
        if !self.folders.contains_key(path) {
            self.refresh()?;
        }
        Ok(self.folders.get(path).cloned().unwrap_or_default())
    }

    /// All folders of the layout that there are, and their ids.
    pub(crate) fn folders(&self) -> &BTreeMap<String, Vec<String>> {
        &self.folders
    }

    /// Looks at all folders anew, unless `folder` was seen a moment ago and is one without packs: a vault is opened with three listings, one after the other. What packs there
    /// are, a prune goes by.
    pub(crate) fn refresh_for(&mut self, folder: &str) -> Result<()> {
        let is_recent = self.looked.is_some_and(|looked| looked.elapsed() < BELIEVED);
        if is_recent && self.folders.contains_key(folder) && !folder.contains(DATA) {
            return Ok(());
        }
        self.refresh()
    }

    /// Looks at all folders anew: two requests.
    pub(crate) fn refresh(&mut self) -> Result<()> {
        self.folders.clear();
        let root = self.root()?.id.clone();
        self.add_folders(&[root], "")?;
        let data = self.folders.get(DATA).cloned().unwrap_or_default();
        self.add_folders(&data, "data/")?;
        self.looked = Some(Instant::now());
        Ok(())
    }

    /// Adds the folders in these, and remembers `config`, which is asked for next where a vault is opened.
    fn add_folders(&mut self, parents: &[String], prefix: &str) -> Result<()> {
        let condition = format!("(mimeType = {} or name = {})", quoted(FOLDER), quoted(CONFIG));
        let mut found = self.all_in(parents, &condition)?;
        found.sort_by(|a, b| (&a.created_time, &a.id).cmp(&(&b.created_time, &b.id)));
        let (folders, configs): (Vec<File>, Vec<File>) = found.into_iter().partition(File::is_folder);
        if let Some(config) = best(&configs).filter(|config| config.name == CONFIG) {
            self.remember(&format!("{prefix}{CONFIG}"), config);
        }
        for folder in folders {
            let path = format!("{prefix}{}", folder.name);
            if bulkhead_layout::is_folder(&path) {
                self.folders.entry(path).or_default().push(folder.id);
            }
        }
        Ok(())
    }

    /// Forgets all ids: what they stood for has gone.
    pub(crate) fn forget(&mut self) {
        self.folders.clear();
        self.looked = None;
        self.objects.clear();
    }

    /// All files that have this key.
    pub(crate) fn find(&mut self, key: &str) -> Result<Vec<File>> {
        let (folder, name) = place(key);
        let mut files = match self.named(folder, name) {
            // Drive knows nothing of a folder whose id was remembered: it was removed, perhaps to make another one.
            Err(error) if error.kind == ErrorKind::NotFound && !folder.is_empty() => {
                self.forget();
                self.named(folder, name)?
            }
            other => other?,
        };
        // A search is not meant to be exact about case; a key is.
        files.retain(|file| file.name == name && !file.is_folder());
        match best(&files) {
            Some(file) => self.remember(key, file),
            None => self.lose(key),
        }
        Ok(files)
    }

    fn named(&mut self, folder: &str, name: &str) -> Result<Vec<File>> {
        let parents = self.folders_at(folder)?;
        self.all_in(&parents, &format!("name = {}", quoted(name)))
    }

    /// Id and size of the file that is the object `key`, from memory where it is there.
    pub(crate) fn object(&mut self, key: &str) -> Result<Option<(String, u64)>> {
        if let Some(known) = self.objects.get(key) {
            return Ok(Some(known.clone()));
        }
        self.find(key)?;
        Ok(self.objects.get(key).cloned())
    }

    /// Remembers which file has this key.
    pub(crate) fn remember(&mut self, key: &str, file: &File) {
        if self.objects.len() >= REMEMBERED {
            self.objects.clear();
        }
        let known = (file.id.clone(), file.size().unwrap_or_default());
        self.objects.insert(key.to_owned(), known);
    }

    /// Forgets which file had this key.
    pub(crate) fn lose(&mut self, key: &str) {
        self.objects.remove(key);
    }
}

/// The condition that a file lies in one of these folders.
pub(crate) fn in_any(parents: &[String]) -> String {
    let conditions = parents.iter().map(|id| format!("{} in parents", quoted(id)));
    conditions.collect::<Vec<_>>().join(" or ")
}

/// What the vault's folder is found to hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing, or the folders of a repository without a file in them.
    Empty,
    /// A repository.
    Repository,
    /// Files of a repository, but not the one that makes it one: its creation was cut off, or it was damaged.
    Half,
    /// Something else; some of its names.
    Foreign(Vec<String>),
}

/// Names that are told at most, of what is in the way.
const TOLD: usize = 5;

impl Tree {
    /// Looks at what is there; a probe of `check` is neither the vault's nor in its way.
    pub(crate) fn state(&mut self) -> Result<State> {
        let root = self.root()?.id.clone();
        // One page: a folder with more than that in it is not a vault's.
        let there = self.page(&in_any(&[root]), false, None)?.files;
        let is_config = |file: &File| file.name == CONFIG && !file.is_folder();
        if there.iter().any(is_config) {
            return Ok(State::Repository);
        }
        let is_ours = |file: &File| file.name == crate::check::PROBE || (file.is_folder() && bulkhead_layout::is_folder(&file.name));
        let mut foreign: Vec<String> = there.iter().filter(|file| !is_ours(file)).map(|file| file.name.clone()).collect();
        if !foreign.is_empty() {
            foreign.sort();
            foreign.truncate(TOLD);
            return Ok(State::Foreign(foreign));
        }
        self.refresh()?;
        // Packs come after keys, so `data` need not be looked into.
        for folder in FOLDERS {
            for parent in self.folders_at(folder)? {
                if !self.page(&in_any(&[parent]), false, None)?.files.is_empty() {
                    return Ok(State::Half);
                }
            }
        }
        Ok(State::Empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(id: &str, name: &str, sha256: &str, created: &str) -> File {
        File {
            id: id.to_owned(),
            name: name.to_owned(),
            sha256_checksum: Some(sha256.to_owned()),
            created_time: created.to_owned(),
            ..File::default()
        }
    }

    #[test]
    fn of_several_the_one_that_is_as_named_is_meant_then_the_oldest() {
        let chosen = |files: &[File]| best(files).map(|file| file.id.clone());
        let older = file("1", "aa", "bb", "2026-01-01T00:00:00.000Z");
        let right = file("2", "aa", "aa", "2026-01-02T00:00:00.000Z");
        let same = file("3", "aa", "aa", "2026-01-02T00:00:00.000Z");
        assert_eq!(chosen(&[older.clone(), same.clone(), right.clone()]).as_deref(), Some("2"));
        assert_eq!(chosen(&[same, older]).as_deref(), Some("3"));
        assert_eq!(chosen(&[]), None);
    }
}
