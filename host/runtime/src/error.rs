//! Every way in which loading or running a plugin fails. Three are kept apart on purpose: the plugin returned an error, it trapped, it hit a limit.

use std::path::PathBuf;

use bulkhead_model::{Fault, FaultKind};

use crate::{LimitKind, Operation};

/// Why an operation of a plugin failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PluginError {
    /// The plugin returned an error of its own.
    #[error(transparent)]
    Fault(Fault),
    /// The plugin trapped: a defect in it.
    #[error(transparent)]
    Trap(Trap),
    /// The plugin hit a limit of the operator's.
    #[error(transparent)]
    Limit(LimitExceeded),
    /// The operator did not grant what the operation cannot work without.
    #[error(transparent)]
    Grant(MissingGrant),
    /// The component cannot be used.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The caller cancelled it.
    #[error("the operation was cancelled")]
    Cancelled,
    /// The plugin does not implement the operation.
    #[error("the plugin `{plugin}` does not implement `{operation}`")]
    Unsupported {
        /// The plugin's name.
        plugin: String,
        /// What was asked for.
        operation: Operation,
    },
}

/// The plugin left its code by a trap.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the plugin `{plugin}` trapped in `{call}`: {reason}{}", last_words(output))]
pub struct Trap {
    /// The plugin's name.
    pub plugin: String,
    /// The exported function that was called.
    pub call: String,
    /// What the engine says ("wasm `unreachable` instruction executed").
    pub reason: String,
    /// The last lines that it wrote to standard error: a panic's message, as a rule.
    pub output: Vec<String>,
}

fn last_words(output: &[String]) -> String {
    if output.is_empty() {
        String::new()
    } else {
        format!("; it said: {}", output.join(" / "))
    }
}

/// A limit was hit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the plugin `{plugin}` hit its limit `{limit}` of {value}")]
pub struct LimitExceeded {
    /// The plugin's name.
    pub plugin: String,
    /// Which limit.
    pub limit: LimitKind,
    /// Its value with unit, as the TOML would write it.
    pub value: String,
    /// The TOML line that would change it.
    pub hint: String,
}

/// A grant that an operation cannot work without.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{operation}` of the plugin `{plugin}` needs `{grant}`: {purpose}")]
pub struct MissingGrant {
    /// The plugin's name.
    pub plugin: String,
    /// The operation.
    pub operation: Operation,
    /// The missing grant ("endpoint.server").
    pub grant: String,
    /// What the plugin wants it for.
    pub purpose: String,
    /// The TOML line that grants it.
    pub hint: String,
}

impl PluginError {
    /// Whether the same operation may succeed later without anybody changing anything.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Fault(fault) => fault.retryable,
            Self::Limit(limit) => limit.limit.retryable(),
            Self::Trap(_) | Self::Grant(_) | Self::Load(_) | Self::Cancelled | Self::Unsupported { .. } => false,
        }
    }

    /// The next action, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Fault(fault) => fault.hint.as_deref(),
            Self::Limit(limit) => Some(&limit.hint),
            Self::Grant(grant) => Some(&grant.hint),
            Self::Trap(_) => Some("this is a defect in the plugin: report it to its author"),
            Self::Load(error) => error.hint(),
            Self::Cancelled | Self::Unsupported { .. } => None,
        }
    }

    /// The same failure in the words of the ABI, for ports that speak them.
    #[must_use]
    pub fn into_fault(self) -> Fault {
        let kind = match &self {
            Self::Fault(fault) => return fault.clone(),
            Self::Trap(_) | Self::Load(_) => FaultKind::Internal,
            Self::Limit(_) => FaultKind::Limit,
            Self::Grant(_) => FaultKind::NotGranted,
            Self::Cancelled => FaultKind::Cancelled,
            Self::Unsupported { .. } => FaultKind::Unsupported,
        };
        let mut fault = Fault::new(kind, self.to_string());
        fault.hint = self.hint().map(str::to_owned);
        fault.retryable = self.retryable();
        fault.trapped = matches!(self, Self::Trap(_) | Self::Load(_));
        fault.setting = match &self {
            Self::Limit(limit) => Some(format!("limits.{}", limit.limit)),
            Self::Grant(grant) => Some(grant.grant.clone()),
            _ => None,
        };
        fault
    }
}

/// Why a component cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the plugin {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        cause: String,
    },
    /// The bytes are not WebAssembly at all.
    #[error("not a WebAssembly component")]
    NotWebAssembly,
    /// A core module.
    #[error("a core WebAssembly module, not a component")]
    CoreModule,
    /// Code that some wasmtime has compiled already.
    #[error("a precompiled artefact, which is never loaded")]
    Precompiled,
    /// It does not have the digest that the operator wrote.
    #[error("the digest is sha256:{found}, not sha256:{expected}")]
    Digest {
        /// The operator's.
        expected: String,
        /// The file's.
        found: String,
    },
    /// The engine refuses it.
    #[error("the component is not valid: {0}")]
    Invalid(String),
    /// It imports something that no plugin may have.
    #[error("the component imports `{0}`, which is not part of the plugin ABI")]
    UnknownImport(String),
    /// It was built for an ABI that this host does not know.
    #[error("the component needs bulkhead ≥ {needs}: it was built for `{import}`")]
    NewerAbi {
        /// The least version of bulkhead.
        needs: String,
        /// The import or export that says so.
        import: String,
    },
    /// It imports a capability that it neither asks for in `describe` nor was granted.
    #[error("the component imports `{import}`, which `{table}` does not grant and the plugin does not ask for")]
    UngrantedImport {
        /// The import.
        import: String,
        /// The TOML table of the plugin.
        table: String,
        /// The TOML line that would grant it.
        hint: String,
    },
    /// It exports neither kind of plugin, or both.
    #[error("the component exports {0} of `source` and `sink`; a plugin is exactly one of them")]
    Exports(&'static str),
    /// A source where a sink is needed, or the other way.
    #[error("the plugin `{plugin}` is a {found}, not a {expected}")]
    WrongKind {
        /// The plugin's name.
        plugin: String,
        /// What is needed.
        expected: crate::PluginKind,
        /// What it is.
        found: crate::PluginKind,
    },
    /// Its `describe` fails or makes no sense.
    #[error("the plugin does not describe itself: {0}")]
    Description(String),
    /// A limit of loading was hit.
    #[error("the component exceeds the limit `{limit}` of {value}")]
    Limit {
        /// Which limit.
        limit: LimitKind,
        /// Its value with unit.
        value: String,
    },
    /// The compile cache cannot be used.
    #[error(transparent)]
    Cache(RuntimeError),
}

impl LoadError {
    /// The next action, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::UngrantedImport { hint, .. } => Some(hint),
            Self::CoreModule => Some("build it for the target `wasm32-wasip2`, or wrap it with `wasm-tools component new`"),
            Self::Precompiled => Some("give the component itself; it is compiled once and kept in the cache"),
            Self::NewerAbi { .. } => Some("install a newer bulkhead, or an older version of the plugin"),
            Self::UnknownImport(_) => {
                Some("a plugin may import `bulkhead:plugin` and the clocks, random numbers and standard output of WASI 0.2")
            }
            _ => None,
        }
    }
}

/// Why the runtime cannot work.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RuntimeError {
    /// The engine cannot be built.
    #[error("cannot start the WebAssembly engine: {0}")]
    Engine(String),
    /// The cache folder cannot be made or used.
    #[error("cannot use the compile cache {}: {cause}", path.display())]
    Cache {
        /// The folder.
        path: PathBuf,
        /// What the operating system says.
        cause: String,
    },
    /// The cache folder or a file in it could have been written by somebody else.
    #[error("the compile cache {} {fault}; code from it would run unchecked", path.display())]
    ForeignCache {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong ("belongs to uid 1000", "is writable by others").
        fault: String,
    },
}
