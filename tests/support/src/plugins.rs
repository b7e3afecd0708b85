//! Components of the plugins that only tests load.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bulkhead_guest_build::GuestBuild;

use crate::{Error, Result};

/// The component of the package `name` in `tests/plugins`, built if it has changed.
///
/// Tests run in processes of their own, and each asks once: Cargo finds within half a second that there is nothing to do.
pub fn component(name: &str) -> Result<PathBuf> {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = built.get(name) {
        return Ok(path.clone());
    }
    let path = build(name)?;
    built.insert(name.to_owned(), path.clone());
    Ok(path)
}

fn build(name: &str) -> Result<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let workspace = workspace.canonicalize().map_err(Error::on_path("find", &workspace))?;
    let mut build = GuestBuild::new(workspace, &[name]);
    build.quiet = true;
    let mut built = build
        .build()
        .map_err(|error| Error::Unusable(format!("cannot build the plugin {name}: {error}")))?;
    built
        .components
        .pop()
        .ok_or_else(|| Error::Unusable(format!("the plugin {name} has no component")))
}
