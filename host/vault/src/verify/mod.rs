//! Verification: whether everything that snapshots need is there and what it should be.
//!
//! Our own, not `rustic_core`'s `check`: that stops at the first damaged index file, gives up all further trees (and with them the reading of any
//! pack) at the first damaged one, panics on a blob that cannot be decompressed, and returns findings whose type is private. This one goes on,
//! and says of every piece of damage which snapshots it reaches. `restic check --read-data` is the tests' second opinion.

mod index;
mod packs;
mod report;
mod subset;
mod trees;

use std::sync::Arc;

pub use report::{Problem, VerifyReport};
pub use subset::Subset;

use crate::{
    access,
    error::{ReadError, StoreError, VerifyError},
    vault::Vault,
    verify::report::Findings,
};

/// How much to verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerifyOptions {
    /// Read and check every pack. Without it, what is checked is that everything is there and has the right size, and all folders.
    pub read_data: bool,
}

/// Where a verification is. Called from its tasks; must not block.
pub trait VerifyProgress: Send + Sync + 'static {
    /// `done` of `total` of what `phase` counts.
    fn report(&self, phase: VerifyPhase, done: u64, total: u64);
}

/// What a verification is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyPhase {
    /// Index files.
    Index,
    /// Bytes of packs.
    Packs,
    /// Folders; the total grows as they are found.
    Trees,
}

impl Vault {
    /// Checks the vault, all of it. Damage is reported, not an error.
    ///
    /// # Errors
    /// [`VerifyError`]: the store failed in a way that says nothing about the content.
    pub async fn verify(&self, options: VerifyOptions, progress: Arc<dyn VerifyProgress>) -> Result<VerifyReport, VerifyError> {
        // All packs are one part of one.
        let all = Subset::Part { number: 1, of: 1 };
        self.verify_reading(options.read_data.then_some(all), progress).await
    }

    /// Checks the vault as [`Self::verify`] does, and reads and checks some of its packs.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub async fn verify_subset(&self, subset: Subset, progress: Arc<dyn VerifyProgress>) -> Result<VerifyReport, VerifyError> {
        self.verify_reading(Some(subset), progress).await
    }

    async fn verify_reading(&self, packs: Option<Subset>, progress: Arc<dyn VerifyProgress>) -> Result<VerifyReport, VerifyError> {
        let core = &self.core;
        let mut findings = Findings::default();
        check_keys(self, &mut findings).await?;
        // Snapshots before the index: whoever wrote one had written the index by then.
        let snapshots = trees::read_snapshots(core, &mut findings).await?;
        let mut index = index::read(core, &*progress, &mut findings).await?;
        packs::check_listing(core, &mut index, &mut findings).await?;
        if let Some(subset) = packs {
            packs::check_content(self, &index, &subset.of(&index.packs), &progress, &mut findings).await?;
        }
        trees::check(core, &index, &snapshots, &*progress, &mut findings).await?;
        Ok(findings.into_report(&snapshots, &index))
    }
}

/// Key files are not encrypted, but named by their hash as everything is.
async fn check_keys(vault: &Vault, findings: &mut Findings) -> Result<(), VerifyError> {
    let consequence = "its password may not open the vault any more; other keys are not affected";
    for id in access::list_ids(&*vault.core.store, "keys/").await? {
        let key = format!("keys/{id}");
        match access::get(&*vault.core.store, &key, None).await {
            Ok(content) if crate::id::ObjectId::of(&content) == id => {}
            Ok(_) => {
                findings.add(key, "its content does not match its name", consequence);
            }
            Err(error) => {
                findings.add(key, damage(error)?, consequence);
            }
        }
    }
    Ok(())
}

/// What a failed call to the store says about the content; an error where it says nothing.
fn damage(error: StoreError) -> Result<String, VerifyError> {
    match crate::blob::damaged_pack(error, None) {
        ReadError::Corrupt(corruption) => Ok(corruption.reason),
        ReadError::Store(error) => Err(error.into()),
        other => Err(VerifyError::Internal(other.to_string())),
    }
}
