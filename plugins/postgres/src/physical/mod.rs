//! Mode `physical`: a whole cluster, as the server's `BASE_BACKUP` sends it.
//!
//! # What happens
//! One replication connection does everything: [`backup`] makes a temporary replication slot on it, so that no log is removed under the backup, and then
//! runs `BASE_BACKUP` with the log included. The server's tar archives are unpacked as they pass, one entry for each file, and every file's size and CRC-32C
//! (computed by the host over what it stored) is compared with the server's manifest at the end.
//!
//! *Why not stream the log over a second connection*, as `pg_basebackup` does by default: the slot keeps the log as safely; it takes one WAL sender, not
//! two; the server itself then checks that the log is complete before it ends the archive; and a slow vault can't make one of two streams time out
//! (`wal_sender_timeout` does not apply to a base backup). The price is that the server keeps the log written during the backup until its end.
//!
//! # What is in a snapshot
//! | entry | what it is |
//! |---|---|
//! | `data/…` | PGDATA, file by file; `data/pg_wal` has the log from start to end of the backup, `data/pg_tblspc/<oid>` the links to tablespaces |
//! | `tablespaces/<oid>/…` | what is in the tablespace's folder |
//! | `backup_manifest` | the server's manifest |
//!
//! # Incremental backups
//! A server from version 17 on that summarizes its log tells which blocks have changed since the last snapshot began. The snapshot is complete all the same:
//! [`incremental`] puts those blocks over the files of the last one as they arrive, a file of which nothing has changed is carried forward unread, and the
//! manifest is written anew for the whole files. So neither a restore nor a retention knows of it. Whether the last snapshot can be built on, [`parent`] says, and which of
//! its blocks had been cut off meanwhile, [`truncations`].
//!
//! The tablespace links are stored as links, and `BASE_BACKUP` is not asked for a `tablespace_map`: a restore must point them elsewhere, and a file that
//! the manifest lists could not be changed for that without breaking it.

mod backup;
mod base_backup;
mod check;
mod checkpoint;
mod entry;
mod incremental;
mod layout;
mod manifest;
mod manifest_writer;
mod member;
mod method;
mod outcome;
mod parent;
mod recovery;
mod restore;
mod truncations;
mod unpack;
mod verify;
mod wal;

pub(crate) use backup::backup;
pub(crate) use check::check;
pub(crate) use restore::restore;
pub(crate) use verify::verify;
