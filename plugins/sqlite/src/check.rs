//! Preflight: which databases there are, and whether each can be held still.

use bulkhead_sdk::{Result, types::Finding};
use bulkhead_sqlite_image::{Image, Mode, Pages as _};

use crate::{
    config::Config,
    find::{self, Wanted},
    inventory,
};

/// Looks at every database, and reads none.
pub(crate) fn check(config: &Config, wanted: &Wanted) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for found in find::find(wanted)? {
        findings.extend(found.link_finding());
        for path in &found.paths {
            let name = inventory::name(&[found.grant.as_bytes(), b"/", path].concat());
            let probed = Image::probe(&found.folder, path, &name, config.busy_timeout.0);
            findings.push(probed.map_or_else(|finding| finding, |image| found_one(&name, &image)));
        }
    }
    Ok(findings)
}

fn found_one(name: &str, image: &Image) -> Finding {
    let mode = match image.mode {
        None => "empty",
        Some(Mode::Rollback) => "rollback mode",
        Some(Mode::Wal) => "WAL mode",
    };
    Finding::info("database-found", format!("{name}: {} bytes, {mode}", image.size()))
}
