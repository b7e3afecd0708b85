//! Sinks out of [OpenDAL](https://opendal.apache.org)'s services (feature `services`): S3, WebDAV, Azure Blob and others that speak HTTP.
//!
//! A plugin says which service it is and where in it the vault lies; [`Store`] does the rest: it carries the service's requests to one endpoint of the
//! operator's, streams bodies instead of holding them, tries again what deserves it, and checks what comes. What is special about a service (headers,
//! what its errors mean) is a [`Dialect`]; [`Plain`] is that of none in particular.
//!
//! ```
//! use bulkhead_sdk::{Result, services::{BASE_URL, Plain, Store, opendal}};
//!
//! fn store() -> Result<Store<Plain>> {
//!     let service = opendal::services::Memory::default(); // elsewhere: services::Webdav::default().endpoint(BASE_URL).root("/vault")
//!     Store::new("server", service, Plain)
//! }
//! # assert!(store().is_ok());
//! ```
//!
//! The service is to be told not to sign and to be at [`BASE_URL`]: which server that is, how TLS is done and who is authenticated how is the operator's
//! TOML and the host's work. It runs in the sandbox as any other code of the plugin, with an HTTP client and nothing else. Services that store an object
//! with one `PUT` can be used; what would need several requests (uploads in parts) fails with `Internal` rather than half.

mod dialect;
mod drive;
mod failure;
mod line;
mod store;

pub use crate::backoff::Backoff;
pub use dialect::{Dialect, Plain, Refusal, Verdict};
pub use http;
pub use opendal;
pub use store::{Store, Version};

/// Where a service is to believe its server to be. Scheme and host are the operator's; the path begins here.
pub const BASE_URL: &str = "http://endpoint.invalid";
