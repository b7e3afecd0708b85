//! A store in a plain folder, in restic's layout: what `restic -r <folder>` opens.
//!
//! Writes go to a temporary name in the folder `tmp` and are renamed when complete. They are not synced to disk one by one: the `local` sink plugin is
//! what keeps backups; this one serves tests and measurements.

use std::{
    fs,
    io::{self, ErrorKind, IoSlice, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use bulkhead_model::{Fault, FaultKind};
use bytes::Bytes;

use crate::store::{ObjectBody, ObjectInfo, ObjectStore, StoreTraits};

/// Objects as files below a folder.
pub struct FolderStore {
    root: PathBuf,
}

impl FolderStore {
    /// A store below `root`, which [`ObjectStore::initialize`] makes.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }
}

/// Runs file operations where they may block.
async fn blocking<T: Send + 'static>(key: &str, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|error| {
        let kind = match error.kind() {
            ErrorKind::NotFound => FaultKind::NotFound,
            ErrorKind::AlreadyExists => FaultKind::AlreadyExists,
            ErrorKind::PermissionDenied => FaultKind::PermissionDenied,
            ErrorKind::StorageFull => FaultKind::StorageFull,
            ErrorKind::UnexpectedEof => FaultKind::Corrupt,
            _ => FaultKind::Io,
        };
        Fault::new(kind, format!("{key}: {error}"))
    })
}

#[async_trait]
impl ObjectStore for FolderStore {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    async fn traits(&self) -> Result<StoreTraits, Fault> {
        Ok(StoreTraits {
            max_object_size: 1 << 30,
            concurrency: 4,
            conditional_put: true,
        })
    }

    async fn initialize(&self) -> Result<(), Fault> {
        let root = self.root.clone();
        blocking("the folder", move || {
            for folder in ["keys", "snapshots", "index", "locks", "tmp"] {
                fs::create_dir_all(root.join(folder))?;
            }
            (0..256).try_for_each(|number| fs::create_dir_all(root.join(format!("data/{number:02x}"))))
        })
        .await
    }

    async fn put(&self, key: &str, body: ObjectBody, if_absent: bool) -> Result<(), Fault> {
        let path = self.path(key);
        // Not the process's id: one that was killed leaves its files behind, and in a container the next one has the same.
        let name = format!("tmp/{:016x}", rand::random::<u64>());
        let temporary = self.root.join(name);
        blocking(key, move || {
            let written = write_parts(&temporary, &body).and_then(|()| {
                if if_absent {
                    fs::hard_link(&temporary, &path)
                } else {
                    fs::rename(&temporary, &path)
                }
            });
            if if_absent || written.is_err() {
                fs::remove_file(&temporary)?;
            }
            written
        })
        .await
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, Fault> {
        let path = self.path(key);
        blocking(key, move || {
            let Some(range) = range else {
                return fs::read(path).map(Bytes::from);
            };
            let mut file = fs::File::open(path)?;
            file.seek(SeekFrom::Start(range.start))?;
            let mut content = vec![0; (range.end - range.start) as usize];
            file.read_exact(&mut content)?;
            Ok(Bytes::from(content))
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, Fault> {
        let (root, wanted) = (self.root.clone(), prefix.to_owned());
        blocking(prefix, move || {
            let mut found = Vec::new();
            let folder = wanted.rsplit_once('/').map_or("", |(folder, _)| folder);
            collect(&root, &root.join(folder), &mut found)?;
            found.retain(|object| object.key.starts_with(&wanted) && !object.key.starts_with("tmp/"));
            Ok(found)
        })
        .await
    }

    async fn stat(&self, key: &str) -> Result<Option<ObjectInfo>, Fault> {
        let (path, name) = (self.path(key), key.to_owned());
        blocking(key, move || match fs::metadata(path) {
            Ok(metadata) => Ok(Some(ObjectInfo {
                key: name,
                size: metadata.len(),
            })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<(), Fault> {
        let path = self.path(key);
        blocking(key, move || match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .await
    }
}

fn write_parts(path: &Path, body: &ObjectBody) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    let mut slices: Vec<IoSlice<'_>> = body.parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut left = slices.as_mut_slice();
    while left.iter().any(|slice| !slice.is_empty()) {
        let written = file.write_vectored(left)?;
        if written == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut left, written);
    }
    Ok(())
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<ObjectInfo>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(root, &entry.path(), found)?;
        } else if let Ok(key) = entry.path().strip_prefix(root) {
            let size = match entry.metadata() {
                Ok(metadata) => metadata.len(),
                // Removed since it was found, as locks are all the time.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            found.push(ObjectInfo {
                key: key.to_string_lossy().into_owned(),
                size,
            });
        }
    }
    Ok(())
}
