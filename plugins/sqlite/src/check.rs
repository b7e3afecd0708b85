//! Preflight: which databases there are, and whether each can be held still.

use std::time::Duration;

use bulkhead_sdk::{Result, types::Finding};
use bulkhead_sqlite_image::{Image, Mode, Pages as _};

use crate::{
    config::Config,
    find::{self, Wanted},
    inventory,
};

/// How long to wait for a database that is locked: a run waits longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Looks at every database, and reads none.
pub(crate) fn check(config: &Config, wanted: &Wanted) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for found in find::find(wanted)? {
        findings.extend(found.link_finding());
        for path in &found.paths {
            let name = inventory::name(&[found.grant.as_bytes(), b"/", path].concat());
            findings.push(match Image::hold(&found.folder, path, config.busy_timeout.0.min(PATIENCE)) {
                Ok(image) => {
                    let mode = match image.mode {
                        None => "empty",
                        Some(Mode::Rollback) => "rollback mode",
                        Some(Mode::Wal) => "WAL mode",
                    };
                    Finding::info("database-found", format!("{name}: {} bytes, {mode}", image.size()))
                }
                Err(error) => Finding::of_error("database-unusable", &error.context(format!("{name} cannot be backed up"))),
            });
        }
    }
    Ok(findings)
}
