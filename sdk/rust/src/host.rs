//! The host as a plugin sees it: one object-safe trait with the imports of the ABI, and traits for its resources.
//!
//! The modules of the SDK ([`endpoint`](crate::endpoint), [`entries`](crate::entries), …) are a comfortable layer over [`Host`]. In a component the
//! host is the WebAssembly imports; natively it is whatever [`scope`] put in place on this thread: the test harness
//! (feature `testing`), or the host's real capabilities, when a plugin is run without its sandbox to measure what the sandbox costs. So a
//! plugin's logic is the same code in both worlds.
//!
//! A `Host` is shared by the parts of an operation, which natively are threads: hence `Send + Sync`. Resources belong to one thread at a time: `Send`.
//! All calls take `&self`, as in the ABI; what is dropped before its finishing call is aborted.

use std::any::Any;

use crate::{
    Result,
    digest::Algorithm,
    directory::{Attributes, DirectoryEntry, ExtendedAttribute, Grant, LockKind, Node, OpenMode, Space, SpecialFile, Stat},
    endpoint::{Settings, TlsSession},
    entries::Finished,
    http::Head,
    log::Level,
    metadata::Metadata,
    snapshot::{Entry, Info},
    types::Proof,
};

/// Largest transfer of one call, in bytes (1 MiB). The SDK splits longer writes.
pub const MAX_TRANSFER: usize = 1 << 20;

/// The size of a transfer that moves most bytes per second (256 KiB).
pub const BEST_TRANSFER: usize = 256 << 10;

/// What the host does for a plugin. Limits, ordering and errors of each call are those of the ABI (`wit/`).
pub trait Host: Send + Sync {
    /// Writes a log record.
    fn log(&self, level: Level, message: &str, fields: &[(&str, String)]);
    /// Reports how far the operation is.
    fn progress(&self, phase: &str, bytes: u64, total_bytes: Option<u64>);
    /// Begins a digest. Natively there is one in the SDK, so a host need not bring its own.
    #[cfg(not(target_family = "wasm"))]
    fn hasher(&self, algorithm: Algorithm) -> Box<dyn Hasher> {
        crate::digest::native_hasher(algorithm)
    }
    /// Begins a digest.
    #[cfg(target_family = "wasm")]
    fn hasher(&self, algorithm: Algorithm) -> Box<dyn Hasher>;

    /// Names of the secrets that can be revealed.
    fn secret_names(&self) -> Vec<String>;
    /// The bytes of a secret.
    ///
    /// # Errors
    /// `NotGranted`, `NotFound`.
    fn reveal_secret(&self, name: &str) -> Result<Vec<u8>>;

    /// The operator's settings of an endpoint.
    ///
    /// # Errors
    /// `NotGranted`.
    fn endpoint_settings(&self, name: &str) -> Result<Settings>;
    /// Connects to an endpoint.
    ///
    /// # Errors
    /// `NotGranted`, `Unreachable`, `Limit`.
    fn open_endpoint(&self, name: &str) -> Result<Box<dyn Connection>>;
    /// Connects to one address of an endpoint.
    ///
    /// # Errors
    /// As [`Host::open_endpoint`].
    fn open_address(&self, name: &str, address: &str) -> Result<Box<dyn Connection>>;
    /// Waits until a connection can be read; `deadline` in milliseconds. Positions of those that can.
    ///
    /// # Errors
    /// `Cancelled`; `Internal` for a connection of another host.
    fn wait_any(&self, connections: &[&dyn Connection], deadline: Option<u64>) -> Result<Vec<u32>>;
    /// Begins an HTTP request.
    ///
    /// # Errors
    /// `NotGranted`, `Unreachable`.
    fn send_request(&self, request: &RequestHead<'_>) -> Result<Box<dyn Exchange>>;

    /// The granted directories.
    fn directory_grants(&self) -> Vec<Grant>;
    /// Opens a granted directory.
    ///
    /// # Errors
    /// `NotGranted`, `NotFound`.
    fn open_directory(&self, name: &str) -> Result<Box<dyn Folder>>;

    /// Begins an entry.
    ///
    /// # Errors
    /// `AlreadyExists`, `Limit`, `Cancelled`.
    fn create_entry(&self, path: &[u8], metadata: &Metadata, digest: Option<Algorithm>) -> Result<Box<dyn EntryWriter>>;
    /// Adds an entry without content.
    ///
    /// # Errors
    /// As [`Host::create_entry`].
    fn add_entry(&self, path: &[u8], metadata: &Metadata) -> Result<()>;
    /// Carries an entry of the parent snapshot forward.
    ///
    /// # Errors
    /// `NotFound`.
    fn keep_entry(&self, path: &[u8]) -> Result<Finished>;
    /// Commits a snapshot in the middle of a continuous run; its id.
    ///
    /// # Errors
    /// `Conflict` where the proof does not hold.
    fn commit(&self, proof: &Proof, checkpoint: Option<&[u8]>) -> Result<String>;

    /// The snapshot that this operation is about.
    fn snapshot_info(&self) -> Info;
    /// Entries at and below `path`.
    ///
    /// # Errors
    /// `NotFound`.
    fn walk_snapshot(&self, path: &[u8]) -> Result<Box<dyn Walk>>;
    /// One entry.
    ///
    /// # Errors
    /// `NotFound`.
    fn snapshot_entry(&self, path: &[u8]) -> Result<Entry>;
    /// Opens an entry's content.
    ///
    /// # Errors
    /// `NotFound`.
    fn open_entry(&self, path: &[u8]) -> Result<Box<dyn EntryReader>>;

    /// Starts a part.
    ///
    /// # Errors
    /// `Unsupported` from within a part.
    fn start_part(&self, work: &[u8]) -> Result<Box<dyn Part>>;
}

/// The head of an HTTP request.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// The name of a granted endpoint with a URL.
    pub endpoint: &'a str,
    /// `GET`, …
    pub method: &'a str,
    /// Path and query, percent-encoded.
    pub path: &'a str,
    /// Headers in order.
    pub headers: &'a [(String, Vec<u8>)],
    /// Length of the body; `None` sends it chunked.
    pub content_length: Option<u64>,
}

/// A digest in progress.
pub trait Hasher: Send {
    /// Adds bytes.
    fn update(&self, data: &[u8]);
    /// The digest; further updates begin a new one.
    fn finish(&self) -> Vec<u8>;
}

/// An open connection. `Any`, so that a host finds its own in [`Host::wait_any`].
#[expect(clippy::missing_errors_doc, reason = "the errors are those of the ABI")]
pub trait Connection: Any + Send {
    /// Reads 1 to `max` bytes; `None` at the end of the stream. `deadline` in milliseconds.
    fn read(&self, max: u32, deadline: Option<u64>) -> Result<Option<Vec<u8>>>;
    /// Writes all of at most [`MAX_TRANSFER`] bytes.
    fn write(&self, data: &[u8]) -> Result<()>;
    /// Negotiates TLS, offering application protocols (ALPN) where there are any.
    fn start_tls(&self, protocols: &[&str]) -> Result<TlsSession>;
    /// Says that nothing more will be written.
    fn shutdown(&self) -> Result<()>;
    /// The address that was dialled.
    fn address(&self) -> String;
}

/// An HTTP request and its response.
#[expect(clippy::missing_errors_doc, reason = "the errors are those of the ABI")]
pub trait Exchange: Send {
    /// Sends the next part of the body.
    fn write(&self, data: &[u8]) -> Result<()>;
    /// Ends the body, waits for the response's head.
    fn respond(&self) -> Result<Head>;
    /// Reads the response's body; `None` at its end.
    fn read(&self, max: u32) -> Result<Option<Vec<u8>>>;
}

/// An open regular file.
#[expect(clippy::missing_errors_doc, reason = "the errors are those of the ABI")]
pub trait File: Send {
    /// Up to `max` bytes at `offset`; `None` beyond the end.
    fn read_at(&self, offset: u64, max: u32) -> Result<Option<Vec<u8>>>;
    /// Writes all of at most [`MAX_TRANSFER`] bytes.
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()>;
    /// Cuts or extends.
    fn set_size(&self, size: u64) -> Result<()>;
    /// Its attributes.
    fn stat(&self) -> Result<Stat>;
    /// Changes attributes.
    fn set_attributes(&self, attributes: &Attributes) -> Result<()>;
    /// Locks a range without waiting; `false` where another lock is in the way.
    fn lock_range(&self, offset: u64, length: u64, kind: LockKind) -> Result<bool>;
    /// Gives up what this open file holds of a range.
    fn unlock_range(&self, offset: u64, length: u64) -> Result<()>;
    /// Whether a range could be locked now.
    fn test_range(&self, offset: u64, length: u64, kind: LockKind) -> Result<bool>;
    /// fsync.
    fn sync(&self) -> Result<()>;
}

/// A listing in progress.
pub trait Listing: Send {
    /// Further entries; empty at the end.
    ///
    /// # Errors
    /// `Io`.
    fn next(&self) -> Result<Vec<DirectoryEntry>>;
}

/// A granted folder.
#[expect(clippy::missing_errors_doc, reason = "the errors are those of the ABI")]
#[expect(missing_docs, reason = "one to one the ABI's `folder`")]
pub trait Folder: Send {
    fn open_file(&self, path: &[u8], mode: OpenMode) -> Result<Box<dyn File>>;
    fn create_folder(&self, path: &[u8], mode: u32) -> Result<()>;
    fn list(&self, path: &[u8]) -> Result<Box<dyn Listing>>;
    fn stat(&self, path: &[u8]) -> Result<Stat>;
    fn stat_names(&self, path: &[u8], names: &[Vec<u8>]) -> Result<Vec<Result<Stat>>>;
    fn read_names(&self, path: &[u8], names: &[Vec<u8>], max: u32) -> Result<Vec<Result<Node>>>;
    fn read_link(&self, path: &[u8]) -> Result<Vec<u8>>;
    fn create_symlink(&self, path: &[u8], target: &[u8]) -> Result<()>;
    fn create_hard_link(&self, existing: &[u8], path: &[u8]) -> Result<()>;
    fn rename(&self, from: &[u8], to: &[u8]) -> Result<()>;
    fn remove_file(&self, path: &[u8]) -> Result<()>;
    fn remove_folder(&self, path: &[u8]) -> Result<()>;
    fn set_attributes(&self, path: &[u8], attributes: &Attributes) -> Result<()>;
    fn extended_attributes(&self, path: &[u8]) -> Result<Vec<ExtendedAttribute>>;
    fn set_extended_attribute(&self, path: &[u8], attribute: &ExtendedAttribute) -> Result<()>;
    fn remove_extended_attribute(&self, path: &[u8], name: &[u8]) -> Result<()>;
    fn create_special_file(&self, path: &[u8], node: SpecialFile, mode: u32) -> Result<()>;
    fn sync(&self, path: &[u8]) -> Result<()>;
    fn sync_file_system(&self) -> Result<()>;
    fn space(&self) -> Result<Space>;
}

/// An entry being written.
#[expect(clippy::missing_errors_doc, reason = "the errors are those of the ABI")]
pub trait EntryWriter: Send {
    /// Appends at most [`MAX_TRANSFER`] bytes.
    fn write(&self, data: &[u8]) -> Result<()>;
    /// Appends zeros.
    fn write_zeros(&self, length: u64) -> Result<()>;
    /// Ends the entry.
    fn finish(self: Box<Self>) -> Result<Finished>;
}

/// A walk in progress.
pub trait Walk: Send {
    /// Further entries; empty at the end.
    ///
    /// # Errors
    /// `Corrupt`.
    fn next(&self) -> Result<Vec<Entry>>;
}

/// The content of a stored entry.
#[expect(clippy::missing_errors_doc, reason = "the errors are those of the ABI")]
pub trait EntryReader: Send {
    /// Bytes in all.
    fn size(&self) -> u64;
    /// The next bytes; `None` at the end.
    fn read(&self, max: u32) -> Result<Option<Vec<u8>>>;
    /// Bytes at an offset; `None` beyond the end.
    fn read_at(&self, offset: u64, max: u32) -> Result<Option<Vec<u8>>>;
}

/// A part at work in another instance.
pub trait Part: Send {
    /// Waits for its end: what `run_part` returned.
    ///
    /// # Errors
    /// What `run_part` failed with.
    fn wait(self: Box<Self>) -> Result<Vec<u8>>;
}

/// The content of an object that a sink stores.
#[expect(clippy::missing_errors_doc, reason = "the errors are those of the ABI")]
pub trait ObjectReader {
    /// Bytes in all.
    fn size(&self) -> u64;
    /// SHA-256 of the content.
    fn sha256(&self) -> Vec<u8>;
    /// The next bytes; `None` at the end.
    fn read(&self, max: u32) -> Result<Option<Vec<u8>>>;
    /// Back to the beginning.
    fn rewind(&self);
}

/// Where a sink writes the content of an object that was asked for.
#[expect(clippy::missing_errors_doc, reason = "the errors are those of the ABI")]
pub trait ObjectWriter {
    /// Appends at most [`MAX_TRANSFER`] bytes.
    fn write(&self, data: &[u8]) -> Result<()>;
}

#[cfg(not(target_family = "wasm"))]
pub use crate::native::scope;
#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::native::with_host;
#[cfg(target_family = "wasm")]
pub(crate) use crate::wasm::with_host;
