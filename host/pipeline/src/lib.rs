//! Operations: what Bulkhead does with the plugins and vaults of a configuration.
//!
//! ```text
//! Config ─▶ Host (plugins, secrets) ─▶ Operation ─▶ init · check · run · restore · fetch_log · mount · verify · snapshots · find · diff · stats
//!                                         │             copy · forget · prune · tag · hold · repair · unlock · key
//!                                         │
//!         SinkStore: a sink plugin as the vault's object store          (store)
//!         VaultEntries, VaultSnapshot: a vault as the plugin's port     (entries, stored)
//! ```
//!
//! The plugin runtime and the vault don't know each other; they meet here. Nothing is printed and no environment is read: progress is polled
//! ([`Progress`]), results are reports that serialize, errors explain themselves ([`Explain`]).

mod access;
mod aws;
mod browse;
mod check;
mod clock;
mod consent;
mod copy;
mod diff;
mod entries;
mod failure;
mod fallback;
mod find;
mod folder;
mod forget;
mod hold;
mod hooks;
mod host;
mod init;
mod items;
mod journal;
mod keys;
mod kit;
mod log_needs;
mod maintenance;
mod mount;
mod oauth;
mod object_lock;
mod operation;
mod private_file;
mod progress;
mod proof;
mod prune;
mod push;
mod recovery;
mod render;
mod repair;
mod repair_objects;
mod replicate;
mod restore;
mod retention;
mod run;
mod secrets;
mod setup;
mod stats;
mod status;
mod store;
mod stored;
mod subset;
mod tag;
mod unlock;
mod verified;
mod verify;

pub use access::{AccessError, PasswordError};
pub use browse::{
    Content, ListedEntry, ListedSnapshot, Listing, OpenSnapshot, Place, SnapshotError, SnapshotList, UnreadableSnapshot, open_snapshot,
    snapshots,
};
pub use check::{CheckReport, CheckedPart, check};
pub use consent::{Application, Browser, Consent, ConsentError, ConsentServers, Device};
pub use copy::{CopiedSnapshot, CopyReport, CopyStatus, CopyVaultError, copy, copy_status};
pub use diff::{Compared, Diff, DiffData, DiffRequest, DiffTotals, DifferenceKind, EntryDifference, EntryTotals, StoredAmount, diff};
pub use failure::{Explain, Failure, FailureClass, Site};
pub use find::{
    Appearance, BlobSelector, Discovery, EntryFilter, EntrySearch, FilterError, FindError, FindRequest, FoundBlob, FoundEntry, Sought,
    UnreadableFolder, find,
};
pub use folder::{Changes, EntryChange, FolderError, IdMapping, IdMappingError, Owners, Surplus, SurplusItem};
pub use forget::{ForgetBy, ForgetPlan, ForgetReport, Forgetting, PlannedSnapshot, plan_forget};
pub use hold::{HeldSnapshot, HoldList, NamedHold, hold, holds, release};
pub use hooks::HookError;
pub use host::{BuildError, BuiltinPlugin, Host, pipeline_site, sink_site, target_site};
pub use init::{InitReport, InitVaultError, init};
pub use items::{BrowseError, BrowseOptions, BrowsedItem, Browsing, browse};
pub use keys::{ChangeKeyError, KeyReport, VaultKey, add_key, keys, remove_key};
pub use kit::{Kit, KitError, KitReport, recovery_kit};
pub use log_needs::PlannedLog;
pub use maintenance::{MaintainError, SinkOutcome, is_everywhere};
pub use mount::{MountError, MountPlace, Mounted, WebDavUrl, mount, mount_webdav};
pub use object_lock::{ExtendReport, LockReport, extend_locks};
pub use operation::{Interrupted, Operation};
pub use progress::{Progress, ProgressView};
pub use proof::{ProofError, Stored};
pub use prune::{PruneReport, plan_prune, prune};
pub use push::{PushError, PushReport, push_log};
pub use recovery::{
    BaseReach, LogPart, LogVerification, PlannedRecovery, RecoveryError, RecoveryOptions, RecoveryRange, RecoverySpan, RecoveryTarget,
    TargetAction, TargetTimeError, fetch_log, is_log_file, open_log, plan_recovery, verify_log,
};
pub use render::{RenderError, RenderOptions, Rendering, render};
pub use repair::{
    IndexRepairReport, RepairedSnapshot, SnapshotRepairReport, UnreadableFile, plan_index_repair, plan_snapshot_repair, repair_index,
    repair_snapshots,
};
pub use repair_objects::{Loss, LostObject, ObjectRepairOptions, ObjectRepairReport, plan_object_repair, repair_objects};
pub use replicate::ReplicaReport;
pub use restore::{
    Attendant, Confirm, ExistingFiles, FolderOptions, PatternError, Patterns, RestoreError, RestoreOptions, RestoreReport, Retrieval,
    TargetDelta, Tell, restore_to_folder, restore_to_target, retrieval,
};
pub use run::{FailedRun, RunError, RunOptions, RunReport, UnbelievableSnapshot, run};
pub use secrets::{SecretError, Secrets, generate_password};
pub use setup::default_limits;
pub use stats::{PipelineStats, SnapshotGrowth, StoredObjects, VaultStats, stats};
pub use status::{LastSnapshot, PipelineStatus, ReplicaStatus, Standing, VaultFigures, VaultStatus, VerifiedSnapshot, figures, status};
pub use subset::{ReadContent, SubsetError};
pub use tag::{TagReport, TaggedSnapshot, tag};
pub use unlock::{UnlockReport, unlock};
pub use verified::VerifiedMark;
pub use verify::{Damage, SnapshotVerification, SnapshotVerifier, VaultVerification, VerifyError, verify_vault};

/// What maintenance is asked for, and what it plans, in the vault's own words.
pub use bulkhead_vault::{PruneLimit, PruneOptions, PrunePlan, TagChange};
