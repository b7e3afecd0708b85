//! `bulkhead mount`: all snapshots of a vault as a read-only file system, through FUSE, or through WebDAV where there is none.
//!
//! Nothing is read before it is asked for, and little is kept: folders that were looked into last, chunks that were read last, and for some files what
//! comes next.

mod files;
mod filesystem;
mod fuse;
mod names;
mod webdav;

use std::{
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use bulkhead_vault::{SnapshotInfo, Vault};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    access::AccessError,
    browse::{self, SnapshotError, UnreadableSnapshot},
    failure::{Explain, Failure, FailureClass},
    mount::{filesystem::VaultFilesystem, names::Names, webdav::WebDav},
    operation::Operation,
};

/// What is mounted where.
#[derive(Debug, Clone, Serialize)]
pub struct Mounted {
    /// The vault.
    pub vault: String,
    /// Where it can be looked into.
    #[serde(flatten)]
    pub place: MountPlace,
    /// How many snapshots it has: those that the vault had when it was mounted.
    pub snapshots: usize,
    /// Snapshots that it lacks: their files can't be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableSnapshot>,
}

/// Where a mounted vault can be looked into.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum MountPlace {
    /// In a folder.
    Folder {
        /// The folder.
        folder: PathBuf,
    },
    /// Over WebDAV (RFC 4918), on this machine.
    WebDav {
        /// The address, with name and password: whoever has it may read the vault while it is mounted.
        url: WebDavUrl,
    },
}

/// `http://bulkhead:PASSWORD@127.0.0.1:PORT/`; `Debug` leaves the password out.
#[derive(Clone)]
pub struct WebDavUrl(pub(crate) Zeroizing<String>);

impl WebDavUrl {
    /// With name and password.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Serialize for WebDavUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Debug for WebDavUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WebDavUrl(…)")
    }
}

/// Why a vault could not be mounted, or not be unmounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The vault can't be opened or read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The folder is none, or can't be used.
    #[error("cannot mount into {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The operating system has no FUSE, or doesn't let us use it.
    #[error("cannot mount {}", folder.display())]
    Fuse {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The address is not this machine's own.
    #[error("{0} can be reached from other machines")]
    Exposed(SocketAddr),
    /// Nobody can listen there.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The mounted file system broke down.
    #[error("the file system that was mounted at {} broke down", folder.display())]
    Broken {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What to do where FUSE can't be used.
const WITHOUT_FUSE: &str = "install FUSE (Debian: `apt-get install fuse3`; in a container, give it /dev/fuse and the right to mount), or do without: \
                            `bulkhead mount VAULT --webdav 127.0.0.1:0`, `bulkhead restore` and `bulkhead dump` need none";

impl Explain for MountError {
    fn explain(&self) -> Failure {
        match self {
            Self::Snapshot(error) => error.explain(),
            Self::Folder { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => Failure::new(FailureClass::NotFound, self).hint("make the folder first"),
                io::ErrorKind::NotADirectory => Failure::new(FailureClass::Conflict, self).hint("give a folder"),
                _ => Failure::new(FailureClass::Credentials, self).hint("give a folder that this user may use"),
            },
            Self::Fuse { .. } => Failure::new(FailureClass::Unreachable, self).hint(WITHOUT_FUSE),
            Self::Exposed(_) => Failure::new(FailureClass::Config, self)
                .hint("WebDAV without TLS is for this machine only: give an address of the loopback, `127.0.0.1:0` for a free port"),
            Self::Listen { .. } => Failure::new(FailureClass::Conflict, self).hint("give another port, or 0 for one that is free"),
            Self::Broken { .. } => Failure::new(FailureClass::Internal, self),
        }
    }
}

/// Mounts the vault called `vault` at `folder`, tells `mounted`, and stays until it is unmounted or the operation is cancelled.
///
/// # Errors
/// See [`MountError`].
pub async fn mount(operation: &Operation, vault: &str, folder: &Path, mounted: impl FnOnce(&Mounted)) -> Result<Mounted, MountError> {
    fuse::look_at(folder)?;
    let place = MountPlace::Folder { folder: folder.to_owned() };
    let (names, what) = open(operation, vault, place).await?;
    let filesystem = VaultFilesystem::new(names, tokio::runtime::Handle::current());
    let (session, unmounter) = fuse::start(filesystem, folder).await?;
    mounted(&what);
    fuse::serve(operation, session, unmounter, folder).await?;
    Ok(what)
}

/// Shows the vault called `vault` over WebDAV at `address`, which is the loopback's, tells `mounted`, and stays until the operation is cancelled.
///
/// # Errors
/// See [`MountError`].
pub async fn mount_webdav(
    operation: &Operation,
    vault: &str,
    address: SocketAddr,
    mounted: impl FnOnce(&Mounted),
) -> Result<Mounted, MountError> {
    let server = WebDav::listen(address).await?;
    let place = MountPlace::WebDav { url: server.url() };
    let (names, what) = open(operation, vault, place).await?;
    mounted(&what);
    server.serve(names, &operation.cancellation).await;
    Ok(what)
}

/// The names in the vault called `vault`, and what is said of it.
async fn open(operation: &Operation, vault: &str, place: MountPlace) -> Result<(Names, Mounted), MountError> {
    let read = read(operation, vault);
    let (opened, snapshots, unreadable) = operation.until_interrupted(None, read).await.map_err(SnapshotError::from)??;
    let what = Mounted {
        vault: vault.to_owned(),
        place,
        snapshots: snapshots.len(),
        unreadable,
    };
    Ok((Names::new(opened, snapshots), what))
}

/// The vault called `name`, its snapshots, and those that can't be read.
async fn read(operation: &Operation, name: &str) -> Result<(Vault, Vec<SnapshotInfo>, Vec<UnreadableSnapshot>), SnapshotError> {
    let config = operation.vault_named(name).map_err(AccessError::from)?;
    let (store, vault) = operation.open_to_read(config).await?;
    let (snapshots, unreadable) = browse::snapshot_files(&vault, &store).await?;
    let unreadable = unreadable.into_iter().map(|(id, error)| UnreadableSnapshot::new(id, name, error));
    Ok((vault, snapshots, unreadable.collect()))
}
