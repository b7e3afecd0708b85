//! Which snapshots the target has at the moment: each file is read once, however many snapshots are copied.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    access,
    error::ReadError,
    id::ObjectId,
    snapshots::{SnapshotIdentity, SnapshotInfo},
    vault::Core,
};

/// What was read of the target's snapshots.
#[derive(Default)]
pub(super) struct Present {
    /// Files that were read, also damaged ones.
    seen: BTreeSet<ObjectId>,
    snapshots: BTreeMap<SnapshotIdentity, SnapshotInfo>,
}

impl Present {
    /// The snapshot of this identity that the target has now. A damaged file is passed over, with a warning in the log.
    pub(super) async fn find(&mut self, target: &Arc<Core>, identity: &SnapshotIdentity) -> Result<Option<SnapshotInfo>, ReadError> {
        let there: BTreeSet<ObjectId> = access::list_ids(&*target.store, "snapshots/").await?.into_iter().collect();
        self.snapshots.retain(|_, snapshot| there.contains(&snapshot.id));
        let unread = there.difference(&self.seen).copied().collect();
        let read = target.load_snapshots(unread, true).await?;
        self.snapshots
            .extend(read.into_iter().map(|snapshot| (snapshot.identity(), snapshot)));
        self.seen = there;
        Ok(self.snapshots.get(identity).cloned())
    }
}
