//! The sink `local`: a vault in a folder, in restic's own layout, so that plain `restic -r FOLDER` opens it.
//!
//! An object appears whole or not at all: it is written under a temporary name in its own folder, synced, then renamed (or linked, where it must not
//! replace anything), and the folder is synced. Files are 0600, folders 0700.

mod check;
mod layout;
mod list;
mod write;

use bulkhead_sdk::{
    directory::{FileType, Folder, OpenMode},
    host::BEST_TRANSFER,
    prelude::*,
};

/// The name of the one directory that the plugin wants.
const ROOT: &str = "root";

/// Instances worth running at once: enough to keep several fsyncs in flight, few enough for a spinning disk.
const CONCURRENCY: u32 = 4;

/// Settings of the sink: none. Where the vault is, is the directory `root`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}

/// The plugin.
#[derive(Debug)]
pub struct Local {
    /// Opened once and kept: another folder that appears at the same path later (a mount point whose disk has gone) is not the vault.
    root: Option<Folder>,
}

impl Local {
    /// The folder of the vault.
    fn root(&mut self) -> Result<&Folder> {
        let root = match self.root.take() {
            Some(root) => root,
            None => directory::open(ROOT)?,
        };
        Ok(self.root.insert(root))
    }
}

impl Sink for Local {
    type Config = Config;

    fn describe() -> Description {
        let all = Operations::CHECK | Operations::BACKUP | Operations::RESTORE | Operations::VERIFY;
        Description::new("local", env!("CARGO_PKG_VERSION"), "Stores a vault in a folder of this host", all).directory(
            ROOT,
            "The folder of the vault; empty at first, on a file system of its own at best",
            Access::ReadWrite,
            all,
        )
    }

    fn new(_: Config) -> Result<Self> {
        Ok(Self { root: None })
    }

    fn check(&mut self) -> Result<Vec<Finding>> {
        check::check(self.root()?)
    }

    fn traits(&mut self) -> Result<Traits> {
        Ok(Traits {
            max_object_size: i64::MAX as u64,
            concurrency: CONCURRENCY,
            // A folder that is missing is told by the call that needs it.
            conditional_put: self.root().is_ok_and(write::has_hard_links),
            object_lock: false,
        })
    }

    fn initialize(&mut self) -> Result<()> {
        layout::initialize(self.root()?)
    }

    fn put(&mut self, key: &str, body: &mut ObjectReader<'_>, options: PutOptions) -> Result<()> {
        layout::require_key(key)?;
        write::put(self.root()?, key, body, options.if_absent).map_err(explain_full)
    }

    fn get(&mut self, key: &str, range: Option<ByteRange>, into: &mut ObjectWriter<'_>) -> Result<()> {
        layout::require_key(key)?;
        read(self.root()?, key, range, into)
    }

    fn list(&mut self, prefix: &str, page: Option<&str>) -> Result<Page> {
        list::list(self.root()?, prefix, page)
    }

    fn stat(&mut self, key: &str) -> Result<Option<Object>> {
        layout::require_key(key)?;
        match self.root()?.stat(key) {
            Ok(stat) if stat.file_type == FileType::Regular => Ok(Some(Object {
                key: key.to_owned(),
                size: stat.size,
            })),
            Ok(_) => Err(Error::new(ErrorKind::Conflict, format!("{key} is not a regular file"))),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn delete(&mut self, key: &str) -> Result<()> {
        layout::require_key(key)?;
        write::delete(self.root()?, key)
    }
}

/// Writes the object, or a range of it, to `into`.
fn read(root: &Folder, key: &str, range: Option<ByteRange>, into: &mut ObjectWriter<'_>) -> Result<()> {
    let file = root.open_file(key, OpenMode::Read)?;
    let size = file.stat()?.size;
    let range = range.unwrap_or(ByteRange { offset: 0, length: size });
    let beyond = || {
        Error::new(
            ErrorKind::Corrupt,
            format!(
                "{key} has {size} bytes, fewer than the {} at {} asked for",
                range.length, range.offset
            ),
        )
    };
    let end = range
        .offset
        .checked_add(range.length)
        .filter(|end| *end <= size)
        .ok_or_else(beyond)?;
    let mut offset = range.offset;
    while offset < end {
        let max = usize::try_from(end - offset).map_or(BEST_TRANSFER, |left| left.min(BEST_TRANSFER));
        let piece = file.read_at(offset, max)?.filter(|piece| !piece.is_empty()).ok_or_else(beyond)?;
        into.write_bytes(&piece)?;
        offset += piece.len() as u64;
    }
    Ok(())
}

/// The path on the host, as the operator wrote it.
fn location() -> String {
    let root = directory::grants().into_iter().find(|grant| grant.name == ROOT);
    root.map_or_else(|| "the folder of the vault".to_owned(), |grant| grant.location)
}

/// What to do about a full disk.
fn explain_full(error: Error) -> Error {
    if error.kind != ErrorKind::StorageFull || error.hint.is_some() {
        return error;
    }
    let location = location();
    error.with_hint(format!("make room on the file system of {location} (space and inodes: `df -h {location}; df -i {location}`), then run again; nothing that was stored is lost"))
}

bulkhead_sdk::export_sink!(Local);
