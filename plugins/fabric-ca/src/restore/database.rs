//! Databases of CAs into a live PostgreSQL server: [`restore`].

use bulkhead_postgres_logical::{self as logical, LiveOptions};
use bulkhead_sdk::{
    Error, ErrorKind, Result, endpoint,
    source::{RestoreRequest, RestoreResult},
};

use crate::{
    authority,
    config::{Config, RestoreOptions},
    database::postgres::{self, LAYOUT},
    home::Home,
    installation::Installation,
    report,
    stores::Served,
};

/// Restores those that are asked for; `None` where none is.
///
/// # Errors
/// `NotGranted`: no server; `Conflict`: something is in the way; those of the server.
pub(super) fn restore(config: &Config, options: &RestoreOptions, request: &RestoreRequest) -> Result<Option<RestoreResult>> {
    if !postgres::is_stored()? {
        return Ok(None);
    }
    let home = Home::stored()?;
    let authorities = authority::find(&home, &Installation::stored()?)?;
    let mut served = Served::of(&authorities);
    served.retain(|name| request.selects(LAYOUT.database(name).as_bytes()));
    if served.is_empty() {
        return Ok(None);
    }
    if endpoint::settings(postgres::ENDPOINT).is_err() {
        return Err(not_granted());
    }
    let target = postgres::target(config, &served, options.database_user.as_ref())?;
    let mut findings = Vec::new();
    // As long as what is there is still there.
    for name in served.names() {
        let moved = options.rename.get(name).is_some_and(|target| target != name);
        if let (Some(old), Some(authority)) = (options.previous.get(name).or(moved.then_some(name)), served.authority(name)) {
            findings.extend(report::since_served(&target, &authority.label(), name, old)?);
        }
    }
    let live = LiveOptions {
        databases: served.names().cloned().collect(),
        rename: options.rename.clone(),
        globals: Some(false),
        ..LiveOptions::default()
    };
    let mut result = logical::restore(&target, request, &live).map_err(role)?;
    result.findings.splice(0..0, findings);
    Ok(Some(result))
}

fn not_granted() -> Error {
    Error::new(
        ErrorKind::NotGranted,
        "the snapshot has databases of PostgreSQL, and the restore target grants no server",
    )
    .with_hint(format!(
        "add `endpoint.{} = {{ address = \"…\" }}` and `secret.{}` to the target, or restore the path `home` alone",
        postgres::ENDPOINT,
        postgres::PASSWORD
    ))
}

/// A dump has no roles.
fn role(error: Error) -> Error {
    match error.causes.iter().any(|cause| cause == "SQLSTATE 42704") {
        true => {
            error.with_hint("make the role that owns the database first (CREATE ROLE … LOGIN PASSWORD …): a CA's snapshot has no roles")
        }
        false => error,
    }
}
