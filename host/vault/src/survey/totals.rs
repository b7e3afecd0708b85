//! Totals of stored blobs: [`Amount`], and how much of two snapshots is in which of them.

use crate::{
    error::ReadError,
    format::node::Node,
    index::{BlobKind, Location},
    snapshots::SnapshotInfo,
    survey::reach::{Reach, Reached, Visitor},
    sync::read,
    vault::Vault,
};

/// Some blobs, content of files and folders alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// How many.
    pub blobs: u64,
    /// Bytes that they take in packs, encryption included.
    pub stored: u64,
    /// Bytes that they are.
    pub content: u64,
}

impl Amount {
    pub(super) fn add(&mut self, location: &Location) {
        self.blobs += 1;
        self.stored += u64::from(location.length);
        self.content += location.content_length();
    }
}

/// Whose the blobs of two snapshots are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SharedData {
    /// Only the first one's.
    pub removed: Amount,
    /// Only the second one's.
    pub added: Amount,
    /// Of both.
    pub shared: Amount,
    /// Folders that could not be read, and so were not counted with what is below them.
    pub unreadable: u64,
    /// Blobs that no index names.
    pub missing: u64,
}

/// Nobody wants to know.
struct Unwatched;

impl Visitor for Unwatched {
    fn blob(&mut self, _: BlobKind, _: &Location) {}
    fn folder(&mut self, _: usize, _: &[Node], _: Vec<u32>) {}
}

impl Vault {
    /// How much of what two snapshots consist of is only in one of them. Reads every folder of both, those that both have twice; holds four bytes for each blob of
    /// the vault.
    ///
    /// # Errors
    /// [`ReadError`]; damage is in the result.
    pub async fn shared_data(&self, before: &SnapshotInfo, after: &SnapshotInfo) -> Result<SharedData, ReadError> {
        self.core.refresh_index().await?;
        // The numbers of blobs stay the same.
        let _unchanged = self.core.refreshing.lock().await;
        let mut reach = Reach::new(self.core.clone());
        reach.follow(before.tree, 0, &mut Unwatched).await?;
        reach.follow(after.tree, 1, &mut Unwatched).await?;
        let mut data = SharedData {
            unreadable: reach.unreadable.len() as u64,
            missing: reach.missing,
            ..SharedData::default()
        };
        for (number, (_, _, location)) in read(&self.core.index).blobs().enumerate() {
            match reach.of(number) {
                Reached::Nobody => {}
                Reached::One(0) => data.removed.add(&location),
                Reached::One(_) => data.added.add(&location),
                Reached::Several => data.shared.add(&location),
            }
        }
        Ok(data)
    }
}
