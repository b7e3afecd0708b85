//! Write Bulkhead plugins in Rust: a plugin is a struct, a trait and one macro.
//!
//! ```
//! use bulkhead_sdk::prelude::*;
//!
//! /// What the operator writes under `config`.
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields, crate = "bulkhead_sdk::serde")]
//! #[schemars(crate = "bulkhead_sdk::schemars")]
//! struct Config {
//!     name: String,
//! }
//!
//! struct Greeting(Config);
//!
//! impl Source for Greeting {
//!     type Config = Config;
//!
//!     fn describe() -> Description {
//!         Description::new("greeting", env!("CARGO_PKG_VERSION"), "Backs up a greeting", Operations::BACKUP)
//!     }
//!
//!     fn new(config: Config) -> Result<Self> {
//!         Ok(Self(config))
//!     }
//!
//!     fn backup(&mut self, _: BackupRequest) -> Result<BackupResult> {
//!         let mut entry = entries::create("greeting.txt", &Metadata::file())?;
//!         entry.write_bytes(format!("Hello, {}!\n", self.0.name).as_bytes())?;
//!         let mut proof = Proof { complete: true, ..Proof::default() };
//!         proof.count(&entry.finish()?);
//!         Ok(BackupResult { proof, ..BackupResult::default() })
//!     }
//! }
//!
//! bulkhead_sdk::export_source!(Greeting);
//! # fn main() {}
//! ```
//!
//! What a plugin can do is in the modules: [`endpoint`] and [`http`] for the network, [`directory`] for folders, [`entries`] to write a snapshot,
//! [`snapshot`] to read one, [`secrets`], [`digest`], [`progress`], [`parts`], and the log macros ([`info!`], …). All of it is the
//! [`host::Host`] underneath: the sandbox's imports in a component, and natively whatever a test puts there. The crate `bulkhead-guest-build`
//! makes the component.

pub mod backoff;
pub mod config;
pub mod description;
pub mod digest;
pub mod directory;
pub mod endpoint;
pub mod entries;
mod error;
pub mod host;
pub mod http;
pub mod log;
pub mod metadata;
#[cfg(not(target_family = "wasm"))]
mod native;
pub mod page;
pub mod parts;
pub mod progress;
pub mod retry;
pub mod secrets;
#[cfg(feature = "services")]
pub mod services;
pub mod sink;
pub mod snapshot;
pub mod source;
#[cfg(all(feature = "testing", not(target_family = "wasm")))]
pub mod testing;
pub mod types;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod wasm;

pub use error::{Error, ErrorKind, Result, ResultExt};
pub use schemars;
pub use serde;

/// What most plugins need.
pub mod prelude {
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};

    pub use crate::{
        Error, ErrorKind, Result, ResultExt,
        description::{Access, Description, Operations},
        directory, endpoint, entries,
        metadata::{Metadata, NodeType},
        progress, secrets,
        sink::{ByteRange, Object, ObjectReader, ObjectWriter, Page, PutOptions, Sink, Traits},
        snapshot,
        source::{BackupRequest, BackupResult, BrowseRequest, Item, RenderRequest, RestoreRequest, RestoreResult, Source},
        types::{Fact, Finding, Proof, Severity, Timestamp},
    };
}

/// Makes a component of a [`Source`](source::Source). On native targets it only checks the type.
#[cfg(not(target_family = "wasm"))]
#[macro_export]
macro_rules! export_source {
    ($plugin:ty) => {
        const _: () = {
            const fn is_a_source<P: $crate::source::Source>() {}
            is_a_source::<$plugin>();
        };
    };
}

/// Makes a component of a [`Sink`](sink::Sink). On native targets it only checks the type.
#[cfg(not(target_family = "wasm"))]
#[macro_export]
macro_rules! export_sink {
    ($plugin:ty) => {
        const _: () = {
            const fn is_a_sink<P: $crate::sink::Sink>() {}
            is_a_sink::<$plugin>();
        };
    };
}
