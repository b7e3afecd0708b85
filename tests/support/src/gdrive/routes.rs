//! Which request means what, and how Drive refuses.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::{Value, json};

use super::fields::Selection;
use super::state::State;
use super::{files, oauth, resource, uploads};
use crate::couchdb::{Answer, Request};

/// An answer that is a refusal.
pub(super) type Refusal = Box<Answer>;

/// What a handler answers.
pub(super) type Outcome = Result<Answer, Refusal>;

/// The document in which Drive refuses.
pub(super) fn refuse(status: u16, reason: &str, message: &str) -> Refusal {
    let domain = if reason.ends_with("LimitExceeded") {
        "usageLimits"
    } else {
        "global"
    };
    let errors = json!([{ "message": message, "domain": domain, "reason": reason }]);
    Box::new(Answer::json(
        status,
        json!({ "error": { "code": status, "message": message, "errors": errors } }),
    ))
}

/// What Drive says of an id that leads nowhere.
pub(super) fn not_found(id: &str) -> Refusal {
    refuse(404, "notFound", &format!("File not found: {id}."))
}

/// Path and query of a request, decoded.
pub(super) struct Target {
    pub(super) path: String,
    query: BTreeMap<String, String>,
}

impl Target {
    pub(super) fn of(request: &Request) -> Self {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        Self {
            path: path.to_owned(),
            query: pairs(query),
        }
    }

    /// A parameter; one that is empty (rclone's `fields`, for one) is as none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// Whether the client knows shared drives, by today's word or the former one.
    pub(super) fn knows_shared_drives(&self) -> bool {
        self.is("supportsAllDrives") || self.is("supportsTeamDrives")
    }
}

/// Names and values of a query, or of a form.
pub(super) fn pairs(text: &str) -> BTreeMap<String, String> {
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = after
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|digits| hex::decode(digits).ok());
        rest = if escaped.is_some() { &after[2..] } else { after };
        bytes.push(match (escaped, first) {
            (Some(byte), _) => byte[0],
            (None, b'+') => b' ',
            (None, other) => *other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Answers a request.
pub(super) fn answer(state: &mut State, request: &Request) -> Answer {
    route(state, request).unwrap_or_else(|refusal| *refusal)
}

fn route(state: &mut State, request: &Request) -> Outcome {
    let target = Target::of(request);
    if let Some(outcome) = oauth::route(state, request, &target) {
        return outcome;
    }
    state.tokens.check(request)?;
    let segments: Vec<&str> = target.path.trim_matches('/').split('/').collect();
    match (request.method.as_str(), &segments[..]) {
        ("POST", ["batch", "drive", "v3"]) => batch(state, request),
        ("GET", ["drive", "v3", "about"]) => about(state, &target),
        ("GET", ["drive", "v3", "drives"]) => shared_drives(state, &target),
        ("GET", ["drive", "v3", "drives", id]) => shared_drive(state, id),
        ("GET", ["drive", "v3", "files"]) => files::list(state, &target),
        ("POST", ["drive", "v3", "files"]) => files::create(state, &target, request),
        ("GET", ["drive", "v3", "files", "generateIds"]) => generate_ids(state, &target),
        ("DELETE", ["drive", "v3", "files", "trash"]) => files::empty_trash(state),
        ("GET", ["drive", "v3", "files", id]) if target.get("alt") == Some("media") => files::content(state, &target, id, request),
        ("GET", ["drive", "v3", "files", id]) => files::get(state, &target, id),
        ("PATCH", ["drive", "v3", "files", id]) => files::update(state, &target, id, request),
        ("DELETE", ["drive", "v3", "files", id]) => files::delete(state, &target, id),
        // Pieces come with either method: rclone's with `POST`.
        ("PUT" | "POST", ["upload", ..]) if target.get("upload_id").is_some() => uploads::put(state, &target, request),
        ("POST", ["upload", "drive", "v3", "files"]) => uploads::begin(state, &target, request, None),
        ("PATCH", ["upload", "drive", "v3", "files", id]) => uploads::begin(state, &target, request, Some(id)),
        ("DELETE", ["upload", ..]) => uploads::cancel(state, &target),
        _ => Err(refuse(404, "notFound", "Not Found")),
    }
}

/// Many requests in one, each answered by itself.
fn batch(state: &mut State, request: &Request) -> Outcome {
    let parts = parts(request).ok_or_else(|| refuse(400, "badRequest", "Failed to parse batch request"))?;
    if parts.len() > 100 {
        return Err(refuse(400, "badRequest", "The batch request contains too many calls"));
    }
    let mut body = String::new();
    for part in parts {
        let id = part.headers.get("content-id").cloned().unwrap_or_default();
        let inner = inner_request(&part.body, request).ok_or_else(|| refuse(400, "badRequest", "Failed to parse batch request"))?;
        let answer = answer(state, &inner);
        let text = String::from_utf8_lossy(&answer.body);
        let id = id.trim_matches(['<', '>']);
        body.push_str(&format!(
            "--batch_answers\r\nContent-Type: application/http\r\nContent-ID: <response-{id}>\r\n\r\n\
             HTTP/1.1 {} Answered\r\nContent-Type: application/json; charset=UTF-8\r\nContent-Length: {}\r\n\r\n{text}\r\n",
            answer.status,
            text.len()
        ));
    }
    body.push_str("--batch_answers--\r\n");
    Ok(Answer {
        status: 200,
        headers: vec![("Content-Type".to_owned(), "multipart/mixed; boundary=batch_answers".to_owned())],
        body: body.into_bytes(),
        break_after: None,
    })
}

/// A request in a part of a batch; it is authenticated by the batch, unless by itself.
fn inner_request(text: &[u8], outer: &Request) -> Option<Request> {
    let end = text
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .or_else(|| text.windows(2).position(|bytes| bytes == b"\n\n"))?;
    let head = String::from_utf8_lossy(&text[..end]).into_owned();
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ').map(str::to_owned);
    let mut headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    if let Some(token) = outer.header("authorization") {
        headers.push(("authorization".to_owned(), token.to_owned()));
    }
    Some(Request {
        method: words.next()?,
        path: words.next()?,
        headers,
        body: text[end..].trim_ascii().to_vec(),
    })
}

/// A part of a body that has several.
pub(super) struct Part {
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

/// The parts of a `multipart/…` body (RFC 2046).
pub(super) fn parts(request: &Request) -> Option<Vec<Part>> {
    let content_type = request.header("content-type")?;
    let boundary = content_type.split_once("boundary=")?.1.split(';').next()?.trim().trim_matches('"');
    let delimiter = format!("--{boundary}").into_bytes();
    let body = &request.body;
    let mut places: Vec<usize> = Vec::new();
    let mut from = 0;
    while let Some(found) = body.get(from..)?.windows(delimiter.len()).position(|window| window == delimiter) {
        places.push(from + found);
        from += found + delimiter.len();
    }
    places
        .windows(2)
        .map(|pair| part(&body[pair[0] + delimiter.len()..pair[1]]))
        .collect()
}

fn part(text: &[u8]) -> Option<Part> {
    let text = text.strip_prefix(b"\r\n").or_else(|| text.strip_prefix(b"\n"))?;
    let text = text.strip_suffix(b"\r\n").or_else(|| text.strip_suffix(b"\n")).unwrap_or(text);
    let (end, gap) = match text.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
        Some(end) => (end, 4),
        None => (text.windows(2).position(|bytes| bytes == b"\n\n")?, 2),
    };
    let head = String::from_utf8_lossy(&text[..end]).into_owned();
    let headers = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Part {
        headers,
        body: text[end + gap..].to_vec(),
    })
}

fn about(state: &State, target: &Target) -> Outcome {
    let message = "The 'fields' parameter is required for this method.";
    let fields = target.get("fields").ok_or_else(|| refuse(400, "required", message))?;
    let selection = Selection::parse(fields).ok_or_else(|| resource::invalid(fields))?;
    let known = [
        "kind",
        "user",
        "storageQuota",
        "driveThemes",
        "canCreateDrives",
        "importFormats",
        "exportFormats",
        "appInstalled",
        "folderColorPalette",
        "maxImportSizes",
        "maxUploadSize",
        "teamDriveThemes",
        "canCreateTeamDrives",
    ];
    resource::check(&selection, &known)?;
    let usage = state.usage().to_string();
    let mut quota = json!({ "usage": usage, "usageInDrive": usage, "usageInDriveTrash": "0" });
    if let Some(limit) = state.quota {
        quota["limit"] = Value::from(limit.to_string());
    }
    let about = json!({
        "kind": "drive#about",
        "user": { "kind": "drive#user", "displayName": "Backup", "emailAddress": "backup@example.com", "me": true, "permissionId": "1" },
        "storageQuota": quota,
        "importFormats": {},
        "exportFormats": {},
        "maxUploadSize": "5242880000000",
        "canCreateDrives": true,
    });
    Ok(Answer::json(200, selection.apply(&about)))
}

fn shared_drives(state: &State, target: &Target) -> Outcome {
    let roots = state.files.values().filter(|file| file.drive.as_ref() == Some(&file.id));
    let drives: Vec<Value> = roots
        .map(|root| json!({ "kind": "drive#drive", "id": root.id, "name": root.name }))
        .collect();
    let document = json!({ "kind": "drive#driveList", "drives": drives });
    let selection = target.get("fields").and_then(Selection::parse).unwrap_or_default();
    Ok(Answer::json(200, selection.apply(&document)))
}

fn shared_drive(state: &State, id: &str) -> Outcome {
    let root = state.file(id).filter(|root| root.drive.as_deref() == Some(id));
    let root = root.ok_or_else(|| refuse(404, "notFound", &format!("Shared drive not found: {id}")))?;
    Ok(Answer::json(
        200,
        json!({ "kind": "drive#drive", "id": root.id, "name": root.name }),
    ))
}

fn generate_ids(state: &mut State, target: &Target) -> Outcome {
    let count: usize = target.get("count").map_or(Some(10), |count| count.parse().ok()).unwrap_or(0);
    if !(1..=1000).contains(&count) {
        let message = format!("Invalid value '{count}'. Values must be within the range: [1, 1000]");
        return Err(refuse(400, "invalidParameter", &message));
    }
    let ids: Vec<String> = (0..count).map(|_| state.new_id()).collect();
    state.reserved.extend(ids.iter().cloned());
    Ok(Answer::json(
        200,
        json!({ "kind": "drive#generatedIds", "space": "drive", "ids": ids }),
    ))
}

/// A token for the next page: what it means is nobody's business but ours.
pub(super) fn page_token(offset: usize, query: &str) -> String {
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(query));
    let text = format!("{offset} {}", &digest[..16]);
    format!("~!!~{}", base64::engine::general_purpose::STANDARD.encode(text))
}

/// Where a token leads to, if it is one of this very query.
pub(super) fn page_offset(token: &str, query: &str) -> Option<usize> {
    let text = base64::engine::general_purpose::STANDARD.decode(token.strip_prefix("~!!~")?).ok()?;
    let offset: usize = String::from_utf8(text).ok()?.split(' ').next()?.parse().ok()?;
    (page_token(offset, query) == token).then_some(offset)
}
