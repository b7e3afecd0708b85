//! `files.list`, `get`, `create`, `update` and `delete`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::fields::Selection;
use super::query::Query;
use super::routes::{Outcome, Refusal, Target, not_found, page_offset, page_token, refuse};
use super::state::{Content, File, State};
use super::{FOLDER, resource};
use crate::couchdb::{Answer, Request};

fn invalid(parameter: &str) -> Refusal {
    let message = "Invalid Value";
    let errors =
        json!([{ "message": message, "domain": "global", "reason": "invalid", "location": parameter, "locationType": "parameter" }]);
    Box::new(Answer::json(
        400,
        json!({ "error": { "code": 400, "message": message, "errors": errors } }),
    ))
}

/// A file that this request may see: what is in a shared drive only where the client knows such.
pub(super) fn visible<'a>(state: &'a State, target: &Target, id: &str) -> Result<&'a File, Refusal> {
    let file = state.file(id).filter(|file| file.drive.is_none() || target.knows_shared_drives());
    file.ok_or_else(|| not_found(id))
}

pub(super) fn list(state: &mut State, target: &Target) -> Outcome {
    let text = target.get("q").unwrap_or_default();
    let query = match text {
        "" => None,
        text => Some(Query::parse(text).ok_or_else(|| invalid("q"))?),
    };
    let folders = query.as_ref().map(Query::folders).unwrap_or_default();
    if folders.iter().any(|id| state.file(id).is_none()) {
        return Err(not_found(""));
    }
    let size: usize = target.get("pageSize").map_or(Some(100), |size| size.parse().ok()).unwrap_or(0);
    if !(1..=1000).contains(&size) {
        return Err(refuse(
            400,
            "invalidParameter",
            "Invalid value for pageSize. Values must be within the range: [1, 1000]",
        ));
    }
    let scope = scope(target)?;
    // All that a token is good for.
    let whole = format!("{text} {:?} {:?}", target.get("orderBy"), scope);
    let offset = match target.get("pageToken") {
        None => 0,
        Some(token) => page_offset(token, &whole).ok_or_else(|| invalid("pageToken"))?,
    };
    let mut found: Vec<&File> = state
        .files
        .values()
        .filter(|file| !file.parents.is_empty() && in_scope(file, &scope))
        .filter(|file| query.as_ref().is_none_or(|query| query.matches(state, file)))
        .filter(|file| !is_overlooked(state, file, &folders))
        .collect();
    match target.get("orderBy") {
        None => {}
        Some("name") => found.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id))),
        Some(_) => return Err(invalid("orderBy")),
    }
    let end = found.len().min(offset + size.min(state.page));
    let files: Vec<Value> = found[offset.min(end)..end].iter().map(|file| resource::of(state, file)).collect();
    let mut document = json!({ "kind": "drive#fileList", "incompleteSearch": false, "files": files });
    if end < found.len() {
        document["nextPageToken"] = Value::from(page_token(end, &whole));
    }
    let fields = target
        .get("fields")
        .unwrap_or("kind,incompleteSearch,nextPageToken,files(kind,id,name,mimeType)");
    let selection = Selection::parse(fields).ok_or_else(|| resource::invalid(fields))?;
    resource::check(&selection, &["kind", "incompleteSearch", "nextPageToken", "files"])?;
    if let Some(of_files) = selection.of("files") {
        resource::check(of_files, &resource::FIELDS)?;
    }
    Ok(Answer::json(200, selection.apply(&document)))
}

/// Whether the search is one of those that Drive gets wrong: several folders, and a file of another one than the first.
fn is_overlooked(state: &State, file: &File, folders: &[&str]) -> bool {
    state.overlooks && folders.len() > 1 && file.parents.iter().all(|parent| parent != folders[0])
}

/// What is searched.
#[derive(Debug)]
enum Scope {
    Own,
    Shared(String),
}

/// Of shared drives Drive promises those only that this account has opened, unless one is named: here, none.
fn scope(target: &Target) -> Result<Scope, Refusal> {
    let everywhere = target.is("includeItemsFromAllDrives") || target.is("includeTeamDriveItems");
    match (target.get("corpora"), target.get("driveId").or(target.get("teamDriveId"))) {
        (None | Some("user"), None) => Ok(Scope::Own),
        (Some("drive" | "teamDrive"), Some(drive)) if everywhere && target.knows_shared_drives() => Ok(Scope::Shared(drive.to_owned())),
        (Some("drive" | "teamDrive"), Some(_)) => Err(refuse(
            403,
            "teamDrivesNotSupported",
            "The includeItemsFromAllDrives and supportsAllDrives parameters must be true.",
        )),
        _ => Err(invalid("corpora")),
    }
}

fn in_scope(file: &File, scope: &Scope) -> bool {
    match scope {
        Scope::Own => file.drive.is_none(),
        Scope::Shared(drive) => file.drive.as_ref() == Some(drive),
    }
}

pub(super) fn get(state: &State, target: &Target, id: &str) -> Outcome {
    let file = visible(state, target, id)?;
    shown(state, target, file)
}

/// The file as this request wants to see it.
pub(super) fn shown(state: &State, target: &Target, file: &File) -> Outcome {
    let selection = resource::selection(target.get("fields"))?;
    Ok(Answer::json(200, selection.apply(&resource::of(state, file))))
}

/// The content, or a range of it. Of a file in a shared drive, too: rclone asks for that without a word of shared drives, and gets it from Google.
pub(super) fn content(state: &State, target: &Target, id: &str, request: &Request) -> Outcome {
    let file = state.file(id).ok_or_else(|| not_found(id))?;
    let message = "Only files with binary content can be downloaded. Use Export with Docs Editors files.";
    let content = &file
        .content
        .as_ref()
        .ok_or_else(|| refuse(403, "fileNotDownloadable", message))?
        .bytes;
    if file.is_abusive && !target.is("acknowledgeAbuse") {
        let message = "This file has been identified as malware or spam and cannot be downloaded.";
        return Err(refuse(403, "cannotDownloadAbusiveFile", message));
    }
    let mut headers = vec![
        ("Content-Type".to_owned(), file.mime_type.clone()),
        ("Accept-Ranges".to_owned(), "bytes".to_owned()),
    ];
    let (status, body) = match request.header("range").and_then(|range| range_of(range, content.len())) {
        None => (200, content.clone()),
        Some(None) => {
            headers.push(("Content-Range".to_owned(), format!("bytes */{}", content.len())));
            return Err(Box::new(Answer {
                status: 416,
                headers,
                body: Vec::new(),
                break_after: None,
            }));
        }
        Some(Some((first, last))) => {
            headers.push(("Content-Range".to_owned(), format!("bytes {first}-{last}/{}", content.len())));
            (206, content[first..=last].to_vec())
        }
    };
    Ok(Answer {
        status,
        headers,
        body,
        break_after: None,
    })
}

/// First and last byte of `bytes=A-B`; `None` where it is not understood, `Some(None)` where it is not in the file.
fn range_of(range: &str, length: usize) -> Option<Option<(usize, usize)>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let first: usize = first.parse().ok()?;
    let last: usize = match last {
        "" => usize::MAX,
        last => last.parse().ok()?,
    };
    if first >= length || last < first {
        return Some(None);
    }
    Some(Some((first, last.min(length - 1))))
}

/// Metadata that a client sends with a new file, or changes of one.
pub(super) struct Metadata(Value);

impl Metadata {
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        if body.trim_ascii().is_empty() {
            return Ok(Self(json!({})));
        }
        let value: Option<Value> = serde_json::from_slice(body).ok().filter(Value::is_object);
        value.map(Self).ok_or_else(|| refuse(400, "parseError", "Parse Error"))
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0[name].as_str().map(str::to_owned)
    }

    fn app_properties(&self) -> BTreeMap<String, String> {
        let pairs = self.0["appProperties"].as_object().into_iter().flatten();
        pairs
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect()
    }

    /// A new file of it, which is not yet there.
    pub(super) fn new_file(&self, state: &mut State, target: &Target, content: Option<Arc<Content>>) -> Result<File, Refusal> {
        let parent = match &self.0["parents"] {
            Value::Null => state.resolve("root"),
            Value::Array(parents) => match &parents[..] {
                [Value::String(parent)] => state.resolve(parent),
                _ => return Err(refuse(400, "multipleParentsNotSupported", "A file must have a single parent.")),
            },
            _ => return Err(refuse(400, "invalid", "Invalid Value")),
        };
        let folder = visible(state, target, &parent)?;
        if folder.mime_type != FOLDER {
            return Err(refuse(403, "parentNotAFolder", "The specified parent is not a folder."));
        }
        let drive = folder.drive.clone();
        let id = match self.text("id") {
            None => state.new_id(),
            Some(id) if state.files.contains_key(&id) => {
                return Err(refuse(409, "fileIdInUse", "A file already exists with the provided ID."));
            }
            Some(id) if !state.reserved.contains(&id) => return Err(refuse(400, "invalid", "The provided file ID is not usable.")),
            Some(id) => id,
        };
        let now = state.now();
        Ok(File {
            id,
            name: self.text("name").unwrap_or_else(|| "Untitled".to_owned()),
            mime_type: self.text("mimeType").unwrap_or_else(|| "application/octet-stream".to_owned()),
            parents: vec![parent],
            content,
            trashed: false,
            drive,
            created: self.text("createdTime").unwrap_or_else(|| now.clone()),
            modified: self.text("modifiedTime").unwrap_or(now),
            app_properties: self.app_properties(),
            is_abusive: false,
        })
    }

    /// Changes a file.
    pub(super) fn change(&self, file: &mut File, now: String) {
        if let Some(name) = self.text("name") {
            file.name = name;
        }
        if let Some(mime_type) = self.text("mimeType") {
            file.mime_type = mime_type;
        }
        if let Some(trashed) = self.0["trashed"].as_bool() {
            file.trashed = trashed;
        }
        file.app_properties.extend(self.app_properties());
        file.modified = self.text("modifiedTime").unwrap_or(now);
    }
}

/// A file without content: a folder, mostly.
pub(super) fn create(state: &mut State, target: &Target, request: &Request) -> Outcome {
    let metadata = Metadata::read(&request.body)?;
    let is_folder = metadata.text("mimeType").as_deref() == Some(FOLDER);
    let file = metadata.new_file(state, target, (!is_folder).then(|| Content::of(Vec::new())))?;
    resource::selection(target.get("fields"))?;
    state.insert(file.clone());
    shown(state, target, &file)
}

pub(super) fn update(state: &mut State, target: &Target, id: &str, request: &Request) -> Outcome {
    let metadata = Metadata::read(&request.body)?;
    let mut file = visible(state, target, id)?.clone();
    resource::selection(target.get("fields"))?;
    let now = state.now();
    metadata.change(&mut file, now);
    if let Some(parent) = target.get("addParents") {
        let parent = visible(state, target, parent)?;
        (file.parents, file.drive) = (vec![parent.id.clone()], parent.drive.clone());
    }
    state.insert(file.clone());
    shown(state, target, &file)
}

/// Removes a file for good, and all below it.
pub(super) fn delete(state: &mut State, target: &Target, id: &str) -> Outcome {
    let file = visible(state, target, id)?;
    if state.only_trashes || file.parents.is_empty() {
        let message = "The user does not have sufficient permissions for this file.";
        return Err(refuse(403, "insufficientFilePermissions", message));
    }
    let id = file.id.clone();
    state.remove(&id);
    Ok(Answer {
        status: 204,
        headers: Vec::new(),
        body: Vec::new(),
        break_after: None,
    })
}

pub(super) fn empty_trash(state: &mut State) -> Outcome {
    let thrown: Vec<String> = state
        .files
        .values()
        .filter(|file| file.trashed && file.drive.is_none())
        .map(|file| file.id.clone())
        .collect();
    thrown.iter().for_each(|id| state.remove(id));
    Ok(Answer {
        status: 204,
        headers: Vec::new(),
        body: Vec::new(),
        break_after: None,
    })
}
