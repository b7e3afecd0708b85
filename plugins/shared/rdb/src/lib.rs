//! Redis' RDB format: a [`Parser`] that is fed pieces of any size and tells a [`Visitor`] what it sees, and the few functions ([`mod@write`]) that make a file
//! of values which `DUMP` returned.
//!
//! No I/O, no allocation that a file could drive: what a value *means* is never unpacked. Each type is a short program of steps (`grammar.rs`)
//! that knows where the value ends; so a parser's memory is the longest key that its user wants to see, and a value of 512 MB passes through as the
//! pieces that it arrives in. `RESTORE` wants values exactly as they stand here, so nothing more is needed to bring them back.
//!
//! What is checked: the magic and version, every opcode and type, every length and count against the bytes that follow, and the CRC-64 at the end.
//! Supported: RDB 9 to 12 (Redis 5 to 8.2, Valkey 7 and 8) and 80 (Valkey 9). Source documents: `rdb.h` and `rdb.c` of those servers.

mod crc64;
mod error;
mod grammar;
mod lzf;
mod parser;
mod reader;
mod text;
mod version;
pub mod write;

pub use crc64::Crc64;
pub use error::RdbError;
pub use grammar::name as type_name;
pub use parser::{Key, Parser, Record, Visitor};
pub use text::decode as decode_text;
pub use version::{Dialect, Version};

/// The longest name of a key that is kept in memory, in bytes; of a longer one its length is told.
pub const KEY_LIMIT: u64 = 1 << 20;
