//! Listings: [`list`] asks for many folders at once, since Drive has one search for all and counts requests.
//!
//! Drive is known to leave files out where it is asked for several folders in one query, without a word (rclone's issues 3114 and 9810: of some folders
//! nothing came). So a folder of which nothing came is asked for by itself; of a vault with some thousand packs that is none.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_layout::{DATA, is_key};
use bulkhead_sdk::prelude::*;

use crate::{
    client::File,
    tree::{Tree, best, in_any},
};

/// Folders of one query, as rclone has proved it to work; at most 64, see [`Position::heard`].
const TOGETHER: usize = 50;

/// Objects of a page, beyond which no further query is made for it: the ABI's bound less one page of Drive's.
const ENOUGH: usize = 9_000;

/// Where a listing is. Its text is `DONE HEARD PHASE TOKEN`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Position {
    /// Folders that are done with, of those in order.
    done: usize,
    /// Of which folders of the query under way something has come, a bit for each.
    heard: u64,
    /// Whether its other folders are asked for one by one now.
    one_by_one: bool,
    /// Drive's own token within that query, or within that of the one folder; empty at its beginning.
    token: Option<String>,
}

impl Position {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.splitn(4, ' ');
        Some(Self {
            done: words.next()?.parse().ok()?,
            heard: u64::from_str_radix(words.next()?, 16).ok()?,
            one_by_one: words.next()? == "1",
            token: words.next().filter(|token| !token.is_empty()).map(str::to_owned),
        })
    }

    fn text(&self) -> String {
        let (phase, token) = (u8::from(self.one_by_one), self.token.as_deref().unwrap_or_default());
        format!("{} {:x} {phase} {token}", self.done, self.heard)
    }
}

/// Objects whose key begins with `prefix`.
pub(crate) fn list(tree: &mut Tree, prefix: &str, page: Option<&str>) -> Result<Page> {
    match list_page(tree, prefix, page) {
        // A folder has gone since it was looked at.
        Err(error) if error.kind == ErrorKind::NotFound && page.is_none() => {
            tree.forget();
            list_page(tree, prefix, page)
        }
        other => other,
    }
}

fn list_page(tree: &mut Tree, prefix: &str, page: Option<&str>) -> Result<Page> {
    let mut position = match page {
        None => {
            tree.refresh_for(prefix.trim_end_matches('/'))?;
            Position::default()
        }
        Some(text) => Position::parse(text).ok_or_else(|| Error::new(ErrorKind::Internal, format!("{text:?} is no page")))?,
    };
    let folders = folders(tree, prefix)?;
    let mut found = BTreeMap::new();
    while position.done < folders.len() && found.len() <= ENOUGH {
        let group = &folders[position.done..folders.len().min(position.done + TOGETHER)];
        step(tree, group, prefix, &mut position, &mut found)?;
    }
    let objects = found.into_iter().map(|(key, size)| Object { key, size }).collect();
    let next = (position.done < folders.len()).then(|| position.text());
    Ok(Page { objects, next })
}

/// Asks for the next page of a group, or for one of its folders of which nothing came.
fn step(
    tree: &mut Tree,
    group: &[(String, String)],
    prefix: &str,
    position: &mut Position,
    found: &mut BTreeMap<String, u64>,
) -> Result<()> {
    if !position.one_by_one {
        let ids: Vec<String> = group.iter().map(|(id, _)| id.clone()).collect();
        let listed = tree.page(&in_any(&ids), true, position.token.as_deref())?;
        position.token = listed.next_page_token;
        position.heard |= heard(group, &listed.files);
        position.one_by_one = position.token.is_none();
        add(tree, group, listed.files, prefix, found);
        // A query for one folder overlooks nothing.
        if position.one_by_one && group.len() == 1 {
            position.heard = 1;
        }
        return Ok(());
    }
    match (0..group.len()).find(|number| position.heard & (1 << number) == 0) {
        Some(number) => {
            let folder = &group[number..=number];
            let listed = tree.page(&in_any(&[folder[0].0.clone()]), true, position.token.as_deref())?;
            position.token = listed.next_page_token;
            if position.token.is_none() {
                position.heard |= 1 << number;
            }
            add(tree, folder, listed.files, prefix, found);
        }
        None => {
            *position = Position {
                done: position.done + group.len(),
                ..Position::default()
            };
        }
    }
    Ok(())
}

/// Ids and paths of the folders in which there can be objects with that prefix, always in the same order.
fn folders(tree: &mut Tree, prefix: &str) -> Result<Vec<(String, String)>> {
    let mut folders = Vec::new();
    if !prefix.contains('/') {
        folders.extend(tree.folders_at("")?.into_iter().map(|id| (id, String::new())));
    }
    for (path, ids) in tree.folders() {
        let inside = format!("{path}/");
        if path != DATA && (inside.starts_with(prefix) || prefix.starts_with(&inside)) {
            folders.extend(ids.iter().map(|id| (id.clone(), path.clone())));
        }
    }
    Ok(folders)
}

/// Of which folders of a group these files are, a bit for each.
fn heard(group: &[(String, String)], files: &[File]) -> u64 {
    let parents: BTreeSet<&String> = files.iter().flat_map(|file| &file.parents).collect();
    let places = group.iter().enumerate().filter(|(_, (id, _))| parents.contains(id));
    places.fold(0, |heard, (number, _)| heard | 1 << number)
}

/// Adds what is an object; of those with the same key the best.
fn add(tree: &mut Tree, group: &[(String, String)], files: Vec<File>, prefix: &str, found: &mut BTreeMap<String, u64>) {
    let paths: BTreeMap<&str, &str> = group.iter().map(|(id, path)| (id.as_str(), path.as_str())).collect();
    let mut by_key: BTreeMap<String, Vec<File>> = BTreeMap::new();
    for file in files {
        let path = file.parents.iter().find_map(|parent| paths.get(parent.as_str()));
        let key = match path {
            Some(&"") => file.name.clone(),
            Some(path) => format!("{path}/{}", file.name),
            None => continue,
        };
        if is_key(&key) && key.starts_with(prefix) && file.size().is_some() {
            by_key.entry(key).or_default().push(file);
        }
    }
    for (key, files) in by_key {
        if let Some(file) = best(&files) {
            tree.remember(&key, file);
            found.insert(key, file.size().unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_comes_back() {
        for text in ["0 0 0 ", "50 ff03 0 ~!!~token with spaces", "200 1 1 "] {
            assert_eq!(Position::parse(text).map(|position| position.text()).as_deref(), Some(text));
        }
        for bad in ["", "x", "1", "1 g", "1 0"] {
            assert_eq!(Position::parse(bad), None, "{bad}");
        }
    }
}
