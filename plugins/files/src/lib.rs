//! Bulkhead's source plugin for trees of files.
//!
//! Each directory that the pipeline grants is a folder of that name at the top of the snapshot, with all that is below it: files, folders, symbolic and hard links,
//! pipes, sockets and devices, with permissions, owners, times to the nanosecond and extended attributes (ACLs among them). What has not changed since the
//! parent snapshot is kept, unread.
//!
//! The plugin is [`Files`]; `walk.rs` goes through the trees, `select.rs` says what belongs into the snapshot, `parent.rs` what is there already.

mod check;
pub mod config;
mod names;
mod parent;
mod report;
mod select;
mod store;
mod walk;

use bulkhead_sdk::prelude::*;

use config::Config;
use select::Selection;

/// The plugin.
pub struct Files {
    config: Config,
    selection: Selection,
}

impl Source for Files {
    type Config = Config;

    fn describe() -> Description {
        let all = Operations::CHECK | Operations::BACKUP;
        Description::new(
            "files",
            env!("CARGO_PKG_VERSION"),
            "Backs up trees of files; a snapshot is restored into a folder without the plugin",
            all,
        )
        .directory(
            "*",
            "a tree to back up; its name is that of its folder in the snapshot",
            Access::ReadOnly,
            all,
        )
    }

    fn new(config: Config) -> Result<Self> {
        let selection = Selection::new(&config)?;
        Ok(Self { config, selection })
    }

    fn check(&mut self) -> Result<Vec<Finding>> {
        check::check()
    }

    fn backup(&mut self, _: BackupRequest) -> Result<BackupResult> {
        walk::backup(&self.config, &self.selection)
    }
}

bulkhead_sdk::export_source!(Files);
