//! [`Spool`]: records that wait for the commit, in memory up to a bound and beyond it in a file.
//!
//! They are read again in an order of their own, so each is found by its [`Position`]. The file has no name, so that it is gone with the process, and what is in it is encrypted
//! under a key that is nowhere else: names of entries are as private as their content. A file that cannot be made or written costs memory, not the run.

use std::{
    borrow::Cow,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rand::RngCore;

use crate::{crypto::MasterKey, error::WriteError};

/// Bytes of a segment; a longer record has one of its own.
const SEGMENT: usize = 256 << 10;
/// Bytes that stay in memory.
const IN_MEMORY: usize = 8 << 20;
/// Bytes of a sealed record's length, in front of it.
const LENGTH: usize = 4;
/// Bytes that are read of a record whose length is not known: most have less.
const MOST: usize = 256;

/// Where a record is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position {
    segment: u32,
    offset: u32,
}

/// Records, which are never changed.
pub(crate) struct Spool {
    segments: Vec<Segment>,
    /// Bytes that may still stay in memory.
    room: usize,
    /// Where the file goes, until that is tried.
    folder: Option<PathBuf>,
    aside: Option<Aside>,
    /// Whether what is added goes into the file.
    sets_aside: bool,
}

/// Records one after the other.
enum Segment {
    Plain(Vec<u8>),
    /// Sealed ones that are on their way into the file.
    Sealed(Vec<u8>),
    /// Sealed ones, in the file from here on.
    Filed(u64),
}

/// The file.
struct Aside {
    file: File,
    length: u64,
    key: MasterKey,
}

impl Spool {
    /// Sets aside what is more than a few MiB, in a file in `folder`; without one, all stays in memory.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self::with_room(folder, IN_MEMORY)
    }

    fn with_room(folder: Option<PathBuf>, room: usize) -> Self {
        Self {
            segments: Vec::new(),
            room,
            folder,
            aside: None,
            sets_aside: false,
        }
    }

    /// Adds a record. `None` where 4,294,967,296 segments are not enough.
    pub(crate) fn add(&mut self, record: &[u8]) -> Option<Position> {
        if self.sets_aside {
            self.add_sealed(record)
        } else {
            self.add_plain(record)
        }
    }

    fn add_plain(&mut self, record: &[u8]) -> Option<Position> {
        let fits = match self.segments.last() {
            Some(Segment::Plain(bytes)) => bytes.len() + record.len() <= bytes.capacity(),
            _ => false,
        };
        if !fits {
            let size = SEGMENT.max(record.len());
            if self.room < size && self.open() {
                return self.add_sealed(record);
            }
            self.room = self.room.saturating_sub(size);
            self.segments.push(Segment::Plain(Vec::with_capacity(size)));
        }
        self.append(&[record])
    }

    fn add_sealed(&mut self, record: &[u8]) -> Option<Position> {
        let sealed = self.aside.as_ref()?.key.seal_copy(record).ok()?;
        let length = u32::try_from(sealed.len()).ok()?.to_le_bytes();
        let needed = LENGTH + sealed.len();
        let fits = match self.segments.last() {
            Some(Segment::Sealed(bytes)) => bytes.len() + needed <= SEGMENT,
            _ => false,
        };
        if !fits {
            let Some(buffer) = self.set_aside() else {
                self.sets_aside = false;
                return self.add_plain(record);
            };
            self.segments.push(Segment::Sealed(buffer));
        }
        self.append(&[&length, &sealed])
    }

    /// Appends to the last segment.
    fn append(&mut self, parts: &[&[u8]]) -> Option<Position> {
        let segment = u32::try_from(self.segments.len().checked_sub(1)?).ok()?;
        let (Segment::Plain(bytes) | Segment::Sealed(bytes)) = self.segments.last_mut()? else {
            return None;
        };
        let offset = u32::try_from(bytes.len()).ok()?;
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        Some(Position { segment, offset })
    }

    /// Makes the file. One that cannot be made is not tried again.
    fn open(&mut self) -> bool {
        let Some(folder) = self.folder.take() else { return false };
        match unnamed(&folder) {
            Ok(file) => {
                let key = MasterKey::random();
                self.aside = Some(Aside { file, length: 0, key });
                self.sets_aside = true;
            }
            Err(error) => tracing::warn!(folder = %folder.display(), %error, "entries stay in memory: no file can be made for them"),
        }
        self.sets_aside
    }

    /// Writes the last segment to the file, where it is meant for that; returns a buffer for the next one. `None` where it cannot be written, and stays.
    fn set_aside(&mut self) -> Option<Vec<u8>> {
        let (Some(aside), Some(Segment::Sealed(bytes))) = (&mut self.aside, self.segments.last_mut()) else {
            return Some(Vec::with_capacity(SEGMENT));
        };
        if let Err(error) = aside.file.write_all_at(bytes, aside.length) {
            tracing::warn!(%error, "entries stay in memory: their file cannot be written");
            return None;
        }
        let (mut buffer, offset) = (std::mem::take(bytes), aside.length);
        aside.length += buffer.len() as u64;
        buffer.clear();
        *self.segments.last_mut()? = Segment::Filed(offset);
        Some(buffer)
    }

    /// A record, and whatever follows it where it stands.
    ///
    /// # Errors
    /// [`WriteError::SetAside`]: the file does not give back what was written.
    pub(crate) fn read(&self, position: Position) -> Result<Cow<'_, [u8]>, WriteError> {
        let offset = position.offset as usize;
        match self.segments.get(position.segment as usize) {
            Some(Segment::Plain(bytes)) => Ok(Cow::Borrowed(bytes.get(offset..).unwrap_or_default())),
            Some(Segment::Sealed(bytes)) => self.unseal(bytes.get(offset..).unwrap_or_default()).map(Cow::Owned),
            Some(Segment::Filed(begin)) => self.unseal(&self.fetch(begin + offset as u64)?).map(Cow::Owned),
            None => Err(lost("there is no such record")),
        }
    }

    fn unseal(&self, sealed: &[u8]) -> Result<Vec<u8>, WriteError> {
        let message = length(sealed).and_then(|length| sealed.get(LENGTH..LENGTH + length));
        let mut message = message.ok_or_else(|| lost("a record is cut short"))?.to_vec();
        let aside = self.aside.as_ref().ok_or_else(|| lost("there is no file"))?;
        aside.key.open(&mut message).map(|record| record.to_vec()).map_err(lost)
    }

    /// What is at a place in the file: at least one record.
    fn fetch(&self, offset: u64) -> Result<Vec<u8>, WriteError> {
        let Some(aside) = &self.aside else {
            return Err(lost("there is no file"));
        };
        let left = usize::try_from(aside.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; MOST.min(left)];
        aside.file.read_exact_at(&mut bytes, offset).map_err(lost)?;
        let needed = LENGTH + length(&bytes).ok_or_else(|| lost("a record is cut short"))?;
        if needed > bytes.len() {
            bytes = vec![0; needed.min(left)];
            aside.file.read_exact_at(&mut bytes, offset).map_err(lost)?;
        }
        Ok(bytes)
    }
}

/// The length of the sealed record that begins here.
fn length(bytes: &[u8]) -> Option<usize> {
    let length = bytes.first_chunk::<LENGTH>()?;
    usize::try_from(u32::from_le_bytes(*length)).ok()
}

fn lost(reason: impl std::fmt::Display) -> WriteError {
    WriteError::SetAside(reason.to_string())
}

/// A file that nobody else can find.
fn unnamed(folder: &Path) -> io::Result<File> {
    let path = folder.join(format!("entries-{:016x}", rand::rng().next_u64()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// Records of all lengths, and where they are.
    fn fill(spool: &mut Spool, records: usize) -> Vec<(Position, Vec<u8>)> {
        let record = |number: usize| vec![number as u8; if number == 700 { 3 * SEGMENT } else { number % 600 }];
        (0..records)
            .map(|number| (spool.add(&record(number)).unwrap(), record(number)))
            .collect()
    }

    fn check(spool: &Spool, added: &[(Position, Vec<u8>)]) {
        for (position, record) in added.iter().rev() {
            assert!(spool.read(*position).unwrap().starts_with(record));
        }
    }

    fn in_memory(spool: &Spool) -> usize {
        let held = spool.segments.iter().map(|segment| match segment {
            Segment::Plain(bytes) | Segment::Sealed(bytes) => bytes.capacity(),
            Segment::Filed(_) => 0,
        });
        held.sum()
    }

    #[test]
    fn what_is_set_aside_is_read_again_and_takes_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::with_room(Some(folder.path().to_owned()), 2 * SEGMENT);
        let added = fill(&mut spool, 20_000);
        check(&spool, &added);
        assert!(spool.aside.as_ref().unwrap().length > 5 << 20);
        assert!(in_memory(&spool) < 2 << 20, "{}", in_memory(&spool));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "the file has no name");

        let mut inside = vec![0; 1 << 20];
        spool.aside.as_ref().unwrap().file.read_exact_at(&mut inside, 0).unwrap();
        assert!(
            !inside.windows(64).any(|part| part.iter().all(|byte| *byte == part[0])),
            "it can be read by others"
        );
    }

    #[test]
    fn without_a_file_all_stays_in_memory() {
        for folder in [None, Some(PathBuf::from("/nowhere"))] {
            let mut spool = Spool::with_room(folder, 0);
            let added = fill(&mut spool, 2_000);
            check(&spool, &added);
            assert!(spool.aside.is_none());
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_costs_memory_and_one_that_lies_fails() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::with_room(Some(folder.path().to_owned()), 0);
        let mut added = fill(&mut spool, 2_000);
        let path = folder.path().join("read-only");
        fs::write(&path, []).unwrap();
        let aside = spool.aside.as_mut().unwrap();
        let written = std::mem::replace(&mut aside.file, File::open(&path).unwrap());
        added.extend(fill(&mut spool, 2_000).into_iter().filter(|(_, record)| record.len() < 100));
        assert!(matches!(spool.read(added[0].0), Err(WriteError::SetAside(_))));
        spool.aside.as_mut().unwrap().file = written;
        check(&spool, &added);
        spool.aside.as_ref().unwrap().file.write_all_at(&[1], 100).unwrap();
        assert!(
            added
                .iter()
                .any(|(position, _)| matches!(spool.read(*position), Err(WriteError::SetAside(_))))
        );
    }
}
