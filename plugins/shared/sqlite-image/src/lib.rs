//! A live SQLite database as it stood at one moment, while its programs go on: [`Image`]; SQLite itself, which reads and judges an image: [`Engine`]; and the way back:
//! [`place`].
//!
//! `image.rs` holds a database still by SQLite's own locks (`locks.rs`), `wal.rs` and `journal.rs` read what belongs to it, `engine/` is SQLite's library behind a
//! file system of a few functions. The library is C, compiled into the plugin: it runs in the plugin's sandbox.

mod contents;
mod engine;
mod image;
mod index;
mod journal;
mod locks;
mod overlay;
mod pages;
mod place;
mod wal;

pub use contents::{Check, Contents, Verdict};
pub use engine::Engine;
pub use image::{Image, is_beside};
pub use pages::{Mode, Pages};
pub use place::{place, write};
pub use rusqlite::{Result as RowResult, Row};
