//! The limits of a database, before its documents: [`restore`].

use bulkhead_sdk::{ErrorKind, Result, types::Finding};

use super::{Plan, State};
use crate::{names::url, server::Server};

/// How many ancestors of a revision are kept: shorter than what is stored, it cuts histories off.
const REVISIONS: &str = "_revs_limit";
/// How many purges are remembered. Only CouchDB has it, and not each version.
const PURGES: &str = "_purged_infos_limit";

/// Gives a database that is empty the limits that it had, also one that an interrupted restore has made; one with documents keeps its own. What there is to say about it.
///
/// # Errors
/// Those of the server.
pub(super) fn restore(server: &Server, plan: &Plan<'_>) -> Result<Vec<Finding>> {
    if plan.state == State::Filled {
        return shorter(server, plan).map(Vec::from_iter);
    }
    let purges = plan.record.purged_infos_limit.filter(|_| server.is_couchdb());
    let mut findings = Vec::new();
    for (setting, limit) in [(REVISIONS, plan.record.revs_limit), (PURGES, purges)] {
        if let Some(limit) = limit {
            findings.extend(set(server, plan, setting, limit)?);
        }
    }
    Ok(findings)
}

fn set(server: &Server, plan: &Plan<'_>, setting: &str, limit: u64) -> Result<Option<Finding>> {
    match server.put(format!("/{}/{setting}", url(&plan.target)), limit.to_string()) {
        Err(error) if error.kind == ErrorKind::NotFound => {
            let message = format!("this server has no `{setting}`, which was {limit} for `{}`", plan.record.name);
            Ok(Some(Finding::warning("limit-not-restored", message).with_hint(
                "without `_revs_limit`, compare a long history with that of the snapshot; `_purged_infos_limit` concerns purges only",
            )))
        }
        put => put.map(|_| None),
    }
}

/// Whether a database that is there cuts off histories that the snapshot has.
fn shorter(server: &Server, plan: &Plan<'_>) -> Result<Option<Finding>> {
    let (Some(was), Some(is)) = (plan.record.revs_limit, server.limit(&plan.target, REVISIONS)?) else {
        return Ok(None);
    };
    let message = format!(
        "`{}` keeps {is} revisions of a history, the snapshot was taken with {was}: longer ones are cut off",
        plan.target
    );
    let finding = Finding::warning("histories-shorter", message).with_hint(format!(
        "where they matter, set its `_revs_limit` to {was} and restore the documents anew, or restore into another name"
    ));
    Ok((is < was).then_some(finding))
}
