//! etcd's store on disk: a bbolt file, read in two ways.
//!
//! bbolt keeps B+trees of copied-on-write pages. [`Scanner`] looks at a file that passes once, from front to end, and still knows every page of the
//! tree at the end; that is how a backup is checked while it is taken. [`Database`] reads a stored file at offsets, in the order of its keys.
//! `page.rs` has the format.
//!
//! Nothing here trusts the file: every offset and count is checked, and trees that lead into themselves end.

mod crc;
mod database;
mod page;
mod scanner;
mod tree;

pub(crate) use crc::Joined;
pub use database::{Bucket, Database, LeafPlace, ReadAt};
pub use page::{Damage, Element, Meta};
pub use scanner::{Scanner, Summary};

/// Longest way from a root to a leaf that is followed. A branch page has two children at least, so 2³² pages are not this deep.
const MAX_DEPTH: usize = 40;
