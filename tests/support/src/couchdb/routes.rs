//! Which request gets which answer: [`answer`]. Forms and wordings are those of CouchDB 3.4.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::{
    attachment::Attachment,
    imitation::{Answer, Request},
    store::{Body, Database, Document, Page, Server, generation},
};

type Query = HashMap<String, String>;

/// What every local document's id begins with.
const LOCAL: &str = "_local/";

/// Answers a request.
pub(super) fn answer(server: &mut Server, request: &Request) -> Answer {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let query: Query = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), decode(value)))
        .collect();
    let mut segments: Vec<String> = path.split('/').skip(1).map(decode).collect();
    if segments.last().is_some_and(String::is_empty) {
        segments.pop();
    }
    // `_design/app` and `_local/x` are one id each.
    if segments.len() > 2 && matches!(&segments[1][..], "_design" | "_local") {
        let name = segments.remove(2);
        segments[1] = format!("{}/{name}", segments[1]);
    }
    let words: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (&request.method[..], &words[..]) {
        ("GET", []) => Answer::json(
            200,
            json!({ "couchdb": "Welcome", "version": "3.4.3", "git_sha": "aa74a9f", "uuid": "00000000000000000000000000000001",
                    "features": ["partitioned"], "vendor": { "name": "The Apache Software Foundation" } }),
        ),
        ("GET", ["_all_dbs"]) => Answer::json(200, json!(server.databases.keys().collect::<Vec<_>>())),
        ("PUT", [name]) => create(server, name, &query),
        ("DELETE", [name]) => {
            server.delete(name);
            Answer::json(200, json!({ "ok": true }))
        }
        (method, [name, rest @ ..]) => match server.databases.get_mut(*name) {
            None => Answer::failure(404, "not_found", "Database does not exist."),
            Some(database) => in_database(database, name, method, rest, &query, request),
        },
        _ => Answer::failure(405, "method_not_allowed", "Only GET allowed"),
    }
}

fn create(server: &mut Server, name: &str, query: &Query) -> Answer {
    let props = if query.contains_key("partitioned") {
        json!({ "partitioned": true })
    } else {
        json!({})
    };
    let shards = query.get("q").and_then(|shards| shards.parse().ok()).unwrap_or(2);
    match server.create(name, shards, props) {
        Some(_) => Answer::json(201, json!({ "ok": true })),
        None => Answer::failure(412, "file_exists", "The database could not be created, the file already exists."),
    }
}

fn in_database(database: &mut Database, name: &str, method: &str, rest: &[&str], query: &Query, request: &Request) -> Answer {
    let body = || serde_json::from_slice::<Value>(&request.body).ok();
    match (method, rest) {
        ("GET", []) => info(database, name),
        ("GET", ["_security"]) => Answer::json(200, &database.security),
        // From CouchDB 3 on, unless `users_db_security_editable` says otherwise.
        ("PUT", ["_security"]) if name == "_users" => {
            Answer::failure(403, "forbidden", "You can't edit the security object of the user database.")
        }
        ("PUT", ["_security"]) => {
            database.security = body().unwrap_or_default();
            Answer::json(200, json!({ "ok": true }))
        }
        ("GET", ["_revs_limit"]) => Answer::json(200, database.revs_limit),
        ("PUT", ["_revs_limit"]) => {
            database.revs_limit = body().and_then(|limit| limit.as_u64()).unwrap_or(1000);
            Answer::json(200, json!({ "ok": true }))
        }
        ("GET", ["_purged_infos_limit"]) => Answer::json(200, database.purged_infos_limit),
        ("PUT", ["_purged_infos_limit"]) => {
            database.purged_infos_limit = body().and_then(|limit| limit.as_u64()).unwrap_or(1000);
            Answer::json(200, json!({ "ok": true }))
        }
        ("GET", ["_local_docs"]) => local_documents(database),
        ("GET" | "POST", ["_changes"]) => changes(database, query),
        ("POST", ["_bulk_get"]) => bulk_get(database, &body().unwrap_or_default()),
        ("POST", ["_revs_diff"]) => revs_diff(database, &body().unwrap_or_default()),
        ("POST", ["_bulk_docs"]) => match body() {
            Some(body) => bulk_docs(database, &body),
            None => Answer::failure(400, "bad_request", "invalid UTF-8 JSON"),
        },
        ("GET", [id]) if id.starts_with(LOCAL) => local_document(database, id),
        ("PUT", [id]) if id.starts_with(LOCAL) => match body() {
            Some(body) => put_local(database, id, body),
            None => Answer::failure(400, "bad_request", "invalid UTF-8 JSON"),
        },
        ("GET", [id]) => open_revs(database, id),
        ("PUT", [id]) => put_multipart(database, id, request),
        ("GET", [id, attachment]) => get_attachment(database, id, attachment, query, request),
        _ => Answer::failure(405, "method_not_allowed", "Only GET allowed"),
    }
}

/// Opaque to everybody, but for the number in front.
fn sequence(changes: u64) -> String {
    let packed = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(format!("shards/{changes}/node@127.0.0.1"));
    format!("{changes}-g1{packed}")
}

fn info(database: &Database, name: &str) -> Answer {
    let (documents, deleted) = database.counts();
    Answer::json(
        200,
        json!({
            "instance_start_time": database.made.to_string(), "db_name": name, "purge_seq": sequence(database.purges),
            "update_seq": sequence(database.changes), "sizes": { "file": 70040, "external": 762, "active": 3128 }, "props": database.props,
            "doc_del_count": deleted, "doc_count": documents, "disk_format_version": 8, "compact_running": false,
            "cluster": { "q": database.shards, "n": 1, "w": 1, "r": 1 },
        }),
    )
}

fn local_documents(database: &Database) -> Answer {
    let row = |(id, members): (&String, &Value)| {
        let mut doc = members.clone();
        doc["_id"] = json!(id);
        doc["_rev"] = json!("0-1");
        json!({ "id": id, "key": id, "value": { "rev": "0-1" }, "doc": doc })
    };
    let rows: Vec<Value> = database.local.iter().map(row).collect();
    Answer::json(200, json!({ "total_rows": null, "offset": null, "rows": rows }))
}

fn local_document(database: &Database, id: &str) -> Answer {
    match database.local.get(id) {
        None => Answer::failure(404, "not_found", "missing"),
        Some(members) => {
            let mut doc = members.clone();
            doc["_id"] = json!(id);
            doc["_rev"] = json!("0-1");
            Answer::json(200, doc)
        }
    }
}

/// Whatever revision it has: a local document has no history.
fn put_local(database: &mut Database, id: &str, mut members: Value) -> Answer {
    if let Some(members) = members.as_object_mut() {
        members.retain(|name, _| name != "_id" && name != "_rev");
    }
    database.local.insert(id.to_owned(), members);
    Answer::json(201, json!({ "ok": true, "id": id, "rev": "0-1" }))
}

fn changes(database: &mut Database, query: &Query) -> Answer {
    let since = query
        .get("since")
        .map_or(Some(0), |since| since.split('-').next()?.parse::<u64>().ok());
    let Some(since) = since else {
        return Answer::failure(400, "bad_request", "Malformed sequence supplied in 'since' parameter.");
    };
    let number = |name: &str| query.get(name).and_then(|number| number.parse::<usize>().ok());
    let limit = number("limit").unwrap_or(usize::MAX);
    let interval = number("seq_interval").unwrap_or(1);
    let behind = || (Bound::Excluded(since), Bound::Unbounded);
    let mut last = since;
    let mut rows = Vec::new();
    for (position, (seq, id)) in database.feed.range(behind()).take(limit).enumerate() {
        let Some(document) = database.documents.get(id) else { continue };
        let leaves: Vec<Value> = document.leaves().into_iter().map(|(rev, _)| json!({ "rev": rev })).collect();
        let seq_shown = if position % interval == interval - 1 {
            json!(sequence(*seq))
        } else {
            Value::Null
        };
        let mut row = json!({ "seq": seq_shown, "id": id, "changes": leaves });
        if document.is_deleted() {
            row["deleted"] = json!(true);
        }
        rows.push(row);
        last = *seq;
    }
    let followed = database.page.filter(|page| (page.last, page.changes) == (since, database.changes));
    let pending = followed.map_or_else(|| database.feed.range(behind()).count(), |page| page.pending) - rows.len();
    database.page = Some(Page {
        last,
        changes: database.changes,
        pending,
    });
    let last = if pending == 0 { database.changes } else { last };
    Answer::json(
        200,
        format!(
            "{{\"results\":[\n{}\n],\n\"last_seq\":\"{}\",\"pending\":{pending}}}\n",
            rows.iter().map(Value::to_string).collect::<Vec<_>>().join(",\n"),
            sequence(last)
        ),
    )
}

/// A revision as JSON, with stubs.
fn shown(id: &str, rev: &str, document: &Document, body: &Body) -> Value {
    let mut members = body.members.clone();
    members.insert("_id".to_owned(), json!(id));
    members.insert("_rev".to_owned(), json!(rev));
    if body.is_deleted {
        members.insert("_deleted".to_owned(), json!(true));
    }
    members.insert("_revisions".to_owned(), document.history(rev));
    if !body.attachments.is_empty() {
        let stub = |(name, attachment): (&String, &Attachment)| {
            let stub = json!({ "content_type": attachment.content_type, "revpos": attachment.revpos, "digest": attachment.digest(),
                               "length": attachment.length, "stub": true });
            (name.clone(), stub)
        };
        members.insert("_attachments".to_owned(), body.attachments.iter().map(stub).collect());
    }
    Value::Object(members)
}

fn bulk_get(database: &Database, body: &Value) -> Answer {
    let result = |asked: &Value| {
        let id = asked["id"].as_str().unwrap_or_default();
        let document = database.documents.get(id);
        // Who names no revision gets all leaves.
        let Some(rev) = asked["rev"].as_str() else {
            let leaves = document
                .into_iter()
                .flat_map(|document| document.leaves().into_iter().map(move |(rev, body)| (document, rev, body)));
            let shown: Vec<Value> = leaves
                .map(|(document, rev, body)| json!({ "ok": shown(id, rev, document, body) }))
                .collect();
            return json!({ "id": id, "docs": shown });
        };
        let found = document.and_then(|document| Some(json!({ "ok": shown(id, rev, document, document.body(rev)?) })));
        let missing = || json!({ "error": { "id": id, "rev": rev, "error": "not_found", "reason": "missing" } });
        json!({ "id": id, "docs": [found.unwrap_or_else(missing)] })
    };
    let results: Vec<Value> = body["docs"].as_array().into_iter().flatten().map(result).collect();
    Answer::json(200, json!({ "results": results }))
}

fn open_revs(database: &Database, id: &str) -> Answer {
    match database.documents.get(id) {
        None => Answer::failure(404, "not_found", "missing"),
        Some(document) => {
            let leaves = document.leaves().into_iter();
            Answer::json(
                200,
                json!(
                    leaves
                        .map(|(rev, body)| json!({ "ok": shown(id, rev, document, body) }))
                        .collect::<Vec<_>>()
                ),
            )
        }
    }
}

fn revs_diff(database: &Database, body: &Value) -> Answer {
    let mut answer = Map::new();
    for (id, revs) in body.as_object().into_iter().flatten() {
        let known = |rev: &str| database.documents.get(id).is_some_and(|document| document.knows(rev));
        let revs = revs.as_array().into_iter().flatten().filter_map(Value::as_str);
        let missing: Vec<&str> = revs.filter(|rev| !known(rev)).collect();
        if !missing.is_empty() {
            answer.insert(id.clone(), json!({ "missing": missing }));
        }
    }
    Answer::json(200, Value::Object(answer))
}

/// What a document that is written says of itself, without `new_edits`.
fn written(document: &Value) -> Option<(String, Vec<String>, Body)> {
    let mut members = document.as_object()?.clone();
    let id = members.remove("_id")?.as_str()?.to_owned();
    let rev = members.remove("_rev")?.as_str()?.to_owned();
    let is_deleted = members.remove("_deleted").is_some_and(|deleted| deleted == true);
    let revisions = members.remove("_revisions")?;
    members.remove("_attachments");
    let names = revisions["ids"].as_array()?.iter().zip(0..);
    let history = names.map(|(name, age)| Some(format!("{}-{}", generation(&rev).checked_sub(age)?, name.as_str()?)));
    let body = Body {
        is_deleted,
        members,
        attachments: BTreeMap::new(),
    };
    Some((id, history.collect::<Option<_>>()?, body))
}

fn bulk_docs(database: &mut Database, body: &Value) -> Answer {
    if body["new_edits"] != false {
        return Answer::failure(400, "bad_request", "this imitation takes replicated revisions only");
    }
    let mut refused = Vec::new();
    for document in body["docs"].as_array().into_iter().flatten() {
        if document.get("_attachments").is_some_and(|attachments| attachments != &json!({})) {
            return Answer::failure(412, "missing_stub", "Invalid attachment stub");
        }
        match written(document) {
            Some((id, history, body)) => database.document(&id).merge(&history, body),
            None => refused.push(json!({ "id": document["_id"], "error": "bad_request", "reason": "no history" })),
        }
    }
    Answer::json(201, json!(refused))
}

/// RFC 2387, in the form that CouchDB takes: the document, then the attachments that follow, in its order.
fn put_multipart(database: &mut Database, id: &str, request: &Request) -> Answer {
    let boundary = request
        .header("content-type")
        .filter(|kind| kind.starts_with("multipart/related"))
        .and_then(|kind| kind.split("boundary=").nth(1))
        .map(|boundary| boundary.trim_matches('"').to_owned());
    let parsed = boundary.and_then(|boundary| parts(&request.body, &boundary));
    let Some((document, mut contents)) = parsed.and_then(|mut parts| {
        let document: Value = serde_json::from_slice(&parts.remove(0)).ok()?;
        Some((document, parts.into_iter()))
    }) else {
        return Answer::failure(400, "bad_request", "not the multipart/related that is taken");
    };
    let Some((written_id, history, mut body)) = written(&document).filter(|(written, _, _)| written == id) else {
        return Answer::failure(400, "doc_validation", "Document ID must be that of the path");
    };
    for (name, described) in document["_attachments"].as_object().into_iter().flatten() {
        let Some(bytes) = contents.next() else {
            return Answer::failure(400, "bad_request", "a part is missing");
        };
        let is_compressed = described["encoding"] == "gzip";
        let sent = if is_compressed {
            &described["encoded_length"]
        } else {
            &described["length"]
        };
        let length = described["length"].as_u64().and_then(|length| usize::try_from(length).ok());
        let attachment = Attachment::kept(
            described["content_type"].as_str().unwrap_or_default(),
            bytes,
            is_compressed,
            length.unwrap_or_default(),
            described["revpos"].as_u64().unwrap_or(1),
        );
        if sent.as_u64() != Some(attachment.bytes.len() as u64) || described["digest"] != attachment.digest() {
            return Answer::failure(400, "bad_request", "an attachment is not what was announced");
        }
        body.attachments.insert(name.clone(), attachment);
    }
    database.document(&written_id).merge(&history, body);
    Answer::json(201, json!({ "ok": true, "id": id, "rev": history[0] }))
}

fn parts(body: &[u8], boundary: &str) -> Option<Vec<Vec<u8>>> {
    let delimiter = format!("--{boundary}");
    let find = |text: &[u8], what: &[u8]| text.windows(what.len()).position(|window| window == what);
    let mut rest = body.strip_prefix(delimiter.as_bytes())?;
    let next = format!("\r\n{delimiter}");
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        let content = &rest[find(rest, b"\r\n\r\n")? + 4..];
        let end = find(content, next.as_bytes())?;
        parts.push(content[..end].to_vec());
        rest = &content[end + next.len()..];
    }
    (!parts.is_empty()).then_some(parts)
}

fn get_attachment(database: &Database, id: &str, name: &str, query: &Query, request: &Request) -> Answer {
    let found = database
        .documents
        .get(id)
        .and_then(|document| document.body(query.get("rev")?))
        .and_then(|body| body.attachments.get(name));
    let Some(attachment) = found else {
        return Answer::failure(404, "not_found", "Document is missing attachment");
    };
    let takes_compressed = request
        .header("accept-encoding")
        .is_some_and(|encodings| encodings.contains("gzip"));
    let mut headers = vec![("Content-Type".to_owned(), attachment.content_type.clone())];
    let body = if attachment.is_compressed && takes_compressed {
        headers.push(("Content-Encoding".to_owned(), "gzip".to_owned()));
        attachment.bytes.clone()
    } else {
        attachment.plain()
    };
    // CouchDB sends parts of what it keeps as it is.
    let ranges = if attachment.is_compressed { "none" } else { "bytes" };
    headers.push(("Accept-Ranges".to_owned(), ranges.to_owned()));
    let from = request.header("range").filter(|_| !attachment.is_compressed).and_then(beginning);
    let (status, body) = match from.filter(|from| *from < body.len()) {
        Some(from) => {
            headers.push((
                "Content-Range".to_owned(),
                format!("bytes {from}-{}/{}", body.len() - 1, body.len()),
            ));
            (206, body[from..].to_vec())
        }
        None => (200, body),
    };
    Answer {
        status,
        headers,
        body,
        break_after: None,
    }
}

/// Where a range begins that has no end: `bytes=7-`.
fn beginning(range: &str) -> Option<usize> {
    range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// Percent-decoded.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| *byte == b'%').and_then(|digits| hex::decode(digits).ok());
        match escaped {
            Some(decoded) => {
                bytes.extend(decoded);
                rest = &after[2..];
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
