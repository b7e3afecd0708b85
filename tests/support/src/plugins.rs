//! Components of the plugins that only tests load.

use std::path::{Path, PathBuf};

use bulkhead_guest_build::GuestBuild;

use crate::{Error, Result};

/// The component of the package `name` in `tests/plugins`, built if it has changed.
///
/// Tests run in processes of their own, and each asks: Cargo finds within half a second that there is nothing to do.
pub fn component(name: &str) -> Result<PathBuf> {
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
