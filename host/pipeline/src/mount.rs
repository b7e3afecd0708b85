//! `bulkhead mount`: all snapshots of a vault as a read-only file system, through FUSE.
//!
//! Nothing is read before it is asked for, and little is kept: folders that were looked into last, chunks that were read last, and for some files what
//! comes next.

mod files;
mod filesystem;
mod names;

use std::{
    io,
    path::{Path, PathBuf},
};

use bulkhead_vault::{SnapshotInfo, Vault};
use fuser::{Config, MountOption, Session, SessionUnmounter};
use serde::Serialize;

use crate::{
    access::AccessError,
    browse::{self, SnapshotError, UnreadableSnapshot},
    failure::{Explain, Failure, FailureClass},
    mount::{filesystem::VaultFilesystem, names::Names},
    operation::Operation,
};

/// What is mounted where.
#[derive(Debug, Clone, Serialize)]
pub struct Mounted {
    /// The vault.
    pub vault: String,
    /// The folder.
    pub folder: PathBuf,
    /// How many snapshots it has: those that the vault had when it was mounted.
    pub snapshots: usize,
    /// Snapshots that it lacks: their files can't be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableSnapshot>,
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
                            `bulkhead restore` and `bulkhead dump` need none";

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
            Self::Broken { .. } => Failure::new(FailureClass::Internal, self),
        }
    }
}

/// Mounts the vault called `vault` at `folder`, tells `mounted`, and stays until it is unmounted or the operation is cancelled.
///
/// # Errors
/// See [`MountError`].
pub async fn mount(operation: &Operation, vault: &str, folder: &Path, mounted: impl FnOnce(&Mounted)) -> Result<Mounted, MountError> {
    look_at(folder)?;
    let open = open(operation, vault);
    let (opened, snapshots, unreadable) = operation.until_interrupted(None, open).await.map_err(SnapshotError::from)??;
    let what = Mounted {
        vault: vault.to_owned(),
        folder: folder.to_owned(),
        snapshots: snapshots.len(),
        unreadable,
    };
    let filesystem = VaultFilesystem::new(Names::new(opened, snapshots), tokio::runtime::Handle::current());
    let (session, unmounter) = start(filesystem, folder).await?;
    mounted(&what);
    serve(operation, session, unmounter, folder).await?;
    Ok(what)
}

/// The vault called `name`, its snapshots, and those that can't be read.
async fn open(operation: &Operation, name: &str) -> Result<(Vault, Vec<SnapshotInfo>, Vec<UnreadableSnapshot>), SnapshotError> {
    let config = operation.vault_named(name).map_err(AccessError::from)?;
    let store = operation.sink_to_read(config).await.map_err(AccessError::from)?;
    let vault = operation.open_on(config, &store).await?;
    let (snapshots, unreadable) = browse::snapshot_files(&vault, &store).await?;
    let unreadable = unreadable.into_iter().map(|(id, error)| UnreadableSnapshot::new(id, name, error));
    Ok((vault, snapshots, unreadable.collect()))
}

fn look_at(folder: &Path) -> Result<(), MountError> {
    let failed = |source| MountError::Folder {
        folder: folder.to_owned(),
        source,
    };
    let metadata = std::fs::metadata(folder).map_err(failed)?;
    if metadata.is_dir() {
        Ok(())
    } else {
        Err(failed(io::ErrorKind::NotADirectory.into()))
    }
}

async fn start(filesystem: VaultFilesystem, folder: &Path) -> Result<(Session<VaultFilesystem>, SessionUnmounter), MountError> {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::RO,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoAtime,
        MountOption::FSName("bulkhead".to_owned()),
        MountOption::Subtype("bulkhead".to_owned()),
    ];
    let path = folder.to_owned();
    let started = tokio::task::spawn_blocking(move || {
        let mut session = Session::new(filesystem, path, &config)?;
        let unmounter = session.unmount_callable();
        Ok((session, unmounter))
    });
    let started = started.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    started.map_err(|source| MountError::Fuse {
        folder: folder.to_owned(),
        source,
    })
}

/// Answers the kernel until it is unmounted, by whomever.
async fn serve(
    operation: &Operation,
    session: Session<VaultFilesystem>,
    mut unmounter: SessionUnmounter,
    folder: &Path,
) -> Result<(), MountError> {
    let broken = |source| MountError::Broken {
        folder: folder.to_owned(),
        source,
    };
    let (ended, end) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("mount".to_owned()).spawn(move || {
        // Nobody waits for the end of one that was detached.
        let _ = ended.send(session.run());
    });
    thread.map_err(broken)?;
    tokio::pin!(end);
    tokio::select! {
        result = &mut end => return result.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(broken),
        () = operation.cancellation.cancelled() => {}
    }
    let unmounted = tokio::task::spawn_blocking(move || unmounter.unmount());
    match unmounted.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
        Ok(()) => end.await.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(broken),
        // Somebody is in it. The name goes at once, and the rest with this process.
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            nix::mount::umount2(folder, nix::mount::MntFlags::MNT_DETACH).map_err(|error| broken(error.into()))
        }
        Err(error) => Err(broken(error)),
    }
}
