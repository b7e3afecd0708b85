//! `bulkhead mount`

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::{MountPlace, Mounted};
use clap::Args;

use crate::{
    commands::short,
    error::CommandError,
    exit::Exit,
    output::{Mark, counted},
    session::{Session, unknown},
};

/// Look into a vault as a folder
///
/// Mounts all snapshots of a vault as a read-only file system (FUSE), and stays until it is unmounted or interrupted. Where there is no FUSE, `--webdav`
/// shows the same to file managers, browsers and WebDAV clients of this machine. In the folder are `snapshots/TIME-ID`, and `pipelines/NAME/latest` beside links to the pipeline's other snapshots. Snapshots that are taken meanwhile are seen by the
/// next mount. Only the user who mounts may look into it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead mount main /mnt/backups &\n  diff -r /mnt/backups/pipelines/web/latest/etc /etc\n  umount /mnt/backups                    (as another user than root: fusermount3 -u)\n  bulkhead mount main /mnt/backups --sink offsite      from the replica there\n  bulkhead mount main --webdav 127.0.0.1:0             prints an address that a browser opens"
)]
pub(crate) struct MountArguments {
    /// The vault
    #[arg(value_name = "VAULT")]
    vault: String,

    /// The folder, which exists
    #[arg(value_name = "FOLDER", required_unless_present = "webdav", conflicts_with = "webdav")]
    folder: Option<PathBuf>,

    /// Over WebDAV instead, at this address of the loopback; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    webdav: Option<SocketAddr>,

    /// Read from this sink, one of the vault's; the first one by default
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
}

pub(crate) async fn mount(arguments: &MountArguments, session: &Session) -> Result<Exit, CommandError> {
    let config = session.config()?;
    if config.vault(&arguments.vault).is_none() {
        let vaults = config.vaults.iter().map(|vault| vault.name.as_str());
        return Err(unknown("vault", &arguments.vault, vaults));
    }
    let operation = session.reading(&config, arguments.sink.as_deref(), [arguments.vault.as_str()])?;
    let output = &session.output;
    let tell = |event: &'static str, what: &Mounted| {
        if output.is_json() {
            let mut document = serde_json::to_value(what).unwrap_or_default();
            document["event"] = event.into();
            return output.document("mount", &document);
        }
        let at = match &what.place {
            MountPlace::Folder { folder } => format!("at {0}; Ctrl-C or `umount {0}` ends it", folder.display()),
            MountPlace::WebDav { url } => format!("at {}; Ctrl-C ends it", url.reveal()),
        };
        output.line(&match event {
            "mounted" => format!(
                "{} {}  {} {at}",
                output.mark(Mark::Good, event),
                output.mark(Mark::Strong, &what.vault),
                counted(what.snapshots as u64, "snapshot", "snapshots"),
            ),
            _ => format!("{} {}", output.mark(Mark::Good, event), output.mark(Mark::Strong, &what.vault)),
        });
    };
    let mounted = |what: &Mounted| {
        for snapshot in &what.unreadable {
            let id = short(&snapshot.id);
            output.warn(&format!(
                "warning: the snapshot {id} can't be read, and is left out: {}",
                snapshot.error
            ));
        }
        tell("mounted", what);
    };
    let unmounted = match arguments.webdav {
        Some(address) => pipeline::mount_webdav(&operation, &arguments.vault, address, mounted).await,
        None => {
            pipeline::mount(
                &operation,
                &arguments.vault,
                arguments.folder.as_deref().unwrap_or(Path::new("")),
                mounted,
            )
            .await
        }
    };
    let what = unmounted.map_err(|error| CommandError::operation(&error, &config))?;
    tell("unmounted", &what);
    Ok(Exit::Ok)
}
