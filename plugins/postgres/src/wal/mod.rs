//! Mode `wal`: the write-ahead log, streamed as the server writes it, so that a cluster can be brought back to any moment.
//!
//! # What happens
//! [`backup`] connects as a standby would, through a physical replication slot of its own ([`slot`]), and follows the log ([`follow`]). Each segment
//! that is complete becomes an entry ([`archive`]); every `interval` what there is, the beginning of the current segment too, is committed as a snapshot, and
//! only then the server hears that it may let go of it. So whatever dies at whatever moment, the server still has what the vault has not. A connection
//! that breaks is made again; a promotion is followed to the new timeline.
//!
//! Where streaming isn't wanted, the server hands its log over, file by file ([`push`]).
//!
//! # What is in a snapshot
//! | entry | what it is |
//! |---|---|
//! | `wal/<16 digits>/<24 digits>` | a segment, in a folder for each 4 GiB of a timeline's log |
//! | `wal/<16 digits>/<24 digits>.<8 digits>.backup` | the label of a base backup, where the server hands its log over |
//! | `wal/<8 digits>.history` | where a timeline began |
//! | `partial/<24 digits>.partial` | the beginning of a segment, zeros behind it: of the one that is being written, and the last of each timeline that ended |
//!
//! *Every snapshot has the whole log*, carried forward unread with [`keep`](bulkhead_sdk::entries::keep), and not what came since the last one. So any
//! `retention` is safe, as the newest snapshot always stays; a restore opens one snapshot and not thousands; and a gap is found by looking at one list. The
//! price: a commit looks up every chunk of the log in the index (160,000 for 10,000 segments), and stores the newest folder's list anew where a
//! segment has been completed. What no base backup needs any more is left out at the beginning of a run, by `expire-before`, which the host sets to what it knows of base backups. Partial segments
//! lie in a folder of their own because an entry of a folder that is kept cannot be taken out.

mod archive;
mod check;
mod checkpoint;
mod follow;
mod history;
mod layout;
mod pages;
mod push;
mod slot;
mod verify;

use bulkhead_sdk::{
    Error, ErrorKind, Result, directory,
    source::{BackupRequest, BackupResult},
};

use crate::config::Config;

pub(crate) use check::check;
pub(crate) use push::GRANT;
pub(crate) use verify::verify;

/// Stores what the server hands over, or else follows its log.
pub(crate) fn backup(config: &Config, request: &BackupRequest) -> Result<BackupResult> {
    if !config.push.is_empty() {
        return push::backup(config, request);
    }
    if directory::grants().iter().any(|grant| grant.name == GRANT) {
        let message = "the server hands this log over (`directory.log` is granted): it is not followed, too";
        return Err(Error::new(ErrorKind::Config, message).with_hint(
            "`bulkhead wal-push` stores it, as the server's archive_command; to follow the log instead, take `directory.log` out, and give it a pipeline of its own",
        ));
    }
    follow::backup(config, request)
}

/// The log is brought back by a server's `restore_command`, segment by segment, and not by a restore.
pub(crate) fn no_restore() -> Error {
    Error::unsupported("a log is not restored by itself: it brings a base backup forward").with_hint(
        "restore the pipeline of mode `physical` with `--to-time`, `--to-lsn` or `--to-name`; `bulkhead restore PIPELINE --into FOLDER` gives the segments as \
         files",
    )
}
