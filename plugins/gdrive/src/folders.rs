//! Making folders: those of a new vault, many in one request, and one that is missing.
//!
//! Each gets an id that Drive has given out before. A request whose answer was lost can then be sent again: the id is taken, and no second folder of the
//! same name comes of it.

use std::fmt::Write as _;

use bulkhead_sdk::prelude::*;
use serde_json::json;

use crate::{
    client::{Call, FILES, FOLDER, MAX_DOCUMENT, once, with_query},
    tree::Tree,
};

/// Requests of one batch; Drive's own maximum.
const BATCH: usize = 100;

/// Between the requests of a batch: no request contains it.
const BOUNDARY: &str = "bulkhead_batch_71c0e5";

/// A folder to be made.
#[derive(Debug, Clone)]
struct Folder {
    path: String,
    id: String,
    parent: String,
}

impl Folder {
    fn document(&self) -> serde_json::Value {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        json!({ "id": self.id, "name": name, "mimeType": FOLDER, "parents": [self.parent] })
    }
}

#[derive(Debug, Deserialize)]
struct Ids {
    ids: Vec<String>,
}

/// Makes those folders of the layout that are not there.
pub(crate) fn make_all(tree: &mut Tree) -> Result<()> {
    tree.refresh()?;
    let missing: Vec<String> = bulkhead_layout::folders()
        .filter(|path| !tree.folders().contains_key(path))
        .collect();
    // In two steps: those in `data` need its id to be one that is there.
    let (top, inner): (Vec<String>, Vec<String>) = missing.into_iter().partition(|path| !path.contains('/'));
    for paths in [top, inner] {
        make(tree, &paths)?;
        tree.refresh()?;
    }
    Ok(())
}

/// The folder at `path`, made where there is none.
pub(crate) fn ensure(tree: &mut Tree, path: &str) -> Result<String> {
    if let Some(id) = tree.folders_at(path)?.first() {
        return Ok(id.clone());
    }
    // Another instance may have made it since.
    tree.refresh()?;
    if let Some(id) = tree.folders_at(path)?.first() {
        return Ok(id.clone());
    }
    if let Some((parent, _)) = path.rsplit_once('/') {
        ensure(tree, parent)?;
    }
    make(tree, &[path.to_owned()])?;
    tree.refresh()?;
    let made = tree.folders_at(path)?;
    // Of several that two instances have made at once, all choose the oldest.
    made.first()
        .cloned()
        .ok_or_else(|| Error::new(ErrorKind::Conflict, format!("the folder {path} was made, and has gone again")))
}

fn make(tree: &mut Tree, paths: &[String]) -> Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    let query = [("count", paths.len().to_string()), ("space", "drive".to_owned())];
    let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let ids: Ids = tree
        .client
        .document(&Call::new("GET", with_query(&format!("{FILES}/generateIds"), &query)))?;
    let mut folders = Vec::new();
    for (path, id) in paths.iter().zip(ids.ids) {
        let (parent, _) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = tree.folders_at(parent)?.first().cloned();
        let parent = parent.ok_or_else(|| Error::new(ErrorKind::Conflict, format!("there is no folder for {path}")))?;
        folders.push(Folder {
            path: path.clone(),
            id,
            parent,
        });
    }
    if let [folder] = &folders[..] {
        return make_one(tree, folder);
    }
    for group in folders.chunks(BATCH) {
        make_batch(tree, group)?;
    }
    Ok(())
}

fn make_one(tree: &Tree, folder: &Folder) -> Result<()> {
    let call = Call::new("POST", with_query(FILES, &QUERY)).json(&folder.document());
    match tree.client.call(&call) {
        // Made by an attempt whose answer was lost.
        Err(error) if error.kind == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

const QUERY: [(&str, &str); 2] = [("supportsAllDrives", "true"), ("fields", "id")];

/// Makes up to 100 in one request; those that Drive did not make are made one by one, which tells what is wrong with them.
fn make_batch(tree: &Tree, folders: &[Folder]) -> Result<()> {
    let mut body = String::new();
    for (number, folder) in folders.iter().enumerate() {
        let (path, document) = (with_query(FILES, &QUERY), folder.document());
        // Writing to a string does not fail.
        let _ = write!(
            body,
            "--{BOUNDARY}\r\nContent-Type: application/http\r\nContent-ID: <{number}>\r\n\r\n\
             POST {path} HTTP/1.1\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{document}\r\n"
        );
    }
    body.push_str(&format!("--{BOUNDARY}--\r\n"));
    let mut call = Call::new("POST", "/batch/drive/v3").header("content-type", format!("multipart/mixed; boundary={BOUNDARY}"));
    call.body = body.into_bytes();
    let answer = tree.client.retrying(&call.what(), || Ok(once(&call)?.into_bytes(MAX_DOCUMENT)?))?;
    let answer = String::from_utf8_lossy(&answer);
    for (number, folder) in folders.iter().enumerate() {
        if !is_made(&answer, number) {
            make_one(tree, folder)?;
        }
    }
    Ok(())
}

/// Whether the part that answers request `number` says that it went well; what cannot be read is asked for again, which does no harm.
fn is_made(answer: &str, number: usize) -> bool {
    let id = format!("<response-{number}>");
    let Some((_, part)) = answer.split_once(&id) else { return false };
    let status = part.lines().find_map(|line| line.trim().strip_prefix("HTTP/1.1 "));
    status.is_some_and(|status| status.starts_with('2') || status.starts_with("409"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_batch_says_is_read_part_by_part() {
        let answer = "--b\r\nContent-Type: application/http\r\nContent-ID: <response-0>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}\r\n\
                      --b\r\nContent-ID: <response-1>\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n{}\r\n--b--";
        assert!(is_made(answer, 0));
        assert!(!is_made(answer, 1));
        assert!(!is_made(answer, 2));
    }
}
