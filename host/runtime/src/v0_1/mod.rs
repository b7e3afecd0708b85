//! The adapter of ABI 0.1: generated bindings, and translation between them and the crate's own types.
//!
//! A later ABI gets a module of its own beside this one; nothing outside of it knows the generated types. What is hot (bytes on their way) is bound by
//! hand in [`hot`], over the generated binding: one copy instead of two.

mod bindings;
mod convert;
mod directory;
mod endpoint;
mod entries;
mod guest;
mod hot;
mod http;
mod linker;
mod objects;
mod small;

pub(crate) use bindings::{sink_world::SinkPluginPre, source_world::SourcePluginPre};
pub(crate) use guest::{SinkGuest, SourceGuest};
pub(crate) use linker::{Capabilities, link_abi, link_wasi};
