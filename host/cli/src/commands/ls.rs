//! `bulkhead ls`

use std::ffi::OsString;

use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::{ListedEntry, SnapshotError};
use clap::Args;

use crate::{
    commands::entry_path,
    error::CommandError,
    exit::Exit,
    output::{bytes, local_time},
    session::{Session, pipeline_in},
};

/// List what is in a snapshot
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bulkhead ls shop\n  bulkhead ls shop base/5 -l\n  bulkhead ls shop --snapshot 3f2a91c4")]
pub(crate) struct LsArguments {
    /// The pipeline
    #[arg(value_name = "PIPELINE")]
    pipeline: String,

    /// List only what is at and below this path
    #[arg(value_name = "PATH", default_value = "")]
    path: OsString,

    /// The beginning of a snapshot's id
    #[arg(long, value_name = "ID", default_value = "latest")]
    snapshot: String,

    /// Read from this sink, one of the vault's; the first one by default
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,

    /// Read the copy in this vault, which is fed from the pipeline's own
    #[arg(long, value_name = "VAULT")]
    vault: Option<String>,

    /// Show permissions, owner, size and time
    #[arg(short, long)]
    long: bool,
}

pub(crate) async fn ls(arguments: &LsArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let pipeline = &pipeline_in(&config, &arguments.pipeline, arguments.vault.as_deref())?;
    let path = entry_path(&arguments.path)?;
    let operation = session.reading(&config, arguments.sink.as_deref(), [pipeline.vault.as_str()])?;
    let failed = |error: SnapshotError| CommandError::operation(&error, &config);
    let snapshot = pipeline::open_snapshot(&operation, pipeline, &arguments.snapshot)
        .await
        .map_err(failed)?;
    let mut listing = snapshot.list(&path).await.map_err(failed)?;
    let mut entries = Vec::new();
    while let Some(entry) = listing.next().await.map_err(failed)? {
        if session.output.is_json() {
            entries.push(entry);
        } else {
            session.output.line(&line(&entry, arguments.long));
        }
    }
    if session.output.is_json() {
        session.output.document(
            "ls",
            &serde_json::json!({ "snapshot": snapshot.id(), "pipeline": pipeline.name, "entries": entries }),
        );
    }
    Ok(Exit::Ok)
}

/// A line of a listing.
pub(super) fn line(entry: &ListedEntry, long: bool) -> String {
    if !long {
        return entry.path.clone();
    }
    let target = entry.target.as_ref().map(|target| format!(" -> {target}")).unwrap_or_default();
    let time = entry.modified.as_deref().map(local_time).unwrap_or_default();
    format!(
        "{} {:>6} {:>6} {:>9} {time:<19} {}{target}",
        permissions(entry),
        entry.uid,
        entry.gid,
        bytes(entry.size),
        entry.path
    )
}

/// As `ls -l` writes them.
fn permissions(entry: &ListedEntry) -> String {
    let kind = match entry.r#type {
        "directory" => 'd',
        "symlink" => 'l',
        "fifo" => 'p',
        "socket" => 's',
        "character-device" => 'c',
        "block-device" => 'b',
        _ => '-',
    };
    let bit = |shift: u32, letter: char| if entry.mode >> shift & 1 == 1 { letter } else { '-' };
    let special = |shift: u32, on: u32, set: char, unset: char| match (entry.mode >> on & 1 == 1, entry.mode >> shift & 1 == 1) {
        (true, true) => set,
        (true, false) => unset,
        (false, executable) => {
            if executable {
                'x'
            } else {
                '-'
            }
        }
    };
    let owner = [bit(8, 'r'), bit(7, 'w'), special(6, 11, 's', 'S')];
    let group = [bit(5, 'r'), bit(4, 'w'), special(3, 10, 's', 'S')];
    let others = [bit(2, 'r'), bit(1, 'w'), special(0, 9, 't', 'T')];
    std::iter::once(kind).chain(owner).chain(group).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_look_as_in_ls() {
        let entry = |r#type, mode| ListedEntry {
            path: "x".into(),
            r#type,
            size: 0,
            mode,
            uid: 0,
            gid: 0,
            modified: None,
            target: None,
        };
        assert_eq!(permissions(&entry("file", 0o644)), "-rw-r--r--");
        assert_eq!(permissions(&entry("directory", 0o1777)), "drwxrwxrwt");
        assert_eq!(permissions(&entry("file", 0o4750)), "-rwsr-x---");
        assert_eq!(permissions(&entry("file", 0o2640)), "-rw-r-S---");
    }
}
