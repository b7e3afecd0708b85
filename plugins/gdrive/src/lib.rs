//! The sink `gdrive`: a vault in a folder of Google Drive, in restic's own layout, so that a person sees a normal repository and `restic -r rclone:…` opens
//! it.
//!
//! Version 3 of Drive's API, over the host's `http`, which adds the access token. Objects are sent by resumable uploads (`upload`) and read by ranges
//! (`download`); an instance holds a piece of 256 KiB, never an object. Drive's names are not unique: see `tree`.

mod check;
mod client;
mod config;
mod download;
mod folders;
mod list;
mod refusal;
mod store;
mod tree;
mod upload;

use bulkhead_sdk::prelude::*;

use client::{Client, ENDPOINT};
pub use config::{Config, Removed};
use tree::Tree;

/// The largest file that Drive takes: 5 TB.
const MAX_OBJECT: u64 = 5_000_000_000_000;

/// Instances worth running at once: Drive answers late. It lets one account make a few files a second, which is what few packs are.
const CONCURRENCY: u32 = 8;

/// The plugin.
#[derive(Debug)]
pub struct GoogleDrive {
    tree: Tree,
    removed: Removed,
    piece: u64,
    concurrency: u32,
}

impl Sink for GoogleDrive {
    type Config = Config;

    fn describe() -> Description {
        let all = Operations::CHECK | Operations::BACKUP | Operations::RESTORE | Operations::VERIFY;
        Description::new(
            "gdrive",
            env!("CARGO_PKG_VERSION"),
            "Stores a vault in a folder of Google Drive",
            all,
        )
        .endpoint(
            ENDPOINT,
            "Drive's API, `https://www.googleapis.com`; the host adds the access token of `auth`",
            all,
        )
    }

    fn new(config: Config) -> Result<Self> {
        config.check()?;
        let client = Client { backoff: config.backoff() };
        Ok(Self {
            removed: config.removed,
            piece: config.piece(),
            concurrency: config.concurrency.map_or(CONCURRENCY, std::num::NonZeroU32::get),
            tree: Tree::new(client, config.folder),
        })
    }

    fn check(&mut self) -> Result<Vec<Finding>> {
        check::check(&mut self.tree, self.removed)
    }

    fn traits(&mut self) -> Result<Traits> {
        Ok(Traits {
            max_object_size: MAX_OBJECT,
            concurrency: self.concurrency,
            conditional_put: false,
            object_lock: false,
        })
    }

    fn initialize(&mut self) -> Result<()> {
        check::require_empty(&mut self.tree)?;
        folders::make_all(&mut self.tree)
    }

    fn put(&mut self, key: &str, body: &mut ObjectReader<'_>, options: PutOptions) -> Result<()> {
        require_key(key)?;
        store::put(&mut self.tree, key, body, options.if_absent, self.piece)
    }

    fn get(&mut self, key: &str, range: Option<ByteRange>, into: &mut ObjectWriter<'_>) -> Result<()> {
        require_key(key)?;
        download::read(&mut self.tree, key, range, into)
    }

    fn list(&mut self, prefix: &str, page: Option<&str>) -> Result<Page> {
        list::list(&mut self.tree, prefix, page)
    }

    fn stat(&mut self, key: &str) -> Result<Option<Object>> {
        require_key(key)?;
        let files = self.tree.find(key)?;
        Ok(tree::best(&files).map(|file| Object {
            key: key.to_owned(),
            size: file.size().unwrap_or_default(),
        }))
    }

    fn delete(&mut self, key: &str) -> Result<()> {
        require_key(key)?;
        store::delete(&mut self.tree, key, self.removed)
    }
}

/// Refuses what is not an object of a repository.
fn require_key(key: &str) -> Result<()> {
    if bulkhead_layout::is_key(key) {
        Ok(())
    } else {
        Err(Error::new(ErrorKind::Internal, format!("{key:?} is not the key of an object")))
    }
}

bulkhead_sdk::export_sink!(GoogleDrive);
