//! What `dav-server` asks, answered from a vault: [`DavVault`].

use std::{
    fmt,
    io::SeekFrom,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bulkhead_model::NodeType;
use bytes::{Buf, Bytes};
use dav_server::{
    davpath::DavPath,
    fs::{DavDirEntry, DavFile, DavFileSystem, DavMetaData, FsError, FsFuture, FsResult, FsStream, OpenOptions, ReadDirMeta},
};
use futures_util::stream;

use crate::mount::{
    files::{OpenFile, Streams},
    filesystem::system_time,
    names::{Item, NameError, Names},
};

/// A vault's names and files.
#[derive(Clone)]
pub(crate) struct DavVault {
    names: Arc<Names>,
    streams: Streams,
}

impl DavVault {
    pub(crate) fn new(names: Names) -> Self {
        Self {
            names: Arc::new(names),
            streams: Streams::default(),
        }
    }

    /// What is in a folder: what links lead to under the links' names, and nothing that the protocol has no name for.
    async fn list(&self, path: &[u8]) -> Result<Vec<DavEntry>, NameError> {
        let (number, _) = self.names.resolve(path).await?;
        let (_, items) = self.names.list(number).await?;
        let mut entries = Vec::with_capacity(items.len());
        for item in items.iter() {
            let name = item.name.to_vec();
            let item = match item.metadata.node_type {
                NodeType::Symlink(_) => match self.names.resolve(&[path, b"/", &name].concat()).await {
                    Ok((_, item)) => item,
                    Err(NameError::Read(error)) => return Err(error.into()),
                    Err(_) => continue,
                },
                _ => item.clone(),
            };
            if let Some(metadata) = DavItem::of(&item) {
                entries.push(DavEntry { name, metadata });
            }
        }
        Ok(entries)
    }
}

impl DavFileSystem for DavVault {
    fn open<'a>(&'a self, path: &'a DavPath, options: OpenOptions) -> FsFuture<'a, Box<dyn DavFile>> {
        Box::pin(async move {
            if options.write || options.append || options.create {
                return Err(FsError::Forbidden);
            }
            let (number, item) = self.names.resolve(path.as_bytes()).await.map_err(code)?;
            let metadata = DavItem::of(&item).filter(|item| !item.is_folder).ok_or(FsError::Forbidden)?;
            let reader = self.names.open(number).await.map_err(code)?;
            Ok(Box::new(DavContent {
                metadata,
                at: 0,
                file: OpenFile::new(reader, self.streams.clone()),
            }) as Box<dyn DavFile>)
        })
    }

    fn read_dir<'a>(&'a self, path: &'a DavPath, _: ReadDirMeta) -> FsFuture<'a, FsStream<Box<dyn DavDirEntry>>> {
        Box::pin(async move {
            let entries = self.list(path.as_bytes()).await.map_err(code)?;
            let entries = entries.into_iter().map(|entry| Ok(Box::new(entry) as Box<dyn DavDirEntry>));
            Ok(Box::pin(stream::iter(entries)) as FsStream<_>)
        })
    }

    fn metadata<'a>(&'a self, path: &'a DavPath) -> FsFuture<'a, Box<dyn DavMetaData>> {
        Box::pin(async move {
            let (_, item) = self.names.resolve(path.as_bytes()).await.map_err(code)?;
            let item = DavItem::of(&item).ok_or(FsError::NotFound)?;
            Ok(Box::new(item) as Box<dyn DavMetaData>)
        })
    }
}

/// A folder or a file.
#[derive(Debug, Clone)]
struct DavItem {
    size: u64,
    modified: SystemTime,
    is_folder: bool,
}

impl DavItem {
    /// `None` for devices, pipes and sockets, which the protocol does not have.
    fn of(item: &Item) -> Option<Self> {
        let is_folder = match item.metadata.node_type {
            NodeType::Directory => true,
            NodeType::File => false,
            _ => return None,
        };
        Some(Self {
            size: if is_folder { 0 } else { item.size },
            modified: item.metadata.modified.map_or(UNIX_EPOCH, system_time),
            is_folder,
        })
    }
}

impl DavMetaData for DavItem {
    fn len(&self) -> u64 {
        self.size
    }

    fn modified(&self) -> FsResult<SystemTime> {
        // The protocol's dates begin in 1970.
        Ok(self.modified.max(UNIX_EPOCH))
    }

    fn is_dir(&self) -> bool {
        self.is_folder
    }
}

struct DavEntry {
    name: Vec<u8>,
    metadata: DavItem,
}

impl DavDirEntry for DavEntry {
    fn name(&self) -> Vec<u8> {
        self.name.clone()
    }

    fn metadata(&'_ self) -> FsFuture<'_, Box<dyn DavMetaData>> {
        let metadata = self.metadata.clone();
        Box::pin(async { Ok(Box::new(metadata) as Box<dyn DavMetaData>) })
    }
}

/// A file that a client reads.
struct DavContent {
    metadata: DavItem,
    at: u64,
    file: OpenFile,
}

impl fmt::Debug for DavContent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DavContent").field("at", &self.at).finish_non_exhaustive()
    }
}

impl DavFile for DavContent {
    fn metadata(&'_ mut self) -> FsFuture<'_, Box<dyn DavMetaData>> {
        let metadata = self.metadata.clone();
        Box::pin(async { Ok(Box::new(metadata) as Box<dyn DavMetaData>) })
    }

    fn read_bytes(&'_ mut self, count: usize) -> FsFuture<'_, Bytes> {
        Box::pin(async move {
            let part = self.file.read(self.at, count).await.map_err(|error| code(error.into()))?;
            self.at += part.len() as u64;
            Ok(part)
        })
    }

    fn seek(&'_ mut self, position: SeekFrom) -> FsFuture<'_, u64> {
        Box::pin(async move {
            let at = match position {
                SeekFrom::Start(at) => Some(at),
                SeekFrom::Current(by) => self.at.checked_add_signed(by),
                SeekFrom::End(by) => self.metadata.size.checked_add_signed(by),
            };
            self.at = at.ok_or(FsError::GeneralFailure)?;
            Ok(self.at)
        })
    }

    fn write_buf(&'_ mut self, _: Box<dyn Buf + Send>) -> FsFuture<'_, ()> {
        Box::pin(async { Err(FsError::Forbidden) })
    }

    fn write_bytes(&'_ mut self, _: Bytes) -> FsFuture<'_, ()> {
        Box::pin(async { Err(FsError::Forbidden) })
    }

    fn flush(&'_ mut self) -> FsFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

fn code(error: NameError) -> FsError {
    match error {
        NameError::Missing | NameError::NotAFolder => FsError::NotFound,
        NameError::Read(error) => {
            tracing::warn!(%error, "a mounted entry cannot be read");
            FsError::GeneralFailure
        }
    }
}
