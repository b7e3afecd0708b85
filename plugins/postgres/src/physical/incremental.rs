//! Whole files from what the server sends of them in an incremental backup: [`Rebuild`], and [`whole_label`] for the one file that says that it is one.
//!
//! Source: PostgreSQL's `src/backend/backup/basebackup_incremental.c`. A file called `INCREMENTAL.<name>` has a head of three numbers of four bytes in the server's
//! byte order (a magic number, how many blocks follow, and how many blocks the file has at least), the number of each block that follows, zeros up to the next
//! block's beginning where any follow, and the blocks. Every other block is as it was, or zeros where there was none. Nor is there one where the file was cut meanwhile: it may
//! have grown again, by pages that nothing was written to. The file doesn't say so; [`Pages`] does.
//!
//! A file of which no block follows and whose length has not changed is carried forward unread. Any other is read from the last snapshot from its beginning to its
//! end, also where blocks of it are replaced: so its CRC-32C is compared with what the server said of it when it was stored, and no damage gets into a new file.

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    digest::{Algorithm, Hasher},
    entries::{self, Finished},
    host::BEST_TRANSFER,
    metadata::Metadata,
    snapshot::{self, EntryReader},
};

use super::{
    entry::{Entry, crc_of},
    manifest::Checksum,
    parent::ParentFile,
};

/// What a file begins with.
const MAGIC: u32 = 0xd3ae_1f0d;

/// Bytes of that.
pub(crate) const MAGIC_LENGTH: usize = 4;

/// Whether a file begins as an incremental one, in either order of bytes.
pub(crate) fn is_magic(head: &[u8]) -> bool {
    let first = head.get(..MAGIC_LENGTH);
    [MAGIC.to_le_bytes(), MAGIC.to_be_bytes()]
        .iter()
        .any(|magic| first == Some(&magic[..]))
}

/// Bytes before the numbers of blocks.
const HEAD: usize = 12;

/// Blocks that a file may have here. PostgreSQL makes files of 1 GiB at most, 131,072 blocks, unless it was built otherwise; their numbers are held in memory.
const MAX_BLOCKS: u32 = 1 << 20;

/// A file's pages, as far as what the server sends of it doesn't tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pages {
    /// Bytes of one.
    pub(crate) size: u32,
    /// How many a file has at most.
    pub(crate) segment: u32,
    /// From this number on, none is the parent's: they were cut off since.
    pub(crate) uncut: u32,
}

/// What cannot be put over the parent's file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IncrementalError {
    #[error("it does not begin as an incremental file does")]
    Magic,
    #[error("it has {0} blocks, more than the {MAX_BLOCKS} that are supported")]
    TooLong(u32),
    #[error("it has block {block}, and the server's files have {segment}")]
    Beyond { block: u32, segment: u32 },
    #[error("its blocks are not in order")]
    Order,
    #[error("it has {size} bytes, and states blocks for {expected}")]
    Size { size: u64, expected: u64 },
}

/// A file that is being made whole.
#[derive(Debug)]
pub(crate) struct Rebuild {
    target: Target,
    /// Of what the server sends.
    sent: Hasher,
    state: State,
}

/// What is to be made, and from what.
#[derive(Debug)]
struct Target {
    /// In the snapshot.
    path: Vec<u8>,
    metadata: Metadata,
    /// Bytes that the server sends.
    size: u64,
    pages: Pages,
    parent: ParentFile,
    /// What its manifest states.
    parent_checksum: Checksum,
}

#[derive(Debug)]
enum State {
    /// The beginning, as far as it has come.
    Head(Vec<u8>),
    Kept(Finished),
    Merge(Box<Merge>),
}

/// A whole file and where it came from.
#[derive(Debug)]
pub(crate) struct Rebuilt {
    /// CRC-32C of what the server sent.
    pub(crate) sent: u32,
    pub(crate) finished: Finished,
    pub(crate) checksum: Sum,
    /// Bytes of the parent that were read.
    pub(crate) reread: u64,
}

/// The checksum of what is in the snapshot in place of what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sum {
    /// As the host computed it.
    Computed(u32),
    /// As the parent's manifest has it.
    Stated(Checksum),
}

impl Rebuild {
    /// The entry at `path`, of which the server sends `size` bytes.
    pub(crate) fn new(path: Vec<u8>, metadata: Metadata, size: u64, pages: Pages, parent: Option<ParentFile>) -> Result<Self> {
        let known = parent.and_then(|parent| Some((parent, parent.checksum?)));
        let (parent, parent_checksum) = known.ok_or_else(|| {
            let message = format!(
                "the server sends what has changed of {}, which the last snapshot does not have",
                String::from_utf8_lossy(&path)
            );
            Error::protocol(message).with_hint(WITHOUT_PARENT)
        })?;
        Ok(Self {
            target: Target {
                path,
                metadata,
                size,
                pages,
                parent,
                parent_checksum,
            },
            sent: Hasher::new(Algorithm::Crc32c),
            state: State::Head(Vec::new()),
        })
    }

    /// The next bytes that the server sends.
    pub(crate) fn write(&mut self, data: &[u8]) -> Result<()> {
        self.sent.update(data);
        match &mut self.state {
            State::Head(head) => {
                head.extend_from_slice(data);
                let head = std::mem::take(head);
                self.state = self.target.begin(head)?;
                Ok(())
            }
            // Its head was all that there is: the archive's member has no more bytes than that.
            State::Kept(_) => Ok(()),
            State::Merge(merge) => merge.write(data),
        }
    }

    /// The server has sent all of it.
    pub(crate) fn finish(mut self) -> Result<Rebuilt> {
        let sent = crc_of(&self.sent.finish())?;
        let (finished, checksum, reread) = match self.state {
            State::Head(_) => return Err(self.target.wrong(IncrementalError::Magic)),
            State::Kept(finished) => (finished, Sum::Stated(self.target.parent_checksum), 0),
            State::Merge(merge) => {
                let (finished, crc) = merge.finish()?;
                (finished, Sum::Computed(crc), self.target.parent.size)
            }
        };
        Ok(Rebuilt {
            sent,
            finished,
            checksum,
            reread,
        })
    }
}

/// What to do where the parent is in the way.
const WITHOUT_PARENT: &str =
    "`bulkhead run --full` takes a backup that builds on nothing; `bulkhead verify --read-data` tells what else is damaged";

impl Target {
    fn wrong(&self, error: IncrementalError) -> Error {
        Error::protocol(format!(
            "what the server sent of {} cannot be used",
            String::from_utf8_lossy(&self.path)
        ))
        .with_cause(error)
        .with_setting("incremental")
        .with_hint("`incremental = \"never\"` does without it")
    }

    /// With the head whole, keeps the parent's file, or begins to write over it.
    fn begin(&self, head: Vec<u8>) -> Result<State> {
        let Some(layout) = Layout::read(&head, self.size, self.pages).map_err(|error| self.wrong(error))? else {
            return Ok(State::Head(head));
        };
        let length = layout.length(self.pages.size);
        let from_parent = layout.parents(self.parent.size, self.pages);
        if layout.blocks.is_empty() && length == self.parent.size && length == from_parent {
            return Ok(State::Kept(self.keep()?));
        }
        let mut merge = Merge {
            written: 0,
            length,
            from_parent,
            blocks: layout.blocks.into_iter(),
            missing: 0,
            block_size: self.pages.size,
            entry: Entry::create(&self.path, &self.metadata)?,
            parent: ParentReader::open(self)?,
        };
        merge.write(&head[layout.head..])?;
        Ok(State::Merge(Box::new(merge)))
    }

    fn keep(&self) -> Result<Finished> {
        let kept = entries::keep(&self.path).map_err(|error| self.lost(error))?;
        if kept.size == self.parent.size {
            Ok(kept)
        } else {
            Err(self.damaged())
        }
    }

    /// What is wrong with the parent's file is said so; what passes stays as it is.
    fn lost(&self, error: Error) -> Error {
        if is_lost(&error) { self.damaged().with_cause(error) } else { error }
    }

    fn damaged(&self) -> Error {
        let message = format!(
            "{} is damaged in the last snapshot, on which this one builds",
            String::from_utf8_lossy(&self.path)
        );
        Error::new(ErrorKind::Corrupt, message).with_hint(WITHOUT_PARENT)
    }
}

/// What the beginning of an incremental file says.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    /// Bytes before the first block.
    head: usize,
    /// The blocks that follow, in order.
    blocks: Vec<u32>,
    /// Blocks that the file has at least.
    least: u32,
}

impl Layout {
    /// Reads the beginning of a file of `size` bytes; `None` while there is too little of it.
    ///
    /// Some servers state the length of the whole relation for its first file, where it was cut in a later one.
    fn read(bytes: &[u8], size: u64, pages: Pages) -> Result<Option<Self>, IncrementalError> {
        let number = |place: usize, read: fn([u8; 4]) -> u32| bytes.get(place..place + 4).and_then(|bytes| bytes.try_into().ok()).map(read);
        let Some(little) = number(0, u32::from_le_bytes) else {
            return Ok(None);
        };
        let read = match little {
            MAGIC => u32::from_le_bytes,
            other if other.swap_bytes() == MAGIC => u32::from_be_bytes,
            _ => return Err(IncrementalError::Magic),
        };
        let (Some(count), Some(least)) = (number(4, read), number(8, read)) else {
            return Ok(None);
        };
        let least = least.min(pages.segment);
        let most = count.max(least);
        if most > MAX_BLOCKS {
            return Err(IncrementalError::TooLong(most));
        }
        let numbers = HEAD + count as usize * 4;
        let head = if count == 0 {
            numbers
        } else {
            numbers.next_multiple_of(pages.size as usize)
        };
        let expected = head as u64 + u64::from(count) * u64::from(pages.size);
        if size != expected {
            return Err(IncrementalError::Size { size, expected });
        }
        if bytes.len() < head {
            return Ok(None);
        }
        let blocks: Vec<u32> = (0..count as usize).filter_map(|index| number(HEAD + index * 4, read)).collect();
        if !blocks.is_sorted_by(|one, next| one < next) {
            return Err(IncrementalError::Order);
        }
        match blocks.last() {
            Some(&last) if last >= MAX_BLOCKS => Err(IncrementalError::TooLong(last)),
            Some(&block) if block >= pages.segment => Err(IncrementalError::Beyond {
                block,
                segment: pages.segment,
            }),
            _ => Ok(Some(Self { head, blocks, least })),
        }
    }

    /// Up to where what doesn't follow is the parent's, which has so many bytes: whole blocks, of those that the file has at least and that were never cut off it.
    fn parents(&self, size: u64, pages: Pages) -> u64 {
        let block_size = u64::from(pages.size);
        (u64::from(self.least.min(pages.uncut)) * block_size).min(size - size % block_size)
    }

    /// Bytes of the whole file.
    fn length(&self, block_size: u32) -> u64 {
        let blocks = self.blocks.last().map_or(self.least, |&last| self.least.max(last + 1));
        u64::from(blocks) * u64::from(block_size)
    }
}

/// Blocks on their way over the parent's.
#[derive(Debug)]
struct Merge {
    entry: Entry,
    parent: ParentReader,
    /// Bytes that the whole file will have.
    length: u64,
    /// Up to here, what doesn't come is the parent's; beyond, it is zeros.
    from_parent: u64,
    written: u64,
    /// Those that are still to come.
    blocks: std::vec::IntoIter<u32>,
    /// Bytes that the block that has begun to come still lacks.
    missing: usize,
    block_size: u32,
}

impl Merge {
    fn write(&mut self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            if self.missing == 0 {
                // The size of the member was compared with the number of blocks, so there is one.
                let Some(block) = self.blocks.next() else { return Ok(()) };
                self.fill(u64::from(block) * u64::from(self.block_size))?;
                self.missing = self.block_size as usize;
            }
            let (part, rest) = data.split_at(data.len().min(self.missing));
            self.entry.write(part)?;
            self.written += part.len() as u64;
            self.missing -= part.len();
            data = rest;
        }
        Ok(())
    }

    /// Writes what has not changed, up to `end`.
    fn fill(&mut self, end: u64) -> Result<()> {
        let old = end.min(self.from_parent);
        if self.written < old {
            self.parent.skip(self.written)?;
            self.parent.advance(old, |piece| self.entry.write(piece))?;
            self.written = old;
        }
        if self.written < end {
            self.entry.write_zeros(end - self.written)?;
            self.written = end;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(Finished, u32)> {
        self.fill(self.length)?;
        self.parent.finish()?;
        self.entry.finish()
    }
}

/// The parent's file, read once from its beginning to its end.
#[derive(Debug)]
struct ParentReader {
    reader: EntryReader,
    crc: Hasher,
    /// Bytes that were read, hashed, and not handed on.
    piece: Vec<u8>,
    used: usize,
    position: u64,
    checksum: Checksum,
    damaged: Error,
}

impl ParentReader {
    fn open(target: &Target) -> Result<Self> {
        let reader = snapshot::open(&target.path).map_err(|error| target.lost(error))?;
        if reader.size() != target.parent.size {
            return Err(target.damaged());
        }
        Ok(Self {
            reader,
            crc: Hasher::new(Algorithm::Crc32c),
            piece: Vec::new(),
            used: 0,
            position: 0,
            checksum: target.parent_checksum,
            damaged: target.damaged(),
        })
    }

    fn skip(&mut self, end: u64) -> Result<()> {
        self.advance(end, |_| Ok(()))
    }

    /// Hands on what is before `end`, which is not beyond the file's.
    fn advance(&mut self, end: u64, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while self.position < end {
            if self.used == self.piece.len() {
                self.piece = self.next()?.ok_or_else(|| self.damaged.clone())?;
                self.used = 0;
            }
            let wanted = usize::try_from(end - self.position).unwrap_or(usize::MAX);
            let part = &self.piece[self.used..];
            let part = &part[..part.len().min(wanted)];
            each(part)?;
            self.used += part.len();
            self.position += part.len() as u64;
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let piece = self.reader.read_bytes(BEST_TRANSFER).map_err(|error| {
            if is_lost(&error) {
                self.damaged.clone().with_cause(error)
            } else {
                error
            }
        })?;
        if let Some(piece) = &piece {
            self.crc.update(piece);
        }
        Ok(piece)
    }

    /// Reads the rest, and compares all of it with what the server said of it.
    fn finish(&mut self) -> Result<()> {
        while self.next()?.is_some() {}
        if self.checksum.is(crc_of(&self.crc.finish())?) {
            Ok(())
        } else {
            Err(self.damaged.clone().with_cause("its checksum is not the one in its manifest"))
        }
    }
}

/// Whether what the vault had of the parent is damaged or gone, and will be tomorrow.
pub(crate) fn is_lost(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Corrupt | ErrorKind::NotFound)
}

/// The backup's label without the lines that say that it is incremental: with them, no server would start.
pub(crate) fn whole_label(label: &[u8]) -> Vec<u8> {
    let lines = label.split_inclusive(|&byte| byte == b'\n');
    lines
        .filter(|line| !line.starts_with(b"INCREMENTAL FROM "))
        .flatten()
        .copied()
        .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use bulkhead_sdk::{
        digest::digest,
        testing::{Harness, Snapshot},
        types::Proof,
    };

    use super::*;

    /// Bytes of a block, so that tests are small.
    const BLOCK: u32 = 16;

    /// What a server sends: blocks by number, each of one letter.
    fn sent(least: u32, blocks: &[(u32, u8)], order: fn(u32) -> [u8; 4]) -> Vec<u8> {
        let count = u32::try_from(blocks.len()).unwrap();
        let numbers = [MAGIC, count, least].into_iter().chain(blocks.iter().map(|(number, _)| *number));
        let mut bytes: Vec<u8> = numbers.flat_map(order).collect();
        if count > 0 {
            bytes.resize(bytes.len().next_multiple_of(BLOCK as usize), 0);
        }
        bytes.extend(blocks.iter().flat_map(|(_, letter)| vec![*letter; BLOCK as usize]));
        bytes
    }

    fn blocks(letters: &str) -> Vec<u8> {
        letters
            .bytes()
            .flat_map(|letter| vec![if letter == b'0' { 0 } else { letter }; BLOCK as usize])
            .collect()
    }

    /// Those of a file that was never cut.
    const PAGES: Pages = Pages {
        size: BLOCK,
        segment: u32::MAX,
        uncut: u32::MAX,
    };

    /// Stores one file over the parent's, from what comes in pieces of a size.
    fn rebuild(harness: &Harness, sent: &[u8], pages: Pages, stated: &[u8], piece: usize) -> Result<Rebuilt> {
        harness.run(|| {
            let parent = snapshot::stat("data/base/5/1")?;
            let parent = ParentFile {
                size: parent.size,
                checksum: Some(Checksum::of(crc_of(&digest(Algorithm::Crc32c, stated))?)),
            };
            let path = b"data/base/5/1".to_vec();
            let mut rebuild = Rebuild::new(path, Metadata::file(), sent.len() as u64, pages, Some(parent))?;
            sent.chunks(piece).try_for_each(|piece| rebuild.write(piece))?;
            rebuild.finish()
        })
    }

    fn parent(content: &[u8]) -> Harness {
        Harness::new().snapshot(Snapshot::default().file("data/base/5/1", content))
    }

    /// What is made of the parent's letters.
    fn made(old: &str, sent: &[u8], pages: Pages, piece: usize) -> String {
        let old = blocks(old);
        let harness = parent(&old);
        let rebuilt = rebuild(&harness, sent, pages, &old, piece).unwrap();
        let mut proof = Proof {
            complete: true,
            ..Proof::default()
        };
        proof.count(&rebuilt.finished);
        harness.run(|| entries::commit(&proof, None)).unwrap();
        let content = harness.content("data/base/5/1").unwrap();
        let letters = content.chunks(BLOCK as usize).map(|block| match block[0] {
            0 => '0',
            letter => char::from(letter),
        });
        letters.collect()
    }

    #[test]
    fn blocks_go_over_the_parents() {
        for (least, changed, expected) in [
            (4, &[][..], "abcd"),
            (4, &[(1, b'X')][..], "aXcd"),
            (4, &[(0, b'X'), (3, b'Y')], "XbcY"),
            (2, &[], "ab"),
            (6, &[], "abcd00"),
            (4, &[(6, b'Z')], "abcd00Z"),
            (6, &[(4, b'Y'), (5, b'Z')], "abcdYZ"),
            // It was cut to one block, and grew again: what was cut is gone.
            (1, &[(3, b'Y')], "a00Y"),
            (0, &[], ""),
        ] {
            for piece in [1, 5, 16, 1000] {
                for order in [u32::to_le_bytes, u32::to_be_bytes] {
                    assert_eq!(
                        made("abcd", &sent(least, changed, order), PAGES, piece),
                        expected,
                        "pieces of {piece}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_was_cut_off_is_gone_also_where_the_file_has_grown_again() {
        for (uncut, changed, expected) in [
            (4, &[][..], "abcd"),
            (2, &[], "ab00"),
            (1, &[(2, b'X')], "a0X0"),
            (0, &[(0, b'X')], "X000"),
        ] {
            let pages = Pages { uncut, ..PAGES };
            assert_eq!(made("abcd", &sent(4, changed, u32::to_le_bytes), pages, 16), expected);
        }
    }

    #[test]
    fn no_file_is_longer_than_the_server_makes_them() {
        let pages = Pages { segment: 4, ..PAGES };
        for (least, changed, expected) in [
            (4, &[(3, b'X')][..], "abcX"),
            (6, &[], "abcd"),
            (6, &[(3, b'X')], "abcX"),
            (u32::MAX, &[], "abcd"),
        ] {
            assert_eq!(made("abcd", &sent(least, changed, u32::to_le_bytes), pages, 16), expected);
        }
        let old = blocks("abcd");
        let error = rebuild(&parent(&old), &sent(4, &[(4, b'X')], u32::to_le_bytes), pages, &old, 16).unwrap_err();
        assert!(error.to_string().contains("block 4"), "{error}");
    }

    #[test]
    fn a_parent_that_is_not_what_its_manifest_says_is_noticed_wherever_it_differs() {
        let old = blocks("abcd");
        for place in 0..old.len() {
            let mut damaged = old.clone();
            damaged[place] ^= 1;
            let error = rebuild(&parent(&damaged), &sent(2, &[(1, b'X')], u32::to_le_bytes), PAGES, &old, 7).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
        }
    }

    #[test]
    fn a_parent_that_has_lost_the_file_is_damaged() {
        for changed in [&[][..], &[(0, b'X')]] {
            let sent = sent(4, changed, u32::to_le_bytes);
            let harness = Harness::new().snapshot(Snapshot::default().file("data/base/5/2", "another"));
            let error = harness.run(|| {
                let parent = ParentFile {
                    size: u64::from(4 * BLOCK),
                    checksum: Some(Checksum::of(7)),
                };
                let mut rebuild =
                    Rebuild::new(b"data/base/5/1".to_vec(), Metadata::file(), sent.len() as u64, PAGES, Some(parent)).unwrap();
                rebuild.write(&sent).unwrap_err()
            });
            assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
            assert!(error.hint.unwrap().contains("--full"));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let old = blocks("abcd");
        let good = sent(4, &[(1, b'X'), (2, b'Y')], u32::to_le_bytes);
        let with = |place: usize, number: u32| {
            let mut changed = good.clone();
            changed[place..place + 4].copy_from_slice(&number.to_le_bytes());
            changed
        };
        for (wrong, what) in [
            (with(0, 7), "does not begin"),
            (with(4, 3), "states blocks for"),
            (with(4, u32::MAX), "more than the"),
            (with(8, u32::MAX), "more than the"),
            (with(12, 2), "not in order"),
            (with(12, 3), "not in order"),
            (with(16, u32::MAX), "more than the"),
            (good[..good.len() - 1].to_vec(), "states blocks for"),
            (good[..7].to_vec(), "does not begin"),
            (Vec::new(), "does not begin"),
        ] {
            let error = rebuild(&parent(&old), &wrong, PAGES, &old, 9).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Protocol, "{error}");
            assert!(error.to_string().contains(what), "`{what}` is not in: {error}");
        }
    }

    #[test]
    fn the_label_is_that_of_a_full_backup() {
        let label = b"START WAL LOCATION: 0/2000028\nINCREMENTAL FROM LSN: 0/1000028\nLABEL: bulkhead\nINCREMENTAL FROM TLI: 1\n";
        assert_eq!(whole_label(label), b"START WAL LOCATION: 0/2000028\nLABEL: bulkhead\n");
    }
}
