//! A live database at one instant: [`Image`], held there by SQLite's own locks for as long as it is.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    directory::{File, Folder, OpenMode, Stat},
    entries::EntryWriter,
    host::{BEST_TRANSFER, MAX_TRANSFER},
    progress,
    types::Finding,
};

use crate::{
    index, journal,
    locks::{self, Attempt},
    overlay::Overlay,
    pages::{HEADER, Header, Mode, Pages},
    wal::{self, Until},
};

/// Between two attempts to lock. A program in rollback mode that writes one transaction after the other lets go for a fraction of a millisecond between two of them.
const PAUSE: Duration = Duration::from_micros(500);

/// How long a preflight waits for a database that is locked.
const PREFLIGHT_PATIENCE: Duration = Duration::from_secs(1);

/// A database as of one moment. Its locks end with it; until then, nobody changes what it reads.
pub struct Image {
    database: File,
    /// Attributes of the database file.
    pub stat: Stat,
    /// `None` of an empty database.
    pub mode: Option<Mode>,
    page_size: u32,
    size: u64,
    overlay: Overlay,
    /// The log or journal that the overlay is about.
    second: Option<File>,
    log: Log,
}

/// What keeps a write-ahead log as it is.
enum Log {
    /// There is none.
    None,
    /// Locks on its index.
    Locked { _index: File },
    /// It has no index to lock, so nobody had it open at first: its attributes, where it was there.
    Unlocked(Option<Stat>),
}

impl Image {
    /// Holds the database at `path`, after waiting for writers for at most `patience`.
    ///
    /// # Errors
    /// `TimedOut`: a writer did not let go; `SourceDamaged`; `Unsupported`.
    pub fn hold(folder: &Folder, path: &[u8], patience: Duration) -> Result<Self> {
        let begin = Instant::now();
        loop {
            match Self::try_hold(folder, path)? {
                Attempt::Held(image) => return Ok(image),
                Attempt::Busy(reason) if begin.elapsed() >= patience => {
                    let message = format!("it was locked for {} s: {reason}", patience.as_secs());
                    let hint = "raise `busy-timeout`, or look for a transaction that stays open";
                    return Err(Error::new(ErrorKind::TimedOut, message).with_hint(hint));
                }
                Attempt::Busy(_) => sleep(PAUSE),
            }
        }
    }

    /// The same as a preflight, which waits for a second at most where a run waits for `patience`. `name` is the database's.
    ///
    /// # Errors
    /// `database-busy`, a warning: it is locked, and a run may still get it; `database-unusable`: it cannot be held.
    pub fn probe(folder: &Folder, path: &[u8], name: &str, patience: Duration) -> std::result::Result<Self, Finding> {
        Self::hold(folder, path, patience.min(PREFLIGHT_PATIENCE)).map_err(|error| {
            if error.kind == ErrorKind::TimedOut && patience > PREFLIGHT_PATIENCE {
                let message = format!("{name} is in use now ({error}); a run waits for {} s", patience.as_secs());
                return Finding::warning("database-busy", message);
            }
            Finding::of_error("database-unusable", &error.context(format!("{name} cannot be backed up")))
        })
    }

    fn try_hold(folder: &Folder, path: &[u8]) -> Result<Attempt<Self>> {
        let database = folder.open_file(path, OpenMode::Read)?;
        if let Attempt::Busy(reason) = locks::share(&database)? {
            return Ok(Attempt::Busy(reason));
        }
        let stat = database.stat()?;
        let mut image = Self {
            size: stat.size,
            stat,
            database,
            mode: None,
            page_size: 512,
            overlay: Overlay::default(),
            second: None,
            log: Log::None,
        };
        if image.size == 0 {
            return Ok(Attempt::Held(image));
        }
        let header = Header::parse(&image.database.read_at(0, HEADER)?.unwrap_or_default())?;
        (image.mode, image.page_size) = (Some(header.mode), header.page_size);
        let held = match header.mode {
            Mode::Rollback => image.roll_back(folder, path)?,
            Mode::Wal => image.read_log(folder, path)?,
        };
        Ok(match held {
            Attempt::Busy(reason) => Attempt::Busy(reason),
            Attempt::Held(()) => {
                if let Some(pages) = image.overlay.pages {
                    image.size = u64::from(pages) * u64::from(image.page_size);
                }
                Attempt::Held(image)
            }
        })
    }

    /// Without a writer, a journal is one of a transaction that was cut short.
    fn roll_back(&mut self, folder: &Folder, path: &[u8]) -> Result<Attempt<()>> {
        let journal = beside(folder, path, JOURNAL)?;
        if let Some(journal) = journal
            && !locks::is_reserved(&self.database)?
            && let Some(overlay) = journal::read(&journal, self.page_size)?
        {
            (self.overlay, self.second) = (overlay, Some(journal));
        }
        Ok(Attempt::Held(()))
    }

    fn read_log(&mut self, folder: &Folder, path: &[u8]) -> Result<Attempt<()>> {
        let until = match beside(folder, path, INDEX)? {
            None => Until::LastCommit,
            Some(index) => {
                let until = match locks::share_log(&index)? {
                    Attempt::Busy(reason) => return Ok(Attempt::Busy(reason)),
                    Attempt::Held(true) => index::read(&index)?,
                    Attempt::Held(false) => Some(Until::LastCommit),
                };
                self.log = Log::Locked { _index: index };
                let Some(until) = until else {
                    return Ok(Attempt::Busy("a writer commits"));
                };
                until
            }
        };
        let log = beside(folder, path, LOG)?;
        if !matches!(self.log, Log::Locked { .. }) {
            self.log = Log::Unlocked(log.as_ref().map(File::stat).transpose()?);
        }
        if let Some(log) = log {
            self.overlay = wal::read(&log, self.page_size, until)?;
            self.second = Some(log);
        }
        Ok(Attempt::Held(()))
    }

    /// How many pages come from the log or journal.
    #[must_use]
    pub fn second_pages(&self) -> usize {
        self.overlay.len()
    }

    /// Whether what was read is one state after all, where that could not be made sure of by locks.
    ///
    /// # Errors
    /// `Conflict`, retryable: a program began to use it meanwhile.
    pub fn confirm(&self, folder: &Folder, path: &[u8]) -> Result<()> {
        let Log::Unlocked(before) = &self.log else { return Ok(()) };
        let now = beside(folder, path, LOG)?.map(|log| log.stat()).transpose()?;
        if beside(folder, path, INDEX)?.is_none() && now == *before {
            return Ok(());
        }
        let message = "a program opened it while it was read, so the image may be of two moments";
        Err(Error::new(ErrorKind::Conflict, message).with_retryable(true).with_hint("run again"))
    }

    /// Puts pages of the log or journal in their places.
    fn patch(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        let Some(second) = &self.second else { return Ok(()) };
        let page_size = u64::from(self.page_size);
        let page = |offset: u64| u32::try_from(offset / page_size + 1).unwrap_or(u32::MAX);
        let pages = page(offset)..page((offset + bytes.len() as u64).saturating_sub(1)).saturating_add(1);
        for (page, place) in self.overlay.range(pages) {
            let begin = u64::from(page - 1) * page_size;
            // A read may begin and end within a page.
            let (from, to) = (offset.max(begin), (offset + bytes.len() as u64).min(begin + page_size));
            let (length, target) = (to - from, from - offset);
            let (length, target) = (usize::try_from(length).unwrap_or(0), usize::try_from(target).unwrap_or(0));
            let content = second.read_at(place + (from - begin), length)?.unwrap_or_default();
            if content.len() != length {
                return Err(Error::new(ErrorKind::SourceDamaged, "its log ends in the middle of a page"));
            }
            bytes[target..target + length].copy_from_slice(&content);
        }
        Ok(())
    }
}

impl Image {
    /// Writes the whole image into an entry, and tells progress on top of the `before` bytes that the run has stored.
    ///
    /// # Errors
    /// Those of reading the database and of storing.
    pub fn store(&self, entry: &mut EntryWriter, before: u64) -> Result<()> {
        let mut offset = 0;
        while offset < self.size {
            let part = self.read(offset, BEST_TRANSFER)?;
            entry.write_bytes(&part)?;
            offset += part.len() as u64;
            progress::report("reading databases", before + offset, None);
        }
        Ok(())
    }
}

impl Pages for Image {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = length.min(left).min(MAX_TRANSFER);
        if length == 0 {
            return Ok(Vec::new());
        }
        let mut bytes = self.database.read_at(offset, length)?.unwrap_or_default();
        // Pages that are only in the log yet.
        bytes.resize(length, 0);
        self.patch(offset, &mut bytes)?;
        Ok(bytes)
    }
}

/// What SQLite calls the files beside a database.
const JOURNAL: &[u8] = b"-journal";
const LOG: &[u8] = b"-wal";
const INDEX: &[u8] = b"-shm";
pub(crate) const BESIDE: [&[u8]; 3] = [JOURNAL, LOG, INDEX];

/// Whether `path` is that of a log, a journal or an index beside a database, rather than one of a database.
#[must_use]
pub fn is_beside(path: &[u8]) -> bool {
    BESIDE.iter().any(|suffix| path.ends_with(suffix))
}

/// Opens a file beside a database, where it is there and not empty.
fn beside(folder: &Folder, path: &[u8], suffix: &[u8]) -> Result<Option<File>> {
    match folder.open_file([path, suffix].concat(), OpenMode::Read) {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(file) => Ok((file.stat()?.size > 0).then_some(file)),
    }
}
