//! Splitting a backup or restore into parts that further instances of the same plugin carry out at the same time, while this one keeps what they
//! share (an exported database snapshot, say). How many run at once is the operator's `limits.parts`.

use crate::{Result, host};

/// A part at work in another instance.
#[must_use = "a part's failure is seen by waiting for it"]
pub struct Part(Box<dyn host::Part>);

impl Part {
    /// Waits for its end: what `run_part` returned.
    ///
    /// # Errors
    /// What the part failed with.
    pub fn wait(self) -> Result<Vec<u8>> {
        self.0.wait()
    }
}

impl std::fmt::Debug for Part {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Part")
    }
}

/// Starts a part; `work` (at most 1 MiB) is handed to `run_part` of another instance.
///
/// # Errors
/// `Unsupported` from within a part, `Limit`.
pub fn start(work: &[u8]) -> Result<Part> {
    host::with_host(|host| host.start_part(work)).map(Part)
}
