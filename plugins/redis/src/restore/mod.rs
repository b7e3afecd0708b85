//! Bringing a snapshot back: [`restore`], into a folder where a server will be started (`directory.rs`) or into a server that is running
//! (`live.rs`), whichever the target grants.

mod directory;
mod live;
mod routes;
mod window;

use bulkhead_sdk::{
    Error, ErrorKind, Result, directory as folders, endpoint, snapshot,
    source::{RestoreRequest, RestoreResult},
};

use crate::{backup::DUMP, config::RestoreOptions, connection::SERVER};

pub(crate) use directory::DIRECTORY;

/// Restores what the request asks for.
pub(crate) fn restore(request: &RestoreRequest) -> Result<RestoreResult> {
    let options: RestoreOptions = request.options()?;
    let folder = folders::grants().iter().any(|grant| grant.name == DIRECTORY);
    let server = endpoint::settings(SERVER).is_ok();
    match (folder, server) {
        (true, false) => directory::restore(request, &options),
        (false, true) => live::restore(request, &options),
        (true, true) => Err(Error::new(
            ErrorKind::Config,
            "the restore target grants a directory and a server: which of them is meant?",
        )
        .with_hint("make two targets: one with `directory.data` for a `dump.rdb`, one with `endpoint.server` for a live server")),
        (false, false) => Err(Error::new(ErrorKind::NotGranted, "the restore target grants neither a directory nor a server").with_hint(
            "add `directory.data = { path = \"…\", access = \"read-write\" }` for a `dump.rdb`, or `endpoint.server = { address = \"…\" }` for a live server",
        )),
    }
}

/// Paths of the datasets that are asked for.
fn datasets(request: &RestoreRequest) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    for entry in snapshot::walk("")? {
        let entry = entry?;
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        if path.rsplit('/').next() == Some(DUMP) && request.selects(&entry.path) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(
            Error::new(ErrorKind::NotFound, format!("no {DUMP} is among what is to be restored"))
                .with_hint("`bulkhead ls PIPELINE` lists the entries"),
        );
    }
    Ok(paths)
}
