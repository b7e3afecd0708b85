//! Databases back into a server: [`restore`]. Every leaf revision is written with the history that it had, as a replication does, so that trees, conflicts and tombstones
//! come back; nothing that is there is changed.

mod database;
mod limits;
mod local;
mod multipart;
mod writer;

use bulkhead_patterns::Patterns;
use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt, progress,
    source::{RestoreRequest, RestoreResult},
    types::{Fact, Finding},
};

use crate::{
    config::{Existing, RestoreOptions},
    names,
    record::{Inventory, Record},
    server::Server,
};

/// Starts replications as soon as it has documents.
const REPLICATOR: &str = "_replicator";
/// CouchDB 3 lets nobody change who may do what with it.
const USERS: &str = "_users";

/// A database, and where it goes.
struct Plan<'r> {
    record: &'r Record,
    target: String,
    /// What the target needs.
    state: State,
}

/// What there is at the target.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    Empty,
    /// Revisions that are there are left alone.
    Filled,
}

/// What was restored, over all databases.
#[derive(Default)]
struct Sums {
    entries: u64,
    bytes: u64,
    documents: u64,
    revisions: u64,
    present: u64,
    attachments: u64,
    local_documents: u64,
    /// Requests that fewer nodes of a cluster have written than they should.
    unconfirmed: u64,
    findings: Vec<Finding>,
}

impl Sums {
    /// What is to be known beside what was restored.
    fn findings(self) -> Vec<Finding> {
        let mut findings = self.findings;
        if self.unconfirmed > 0 {
            let message = format!(
                "{} requests were taken by fewer nodes of the cluster than its quorum, which is how it answers while a node is down",
                self.unconfirmed
            );
            findings.push(Finding::warning("quorum-missed", message).with_hint(
                "what they wrote reaches the other nodes once those are back: leave the nodes that are up as they are until then",
            ));
        }
        findings
    }
}

/// Restores what the request asks for.
pub(crate) fn restore(request: &RestoreRequest) -> Result<RestoreResult> {
    let options: RestoreOptions = request.options()?;
    let inventory = Inventory::stored()?;
    let server = Server::connect(options.attempts, options.user.as_deref())?;
    let mut sums = Sums::default();
    let plans = plan(&server, &inventory, request, &options, &mut sums.findings)?;
    for plan in &plans {
        progress::report(&format!("restoring {}", plan.target), sums.bytes, None);
        database::restore(&server, plan, request, &options, &mut sums)
            .context(|| format!("restoring `{}` into `{}` failed", plan.record.name, plan.target))
            .map_err(resumable)?;
    }
    Ok(RestoreResult {
        entries: sums.entries,
        bytes: sums.bytes,
        facts: vec![
            Fact::new("databases", plans.len()),
            Fact::new("documents", sums.documents),
            Fact::new("revisions", sums.revisions),
            Fact::new("revisions-present", sums.present),
            Fact::new("attachments", sums.attachments),
            Fact::new("local-documents", sums.local_documents),
        ],
        findings: sums.findings(),
    })
}

/// What goes where; refuses, before anything is written, what would get mixed with something else.
fn plan<'r>(
    server: &Server,
    inventory: &'r Inventory,
    request: &RestoreRequest,
    options: &RestoreOptions,
    findings: &mut Vec<Finding>,
) -> Result<Vec<Plan<'r>>> {
    let chosen = (!options.databases.is_empty())
        .then(|| Patterns::new("databases", &options.databases))
        .transpose()?;
    if let Some(unknown) = options.rename.keys().find(|name| !inventory.databases.contains_key(&name[..])) {
        return Err(Error::config(
            format!("rename.{unknown}"),
            format!("the snapshot has no database `{unknown}`"),
        ));
    }
    let mut plans: Vec<Plan<'r>> = Vec::new();
    for (name, record) in &inventory.databases {
        let is_chosen = chosen
            .as_ref()
            .is_none_or(|chosen| chosen.matches(names::component(name).as_bytes()));
        if !is_chosen || !reaches(request, &names::folder(name)) {
            continue;
        }
        if name == REPLICATOR && !options.replicator {
            findings.push(
                Finding::info(
                    "replicator-left-out",
                    "`_replicator` was not restored: its replications would begin at once",
                )
                .with_hint("`config.replicator = true` in the target restores it"),
            );
            continue;
        }
        let target = options.rename.get(name).unwrap_or(name).clone();
        if plans.iter().any(|plan| plan.target == target) {
            return Err(Error::config("rename", format!("two databases would become `{target}`")));
        }
        let state = state(server, &target, options.existing)?;
        plans.push(Plan { record, target, state });
    }
    if plans.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, "no database is among what is to be restored")
            .with_hint("`bulkhead ls PIPELINE databases` lists them"));
    }
    // Nothing is replicated before all of it is there.
    plans.sort_by_key(|plan| plan.target == REPLICATOR);
    Ok(plans)
}

/// Whether anything in `folder` is asked for.
fn reaches(request: &RestoreRequest, folder: &str) -> bool {
    let within = format!("{folder}/");
    request.selects(folder.as_bytes()) || request.paths.iter().any(|path| path.starts_with(within.as_bytes()))
}

fn state(server: &Server, target: &str, existing: Existing) -> Result<State> {
    let info = match server.info(target) {
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(State::Absent),
        info => info?,
    };
    let is_empty = info.doc_count == 0 && info.doc_del_count.unwrap_or_default() == 0;
    match existing {
        _ if is_empty => Ok(State::Empty),
        Existing::Merge => Ok(State::Filled),
        // A server has these by itself, with a design document in them.
        Existing::Fail if target.starts_with('_') && info.doc_count <= 1 => Ok(State::Filled),
        Existing::Fail => Err(Error::new(
            ErrorKind::Conflict,
            format!("`{target}` is on the server already, with {} documents", info.doc_count),
        )
        .with_hint(format!(
            "restore it into another name (`rename = {{ \"{target}\" = \"…\" }}`), or add what it lacks (`existing = \"merge\"`)"
        ))),
    }
}

fn resumable(error: Error) -> Error {
    match error.hint {
        None => error.with_hint("with `existing = \"merge\"` in the target, another restore goes on with what is missing"),
        Some(_) => error,
    }
}
