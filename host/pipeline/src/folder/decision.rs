//! What a restore does with each entry ([`Decision`]), and what that comes to ([`Changes`]).

use bulkhead_model::{EntryPath, Finding, NodeType, Severity};
use bulkhead_vault::{ObjectId, SnapshotEntry};
use serde::Serialize;

/// What a restore does with an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing is there: it is made.
    Create,
    /// Something else is there: that is removed, and it is made.
    Replace,
    /// It is there with another content or other metadata: a file with this device and inode, or a folder.
    Update(FileId),
    /// It is there as it should be.
    Keep,
    /// A further name of the file at `to`; with `replace`, in place of something else.
    Link {
        /// Its first name.
        to: EntryPath,
        /// Whether something else is there.
        replace: bool,
    },
    /// It is left out.
    Refuse,
}

/// Device and inode.
pub(crate) type FileId = (u64, u64);

/// What a restore does with an entry, and how much that writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) action: Action,
    /// Bytes of content that the entry has; none for a further name of a file.
    pub(crate) bytes: u64,
    /// Bytes of content to be written.
    pub(crate) writes: u64,
    /// A folder that is only on the way to what is restored: made where it is missing, else left as it is.
    pub(crate) is_passage: bool,
}

/// What a restore does with an entry that is not there as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryChange {
    /// It is made, where nothing is.
    Create,
    /// What is there gets other content or other metadata.
    Update,
    /// What is there is removed, and it is made.
    Replace,
}

impl Decision {
    /// What becomes of the entry; `None` where nothing does.
    pub(crate) fn change(&self) -> Option<EntryChange> {
        match &self.action {
            _ if self.is_passage => None,
            Action::Refuse | Action::Keep => None,
            Action::Create | Action::Link { replace: false, .. } => Some(EntryChange::Create),
            Action::Update(_) => Some(EntryChange::Update),
            Action::Replace | Action::Link { replace: true, .. } => Some(EntryChange::Replace),
        }
    }
}

/// What a restore into a folder did there, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Changes {
    /// Entries that were not there.
    pub created: u64,
    /// Entries that were there, but not as they are in the snapshot.
    pub updated: u64,
    /// Entries that were there as they are in the snapshot.
    pub unchanged: u64,
    /// What was there and is not in the snapshot: files and folders that were removed.
    pub deleted: u64,
    /// Bytes of files that were read and compared.
    pub bytes_compared: u64,
    /// Bytes of content that were written.
    pub bytes_written: u64,
}

/// [`Changes`] in the making.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) changes: Changes,
}

impl Tally {
    pub(crate) fn count(&mut self, decision: &Decision) {
        if decision.is_passage || decision.action == Action::Refuse {
            return;
        }
        let changes = &mut self.changes;
        let counter = match decision.change() {
            Some(EntryChange::Create) => &mut changes.created,
            Some(EntryChange::Update | EntryChange::Replace) => &mut changes.updated,
            None => &mut changes.unchanged,
        };
        *counter += 1;
        changes.bytes_written += decision.writes;
        self.entries += 1;
        self.bytes += decision.bytes;
    }
}

/// What two names of one file have in common in a snapshot: device, inode, size, time of modification and content. Device and inode alone could
/// join files of two machines, or of two moments.
type Identity = (u64, u64, u64, Option<(i64, u32)>, Option<ObjectId>);

/// What tells that `entry` may be a further name of a file; `None` for what has only one name.
pub(crate) fn identity(entry: &SnapshotEntry) -> Option<Identity> {
    let metadata = &entry.metadata;
    let has_names = metadata.node_type == NodeType::File && metadata.links > 1 && metadata.inode != 0 && metadata.device != 0;
    let modified = metadata.modified.map(|time| (time.seconds, time.nanoseconds));
    has_names.then_some((metadata.device, metadata.inode, entry.size, modified, entry.content))
}

/// The first name of each file that has several, and whether the file that is there is kept.
#[derive(Default)]
pub(crate) struct Links(std::collections::HashMap<Identity, (EntryPath, bool)>);

impl Links {
    /// The first name of `entry`'s file, if there was one.
    pub(crate) fn first(&self, entry: &SnapshotEntry) -> Option<&(EntryPath, bool)> {
        self.0.get(&identity(entry)?)
    }

    /// Notes a first name.
    pub(crate) fn note(&mut self, entry: &SnapshotEntry, action: &Action) {
        if let Some(identity) = identity(entry) {
            let is_kept = *action == Action::Keep;
            self.0.entry(identity).or_insert_with(|| (entry.path.clone(), is_kept));
        }
    }
}

/// What was not restored as it is in the snapshot: counted, with the first of each kind.
#[derive(Debug, Default)]
pub(crate) struct Skipped(Vec<(Shortfall, u64, String)>);

/// What can be missing of a restored entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortfall {
    /// For lack of rights.
    Owner,
    /// Without the owner that they belong to.
    SetId,
    /// For lack of rights, or of a file system that has them.
    Attributes,
    /// For lack of rights.
    Nodes,
    /// Not asked for.
    Devices,
}

impl Skipped {
    pub(crate) fn add(&mut self, shortfall: Shortfall, path: &EntryPath) {
        match self.0.iter_mut().find(|(known, ..)| *known == shortfall) {
            Some((_, count, _)) => *count += 1,
            None => self.0.push((shortfall, 1, path.to_string())),
        }
    }

    pub(crate) fn findings(&self) -> Vec<Finding> {
        let finding = |(shortfall, count, first): &(Shortfall, u64, String)| {
            let (code, what, hint) = shortfall.words();
            Finding {
                severity: Severity::Warning,
                code: code.to_owned(),
                message: format!(
                    "{what} of {count} {} {} not restored (first: {first})",
                    if *count == 1 { "entry" } else { "entries" },
                    if what.ends_with('s') { "were" } else { "was" },
                ),
                hint: Some(hint.to_owned()),
                setting: None,
            }
        };
        self.0.iter().map(finding).collect()
    }
}

impl Shortfall {
    /// Code, what is missing, and what to do.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        const RIGHTS: &str = "restore as root, onto a file system that supports it";
        match self {
            Self::Owner => (
                "owners-skipped",
                "the owner",
                "restore as root, or leave entries to yourself with `--no-owner`",
            ),
            Self::SetId => (
                "set-id-skipped",
                "the set-user-id and set-group-id bits or capabilities",
                "they belong to the owner in the snapshot: set them with chmod or setcap where the new owner is to have them",
            ),
            Self::Attributes => ("attributes-skipped", "extended attributes", RIGHTS),
            Self::Nodes => ("nodes-skipped", "the device nodes or sockets", RIGHTS),
            Self::Devices => (
                "devices-skipped",
                "the device nodes",
                "whoever may open a device node has the device: with `--devices`, as root, they are made",
            ),
        }
    }
}
