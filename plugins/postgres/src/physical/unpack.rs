//! From the server's archives to entries of the snapshot: [`Unpacker`], the receiver of a base backup.

use bulkhead_postgres_client::ClientError;
use bulkhead_sdk::{
    Error, ErrorKind, Result,
    digest::Algorithm,
    entries::{self, EntryWriter, Finished},
    host::BEST_TRANSFER,
    metadata::{Metadata, NodeType},
    progress,
    types::{Proof, Timestamp},
};

use super::{
    base_backup::{Point, Receiver, Tablespace},
    layout::{self, Archive},
    manifest::{ManifestError, ManifestItem, ManifestReader, WalRange},
    outcome::Comparison,
    wal::{Segments, WalError},
};
use crate::{
    segment::HEAD,
    server::Server,
    tar::{Header, Kind, TarError, TarEvent, TarReader},
};

/// Bytes between two reports of progress.
const PROGRESS_STEP: u64 = 4 << 20;

/// Ranges of the log that a manifest may name: one for each timeline that the backup ran through.
const MAX_RANGES: usize = 1000;

impl From<TarError> for Error {
    fn from(error: TarError) -> Self {
        Self::protocol("the server's archive cannot be unpacked").with_cause(error)
    }
}

impl From<ManifestError> for Error {
    fn from(error: ManifestError) -> Self {
        let kind = match error {
            ManifestError::Version(_) | ManifestError::Algorithm(_) => ErrorKind::Unsupported,
            _ => ErrorKind::Corrupt,
        };
        Self::new(kind, "the backup manifest cannot be trusted").with_cause(error)
    }
}

impl From<WalError> for Error {
    fn from(error: WalError) -> Self {
        Self::new(ErrorKind::Corrupt, "the backup's write-ahead log cannot make it consistent").with_cause(error)
    }
}

/// A complete base backup, stored.
pub(crate) struct Unpacked {
    pub(crate) proof: Proof,
    pub(crate) start: Point,
    pub(crate) end: Point,
    /// By when the backup had ended, by the server's clock, in seconds since 1970.
    pub(crate) finished: i64,
    /// Files that agree with the manifest.
    pub(crate) verified: u64,
    pub(crate) tablespaces: Vec<u32>,
}

/// Stores a base backup as it arrives.
pub(crate) struct Unpacker {
    data_mode: u32,
    /// Of the cluster: what the archives' members say, for what isn't in an archive.
    owner: (u32, u32),
    content: Content,
    segments: Segments,
    comparison: Comparison,
    ranges: Vec<WalRange>,
    proof: Proof,
    progress: Progress,
    start: Option<Point>,
    end: Option<Point>,
    /// When the server began to send the log of the backup that had just ended.
    log_sent: Option<i64>,
    tablespaces: Vec<u32>,
    /// Whether the manifest came, whole and true.
    manifest: bool,
}

enum Content {
    None,
    Archive {
        archive: Archive,
        tar: Box<TarReader>,
        file: Option<OpenFile>,
    },
    Manifest {
        writer: Entry,
        reader: ManifestReader,
    },
}

struct OpenFile {
    /// As in the manifest.
    path: Vec<u8>,
    entry: Entry,
    size: u64,
    /// Its first bytes, if it is part of the log.
    head: Vec<u8>,
}

impl Unpacker {
    pub(crate) fn new(server: &Server) -> Self {
        Self {
            data_mode: server.data_mode,
            owner: (0, 0),
            content: Content::None,
            segments: Segments::new(server.wal_segment_size, server.identity.system_identifier),
            comparison: Comparison::default(),
            ranges: Vec::new(),
            proof: Proof::default(),
            progress: Progress::default(),
            start: None,
            end: None,
            log_sent: None,
            tablespaces: Vec::new(),
            manifest: false,
        }
    }

    /// Checks that all of it is here and true.
    pub(crate) fn finish(mut self) -> Result<Unpacked> {
        let (Some(start), Some(end), Some(log_sent), true) = (self.start, self.end, self.log_sent, self.manifest) else {
            return Err(ClientError::Answer {
                command: "BASE_BACKUP",
                what: "its end",
            }
            .into());
        };
        let verified = self.comparison.finish()?;
        self.segments.cover(&self.ranges)?;
        let covers = |lsn| self.ranges.iter().any(|range| (range.start..=range.end).contains(&lsn));
        if !covers(start.lsn) || !covers(end.lsn) {
            return Err(ClientError::Answer {
                command: "BASE_BACKUP",
                what: "the backup's start and end in the manifest's ranges of the log",
            }
            .into());
        }
        self.proof.complete = true;
        Ok(Unpacked {
            proof: self.proof,
            start,
            end,
            // A member's time has whole seconds: it ended within this one.
            finished: log_sent + 1,
            verified,
            tablespaces: self.tablespaces,
        })
    }

    fn begin_member(archive: Archive, header: Header) -> Result<Option<OpenFile>> {
        let entry_path = layout::join(&archive.root(), &header.path);
        let metadata = |node_type| {
            Metadata::new(node_type)
                .with_mode(header.mode)
                .with_owner(header.uid, header.gid)
                .with_modified(Timestamp::from_seconds(header.modified))
        };
        match header.kind {
            Kind::File(size) => {
                let entry = Entry::create(&entry_path, &metadata(NodeType::File))?;
                Ok(Some(OpenFile {
                    path: archive.in_manifest(&header.path),
                    entry,
                    size,
                    head: Vec::new(),
                }))
            }
            Kind::Directory => entries::add(&entry_path, &metadata(NodeType::Directory)).map(|()| None),
            Kind::Symlink(target) => entries::add(&entry_path, &metadata(NodeType::Symlink(target))).map(|()| None),
        }
    }

    fn end_member(&mut self, file: OpenFile) -> Result<()> {
        let finished = file.entry.finish()?;
        self.proof.count(&finished);
        let crc = finished
            .digest
            .as_deref()
            .and_then(|digest| digest.try_into().ok())
            .map(u32::from_be_bytes);
        let crc = crc.ok_or_else(|| Error::new(ErrorKind::Internal, "the host computed no CRC-32C for a stored file"))?;
        if let Some(name) = layout::below(&file.path, layout::WAL) {
            self.segments.add(name, finished.size, &file.head)?;
        }
        if finished.size != file.size {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "the vault stored another number of bytes than the server sent",
            ));
        }
        self.comparison.stored(file.path, finished.size, crc);
        Ok(())
    }

    fn archive_data(&mut self, mut bytes: &[u8]) -> Result<()> {
        loop {
            let Content::Archive { archive, tar, file } = &mut self.content else {
                return Ok(());
            };
            match tar.next(&mut bytes)? {
                None => return Ok(()),
                Some(TarEvent::Begin(header)) => {
                    self.owner = (header.uid, header.gid);
                    if layout::below(&header.path, layout::LOG_MARKS).is_some() {
                        self.log_sent.get_or_insert(header.modified);
                    }
                    *file = Self::begin_member(*archive, header)?;
                }
                Some(TarEvent::Data(data)) => {
                    self.progress.add(data.len());
                    if let Some(file) = file {
                        file.write(data)?;
                    }
                }
                Some(TarEvent::End) => {
                    if let Some(file) = file.take() {
                        self.end_member(file)?;
                    }
                }
            }
        }
    }

    fn manifest_data(&mut self, bytes: &[u8]) -> Result<()> {
        let Content::Manifest { writer, reader } = &mut self.content else {
            return Ok(());
        };
        writer.write(bytes)?;
        let (comparison, ranges) = (&mut self.comparison, &mut self.ranges);
        reader.feed(bytes, |item| {
            match item {
                ManifestItem::File(file) => comparison.listed(&file),
                ManifestItem::WalRange(_) if ranges.len() == MAX_RANGES => {
                    return Err(Error::protocol("the manifest names too many ranges of the log"));
                }
                ManifestItem::WalRange(range) => ranges.push(range),
            }
            Ok(())
        })
    }

    /// The folder of an archive isn't in the archive: PGDATA has the mode that the server states, a tablespace's folder is always 0700.
    fn add_root(&self, archive: Archive) -> Result<()> {
        let mode = if archive == Archive::Base { self.data_mode } else { 0o700 };
        entries::add(
            archive.root(),
            &Metadata::directory().with_mode(mode).with_owner(self.owner.0, self.owner.1),
        )
    }
}

impl Receiver for Unpacker {
    fn begin(&mut self, start: Point, tablespaces: &[Tablespace]) -> Result<()> {
        self.start = Some(start);
        self.progress.total = tablespaces.iter().map(|tablespace| tablespace.size).fold(0, u64::saturating_add);
        Ok(())
    }

    fn archive(&mut self, archive: Archive) -> Result<()> {
        if let Archive::Tablespace(oid) = archive {
            self.tablespaces.push(oid);
        }
        self.progress.phase = match archive {
            Archive::Base => "copying PGDATA".into(),
            Archive::Tablespace(oid) => format!("copying tablespace {oid}"),
        };
        self.content = Content::Archive {
            archive,
            tar: Box::default(),
            file: None,
        };
        Ok(())
    }

    fn manifest(&mut self) -> Result<()> {
        self.progress.phase = "comparing with the manifest".into();
        self.progress.report();
        let writer = Entry::create(layout::MANIFEST, &Metadata::file().with_owner(self.owner.0, self.owner.1))?;
        self.content = Content::Manifest {
            writer,
            reader: ManifestReader::default(),
        };
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        match self.content {
            Content::Archive { .. } => self.archive_data(bytes),
            Content::Manifest { .. } => self.manifest_data(bytes),
            Content::None => Err(ClientError::Answer {
                command: "BASE_BACKUP",
                what: "an archive around its data",
            }
            .into()),
        }
    }

    fn content_end(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.content, Content::None) {
            Content::None => Ok(()),
            Content::Archive { archive, tar, .. } => {
                tar.finish()?;
                self.add_root(archive)
            }
            Content::Manifest { writer, reader } => {
                reader.finish()?;
                self.proof.count(&writer.finish()?);
                self.manifest = true;
                Ok(())
            }
        }
    }

    fn end(&mut self, end: Point) -> Result<()> {
        self.end = Some(end);
        Ok(())
    }
}

impl OpenFile {
    fn write(&mut self, data: &[u8]) -> Result<()> {
        if self.head.len() < HEAD {
            let missing = HEAD - self.head.len();
            self.head.extend_from_slice(&data[..data.len().min(missing)]);
        }
        self.entry.write(data)
    }
}

/// An entry whose bytes go to the host in pieces of its favourite size: the server sends 32 KiB at a time.
struct Entry {
    writer: EntryWriter,
    buffer: Vec<u8>,
}

impl Entry {
    fn create(path: &[u8], metadata: &Metadata) -> Result<Self> {
        Ok(Self {
            writer: entries::create_with_digest(path, metadata, Algorithm::Crc32c)?,
            buffer: Vec::new(),
        })
    }

    fn write(&mut self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            if self.buffer.is_empty() && data.len() >= BEST_TRANSFER {
                let (whole, rest) = data.split_at(BEST_TRANSFER);
                self.writer.write_bytes(whole)?;
                data = rest;
                continue;
            }
            let (part, rest) = data.split_at(data.len().min(BEST_TRANSFER - self.buffer.len()));
            self.buffer.extend_from_slice(part);
            data = rest;
            if self.buffer.len() == BEST_TRANSFER {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.writer.write_bytes(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Finished> {
        if !self.buffer.is_empty() {
            self.flush()?;
        }
        self.writer.finish()
    }
}

#[derive(Default)]
struct Progress {
    phase: String,
    bytes: u64,
    reported: u64,
    /// The server's estimate, without the log.
    total: u64,
}

impl Progress {
    fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if self.bytes - self.reported >= PROGRESS_STEP {
            self.report();
        }
    }

    fn report(&mut self) {
        self.reported = self.bytes;
        progress::report(&self.phase, self.bytes, Some(self.total.max(self.bytes)));
    }
}
