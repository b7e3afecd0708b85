//! Redis' dump files: the parser says the same of a file whole and in pieces.
#![no_main]

#[path = "../../plugins/shared/rdb/tests/witness/mod.rs"]
mod witness;

use witness::parse;

libfuzzer_sys::fuzz_target!(|file: &[u8]| assert_eq!(parse(file, |left| left), parse(file, |left| left.min(7))));
