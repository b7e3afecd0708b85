//! Files of the server's archives on their way into entries: [`Member`].
//!
//! Most are stored as they come. In an incremental backup some are what has changed of a file, which is made whole ([`Rebuild`]), and the label is stored without
//! the lines that make it one of an incremental backup.

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    digest::{Algorithm, digest},
    entries::Finished,
    metadata::Metadata,
};

use super::{
    entry::{Entry, crc_of},
    incremental::{MAGIC_LENGTH, Rebuild, Sum, is_magic, whole_label},
    layout::{self, Archive},
    parent::Parent,
    truncations::RelationFile,
};
use crate::segment::HEAD;

/// The longest label, in bytes: a few lines, of which one names the backup.
const MAX_LABEL: usize = 64 << 10;

/// A file that is being received.
#[derive(Debug)]
pub(crate) struct Member {
    /// As in the manifest.
    path: Vec<u8>,
    /// Bytes that the server sends.
    size: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Whole {
        entry: Entry,
        /// Its first bytes, if it is part of the log.
        head: Vec<u8>,
    },
    Changes(Box<Rebuild>),
    Undecided(Box<Undecided>),
    Label {
        entry: Entry,
        label: Vec<u8>,
    },
}

/// What has changed of a relation's file, by its name; or a user's own file that is called so. Its first bytes tell.
#[derive(Debug)]
struct Undecided {
    /// In the snapshot, as it is called.
    path: Vec<u8>,
    metadata: Metadata,
    /// As far as they have come.
    head: Vec<u8>,
    /// How the relation's file is made whole, unless there is nothing to make it of.
    changes: Option<Result<Rebuild>>,
}

impl Undecided {
    /// Takes all that has come of it.
    fn decide(&mut self) -> Result<Content> {
        let changes = self.changes.take().filter(|_| is_magic(&self.head));
        let mut content = match changes {
            Some(rebuild) => Content::Changes(Box::new(rebuild?)),
            None => Content::whole_at(&self.path, &self.metadata)?,
        };
        content.write(&self.head)?;
        Ok(content)
    }
}

/// A file that was received, and what is stored of it.
#[derive(Debug)]
pub(crate) struct Received {
    /// As in the manifest.
    pub(crate) path: Vec<u8>,
    /// Bytes that the server sent.
    pub(crate) size: u64,
    /// CRC-32C of these.
    pub(crate) crc: u32,
    /// What was stored, where it is something else.
    pub(crate) instead: Option<Instead>,
    /// Bytes of the last snapshot's file that were read for it.
    pub(crate) reread: u64,
    pub(crate) finished: Finished,
    /// The first bytes of a file that was stored as it came.
    pub(crate) head: Vec<u8>,
}

/// What the snapshot has in place of what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instead {
    pub(crate) size: u64,
    pub(crate) checksum: Sum,
}

impl Member {
    /// The file at `path` in `archive`, of which the server sends `size` bytes; `parent` is what an incremental backup builds on.
    pub(crate) fn begin(archive: Archive, path: &[u8], size: u64, metadata: Metadata, parent: Option<&Parent>) -> Result<Self> {
        let content = match parent {
            Some(parent) => Content::of_incremental(archive, path, size, metadata, parent)?,
            None => Content::whole(archive, path, &metadata)?,
        };
        Ok(Self {
            path: archive.in_manifest(path),
            size,
            content,
        })
    }

    pub(crate) fn write(&mut self, data: &[u8]) -> Result<()> {
        self.content.write(data)
    }

    pub(crate) fn finish(self) -> Result<Received> {
        let Self { path, size, content } = self;
        match content {
            Content::Whole { entry, head } => {
                let (finished, crc) = entry.finish()?;
                if finished.size != size {
                    return Err(Error::new(
                        ErrorKind::Corrupt,
                        "the vault stored another number of bytes than the server sent",
                    ));
                }
                Ok(Received {
                    path,
                    size,
                    crc,
                    instead: None,
                    reread: 0,
                    finished,
                    head,
                })
            }
            Content::Undecided(mut undecided) => Self {
                path,
                size,
                content: undecided.decide()?,
            }
            .finish(),
            Content::Changes(rebuild) => {
                let rebuilt = rebuild.finish()?;
                let reread = rebuilt.reread;
                let received = Received::instead(path, size, rebuilt.sent, rebuilt.finished, rebuilt.checksum);
                Ok(Received { reread, ..received })
            }
            Content::Label { mut entry, label } => {
                entry.write(&whole_label(&label))?;
                let (finished, stored) = entry.finish()?;
                let crc = crc_of(&digest(Algorithm::Crc32c, &label))?;
                Ok(Received::instead(path, size, crc, finished, Sum::Computed(stored)))
            }
        }
    }
}

impl Content {
    fn write(&mut self, data: &[u8]) -> Result<()> {
        match self {
            Self::Whole { entry, head } => {
                let missing = HEAD.saturating_sub(head.len());
                head.extend_from_slice(&data[..data.len().min(missing)]);
                entry.write(data)
            }
            Self::Changes(rebuild) => rebuild.write(data),
            Self::Undecided(undecided) => {
                undecided.head.extend_from_slice(data);
                if undecided.head.len() >= MAGIC_LENGTH {
                    *self = undecided.decide()?;
                }
                Ok(())
            }
            Self::Label { label, .. } if label.len() + data.len() > MAX_LABEL => Err(Error::protocol("the backup's label is too long")),
            Self::Label { label, .. } => {
                label.extend_from_slice(data);
                Ok(())
            }
        }
    }

    fn whole(archive: Archive, path: &[u8], metadata: &Metadata) -> Result<Self> {
        Self::whole_at(&layout::join(&archive.root(), path), metadata)
    }

    /// The same at a path of the snapshot.
    fn whole_at(path: &[u8], metadata: &Metadata) -> Result<Self> {
        Ok(Self::Whole {
            entry: Entry::create(path, metadata)?,
            head: Vec::new(),
        })
    }

    fn of_incremental(archive: Archive, path: &[u8], size: u64, metadata: Metadata, parent: &Parent) -> Result<Self> {
        if archive == Archive::Base && path == layout::LABEL {
            return Ok(Self::Label {
                entry: Entry::create(&layout::join(&archive.root(), path), &metadata)?,
                label: Vec::new(),
            });
        }
        let Some(whole) = layout::whole(path) else {
            return Self::whole(archive, path, &metadata);
        };
        let entry = layout::join(&archive.root(), &whole);
        let known = parent.file(&entry);
        let Some(file) = RelationFile::of(&entry) else {
            // A user's own file may be called so, too. It is told from one whose name a later server would give a relation.
            let own = known.is_none() || parent.file(&layout::join(&archive.root(), path)).is_some();
            return if own {
                Self::whole(archive, path, &metadata)
            } else {
                Err(unknown(&entry))
            };
        };
        Ok(Self::Undecided(Box::new(Undecided {
            path: layout::join(&archive.root(), path),
            metadata: metadata.clone(),
            head: Vec::new(),
            changes: Some(Rebuild::new(entry, metadata, size, parent.pages(file), known)),
        })))
    }
}

fn unknown(path: &[u8]) -> Error {
    let message = format!(
        "the server sends what has changed of {}, which is no file of a relation that this version knows",
        String::from_utf8_lossy(path)
    );
    Error::protocol(message)
        .with_setting("incremental")
        .with_hint("`bulkhead run --full` takes a backup that builds on nothing; where that comes each time, `incremental = \"never\"` does without it")
}

impl Received {
    fn instead(path: Vec<u8>, size: u64, crc: u32, finished: Finished, checksum: Sum) -> Self {
        let instead = Instead {
            size: finished.size,
            checksum,
        };
        Self {
            path,
            size,
            crc,
            instead: Some(instead),
            reread: 0,
            finished,
            head: Vec::new(),
        }
    }
}
