//! Local documents, where they are asked for: [`restore`]. They have no histories, so one that is there is left alone.

use std::collections::BTreeMap;
use std::io::Read as _;

use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt, metadata::NodeType, snapshot, source::RestoreRequest};
use serde_json::value::RawValue;

use super::{Plan, Sums};
use crate::{
    names::{LOCAL, document_url, url},
    server::Server,
};

/// Writes those of a database that are asked for, and that it lacks.
///
/// # Errors
/// `Corrupt`; those of the server.
pub(super) fn restore(server: &Server, plan: &Plan<'_>, folder: &str, request: &RestoreRequest, sums: &mut Sums) -> Result<()> {
    let walk = match snapshot::walk(format!("{folder}/local")) {
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
        walk => walk?,
    };
    for entry in walk {
        let entry = entry?;
        if entry.metadata.node_type == NodeType::File && request.selects(&entry.path) {
            let mut content = Vec::new();
            snapshot::open(&entry.path)?.read_to_end(&mut content)?;
            document(server, plan, &content, sums).context(|| format!("restoring {} failed", String::from_utf8_lossy(&entry.path)))?;
        }
    }
    Ok(())
}

fn document(server: &Server, plan: &Plan<'_>, content: &[u8], sums: &mut Sums) -> Result<()> {
    let damaged = |error: serde_json::Error| Error::new(ErrorKind::Corrupt, "it is no local document").with_cause(error);
    let mut members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(content).map_err(damaged)?;
    let id: String = serde_json::from_str(members.get("_id").map_or("\"\"", |id| id.get())).map_err(damaged)?;
    if !id.starts_with(LOCAL) {
        return Err(Error::new(ErrorKind::Corrupt, format!("`{id}` is no local document's id")));
    }
    if server.setting(&plan.target, &document_url(&id))?.is_some() {
        sums.present += 1;
        return Ok(());
    }
    // It counts how often that server has written it.
    members.remove("_rev");
    let body = serde_json::to_vec(&members).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
    server.put(format!("/{}/{}", url(&plan.target), document_url(&id)), body)?;
    sums.entries += 1;
    sums.bytes += content.len() as u64;
    sums.local_documents += 1;
    Ok(())
}
