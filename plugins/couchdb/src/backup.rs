//! A run: [`backup`] reads one database after the other.

use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt,
    source::BackupResult,
    types::{Finding, Proof},
};

use crate::{
    Selection,
    config::Config,
    database::{self, Run},
    record::Inventory,
    server::Server,
};

/// Backs up every database that is meant.
pub(crate) fn backup(config: &Config, selection: &Selection) -> Result<BackupResult> {
    let server = Server::connect(config.attempts, config.user.as_deref())?;
    let names = wanted(&server, selection)?;
    let mut inventory = Inventory {
        server: server.welcome.clone(),
        ..Inventory::default()
    };
    let mut run = Run {
        server: &server,
        config,
        proof: Proof::default(),
        findings: Vec::new(),
    };
    for name in names {
        let before = match server.info(&name) {
            // Between the list and now.
            Err(error) if error.kind == ErrorKind::NotFound => {
                let message = format!("`{name}` was deleted before it was read");
                run.findings.push(Finding::info("database-deleted", message));
                continue;
            }
            before => before.context(|| format!("backing up `{name}` failed"))?,
        };
        let record = database::read(&mut run, &name, before).map_err(|error| explain(error, &name))?;
        inventory.databases.insert(name, record);
    }
    finish(run, &inventory)
}

/// The databases that are meant.
pub(crate) fn wanted(server: &Server, selection: &Selection) -> Result<Vec<String>> {
    let mut names = server.databases()?;
    let all = names.len();
    names.retain(|name| selection.wants(name));
    if names.is_empty() {
        return Err(Error::config("databases", format!("none of the server's {all} databases is meant"))
            .with_hint("`databases` and `exclude` are patterns of names: `[\"channel*\", \"_users\"]`"));
    }
    Ok(names)
}

fn explain(error: Error, name: &str) -> Error {
    let error = error.context(format!("backing up `{name}` failed"));
    match error.kind {
        ErrorKind::NotFound if error.hint.is_none() => {
            error.with_hint("it was deleted while it was read: run again, and leave it out (`exclude`) if databases come and go")
        }
        _ => error,
    }
}

fn finish(mut run: Run<'_>, inventory: &Inventory) -> Result<BackupResult> {
    let records = || inventory.databases.values();
    let sum = |of: fn(&crate::record::Record) -> u64| records().map(of).sum::<u64>();
    let meanwhile = sum(|record| record.changed_meanwhile);
    run.proof.fact("databases", inventory.databases.len());
    run.proof.fact("documents", sum(|record| record.stored.documents));
    run.proof.fact("deleted-documents", sum(|record| record.stored.deleted));
    run.proof.fact("attachments", sum(|record| record.stored.attachments));
    run.proof.fact("attachment-bytes", sum(|record| record.stored.attachment_bytes));
    run.proof.fact("documents-read", sum(|record| record.documents_read));
    run.proof
        .fact("counts-equal", records().filter(|record| record.counts == "equal").count());
    for record in records().filter(|record| !matches!(&record.reading[..], "first" | "continued")) {
        let message = format!("all of `{}` was read: {}", record.name, record.reading);
        run.findings.push(Finding::info("database-read-anew", message));
    }
    if meanwhile > 0 {
        let message = format!(
            "{meanwhile} documents changed after they were read: the snapshot has each as it was at some time during the run, and the next run reads them again"
        );
        run.findings.push(Finding::info("changed-meanwhile", message));
    }
    let finished = inventory.store()?;
    run.proof.count(&finished);
    run.proof.complete = true;
    Ok(BackupResult {
        proof: run.proof,
        checkpoint: None,
        findings: run.findings,
    })
}
