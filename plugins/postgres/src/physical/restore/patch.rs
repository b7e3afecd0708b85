//! Bringing a file that is there to what an entry has: [`patch`].

use bulkhead_sdk::{
    ErrorKind, Result,
    directory::{File, Folder, OpenMode},
    host::BEST_TRANSFER,
    snapshot::{self, Entry},
};

use super::writer::require_whole;

/// A page of PostgreSQL's by default: of a file that differs, such parts are written that do.
const BLOCK: usize = 8 << 10;

/// A file that was compared with an entry.
pub(super) struct Patched {
    /// Bytes of it that were compared.
    pub(super) compared: u64,
    /// Bytes that were written, or would be; `None` where the system refuses to have it written.
    pub(super) written: Option<u64>,
}

/// Opens a file; `None` where the system refuses that.
pub(super) fn open(folder: &Folder, path: &[u8], mode: OpenMode) -> Result<Option<File>> {
    match folder.open_file(path, mode) {
        Err(error) if error.kind == ErrorKind::PermissionDenied => Ok(None),
        opened => opened.map(Some),
    }
}

/// Writes the parts of the file at `path` that differ from the entry's content, and cuts off what is too much. It is only opened for writing where something
/// differs, in a rehearsal too, which so learns of a refusal.
pub(super) fn patch(entry: &Entry, there: &File, folder: &Folder, path: &[u8], is_rehearsal: bool) -> Result<Patched> {
    let size = there.stat()?.size;
    let mut target = None;
    if size > entry.size {
        target = open(folder, path, OpenMode::Modify)?;
        if target.is_none() {
            return Ok(refused(0));
        }
    }
    let mut reader = snapshot::open(&entry.path)?;
    let (mut offset, mut compared, mut written) = (0, 0, 0);
    while let Some(part) = reader.read_bytes(BEST_TRANSFER)? {
        let found = there.read_at(offset, part.len())?.unwrap_or_default();
        compared += found.len() as u64;
        for (begin, block) in (0..).step_by(BLOCK).zip(part.chunks(BLOCK)) {
            if found.get(begin..begin + block.len()) == Some(block) {
                continue;
            }
            if target.is_none() {
                target = open(folder, path, OpenMode::Modify)?;
            }
            match &target {
                None => return Ok(refused(compared)),
                Some(file) if !is_rehearsal => file.write_at(offset + begin as u64, block)?,
                Some(_) => {}
            }
            written += block.len() as u64;
        }
        offset += part.len() as u64;
    }
    require_whole(entry, offset)?;
    if let Some(file) = target.filter(|_| size > entry.size && !is_rehearsal) {
        file.set_size(entry.size)?;
    }
    Ok(Patched {
        compared,
        written: Some(written),
    })
}

fn refused(compared: u64) -> Patched {
    Patched { compared, written: None }
}
