//! Into a folder where a server will be started: [`restore`].

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    directory::{self, Folder, OpenMode},
    host::BEST_TRANSFER,
    progress, snapshot,
    source::{RestoreRequest, RestoreResult},
    types::{Fact, Finding},
};

use super::datasets;
use crate::{backup::DUMP, config::RestoreOptions, counts::Counted, failure, sidecar};

/// The granted folder: the server's `dir`.
pub(crate) const DIRECTORY: &str = "data";

/// Files of another dataset, which a server prefers to `dump.rdb`.
const APPEND_ONLY: [&str; 2] = ["appendonlydir", "appendonly.aof"];

/// Restores one dataset, with users and configuration beside it.
pub(crate) fn restore(request: &RestoreRequest, options: &RestoreOptions) -> Result<RestoreResult> {
    if options.chooses() || !options.map_databases.is_empty() {
        return Err(Error::config("keys", "keys and databases can be chosen in a restore into a live server only")
            .with_hint("a `dump.rdb` is restored as it is: remove `keys`, `databases` and `map-databases`, or grant `endpoint.server` instead of a directory"));
    }
    let paths = datasets(request)?;
    let [path] = paths.as_slice() else {
        return Err(Error::new(
            ErrorKind::Config,
            format!("the snapshot has {} shards, and a server starts from one `dump.rdb`", paths.len()),
        )
        .with_hint("restore one shard after the other, each into a directory of its own: `bulkhead restore PIPELINE shards/ID --target TARGET`; or into a live \
                    cluster at once"));
    };
    let folder = directory::open(DIRECTORY)?;
    let parent = path.strip_suffix(DUMP).unwrap_or_default();
    let mut beside = Vec::new();
    for name in [sidecar::ACL, sidecar::CONFIGURATION] {
        match snapshot::stat(format!("{parent}{name}")) {
            Ok(_) => beside.push(name),
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    refuse_leftovers(&folder, &beside, options)?;
    let mut result = RestoreResult::default();
    let rdb = copy_dataset(&folder, path, &beside, options, &mut result)?;
    for name in beside {
        copy_beside(&folder, &format!("{parent}{name}"), name, options, &mut result)?;
    }
    folder.sync("")?;
    result.facts.push(Fact::new("keys", rdb.counts.total()));
    result.facts.push(Fact::new("rdb-version", rdb.version()));
    result.findings.push(advice());
    Ok(result)
}

fn advice() -> Finding {
    Finding::info("start-from-rdb", "start the server in this directory: it loads `dump.rdb`").with_hint(
        "give the files to the server's user (chown redis:redis), start it with `appendonly no`, or it looks for its append-only file instead; `acl.txt` is an \
         ACL file (`aclfile`), `config.json` the former configuration for comparison",
    )
}

/// A server would load what is there already instead, or it would be lost.
fn refuse_leftovers(folder: &Folder, beside: &[&str], options: &RestoreOptions) -> Result<()> {
    for name in APPEND_ONLY {
        if folder.stat(name).is_ok() {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("the directory holds `{name}`, which a server loads instead of `{DUMP}`"),
            )
            .with_hint("restore into an empty directory, or move it away"));
        }
    }
    let mut ours = [DUMP].into_iter().chain(beside.iter().copied());
    if !options.overwrite
        && let Some(name) = ours.find(|name| folder.stat(name).is_ok())
    {
        return Err(
            Error::new(ErrorKind::Conflict, format!("the directory holds a file `{name}` already"))
                .with_hint("restore into an empty directory; `overwrite = true` in the target's config replaces it")
                .with_setting("overwrite"),
        );
    }
    Ok(())
}

/// Under another name until it is whole: a server that is started too early must not find half of it.
fn copy_dataset(folder: &Folder, path: &str, beside: &[&str], options: &RestoreOptions, result: &mut RestoreResult) -> Result<Counted> {
    let unfinished = format!("{DUMP}.restoring");
    let mut file = folder.open_file(&unfinished, OpenMode::Replace)?;
    let mut reader = snapshot::open(path)?;
    let size = reader.size();
    let mut rdb = Counted::new();
    while let Some(piece) = reader.read_bytes(BEST_TRANSFER)? {
        rdb.feed(&piece).map_err(|error| failure::stored(&error, path))?;
        file.write_bytes(&piece)?;
        progress::report("restoring", rdb.position(), Some(size));
    }
    rdb.finish().map_err(|error| failure::stored(&error, path))?;
    file.sync()?;
    drop(file);
    refuse_leftovers(folder, beside, options)?;
    folder.rename(&unfinished, DUMP)?;
    result.entries += 1;
    result.bytes += size;
    Ok(rdb)
}

fn copy_beside(folder: &Folder, path: &str, name: &str, options: &RestoreOptions, result: &mut RestoreResult) -> Result<()> {
    let mut reader = snapshot::open(path)?;
    let mode = if options.overwrite { OpenMode::Replace } else { OpenMode::Create };
    let mut file = folder.open_file(name, mode)?;
    while let Some(piece) = reader.read_bytes(BEST_TRANSFER)? {
        file.write_bytes(&piece)?;
        result.bytes += piece.len() as u64;
    }
    file.sync()?;
    result.entries += 1;
    Ok(())
}
