//! One database: [`restore`] makes it, fills it, and sees that it counts what the snapshot has.

use std::io::BufRead as _;

use bulkhead_sdk::{Error, ErrorKind, Result, metadata::NodeType, snapshot, snapshot::EntryReader, source::RestoreRequest, types::Finding};

use super::{Plan, State, Sums, USERS, limits, local, writer::Writer};
use crate::{
    config::RestoreOptions,
    document::Revision,
    names::{self, url},
    server::{Info, Server},
};

/// Restores what is asked for of a database.
pub(super) fn restore(server: &Server, plan: &Plan<'_>, request: &RestoreRequest, options: &RestoreOptions, sums: &mut Sums) -> Result<()> {
    let folder = names::folder(&plan.record.name);
    if plan.state == State::Absent {
        create(server, plan)?;
    }
    sums.findings.extend(limits::restore(server, plan)?);
    // First: what is secret is so from its first document on.
    security(server, plan, &folder, request, options, sums)?;
    let mut writer = Writer::new(server, plan, &folder, sums);
    // Design documents last: their validation functions judge what is written after them.
    for part in ["documents", "design"] {
        documents(&format!("{folder}/{part}"), request, &mut writer)?;
        writer.flush()?;
    }
    // Last: a checkpoint says that all before it is there.
    if options.local_documents {
        local::restore(server, plan, &folder, request, sums)?;
    }
    if plan.state != State::Filled && request.selects(folder.as_bytes()) {
        server.inspect(&plan.target, |info| compare(plan, &info))?;
    }
    Ok(())
}

fn create(server: &Server, plan: &Plan<'_>) -> Result<()> {
    let info = &plan.record.after;
    let mut query = Vec::new();
    if let Some(shards) = info.cluster.get("q").and_then(serde_json::Value::as_u64) {
        query.push(format!("q={shards}"));
    }
    // What had one copy may get as many as the target's servers have of others; CouchDB makes no more copies than there are servers.
    if let Some(copies) = info
        .cluster
        .get("n")
        .and_then(serde_json::Value::as_u64)
        .filter(|copies| *copies > 1)
    {
        query.push(format!("n={copies}"));
    }
    if info.props.get("partitioned").and_then(serde_json::Value::as_bool) == Some(true) {
        query.push("partitioned=true".to_owned());
    }
    let path = format!("/{}?{}", url(&plan.target), query.join("&"));
    match server.put(path.trim_end_matches('?'), b"") {
        // By an attempt whose answer was lost.
        Err(error) if error.kind == ErrorKind::Conflict => {}
        made => drop(made?),
    }
    Ok(())
}

fn documents(part: &str, request: &RestoreRequest, writer: &mut Writer<'_>) -> Result<()> {
    let walk = match snapshot::walk(part) {
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
        walk => walk?,
    };
    for entry in walk {
        let entry = entry?;
        if entry.metadata.node_type == NodeType::File && request.selects(&entry.path) {
            document(snapshot::open(&entry.path)?, writer)?;
        }
    }
    Ok(())
}

fn document(reader: EntryReader, writer: &mut Writer<'_>) -> Result<()> {
    writer.begin_document(reader.size());
    for line in reader.split(b'\n') {
        let line = line?;
        let revision = Revision::read(&line).map_err(|error| Error {
            kind: ErrorKind::Corrupt,
            ..error
        })?;
        writer.write(revision, line)?;
    }
    Ok(())
}

fn security(
    server: &Server,
    plan: &Plan<'_>,
    folder: &str,
    request: &RestoreRequest,
    options: &RestoreOptions,
    sums: &mut Sums,
) -> Result<()> {
    let path = format!("{folder}/security.json");
    if !options.security || !request.selects(path.as_bytes()) {
        return Ok(());
    }
    let mut reader = match snapshot::open(&path) {
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
        reader => reader?,
    };
    let mut object = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut object)?;
    match server.put(format!("/{}/_security", url(&plan.target)), &object[..]) {
        Err(error) if error.kind == ErrorKind::PermissionDenied && plan.target == USERS => {
            sums.findings.extend(not_secured(server, plan, &object)?);
            return Ok(());
        }
        put => drop(put?),
    }
    sums.entries += 1;
    sums.bytes += object.len() as u64;
    Ok(())
}

/// What there is to say where a server keeps its own security object.
fn not_secured(server: &Server, plan: &Plan<'_>, wanted: &[u8]) -> Result<Option<Finding>> {
    let read = |object: &[u8]| serde_json::from_slice::<serde_json::Value>(object).ok();
    let is = server.setting(&plan.target, "_security")?;
    if is.as_deref().and_then(read) == read(wanted) {
        return Ok(None);
    }
    let message = format!(
        "who may do what with `{}` is as the server has it: CouchDB lets nobody change it, unless it is configured to",
        plan.target
    );
    let finding = Finding::warning("security-kept", message).with_hint(
        "compare the `security.json` of the snapshot; with `users_db_security_editable = true` in the section `couchdb` of its configuration the server takes it \
         (`existing = \"merge\"` restores it alone)",
    );
    Ok(Some(finding))
}

/// A database that was empty has to count what was stored.
fn compare(plan: &Plan<'_>, info: &Info) -> Result<()> {
    let stored = plan.record.stored;
    let same_deleted = info.doc_del_count.is_none_or(|deleted| deleted == stored.deleted);
    if info.doc_count == stored.documents && same_deleted {
        return Ok(());
    }
    let deleted = info.doc_del_count.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
    Err(Error::new(
        ErrorKind::Conflict,
        format!(
            "it has {} documents and {deleted} deleted ones now, the snapshot has {} and {}",
            info.doc_count, stored.documents, stored.deleted
        ),
    )
    // One copy of a cluster's may be behind the others for a moment.
    .with_retryable(true)
    .with_hint("did somebody write to it meanwhile?"))
}
