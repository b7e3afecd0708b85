//! Databases back in their places: [`restore`].

use bulkhead_sdk::{
    Result, ResultExt, directory,
    metadata::NodeType,
    progress,
    snapshot::{self, Entry},
    source::{RestoreRequest, RestoreResult},
};

use crate::{config::RestoreOptions, inventory::INVENTORY};

/// Writes what is asked for into the granted directories, which have the names that they had in the backup.
pub(crate) fn restore(request: &RestoreRequest) -> Result<RestoreResult> {
    let options: RestoreOptions = request.options()?;
    let mut result = RestoreResult::default();
    for entry in snapshot::walk("")? {
        let entry = entry?;
        if entry.path == INVENTORY.as_bytes() || entry.metadata.node_type != NodeType::File || !request.selects(&entry.path) {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path).into_owned();
        place(&entry, &options, &mut result).context(|| format!("restoring {name} failed"))?;
    }
    Ok(result)
}

fn place(entry: &Entry, options: &RestoreOptions, result: &mut RestoreResult) -> Result<()> {
    let slash = entry.path.iter().position(|byte| *byte == b'/').unwrap_or(entry.path.len());
    let (grant, path) = (
        String::from_utf8_lossy(&entry.path[..slash]),
        &entry.path[(slash + 1).min(entry.path.len())..],
    );
    let folder = directory::open(&grant)?;
    let parent = path.iter().rposition(|byte| *byte == b'/').map_or(&path[..0], |end| &path[..end]);
    if !parent.is_empty() {
        folder.create_folders(parent, 0o700)?;
    }
    let bytes = &mut result.bytes;
    bulkhead_sqlite_image::place(&folder, path, entry, options.overwrite, &mut |written| {
        *bytes += written;
        progress::report("writing databases", *bytes, None);
    })?;
    result.entries += 1;
    Ok(())
}
