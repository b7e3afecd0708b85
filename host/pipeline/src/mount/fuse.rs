//! A vault as a folder, through FUSE: from mounting to unmounting.

use std::{io, path::Path};

use fuser::{Config, MountOption, Session, SessionUnmounter};

use crate::{
    mount::{MountError, filesystem::VaultFilesystem},
    operation::Operation,
};

/// The folder must be one.
pub(crate) fn look_at(folder: &Path) -> Result<(), MountError> {
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

/// Mounts.
pub(crate) async fn start(filesystem: VaultFilesystem, folder: &Path) -> Result<(Session<VaultFilesystem>, SessionUnmounter), MountError> {
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
pub(crate) async fn serve(
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
