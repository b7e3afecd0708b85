//! Bringing a snapshot back: [`restore`], as a file for `etcdctl`/`etcdutl` (`file.rs`), or key by key into a running cluster (`live.rs`). What the
//! target grants decides: `directory.target` or `endpoint.server`.

mod batch;
mod file;
mod live;

use bulkhead_sdk::{
    Error, ErrorKind, Result, directory, endpoint,
    source::{RestoreRequest, RestoreResult},
};

use crate::{config::RestoreOptions, rpc::ENDPOINT};

/// The directory that this plugin asks for.
pub(crate) const TARGET: &str = "target";

/// Restores into what the target grants.
pub(crate) fn restore(request: &RestoreRequest) -> Result<RestoreResult> {
    let options: RestoreOptions = request.options()?;
    options.validate()?;
    let has_directory = directory::grants().iter().any(|grant| grant.name == TARGET);
    let has_endpoint = match endpoint::settings(ENDPOINT) {
        Ok(_) => true,
        Err(error) if error.kind == ErrorKind::NotGranted => false,
        Err(error) => return Err(error),
    };
    match (has_directory, has_endpoint) {
        (true, false) => file::restore(request),
        (false, true) => live::restore(request, &options),
        _ => Err(Error::new(ErrorKind::Config, "the target must grant one of `directory.target` and `endpoint.server`").with_hint(
            "`directory.target` gets the snapshot as a file for etcdctl; into the cluster at `endpoint.server` its keys are written one by one",
        )),
    }
}
