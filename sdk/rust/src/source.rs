//! Source plugins: the trait, its requests and results, and [`Instance`], which drives one as the host does.

use std::io::Write;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{
    Error, ErrorKind, Result, config,
    description::Description,
    types::{Fact, Finding, Proof},
};

/// What a backup starts from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupRequest {
    /// The checkpoint of the last good snapshot of this pipeline, which is this run's parent.
    pub checkpoint: Option<Vec<u8>>,
}

/// What a backup ends with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupResult {
    /// What the source says that it sent; a run commits only if it agrees with what was stored.
    pub proof: Proof,
    /// Opaque to the host; comes back to the next run. At most 1 MiB.
    pub checkpoint: Option<Vec<u8>>,
    /// What went right, but not without remark.
    pub findings: Vec<Finding>,
}

/// What to restore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreRequest {
    /// Paths to restore, with all below them; empty for everything.
    pub paths: Vec<Vec<u8>>,
    /// A JSON object: the `config` of the operator's restore target. See [`RestoreRequest::options`].
    pub options_json: String,
}

impl RestoreRequest {
    /// The options, typed, with the same good messages as the plugin's config.
    ///
    /// # Errors
    /// `Config`, with the setting that is to blame.
    pub fn options<T: DeserializeOwned>(&self) -> Result<T> {
        config::parse(if self.options_json.is_empty() { "{}" } else { &self.options_json })
    }

    /// Whether the entry at `path` is asked for.
    #[must_use]
    pub fn selects(&self, path: &[u8]) -> bool {
        selects(&self.paths, path)
    }
}

/// What was restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreResult {
    /// Entries restored.
    pub entries: u64,
    /// Bytes restored.
    pub bytes: u64,
    /// Further statements.
    pub facts: Vec<Fact>,
    /// What went right, but not without remark.
    pub findings: Vec<Finding>,
}

/// What to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrowseRequest {
    /// The entry's path.
    pub entry: Vec<u8>,
    /// Only names that begin so.
    pub prefix: String,
    /// Only names after this one.
    pub after: Option<String>,
}

/// Something inside an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// `/`-separated name inside the entry.
    pub name: String,
    /// Bytes, where known.
    pub size: Option<u64>,
    /// Further statements.
    pub facts: Vec<Fact>,
}

/// What to write in another format.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RenderRequest {
    /// One of the [formats](Description::format) of the description.
    pub format: String,
    /// Paths to render, with all below them; empty for everything.
    pub paths: Vec<Vec<u8>>,
}

impl RenderRequest {
    /// Whether the entry at `path` is asked for.
    #[must_use]
    pub fn selects(&self, path: &[u8]) -> bool {
        selects(&self.paths, path)
    }
}

/// Whether `path` is one of `paths` or below one; where there are none, always.
fn selects(paths: &[Vec<u8>], path: &[u8]) -> bool {
    let below = |wanted: &Vec<u8>| {
        path.strip_prefix(&wanted[..])
            .is_some_and(|rest| wanted.is_empty() || rest.is_empty() || rest[0] == b'/')
    };
    paths.is_empty() || paths.iter().any(below)
}

/// A source plugin. The host makes an instance for an operation, calls [`new`](Source::new), and then the operation, once.
///
/// Implement the operations that [`describe`](Source::describe) names; the others answer `Unsupported`.
#[expect(
    clippy::missing_errors_doc,
    reason = "whatever went wrong, told so that the operator can act on it"
)]
pub trait Source: Sized {
    /// What the operator writes under `config`. Derive `Deserialize` (with `deny_unknown_fields`) and `JsonSchema`.
    type Config: DeserializeOwned + JsonSchema;

    /// What the plugin is and what it wants. Pure: no capability is available.
    fn describe() -> Description;

    /// Checks the config beyond its types and keeps it; does no I/O.
    fn new(config: Self::Config) -> Result<Self>;

    /// Preflight: connects, authenticates, reads a little, changes nothing. An error means that the check itself could not be made.
    fn check(&mut self) -> Result<Vec<Finding>> {
        Err(unsupported("check"))
    }

    /// Reads the source and writes [`entries`](crate::entries). Returning with a proof that holds commits the snapshot.
    fn backup(&mut self, request: BackupRequest) -> Result<BackupResult> {
        let _ = request;
        Err(unsupported("backup"))
    }

    /// Brings the [`snapshot`](crate::snapshot) back into the granted directories and endpoints. Refuses a target that is not empty unless an option
    /// says otherwise.
    fn restore(&mut self, request: RestoreRequest) -> Result<RestoreResult> {
        let _ = request;
        Err(unsupported("restore"))
    }

    /// Carries out one part that another instance [started](crate::parts::start); returns what that one's `wait` gets (at most 1 MiB).
    fn run_part(&mut self, work: Vec<u8>) -> Result<Vec<u8>> {
        let _ = work;
        Err(unsupported("run-part"))
    }

    /// Whether the stored content makes sense. A finding of severity `Error` says that it does not.
    fn verify(&mut self) -> Result<Vec<Finding>> {
        Err(unsupported("verify"))
    }

    /// Lists what is inside an entry, in order; at most 10,000 items a call.
    fn browse(&mut self, request: BrowseRequest) -> Result<Vec<Item>> {
        let _ = request;
        Err(unsupported("browse"))
    }

    /// Writes the [`snapshot`](crate::snapshot) in another format. Whoever reads `into` has the bytes before it is known whether there will be an error: a format needs
    /// an end that is seen to be missing. Best in pieces of 256 KiB.
    fn render(&mut self, request: RenderRequest, into: &mut dyn Write) -> Result<()> {
        let _ = (request, into);
        Err(unsupported("render"))
    }
}

/// Answers for what a plugin does not do.
pub(crate) fn unsupported(operation: &str) -> Error {
    Error::unsupported(format!("this plugin does not support {operation}"))
}

/// A plugin as the host drives it: configured from JSON text, then one operation. The component's exports are this type; natively it serves tests
/// and benchmarks.
#[derive(Debug)]
pub struct Instance<P> {
    plugin: Option<P>,
}

impl<P> Default for Instance<P> {
    fn default() -> Self {
        Self { plugin: None }
    }
}

impl<P> Instance<P> {
    /// The configured plugin.
    ///
    /// # Errors
    /// `Internal` before `configure`.
    pub fn plugin(&mut self) -> Result<&mut P> {
        self.plugin
            .as_mut()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "the host called an operation before `configure`"))
    }
}

impl<P: Source> Instance<P> {
    /// Parses the config (JSON), with messages that name the setting, and makes the plugin.
    ///
    /// # Errors
    /// `Config`; what [`Source::new`] fails with.
    pub fn configure(&mut self, config: &str) -> Result<()> {
        self.plugin = Some(P::new(config::parse(config)?)?);
        Ok(())
    }
}

impl<P: crate::sink::Sink> Instance<P> {
    /// As [`Instance::configure`], of a sink.
    ///
    /// # Errors
    /// `Config`; what [`Sink::new`](crate::sink::Sink::new) fails with.
    pub fn configure_sink(&mut self, config: &str) -> Result<()> {
        self.plugin = Some(P::new(config::parse(config)?)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_takes_what_is_below_and_no_namesake() {
        let request = RestoreRequest {
            paths: vec![b"base/5".to_vec()],
            options_json: String::new(),
        };
        assert!(request.selects(b"base/5"));
        assert!(request.selects(b"base/5/1259"));
        assert!(!request.selects(b"base/51"));
        assert!(!request.selects(b"base"));
        assert!(RestoreRequest::default().selects(b"anything"));
    }
}
