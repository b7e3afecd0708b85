//! The plugin host: loads sandboxed WebAssembly components, gives them what the operator granted and nothing else, and runs their operations.
//!
//! [`Runtime`] owns the engine and the compile cache and loads a component into a [`Plugin`]. A [`Source`] runs the operations of a source plugin,
//! each in an instance of its own; a [`SinkPool`] runs those of a sink plugin in a pool of instances. What a plugin may touch is in [`Grants`], how
//! much in [`Limits`], and every way in which it can fail in [`PluginError`]. Entries and snapshots are reached through the ports of [`ports`], which
//! the pipeline implements over a vault: this crate knows no vault.
//!
//! The capabilities themselves (`capabilities`) are plain asynchronous Rust without any type of wasmtime; the bindings on top of them are thin. So
//! a plugin that is compiled natively can run over the same ones, which is how the price of the sandbox is measured.

mod cache;
mod call;
mod cancellation;
pub mod capabilities;
mod context;
mod describe;
mod description;
mod engine;
mod error;
mod grants;
mod imports;
mod instance;
mod limits;
mod output;
mod parts;
pub mod ports;
mod rights;
mod runtime;
mod sink;
mod source;
mod state;
mod v0_1;
mod write_out;

pub use cancellation::Cancellation;
pub use context::{NoProgress, OperationContext, ProgressObserver, ProgressState};
pub use description::{Access, Description, DirectoryRequest, EndpointRequest, Format, Operation, Operations, PluginKind, SecretRequest};
pub use error::{LimitExceeded, LoadError, MissingGrant, PluginError, RuntimeError, Trap};
pub use grants::{
    AccessTokenProvider, Auth, AwsCredentials, AwsCredentialsProvider, ClientCertificate, Destination, DirectoryGrant, EndpointGrant,
    FixedSecret, Grants, SecretBytes, SecretGrant, SecretProvider, TlsMode, TlsSettings, UnusedGrant,
};
pub use limits::{LimitKind, Limits, LoadLimits};
pub use runtime::{Plugin, PluginDigest, PluginSetup, Runtime, RuntimeOptions};
pub use sink::{Object, ObjectBody, PutOptions, SinkPool, SinkTraits};
pub use source::{BackupInput, BackupOutcome, BrowseRequest, Item, RenderRequest, RestoreOutcome, RestoreRequest, Source};
pub use write_out::WriteOut;
