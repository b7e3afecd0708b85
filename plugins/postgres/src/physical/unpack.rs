//! From the server's archives to entries of the snapshot: [`Unpacker`], the receiver of a base backup.

use bulkhead_postgres_client::ClientError;
use bulkhead_sdk::{
    Error, ErrorKind, Result, entries,
    metadata::{Metadata, NodeType},
    progress,
    types::{Proof, Timestamp},
};

use super::{
    base_backup::{Point, Receiver, Tablespace},
    entry::Entry,
    layout::{self, Archive},
    manifest::{ManifestError, ManifestItem, ManifestReader, WalRange},
    manifest_writer::ManifestWriter,
    member::Member,
    outcome::Comparison,
    parent::Parent,
    wal::{Segments, WalError},
};
use crate::{
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
    /// Bytes of files that the server sent.
    pub(crate) received: u64,
    /// Bytes of the last snapshot's files that were read, to put what has changed over them.
    pub(crate) reread: u64,
    pub(crate) tablespaces: Vec<u32>,
}

/// Stores a base backup as it arrives.
pub(crate) struct Unpacker {
    /// What an incremental backup builds on.
    parent: Option<Parent>,
    data_mode: u32,
    /// Of the cluster: what the archives' members say, for what isn't in an archive.
    owner: (u32, u32),
    content: Content,
    segments: Segments,
    comparison: Comparison,
    ranges: Vec<WalRange>,
    proof: Proof,
    progress: Progress,
    reread: u64,
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
        file: Option<Member>,
    },
    Manifest {
        entry: Entry,
        reader: ManifestReader,
        writer: ManifestWriter,
    },
}

impl Unpacker {
    /// For a backup of `server`; an incremental one builds on `parent`.
    pub(crate) fn new(server: &Server, parent: Option<Parent>) -> Self {
        Self {
            parent,
            data_mode: server.data_mode,
            owner: (0, 0),
            content: Content::None,
            segments: Segments::new(server.wal_segment_size, server.identity.system_identifier),
            comparison: Comparison::default(),
            ranges: Vec::new(),
            proof: Proof::default(),
            progress: Progress::default(),
            reread: 0,
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
            received: self.progress.bytes,
            reread: self.reread,
            tablespaces: self.tablespaces,
        })
    }

    fn begin_member(parent: Option<&Parent>, archive: Archive, header: Header) -> Result<Option<Member>> {
        let metadata = |node_type| {
            Metadata::new(node_type)
                .with_mode(header.mode)
                .with_owner(header.uid, header.gid)
                .with_modified(Timestamp::from_seconds(header.modified))
        };
        let add = |node_type| entries::add(layout::join(&archive.root(), &header.path), &metadata(node_type)).map(|()| None);
        match header.kind {
            Kind::File(size) => Member::begin(archive, &header.path, size, metadata(NodeType::File), parent).map(Some),
            Kind::Directory => add(NodeType::Directory),
            Kind::Symlink(ref target) => add(NodeType::Symlink(target.clone())),
        }
    }

    fn end_member(&mut self, file: Member) -> Result<()> {
        let received = file.finish()?;
        self.proof.count(&received.finished);
        self.reread += received.reread;
        if let Some(name) = layout::below(&received.path, layout::WAL) {
            self.segments.add(name, received.size, &received.head)?;
        }
        self.comparison.stored(received);
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
                    *file = Self::begin_member(self.parent.as_ref(), *archive, header)?;
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
        let Content::Manifest { entry, reader, writer } = &mut self.content else {
            return Ok(());
        };
        let (comparison, ranges) = (&mut self.comparison, &mut self.ranges);
        reader.feed_lines(bytes, |line, item| {
            let instead = match item {
                Some(ManifestItem::File(file)) => comparison.listed(&file),
                Some(ManifestItem::WalRange(_)) if ranges.len() == MAX_RANGES => {
                    return Err(Error::protocol("the manifest names too many ranges of the log"));
                }
                Some(ManifestItem::WalRange(range)) => {
                    ranges.push(range);
                    None
                }
                None => None,
            };
            entry.write(&writer.line(line, instead.as_ref()))
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
        self.content = Content::Manifest {
            entry: Entry::create(layout::MANIFEST, &Metadata::file().with_owner(self.owner.0, self.owner.1))?,
            reader: ManifestReader::default(),
            writer: ManifestWriter::default(),
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
            Content::Manifest { entry, reader, .. } => {
                reader.finish()?;
                self.proof.count(&entry.finish()?.0);
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
