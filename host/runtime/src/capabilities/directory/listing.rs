//! Listing a folder in batches, in the file system's order.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use bulkhead_model::Fault;
use rustix::fs::{AtFlags, Dir, FileType as Kind};
use rustix::io::{Errno, Result};
use tokio::sync::OwnedSemaphorePermit;

use super::{FileType, attributes, io_fault};
use crate::capabilities::Budget;

/// Entries that one step returns at most.
const BATCH: usize = 1024;

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// One component.
    pub name: Vec<u8>,
    /// What it stands for.
    pub file_type: FileType,
}

/// A listing in progress.
#[derive(Debug)]
pub struct Listing {
    /// `None` at the end, and after a call that was cut off.
    dir: Option<Dir>,
    path: String,
    budget: Arc<Budget>,
    _place: OwnedSemaphorePermit,
}

impl Listing {
    pub(super) fn new(dir: Dir, path: String, place: OwnedSemaphorePermit, budget: Arc<Budget>) -> Self {
        Self {
            dir: Some(dir),
            path,
            budget,
            _place: place,
        }
    }

    /// Up to 1,024 further entries; empty at the end.
    ///
    /// # Errors
    /// `io`.
    pub async fn next(&mut self) -> std::result::Result<Vec<DirectoryEntry>, Fault> {
        let Some(mut dir) = self.dir.take() else {
            return Ok(Vec::new());
        };
        let path = self.path.clone();
        let step = self.budget.blocking(move || match read_batch(&mut dir) {
            Ok(entries) => Ok((dir, entries)),
            Err(error) => Err(io_fault("list", &path, &error.into())),
        });
        let (dir, entries) = self.budget.within(step).await?;
        if !entries.is_empty() {
            self.dir = Some(dir);
        }
        Ok(entries)
    }
}

fn read_batch(dir: &mut Dir) -> Result<Vec<DirectoryEntry>> {
    let mut entries = Vec::new();
    while entries.len() < BATCH {
        let Some(entry) = dir.read().transpose()? else {
            break;
        };
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            Kind::Unknown => match rustix::fs::statat(dir.fd()?, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Kind::from_raw_mode(stat.st_mode),
                // Removed meanwhile.
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error),
            },
            known => known,
        };
        entries.push(DirectoryEntry {
            name: name.to_vec(),
            file_type: attributes::file_type(kind),
        });
    }
    Ok(entries)
}
