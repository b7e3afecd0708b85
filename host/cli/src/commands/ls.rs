//! `bulkhead ls`

use std::ffi::OsString;

use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::{ListedEntry, SnapshotError};
use clap::Args;

use crate::{
    commands::stored::Stored,
    error::CommandError,
    exit::Exit,
    output::{bytes, local_time, shown},
    session::Session,
};

/// List what is in a snapshot
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead ls shop\n  bulkhead ls shop base/5 -l\n  bulkhead ls shop --snapshot 3f2a91c4\n  bulkhead ls --vault databases --snapshot 91bb0c11 /etc     whatever wrote it"
)]
pub(crate) struct LsArguments {
    #[command(flatten)]
    stored: Stored,

    /// List only what is at and below this path
    #[arg(value_name = "PATH")]
    path: Option<OsString>,

    /// Show permissions, owner, size and time
    #[arg(short, long)]
    long: bool,
}

pub(crate) async fn ls(arguments: &LsArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    let found = arguments.stored.find(&config, &arguments.path)?;
    let path = found.path()?.cloned().unwrap_or_default();
    let place = found.place();
    let operation = session.reading(&config, arguments.stored.sink.as_deref(), [place.vault])?;
    let failed = |error: SnapshotError| CommandError::operation(&error, &config);
    let snapshot = pipeline::open_snapshot(&operation, place, arguments.stored.selector())
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
            &serde_json::json!({ "snapshot": snapshot.id(), "pipeline": snapshot.pipeline(), "entries": entries }),
        );
    }
    Ok(Exit::Ok)
}

/// A line of a listing.
pub(super) fn line(entry: &ListedEntry, long: bool) -> String {
    if !long {
        return shown(&entry.path);
    }
    let target = entry
        .target
        .as_ref()
        .map(|target| format!(" -> {}", shown(target)))
        .unwrap_or_default();
    let time = entry.modified.as_deref().map(local_time).unwrap_or_default();
    format!(
        "{} {:>6} {:>6} {:>9} {time:<19} {}{target}",
        permissions(entry),
        entry.uid,
        entry.gid,
        bytes(entry.size),
        shown(&entry.path)
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
